"""`llmpath doctor`: what works on this machine, what is missing, and how to mend it."""

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from ..errors import UserError
from ..runs import check_writable
from .terminal import facts, out, size, table

NEEDED_PYTHON = (3, 10)
NEEDED_DISK = 2e9  # bytes: the full presets of the whole path, with checkpoints
STYLES = {"ok": "green", "missing": "yellow", "broken": "bold red"}


@dataclass(frozen=True)
class Check:
    """Something looked at.

    Attributes:
        name: what.
        state: `"ok"`, `"missing"` (a stage still runs without it) or `"broken"` (stages need it).
        found: what was found.
        mend: what to do about it, if it is not ok.
    """

    name: str
    state: str
    found: str
    mend: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def examine(output_dir: Path = Path("runs"), online: bool = False) -> list[Check]:
    """All checks; the Hub is only asked if `online`."""
    checks = [_python(), *_packages(), _torch(), _models(), _tiny_training()]
    checks += [
        _works("bitsandbytes", _bitsandbytes, "pip install -U bitsandbytes", "int8 and nf4 quantization")
    ]
    checks += [_works("onnxruntime", _onnxruntime, "pip install -U onnx onnxruntime", "ONNX export")]
    checks += [_chromium(), _machine(), _output(output_dir), _cache(), _token()]
    return checks + ([_hub()] if online else [])


def print_checks(checks: list[Check]) -> None:
    """A table of what was found, then one line for each thing to mend."""
    rows = [(check.name, Text(check.state, style=STYLES[check.state]), check.found) for check in checks]
    out.print(table(["", "", "found"], rows, show_header=False))
    to_mend = [(check.name, check.mend) for check in checks if check.mend]
    if to_mend:
        out.print(Text("To mend", style="bold"))
        facts(to_mend)
    broken = [check.name for check in checks if check.state == "broken"]
    verdict = f"Stages cannot run: {', '.join(broken)}." if broken else "All that the stages need works."
    out.print(Text(verdict, style="bold red" if broken else "bold green"))


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info[:2] < NEEDED_PYTHON:
        return Check(
            "python", "broken", found, f"install Python {'.'.join(map(str, NEEDED_PYTHON))} or newer"
        )
    return Check("python", "ok", found)


def _packages() -> list[Check]:
    """The packages that hf-llmpath asks for, with the ranges that it asks for."""
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(line) for line in requires("hf-llmpath") or []]
    except PackageNotFoundError:
        return [
            Check("hf-llmpath", "missing", "used from a source folder, not installed", "pip install -e .")
        ]
    checks = []
    for requirement in wanted:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        install = f"pip install '{requirement.name}{requirement.specifier}'"
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            checks.append(Check(requirement.name, "broken", "not installed", install))
            continue
        fits = requirement.specifier.contains(found, prereleases=True)
        wanted_range = f"{found} (wanted: {requirement.specifier})"
        checks.append(
            Check(
                requirement.name,
                "ok" if fits else "broken",
                found if fits else wanted_range,
                "" if fits else install,
            )
        )
    return checks


def _torch() -> Check:
    try:
        import torch
    except Exception as error:
        return Check("torch works", "broken", _line(error), "pip install 'torch>=2.8,<2.14'")
    kernels = [
        name
        for name, module in (("oneDNN", torch.backends.mkldnn), ("MKL", torch.backends.mkl))
        if module.is_available()
    ]
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    found = f"{accelerator}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    return Check("torch works", "ok", f"{found}, kernels: {', '.join(kernels) or 'own'}")


def _models() -> Check:
    try:
        from transformers import AutoConfig

        import hf_llmpath  # noqa: F401  (its import registers the models)

        from ..models.model_table import MODELS

        for row in MODELS:
            AutoConfig.for_model(row.model_type)
    except Exception as error:
        return Check(
            "Auto classes",
            "broken",
            _line(error),
            "pip install -U --force-reinstall hf-llmpath 'transformers>=5,<6'",
        )
    return Check("Auto classes", "ok", "know " + ", ".join(row.model_type for row in MODELS))


def _tiny_training() -> Check:
    try:
        import torch
        from transformers import AutoModelForCausalLM

        from .. import LLMPathRNNConfig

        config = LLMPathRNNConfig(vocab_size=8, hidden_size=8, pad_token_id=0, bos_token_id=1, eos_token_id=1)
        model = AutoModelForCausalLM.from_config(config)
        tokens = torch.arange(8).unsqueeze(0)
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        if not torch.isfinite(loss):
            raise ArithmeticError(f"the loss is {loss.item()}")
    except Exception as error:
        return Check(
            "a training step",
            "broken",
            _line(error),
            "reinstall torch and transformers; if it stays, report it",
        )
    return Check("a training step", "ok", "forward and backward through a small model")


def _works(name: str, use: Callable[[], str], mend: str, purpose: str) -> Check:
    try:
        return Check(f"{name} works", "ok", use())
    except Exception as error:
        return Check(f"{name} works", "missing", f"{_line(error)}; without it: no {purpose}", mend)


def _bitsandbytes() -> str:
    import bitsandbytes
    import torch

    torch.manual_seed(0)
    exact = torch.nn.Linear(64, 64)
    layer = bitsandbytes.nn.Linear8bitLt(64, 64, has_fp16_weights=False)
    layer.load_state_dict(exact.state_dict())
    inputs = torch.randn(4, 64)
    with torch.no_grad():
        worst = float((layer.to("cpu")(inputs) - exact(inputs)).abs().max())
    if not worst < 0.1:
        raise ArithmeticError(f"an int8 layer is off by {worst:.2g}")
    return f"{bitsandbytes.__version__}, int8 on the CPU"


def _onnxruntime() -> str:
    import onnx
    import onnxruntime

    identity = onnx.helper.make_node("Identity", ["x"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([identity], "identity", ends[:1], ends[1:])
    opset = onnx.helper.make_opsetid("", 17)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    import numpy

    session.run(None, {"x": numpy.ones(1, dtype=numpy.float32)})
    return f"{onnxruntime.__version__}, runs a graph on the CPU"


def _chromium() -> Check:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        mend = "apt install chromium, or: playwright install chromium"
        return Check("chromium", "missing", "not found; only the browser tests of the demos use it", mend)
    return Check("chromium", "ok", found)


def _machine() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return Check("machine", "ok", f"{cores} cores" + (f", {size(memory)} of memory" if memory else ""))


def _output(folder: Path) -> Check:
    """Whether runs can be written; the folder is not left behind if it was not there."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        if not existing.is_dir():
            raise UserError(f"{existing} is a file")
        check_writable(existing)
    except UserError as error:
        return Check("output folder", "broken", str(error), "choose another with --output-dir")
    free = shutil.disk_usage(existing).free
    if free < NEEDED_DISK:
        mend = f"free some space, or choose another disk with --output-dir; the whole path takes up to {size(NEEDED_DISK)}"
        return Check("output folder", "missing", f"{folder}, only {size(free)} free", mend)
    return Check("output folder", "ok", f"{folder}, {size(free)} free")


def _cache() -> Check:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        return Check(
            "Hugging Face cache", "missing", f"{folder} cannot be written", "set HF_HOME to a folder of yours"
        )
    offline = ", offline mode is on (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else ""
    return Check("Hugging Face cache", "ok", f"{folder}{offline}")


def _token() -> Check:
    from huggingface_hub import get_token

    if get_token():
        return Check("Hugging Face token", "ok", "there is one")
    return Check(
        "Hugging Face token",
        "missing",
        "none; only push and space need one",
        "hf auth login, or set HF_TOKEN",
    )


def _hub() -> Check:
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    from huggingface_hub import constants

    try:
        with urlopen(f"{constants.ENDPOINT}/api/models?limit=1", timeout=5):
            return Check("Hub", "ok", f"{constants.ENDPOINT} answers")
    except HTTPError as error:
        return Check(
            "Hub", "missing", f"{constants.ENDPOINT} answers with status {error.code}", "try again later"
        )
    except (URLError, TimeoutError, OSError) as error:
        reason = getattr(error, "reason", error)
        mend = "check the network or a proxy; the quick presets need no network"
        return Check("Hub", "missing", f"{constants.ENDPOINT} cannot be reached ({reason})", mend)


def _line(error: Any) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
