"""Readers learn, stop early, and have their gradients clipped; low-rank updates end as plain weights."""

import json

import numpy as np
import pytest
import torch
from transformers import set_seed

from hf_llmpath.data.tokenizers.subwords import train_subwords
from hf_llmpath.models.configuration_bert import LLMPathBertConfig
from hf_llmpath.models.modeling_bert import LLMPathBertForQuestionAnswering
from hf_llmpath.stages.s13_fine_tuning.span_training import (
    QuestionWindows,
    ReaderTask,
    answer_all,
    fine_tune_reader,
    measure,
    span_loss,
)
from hf_llmpath.training.adaptation import EVERY_LINEAR, freeze, layer_wise, with_lora
from hf_llmpath.training.recipe import Recipe

PEOPLE, PLACES = ("Anna", "Ben", "Otto", "Mara"), ("mill", "hill", "barn", "well", "sea")
ROWS = [
    {
        "question": "Where?" if turn else "Who?",
        "context": f"{person} went to the {place} today.",
        "answers": {"text": [place if turn else person], "answer_start": [len(person) + 13 if turn else 0]},
    }
    for person in PEOPLE
    for place in PLACES
    for turn in (0, 1)
]
TOKENIZER = train_subwords([row[name] for row in ROWS for name in ("question", "context")], vocab_size=90)
MAX_LENGTH = 24


def windows_of(rows):
    columns = {name: [row[name] for row in rows] for name in ROWS[0]}
    return QuestionWindows.of(columns, TOKENIZER, MAX_LENGTH, None)


TRAIN, HELD_OUT = windows_of(ROWS[:30]), windows_of(ROWS[30:])


def make():
    config = LLMPathBertConfig(
        vocab_size=len(TOKENIZER), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=16, position_embedding_type="rotary", norm_position="pre",
        max_position_embeddings=MAX_LENGTH, dropout=0.0, attention_dropout=0.0, initializer_range=0.2,
        layer_norm_eps=1e-5, pad_token_id=TOKENIZER.pad_token_id,
    )  # fmt: skip
    return LLMPathBertForQuestionAnswering(config)


def tune(run, name, recipe, make=make, train=TRAIN, make_optimizer=None):
    job = run.job(name)
    task = ReaderTask(make, train, HELD_OUT, TOKENIZER)
    return fine_tune_reader(job, task, recipe, 0, make_optimizer), job


def history(job):
    return [json.loads(line) for line in (job.folder / "history.jsonl").read_text().splitlines()]


def test_a_tiny_reader_learns_and_is_measured_on_what_it_saved(a_started_run):
    result, job = tune(a_started_run, "reader", Recipe(200, 10, 1e-2, saves=1))
    assert result["exact_match"] == 1.0 and result["steps"] == 200 and result["trainable_share"] == 1.0
    model = LLMPathBertForQuestionAnswering.from_pretrained(job.model_dir)
    assert measure(model, HELD_OUT, 0) == {"exact_match": result["exact_match"], "f1": result["f1"]}
    assert [a[0].text for a in answer_all(model, HELD_OUT, 0)] == [right[0] for right in HELD_OUT.right]
    assert span_loss(model, HELD_OUT, 0) == pytest.approx(result["validation_loss"])


def test_the_loss_is_that_of_the_model_on_every_window():
    torch.manual_seed(0)
    model = make().eval()
    total = 0.0
    for window in range(len(HELD_OUT.windows)):
        ids, mask = HELD_OUT.windows.rows.padded(np.array([window]), 0)
        types = torch.arange(ids.shape[1])[None] >= int(HELD_OUT.windows.second[window])
        start, end = (torch.tensor([int(bound[window])]) for bound in (HELD_OUT.starts, HELD_OUT.ends))
        output = model(ids, mask, types.long(), start_positions=start, end_positions=end)
        total += output.loss.item()
    assert span_loss(model, HELD_OUT, 0, batch_size=3) == pytest.approx(
        total / len(HELD_OUT.windows), rel=1e-5
    )


@pytest.mark.slow
def test_early_stopping_stops_and_keeps_the_best_weights(a_started_run):
    followed = Recipe(200, 10, 1e-2, evaluations=40, patience=2, schedule="constant")
    few = windows_of(ROWS[:3])
    results = {}
    for name, recipe in {
        "stopped": followed,
        "not_stopped": Recipe(200, 10, 1e-2, evaluations=40, keep_best=False, schedule="constant"),
    }.items():
        results[name], job = tune(a_started_run, name, recipe, train=few)
        losses = [entry["eval_loss"] for entry in history(job) if "eval_loss" in entry]
        kept = min(losses) if name == "stopped" else losses[-1]
        assert results[name]["validation_loss"] == pytest.approx(kept, rel=1e-4)
        if name == "stopped":
            assert losses.index(min(losses)) == len(losses) - 3  # two evaluations without a better one
    assert results["stopped"]["steps"] < results["not_stopped"]["steps"] == 200
    assert results["stopped"]["validation_loss"] < results["not_stopped"]["validation_loss"]


def test_clipping_bounds_what_the_optimizer_sees(a_started_run):
    seen = {}

    def watched(limit):
        norms = seen[limit] = []

        class Watched(torch.optim.SGD):
            def step(self, closure=None):
                gradients = [
                    p.grad for group in self.param_groups for p in group["params"] if p.grad is not None
                ]
                norms.append(float(torch.stack([gradient.norm() for gradient in gradients]).norm()))
                return super().step(closure)

        return lambda model: Watched(model.parameters(), lr=0.1)

    for limit in (0.5, 1e9):
        recipe = Recipe(12, 10, 0.1, max_grad_norm=limit, saves=1)
        _, job = tune(a_started_run, f"clip-{limit}", recipe, make_optimizer=watched(limit))
        reported = [entry["grad_norm"] for entry in history(job) if "grad_norm" in entry]
        assert max(reported) > 0.5
        expected = [min(norm, limit) for norm in reported]
        assert seen[limit] == pytest.approx(expected, rel=1e-3)


def start_of() -> LLMPathBertForQuestionAnswering:
    set_seed(0)
    return make()


def test_frozen_and_layer_wise_trainings_change_what_they_should(a_started_run):
    result, job = tune(a_started_run, "frozen", Recipe(5, 10, 1e-2, saves=1), make=lambda: freeze(make(), 1))
    assert 0 < result["trainable_share"] < 1
    tuned = LLMPathBertForQuestionAnswering.from_pretrained(job.model_dir)
    start = start_of().state_dict()
    for name, value in tuned.state_dict().items():
        same = torch.equal(value, start[name])
        assert same == name.startswith(("model.embeddings", "model.layers.0")), name
    rates = Recipe(40, 10, 1e-2, saves=1)
    result, job = tune(
        a_started_run, "rates", rates, make_optimizer=lambda model: layer_wise(model, 1e-2, 0.01)
    )
    assert result["trainable_share"] == 1.0 and result["validation_loss"] < span_loss(start_of(), HELD_OUT, 0)
    tuned = LLMPathBertForQuestionAnswering.from_pretrained(job.model_dir)
    moved = {
        name: (tuned.get_parameter(name) - start[name]).abs().max().item()
        for name in ("qa_outputs.weight", "model.layers.1.up_proj.weight", "model.layers.0.up_proj.weight")
    }
    head, upper, lower = moved.values()
    assert head > 10 * upper > 100 * lower > 0


def test_low_rank_updates_learn_and_end_as_plain_weights(a_started_run):
    result, job = tune(
        a_started_run, "lora", Recipe(40, 10, 1e-2, saves=1), lambda: with_lora(make(), 1, "qa_outputs")
    )
    assert result["validation_loss"] < 0.8 * span_loss(start_of(), HELD_OUT, 0)
    model = LLMPathBertForQuestionAnswering.from_pretrained(job.model_dir)
    assert model.state_dict().keys() == make().state_dict().keys()
    assert measure(model, HELD_OUT, 0)["exact_match"] == result["exact_match"]
    assert result["trainable_share"] == pytest.approx(result["trainable_parameters"] / model.num_parameters())
    moved = {
        name
        for name, value in model.state_dict().items()
        if not torch.equal(value, start_of().state_dict()[name])
    }
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in moved} == {*EVERY_LINEAR, "qa_outputs"}
