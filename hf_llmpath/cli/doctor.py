"""`llmpath doctor`: checks what works on this machine and what is missing, and says how to fix it."""

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ..errors import UserError
from ..runs import check_writable
from . import terminal
from .options import AsJson, OutputDir
from .terminal import RUNS, size

NEEDED_PYTHON = (3, 10)
NEEDED_DISK = 2e9  # bytes: the full presets of the whole path, with checkpoints
_STYLES = {"ok": "green", "missing": "yellow", "broken": "bold red"}


@dataclass(frozen=True)
class MachineCheck:
    """The result of one check.

    Attributes:
        name: the thing that was checked.
        state: `"ok"`, `"missing"` (the stages run without it), or `"broken"` (stages need it).
        finding: what the check found.
        fix: what the user can do about it; empty if the state is ok.
    """

    name: str
    state: str
    finding: str
    fix: str = ""


def doctor(
    online: Annotated[
        bool, typer.Option("--online", help="Check the connection to the Hub as well.")
    ] = False,
    output_dir: OutputDir = RUNS,
    as_json: AsJson = False,
) -> None:
    """Check what works on this machine, what is missing, and how to fix it."""
    checks = examine(output_dir, online)
    broken = [check.name for check in checks if check.state == "broken"]
    if as_json:
        terminal.print_json([asdict(check) for check in checks])
    else:
        rows = [
            (check.name, Text(check.state, style=_STYLES[check.state]), check.finding) for check in checks
        ]
        terminal.out.print(terminal.table(["", "", ""], rows, show_header=False))
        if fixes := [(check.name, check.fix) for check in checks if check.fix]:
            terminal.heading("To fix")
            terminal.facts(fixes)
        verdict = (
            f"Stages cannot run: {', '.join(broken)}." if broken else "Everything the stages need works."
        )
        terminal.out.print(Text(verdict, style="bold red" if broken else "bold green"))
    if broken:
        raise typer.Exit(1)


def examine(output_dir: Path = RUNS, online: bool = False) -> list[MachineCheck]:
    """Runs all checks; the check of the Hub runs only if `online`."""
    reinstall = "pip install -U --force-reinstall hf-llmpath 'transformers>=5,<6'"
    report = "reinstall torch and transformers; if the error stays, report it"
    checks = [
        _python(),
        *_packages(),
        _works("torch works", _torch, "pip install 'torch>=2.8,<2.14'"),
        _works("Auto classes", _auto_classes, reinstall),
        _works("a training step", _training_step, report),
        _works(
            "bitsandbytes works", _bitsandbytes, "pip install -U bitsandbytes", "int8 and nf4 quantization"
        ),
        _works("onnxruntime works", _onnxruntime, "pip install -U onnx onnxruntime", "ONNX export"),
        _chromium(),
        _machine(),
        _output(output_dir),
        _cache(),
        _token(),
    ]
    return checks + ([_hub()] if online else [])


def _works(name: str, use: Callable[[], str], fix: str, purpose: str | None = None) -> MachineCheck:
    """Tries to use a library and reports the result.

    Args:
        name: name of the check.
        use: function that uses the library and returns the finding; any error of it is a failure.
        fix: what the user can do about a failure.
        purpose: what only this library is for, if the stages can do without it. A failure then means
            "missing", otherwise "broken".
    """
    try:
        return MachineCheck(name, "ok", use())
    except Exception as error:
        line = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        if purpose is None:
            return MachineCheck(name, "broken", line, fix)
        return MachineCheck(name, "missing", f"{line}; without it: no {purpose}", fix)


def _python() -> MachineCheck:
    finding = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info[:2] < NEEDED_PYTHON:
        fix = f"install Python {'.'.join(map(str, NEEDED_PYTHON))} or newer"
        return MachineCheck("python", "broken", finding, fix)
    return MachineCheck("python", "ok", finding)


def _packages() -> list[MachineCheck]:
    """Checks the packages that hf-llmpath requires against the version ranges that it requires."""
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    try:
        requirements = [Requirement(line) for line in requires("hf-llmpath") or []]
    except PackageNotFoundError:
        finding = "used from a source folder, not installed"
        return [MachineCheck("hf-llmpath", "missing", finding, "pip install -e .")]
    checks = []
    for requirement in requirements:
        # Requirements of extras, and of other systems, do not concern this installation.
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        name, wanted = requirement.name, requirement.specifier
        install = f"pip install '{name}{wanted}'"
        try:
            installed = version(name)
        except PackageNotFoundError:
            checks.append(MachineCheck(name, "broken", "not installed", install))
            continue
        if wanted.contains(installed, prereleases=True):
            checks.append(MachineCheck(name, "ok", installed))
        else:
            checks.append(MachineCheck(name, "broken", f"{installed} (wanted: {wanted})", install))
    return checks


def _torch() -> str:
    import torch

    backends = (("oneDNN", torch.backends.mkldnn), ("MKL", torch.backends.mkl))
    kernels = ", ".join(name for name, backend in backends if backend.is_available()) or "own"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{device}, {capability}, {torch.get_num_threads()} threads, kernels: {kernels}"


def _auto_classes() -> str:
    from transformers import AutoConfig

    from ..models.model_table import MODELS

    for row in MODELS:
        AutoConfig.for_model(row.model_type)
    return "know " + ", ".join(row.model_type for row in MODELS)


def _training_step() -> str:
    import torch
    from transformers import AutoModelForCausalLM

    from .. import LLMPathRNNConfig

    config = LLMPathRNNConfig(vocab_size=8, hidden_size=8, pad_token_id=0, bos_token_id=1, eos_token_id=1)
    model = AutoModelForCausalLM.from_config(config)
    tokens = torch.arange(8).unsqueeze(0)  # (time,) -> (batch, time), with a batch of 1
    loss = model(input_ids=tokens, labels=tokens).loss
    loss.backward()
    if not torch.isfinite(loss):
        raise ArithmeticError(f"the loss is {loss.item()}")
    return "forward and backward through a small model"


def _bitsandbytes() -> str:
    import bitsandbytes
    import torch

    torch.manual_seed(0)
    exact = torch.nn.Linear(64, 64)
    layer = bitsandbytes.nn.Linear8bitLt(64, 64, has_fp16_weights=False)
    layer.load_state_dict(exact.state_dict())
    inputs = torch.randn(4, 64)  # (batch, inputs)
    with torch.no_grad():
        # A quantized layer quantizes its weights when it is moved to a device.
        error = float((layer.to("cpu")(inputs) - exact(inputs)).abs().max())
    if not error < 0.1:  # unlike `>=`, this refuses NaN too
        raise ArithmeticError(f"an int8 layer is off by {error:.2g}")
    return f"{bitsandbytes.__version__}, int8 on the CPU"


def _onnxruntime() -> str:
    import numpy
    import onnx
    import onnxruntime

    identity = onnx.helper.make_node("Identity", ["x"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([identity], "identity", ends[:1], ends[1:])
    opset = onnx.helper.make_opsetid("", 17)
    # An older opset and IR version, which an older onnxruntime reads as well.
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    session.run(None, {"x": numpy.ones(1, dtype=numpy.float32)})
    return f"{onnxruntime.__version__}, runs a graph on the CPU"


def _chromium() -> MachineCheck:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        finding = "not found; only the browser tests of the demos use it"
        fix = "apt install chromium, or: playwright install chromium"
        return MachineCheck("chromium", "missing", finding, fix)
    return MachineCheck("chromium", "ok", path)


def _machine() -> MachineCheck:
    # On Linux, the cores that this process may use, which a container can limit.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return MachineCheck("machine", "ok", f"{cores} cores" + (f", {size(memory)} of memory" if memory else ""))


def _output(folder: Path) -> MachineCheck:
    """Checks that runs can be written, without creating the folder: tests the nearest folder that exists."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        if not existing.is_dir():
            raise UserError(f"{existing} is a file")
        check_writable(existing)
    except UserError as error:
        return MachineCheck("output folder", "broken", str(error), "choose another with --output-dir")
    free = shutil.disk_usage(existing).free
    if free < NEEDED_DISK:
        fix = f"free some space (the whole path takes {size(NEEDED_DISK)}), or choose another --output-dir"
        return MachineCheck("output folder", "missing", f"{folder}, only {size(free)} free", fix)
    return MachineCheck("output folder", "ok", f"{folder}, {size(free)} free")


def _cache() -> MachineCheck:
    from huggingface_hub import constants

    name, folder = "Hugging Face cache", Path(constants.HF_HUB_CACHE)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        fix = "set HF_HOME to a folder that you may write to"
        return MachineCheck(name, "missing", f"{folder} cannot be written", fix)
    offline = ", offline mode is on (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else ""
    return MachineCheck(name, "ok", f"{folder}{offline}")


def _token() -> MachineCheck:
    from huggingface_hub import get_token

    if get_token():
        return MachineCheck("Hugging Face token", "ok", "set")
    finding = "not set; only push and space need one"
    return MachineCheck("Hugging Face token", "missing", finding, "hf auth login, or set HF_TOKEN")


def _hub() -> MachineCheck:
    from urllib.error import HTTPError
    from urllib.request import urlopen

    from huggingface_hub import constants

    address = constants.ENDPOINT
    try:
        with urlopen(f"{address}/api/models?limit=1", timeout=5):
            return MachineCheck("Hub", "ok", f"{address} answers")
    except HTTPError as error:
        return MachineCheck(
            "Hub", "missing", f"{address} answers with status {error.code}", "try again later"
        )
    except OSError as error:
        finding = f"{address} cannot be reached ({getattr(error, 'reason', error)})"
        fix = "check the network or a proxy; the quick presets need no network"
        return MachineCheck("Hub", "missing", finding, fix)
