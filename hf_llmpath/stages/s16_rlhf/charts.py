"""Draws reward and KL during training, the scores of all methods, the reward model by fault, and replies."""

from pathlib import Path
from typing import Any

from ...charts.picture import Picture, save_all
from ...charts.plots import bar_chart, line_chart
from ...charts.text import texts
from ...runs import RunFolder

# Method -> name in the pictures
NAMES = {
    "sft": "SFT",
    "reinforce": "REINFORCE",
    "ppo": "PPO",
    "dpo": "DPO",
    "rloo": "RLOO (TRL)",
    "grpo": "GRPO (TRL)",
    "no-kl": "REINFORCE, β = 0",
}
# Key of the history -> caption, unit, and detail of its chart
CURVES = {
    "reward": (
        "Reward of the replies drawn in training",
        "reward",
        "SFT has mean 0 and standard deviation 1.",
    ),
    "kl": ("Divergence from the fine-tuned model", "nats", "KL divergence of a whole reply."),
}


def pictures(folder: RunFolder) -> dict[str, Picture]:
    """Returns every picture of the run, by name."""
    drawn = {"scores": score_chart(folder), "before_and_after": reply_texts(folder)}
    drawn |= {key: curve for key in CURVES if (curve := curve_chart(folder, key))}
    if faults := fault_chart(folder.metrics):
        drawn["reward_model"] = faults
    return drawn


def draw(folder: RunFolder) -> list[Path]:
    """Saves every picture of the run."""
    return save_all(pictures(folder), folder)


def curve_chart(folder: RunFolder, key: str) -> Picture | None:
    """Draws the smoothed reward or divergence of the first seed; None if no policy gradient was trained."""
    seed = folder.report["seed"]
    jobs = {f"{method}-{seed}": method for method in NAMES} | {"no-kl": "no-kl"}
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for entry in folder.history:
        method = jobs.get(entry["part"])
        # TRL reports the mean KL per token, and our loops the KL per reply; the two cannot share an axis.
        if method is None or key not in entry or (key == "kl" and method in ("rloo", "grpo")):
            continue
        steps, values = lines.setdefault(NAMES[method], ([], []))
        steps.append(entry["step"])
        # Exponential smoothing: the mean of one round is noisy.
        values.append(entry[key] if not values else 0.7 * values[-1] + 0.3 * entry[key])
    caption, unit, detail = CURVES[key]
    return line_chart(lines, caption, "step", unit, detail) if lines else None


def score_chart(folder: RunFolder) -> Picture:
    """Draws the mean score of every method on the held-out prompts."""
    report = folder.report
    # Runs on data without a judge have only scores by the reward model.
    score = "judge_score" if "judge_score" in report["metrics"] else "reward_score"
    first = report["settings"]["methods"][0]
    scores = {NAMES["sft"]: report["baselines"][score], NAMES[first]: report["metrics"][score]}
    for method, name in NAMES.items():  # the metrics of the first method have no prefix and are in already
        metric = f"{method.replace('-', '_')}/{score}"
        if metric in report["metrics"]:
            scores[name] = report["metrics"][metric]
    label = "mean score by the judge" if score == "judge_score" else "mean reward"
    return bar_chart(scores, "Sampled replies to held-out prompts", label, form="{:.3f}".format)


def fault_chart(metrics: dict[str, Any]) -> Picture | None:
    """Draws the reward model's accuracy by fault of the rejected reply; None if no faults are known."""
    prefix = "reward_accuracy/"
    faults = {
        name.removeprefix(prefix).replace("_", " "): value
        for name, value in metrics.items()
        if name.startswith(prefix)
    }
    caption = "Reward model: held-out pairs ranked correctly, by fault of the rejected reply"
    return bar_chart(faults, caption, "accuracy", form="{:.1%}".format) if faults else None


def reply_texts(folder: RunFolder) -> Picture:
    """Shows replies to the same prompts before and after alignment."""
    rows, columns = folder.figure_data("replies")[:4], {}
    for name in ("sft", folder.report["settings"]["methods"][0]):
        replies = [(row["prompt"], row["replies"][name]) for row in rows]
        columns[NAMES[name]] = "\n".join(
            f"> {prompt}\n{reply['text']} [{reply['score']:.2f}]\n" for prompt, reply in replies
        )
    return texts(
        columns, "The same prompts before and after alignment", "The score of each reply is in brackets."
    )
