"""Reward and divergence over the training, scores of all methods, the reward model's faults, and a prompt
before and after.
"""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ...charts.bars import score_bars
from ...charts.curves import curves
from ...charts.style import save
from ...charts.text import samples
from ...runs import RunFolder

NAMES = {
    "sft": "SFT",
    "reinforce": "REINFORCE",
    "ppo": "PPO",
    "dpo": "DPO",
    "rloo": "RLOO (TRL)",
    "grpo": "GRPO (TRL)",
    "no-kl": "REINFORCE, β = 0",
}


def draw(folder: RunFolder) -> list[Path]:
    """Draws every picture of the run."""
    target = folder.path / "figures"
    found = [
        save(_scores(folder), target / "scores.png"),
        save(_replies(folder), target / "before_and_after.png"),
    ]
    for key, title, label in (
        (
            "reward",
            "Reward of the replies drawn while training",
            "reward (SFT: mean 0, standard deviation 1)",
        ),
        ("kl", "Divergence from the fine-tuned model", "KL of a reply, in nats"),
    ):
        lines = histories(folder, key)
        if lines:
            found.append(save(curves(lines, title, "step", label), target / f"{key}.png"))
    faults = faults_of(folder.metrics)
    if faults:
        title = "Reward model: held-out pairs ranked rightly, by fault of the rejected reply"
        found.append(save(score_bars(faults, title, "accuracy"), target / "reward_model.png"))
    return found


def histories(folder: RunFolder, key: str) -> dict[str, tuple[list[float], list[float]]]:
    """Smoothed curves of the policy gradients, of the first seed: method -> steps and values."""
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for entry in folder.history:
        method = entry["part"].rpartition("-")[0] if entry["part"] != "no-kl" else "no-kl"
        name = NAMES.get(method)
        if key == "kl" and method in ("rloo", "grpo"):
            continue  # theirs is a mean over tokens
        if name is None or key not in entry or entry["part"] not in _first_parts(folder):
            continue
        steps, values = lines.setdefault(name, ([], []))
        steps.append(entry["step"])
        values.append(entry[key] if not values else 0.7 * values[-1] + 0.3 * entry[key])
    return lines


def _first_parts(folder: RunFolder) -> set[str]:
    seed = folder.report["seed"]
    return {f"{method}-{seed}" for method in NAMES} | {"no-kl"}


def faults_of(metrics: dict[str, Any]) -> dict[str, float]:
    """Fault -> accuracy of the reward model on pairs with it."""
    names = [name for name in metrics if name.startswith("reward_accuracy/")]
    return {name.partition("/")[2].replace("_", " "): metrics[name] for name in names}


def scores_of(folder: RunFolder) -> tuple[dict[str, float], str]:
    """Model -> its mean score on the held-out prompts, and what the score is."""
    report = folder.report
    score = "judge_score" if "judge_score" in report["metrics"] else "reward_score"
    first = report["settings"]["methods"][0]
    found = {NAMES["sft"]: report["baselines"][score], NAMES[first]: report["metrics"][score]}
    for method in NAMES:
        name = f"{method.replace('-', '_')}/{score}"
        if name in report["metrics"]:
            found[NAMES[method]] = report["metrics"][name]
    return found, score


def _scores(folder: RunFolder) -> Figure:
    found, score = scores_of(folder)
    what = "score by the judge" if score == "judge_score" else "reward"
    return score_bars(found, "Sampled replies to held-out prompts", f"mean {what}")


def _replies(folder: RunFolder) -> Figure:
    first = folder.report["settings"]["methods"][0]
    shown = folder.figure_data("replies")[:4]
    texts = {
        NAMES[name]: "\n".join(
            f"> {row['prompt']}\n{row['replies'][name]['text']} [{row['replies'][name]['score']:.2f}]\n"
            for row in shown
        )
        for name in ("sft", first)
    }
    return samples(texts, "The same prompts before and after alignment, with the score of each reply")
