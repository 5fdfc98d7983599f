"""Loads what lies on a Hub in a fresh process: reads a plan (JSON) from stdin, writes what it saw (JSON)
to stdout.

    python roads.py < plan.json

With `"package": false` in the plan hf_llmpath cannot be imported here, as on a machine that does not have it.
"""

import contextlib
import importlib.abc
import io
import json
import sys
from pathlib import Path


class Absent(importlib.abc.MetaPathFinder):
    """Makes hf_llmpath a package that is not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "hf_llmpath":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return None


def answer(model):
    """Something that only the right weights, read by the right code, give."""
    import torch

    torch.manual_seed(0)
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    with torch.no_grad():
        if model.can_generate():
            greedy = model.generate(ids, max_new_tokens=16, do_sample=False)
            return [greedy.tolist(), model.generate(ids, max_new_tokens=16, do_sample=True).tolist()]
        if "TimeSeries" in type(model).__name__:
            values = torch.linspace(1, 2, 24).sin().unsqueeze(0)
            return model(past_values=values).prediction_outputs.tolist()
        if model.main_input_name == "pixel_values":
            return model(torch.linspace(-1, 1, 2 * model.config.num_features).view(2, -1))[0].tolist()
        output = model(input_ids=ids)
        return output[
            next(name for name in ("logits", "start_logits", "last_hidden_state") if name in output)
        ].tolist()


def load(auto_class, repo_id, **options):
    import transformers

    return getattr(transformers, auto_class).from_pretrained(repo_id, **options)


def refusal(auto_class, repo_id):
    """The error of loading without trust."""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            load(auto_class, repo_id)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return "loaded"


def printed(code):
    """What the code of a card prints."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(code, {})
    return output.getvalue()


def with_package(plan):
    import hf_llmpath  # noqa: F401
    from hf_llmpath.hub.fetch import fetch_run

    run = fetch_run(plan["run"])
    return {
        "answers": {repo: answer(load(auto_class, repo)) for repo, auto_class in plan["models"].items()},
        "modules": sorted(
            {type(load(auto_class, repo)).__module__ for repo, auto_class in plan["models"].items()}
        ),
        "snippets": [printed(code) for code in plan["snippets"]],
        "fetched": sorted(
            path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file()
        ),
        "fetched_name": run.path.name,
        "fetched_report": run.report,
        "fetched_answer": answer(load("AutoModelForCausalLM", run.model_dir)),
        "fetched_again": fetch_run(plan["run"]).path == run.path,
        "not_there": fetch_run("tester/nothing-here"),
        "no_run": fetch_run(plan["no_run"]),
    }


def without_package(plan):
    sys.meta_path.insert(0, Absent())
    seen = {
        "refusals": {
            auto: refusal(auto, plan["trap"]) for auto in ("AutoConfig", "AutoModelForCausalLM", "AutoModel")
        }
    }
    seen["code_was_run"] = Path(plan["sprung"]).exists()
    trust = {"trust_remote_code": True}
    models = {repo: load(auto_class, repo, **trust) for repo, auto_class in plan["models"].items()}
    seen["answers"] = {repo: answer(model) for repo, model in models.items()}
    seen["modules"] = sorted({type(model).__module__.partition(".")[0] for model in models.values()})
    seen["config_class"] = type(load("AutoConfig", plan["run"], **trust)).__name__
    tokenizer = load("AutoTokenizer", plan["run"], **trust)
    seen["tokens"] = tokenizer(plan["text"])["input_ids"]
    seen["text"] = tokenizer.decode(seen["tokens"])
    seen["subfolder"] = answer(load("AutoModelForCausalLM", plan["run"], subfolder="models/gru", **trust))
    seen["snippets"] = [printed(code) for code in plan["snippets"]]
    load("AutoModelForCausalLM", plan["trap"], **trust)
    seen["code_was_run_with_trust"] = Path(plan["sprung"]).exists()
    seen["package"] = "hf_llmpath" in sys.modules
    return seen


if __name__ == "__main__":
    plan = json.load(sys.stdin)
    json.dump(with_package(plan) if plan["package"] else without_package(plan), sys.stdout)
