"""16 bits where they pay, and nowhere else."""

import os
import subprocess
import sys

import pytest
import torch

from hf_llmpath.training import hardware
from hf_llmpath.training.hardware import precision_for, sixteen_bits_pay


@pytest.mark.parametrize("seconds, chosen", [(0.4, "bf16"), (0.9, "no"), (20.0, "no")])
def test_auto_takes_what_is_faster(monkeypatch, seconds, chosen):
    monkeypatch.setattr(hardware, "_seconds", lambda dtype: seconds if dtype is torch.bfloat16 else 1.0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    sixteen_bits_pay.cache_clear()
    assert precision_for("auto") == chosen
    sixteen_bits_pay.cache_clear()


def test_what_was_asked_for_is_taken():
    assert precision_for("no") == "no" and precision_for("bf16") == "bf16"


@pytest.mark.slow
def test_a_processor_without_such_instructions_is_found_out():
    """The products are really timed: with the instructions switched off, in a process of its own, auto
    says no.
    """

    code = "from hf_llmpath.training.hardware import precision_for; print(precision_for('auto'))"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.split() == ["no"]
