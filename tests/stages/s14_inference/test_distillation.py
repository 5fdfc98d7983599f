"""Distillation: the loss is the formula's, its gradient vanishes where the student is the teacher, and it
teaches.
"""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import set_seed

from hf_llmpath.data.batches.streams import StreamWindows
from hf_llmpath.errors import UserError
from hf_llmpath.models.configuration_gpt import LLMPathGPTConfig
from hf_llmpath.models.modeling_gpt import LLMPathGPTForCausalLM
from hf_llmpath.runs import Run
from hf_llmpath.stages.s14_inference.distillation import (
    Distillation,
    DistillationTrainer,
    distill,
    half_depth,
    hidden_state_loss,
    soft_target_loss,
)
from hf_llmpath.training.trainer import Recipe, fit, training_arguments

VOCABULARY = 12


def _gpt(layers=2, seed=0, **options):
    set_seed(seed)
    sizes = {
        "hidden_size": 16,
        "num_attention_heads": 2,
        "vocab_size": VOCABULARY,
        "zero_init_projections": False,
    }
    return LLMPathGPTForCausalLM(
        LLMPathGPTConfig(num_hidden_layers=layers, initializer_range=0.3, **sizes | options)
    )


def _windows(count=4000):
    """A text in which the next token depends on the two before it."""
    rng, tokens = np.random.default_rng(0), [1, 2]
    for _ in range(count):
        tokens.append((3 * tokens[-1] + tokens[-2] + int(rng.random() < 0.2)) % VOCABULARY)
    return StreamWindows(np.array(tokens), 8, 16)


@pytest.fixture
def run(tmp_path):
    return Run.start(
        tmp_path / "run",
        {"stage": 14, "slug": "inference", "preset": "quick", "settings": {"seed": 0}, "command": ""},
    )


def _trainer(how, teacher, student, folder):
    arguments = training_arguments(Recipe(1, 8, 1e-3), folder, 0)
    return DistillationTrainer(
        teacher=teacher,
        distillation=how,
        model=student,
        args=arguments,
        evaluate_with=None,
        carry_state=False,
    )


def test_the_loss_is_what_the_formula_says(tmp_path):
    teacher, student = _gpt(4).eval(), _gpt(2, seed=1).eval()
    batch = _windows().__getitems__(list(range(8)))
    labels = batch["shift_labels"] = batch["shift_labels"].clone()
    labels[0, :5] = -100
    how = Distillation(alpha=0.3, temperature=3.0, hidden=0.5)
    loss = _trainer(how, teacher, student, tmp_path).compute_loss(
        student, dict(batch), num_items_in_batch=torch.tensor(123)
    )
    with torch.no_grad():
        inputs = {"input_ids": batch["input_ids"], "output_hidden_states": True}
        expected, answer = teacher(**inputs), student(**inputs)
    total = 0.0
    for row in range(8):
        for position in range(16):
            if labels[row, position] == -100:
                continue
            p = (expected.logits[row, position] / 3).softmax(-1)
            q = (answer.logits[row, position] / 3).softmax(-1)
            total += 0.3 * 9 * float((p * (p / q).log()).sum())
            total += 0.7 * float(-answer.logits[row, position].log_softmax(-1)[labels[row, position]])
            for mine, theirs in ((1, 2), (2, 4)):
                distance = (
                    answer.hidden_states[mine][row, position] - expected.hidden_states[theirs][row, position]
                )
                total += 0.5 / 2 * float(distance.square().mean())
    assert float(loss.detach()) == pytest.approx(total / 123, rel=1e-5)


def test_a_student_that_is_the_teacher_has_nothing_to_learn():
    torch.manual_seed(0)
    logits = torch.randn(20, 7, requires_grad=True)
    loss = soft_target_loss(logits, logits.detach().clone(), 2.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6) and float(logits.grad.abs().max()) < 1e-6
    states = tuple(torch.randn(2, 3, 4) for _ in range(3))
    assert float(hidden_state_loss(states, states, torch.ones(2, 3))) == 0


def test_the_gradient_keeps_its_size_at_every_temperature():
    torch.manual_seed(0)
    student, teacher = torch.randn(50, 30), torch.randn(50, 30)
    sizes = []
    for temperature in (4.0, 16.0, 64.0):
        guess = student.clone().requires_grad_()
        soft_target_loss(guess, teacher, temperature).backward()
        sizes.append(float(guess.grad.norm()))
    assert max(sizes) / min(sizes) < 1.3


def test_half_the_depth_keeps_every_second_layer():
    teacher = _gpt(6)
    student = half_depth(teacher)
    assert student.config.num_hidden_layers == 3 and teacher.config.num_hidden_layers == 6
    for mine, theirs in enumerate((1, 3, 5)):
        for (name, weight), (_, other) in zip(
            student.model.layers[mine].named_parameters(),
            teacher.model.layers[theirs].named_parameters(),
            strict=True,
        ):
            assert torch.equal(weight, other), name
    assert torch.equal(student.lm_head.weight, teacher.model.embed_tokens.weight)
    assert student.lm_head.weight is student.model.embed_tokens.weight
    assert len(half_depth(_gpt(5)).model.layers) == 2


@pytest.mark.slow
def test_a_student_comes_nearer_to_its_teacher(run):
    windows = _windows()
    teacher = _gpt(2)
    fit(teacher, windows, Recipe(150, 8, 5e-3), run.job("teacher"), 0)
    student = half_depth(teacher)

    def distance():
        with torch.no_grad():
            logits = [
                model.eval()(windows.inputs[:, :64]).logits.flatten(0, 1) for model in (student, teacher)
            ]
            return float(
                F.kl_div(*(one.log_softmax(-1) for one in logits), log_target=True, reduction="batchmean")
            )

    before, weights = distance(), {name: w.clone() for name, w in teacher.state_dict().items()}
    distill(student, teacher, windows, Distillation(alpha=1.0), Recipe(100, 8, 5e-3), run.job("student"), 0)
    assert distance() < 0.5 * before
    assert all(torch.equal(w, weights[name]) for name, w in teacher.state_dict().items())


def _distill(run, student):
    distill(student, _gpt(2), _windows(), Distillation(hidden=1.0), Recipe(1, 8, 1e-3), run.job("student"), 0)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda run: Distillation(alpha=1.2), "alpha is 1.2; it is a share"),
        (lambda run: Distillation(temperature=0), "temperature is 0; it must be more than 0"),
        (lambda run: half_depth(_gpt(1)), "one layer, which cannot be halved"),
        (lambda run: _distill(run, _gpt(1, vocab_size=9)), "the teacher knows 12 tokens and the student 9"),
        (lambda run: _distill(run, _gpt(1, hidden_size=8)), "states of 8 and 16 units cannot be compared"),
    ],
)  # fmt: skip
def test_what_cannot_be_distilled_is_said_in_one_line(call, message, run):
    with pytest.raises(UserError, match=message):
        call(run)
