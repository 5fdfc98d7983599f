"""One recipe, three loops: the same losses from Trainer, Accelerate and Lightning, whole or in pieces,
kept or recomputed.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator, DistributedType
from transformers import AutoModelForCausalLM

from hf_llmpath.data.batches.token_file import TokenBlocks
from hf_llmpath.data.tokenizers.characters import train_character_tokenizer
from hf_llmpath.errors import UserError
from hf_llmpath.runs import Run
from hf_llmpath.training.recipe import Recipe
from hf_llmpath.training.recipes.character_model import CharacterData
from hf_llmpath.training.recipes.gpt import (
    GPTShape,
    TokenData,
    block_loss,
    fit_with_accelerate,
    new_model,
    train_gpt,
)
from hf_llmpath.training.trainer import fit
from tests.support.small import IDENTITY, KillAt, Killed, same, weights_of

TEXT = "The cat sat on the mat. A hat is on the cat, and the mat is flat. " * 30
SHAPE = GPTShape(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, context=16)
RECIPE = Recipe(12, 8, 0.02, adam_learning_rate=5e-3, decay=0.5, warmup=0.1)


@pytest.fixture
def data(tmp_path) -> TokenData:
    tokenizer = train_character_tokenizer([TEXT], byte_fallback=False)
    ids = np.array(tokenizer.encode(TEXT, add_special_tokens=False))
    return TokenData.in_folder(tmp_path / "tokens", CharacterData(tokenizer, ids[:1500], ids[1500:], False))


def pieces(data: TokenData, recipe: Recipe, dropout: float = 0.0):
    """A fresh model and the blocks of the recipe."""
    model = new_model(replace(SHAPE, dropout=dropout).config(data.tokenizer), 0)
    return model, TokenBlocks(data.train, SHAPE.context, recipe.batch_size, recipe.steps, 0)


def by_hand(data: TokenData, recipe: Recipe):
    """The training without any library."""
    model, blocks = pieces(data, recipe)
    optimizer, losses = recipe.optimizer(model), []
    scheduler = recipe.scheduler(optimizer)
    model.train()
    for step in range(recipe.steps):
        batch = blocks.__getitems__(list(range(step * 8, step * 8 + 8)))
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses, weights_of(model)


def by_trainer(data: TokenData, recipe: Recipe, run: Run, name: str = "job"):
    model, blocks = pieces(data, recipe)
    trainer = fit(model, blocks, recipe, run.job(name), 0)
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry], weights_of(model)


def by_accelerate(data: TokenData, recipe: Recipe, run: Run):
    model, blocks = pieces(data, recipe)
    return fit_with_accelerate(model, blocks, recipe, run.job("accelerate"), 0), weights_of(model)


def by_lightning(data: TokenData, recipe: Recipe, run: Run):
    pytest.importorskip("lightning")
    from hf_llmpath.stages.s15_scaling.lightning_loop import fit_with_lightning

    model, blocks = pieces(data, recipe)
    return fit_with_lightning(model, blocks, recipe, run.job("lightning"), 0), weights_of(model)


def close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], atol: float) -> None:
    for name, value in one.items():
        torch.testing.assert_close(
            value, other[name], rtol=0, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.slow
def test_trainer_accelerate_and_lightning_follow_one_curve(data, a_started_run):
    """And it is that of the loop by hand: losses after every step, and the weights at the end."""
    losses, weights = by_hand(data, RECIPE)
    assert losses[-1] < losses[0] - 0.3
    others = {
        "Trainer": by_trainer(data, RECIPE, a_started_run),
        "Accelerate": by_accelerate(data, RECIPE, a_started_run),
        "Lightning": by_lightning(data, RECIPE, a_started_run),
    }
    for name, (found, after) in others.items():
        assert found == pytest.approx(losses, abs=1e-5), name
        close(after, weights, atol=1e-5)


LOOPS = pytest.mark.parametrize("train", [by_trainer, by_accelerate, by_lightning])


@LOOPS
def test_accumulated_pieces_are_one_batch(data, a_started_run, train):
    whole, weights = by_hand(data, RECIPE)
    losses, after = train(data, replace(RECIPE, accumulation=4), a_started_run)
    assert losses == pytest.approx(whole, abs=1e-4)
    close(after, weights, atol=1e-4)


@LOOPS
def test_checkpointed_layers_are_the_same_training(data, a_started_run, train):
    losses, after = train(data, replace(RECIPE, gradient_checkpointing=True), a_started_run)
    whole, weights = by_hand(data, RECIPE)
    assert losses == pytest.approx(whole, abs=1e-5)
    close(after, weights, atol=1e-5)


@pytest.mark.slow
def test_16_bits_train_nearly_the_same_and_leave_weights_of_32(data, a_started_run):
    recipe = replace(RECIPE, bf16=True)
    exact, _ = by_hand(data, RECIPE)
    losses, after = by_trainer(data, recipe, a_started_run)
    assert losses == pytest.approx(exact, rel=0.03) and losses != pytest.approx(exact, rel=1e-5)
    assert all(value.dtype is torch.float32 for value in after.values())
    assert by_accelerate(data, recipe, a_started_run)[0] == pytest.approx(losses, abs=0.02)
    assert by_lightning(data, recipe, a_started_run)[0] == pytest.approx(losses, abs=0.02)


@pytest.mark.slow
def test_a_model_that_was_trained_in_32_bits_goes_on_in_16(data, a_started_run):
    """The library marks a model as prepared, and would leave it as it prepared it the first time."""
    model, blocks = pieces(data, RECIPE)
    seen: list[bool] = []
    model.model.layers[0].register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    for number, bf16 in enumerate((False, True, False)):
        recipe = replace(RECIPE, bf16=bf16)
        job = a_started_run.job(f"job-{number}")
        fit(model, blocks, recipe, job, 0)
        assert set(seen) == {bf16}
        seen.clear()


def test_the_rate_stays_and_then_falls_to_nothing(data):
    model, _ = pieces(data, RECIPE)
    recipe = replace(RECIPE, steps=100, warmup=0.1, decay=0.5)
    optimizer = recipe.optimizer(model)
    scheduler, rates = recipe.scheduler(optimizer), []
    for _ in range(100):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    muon, adam = zip(*rates, strict=True)
    assert muon[10:50] == pytest.approx([0.02] * 40) and muon[75] == pytest.approx(0.01) and muon[99] < 0.001
    assert adam == pytest.approx([0.25 * rate for rate in muon])


def test_train_gpt_says_what_it_did_and_keeps_the_model(data, a_started_run):
    shape, recipe = replace(SHAPE, dropout=0.1), replace(RECIPE, steps=40, bf16=True)
    result = train_gpt(data, shape, recipe, a_started_run, "small", seed=3)
    model = AutoModelForCausalLM.from_pretrained(a_started_run.job("small").model_dir)
    assert result["validation_loss"] == pytest.approx(block_loss(model, data.validation, 16, 8), rel=1e-6)
    assert result["perplexity"] == pytest.approx(math.exp(result["validation_loss"]))
    assert result["block_loss"] == pytest.approx(block_loss(model, data.validation, 16), rel=1e-6)
    assert result["parameters"] == model.num_parameters() and result["tokens"] == 40 * 8 * 16
    assert result["flops"] == 6 * result["parameters"] * result["tokens"]
    before = new_model(shape.config(data.tokenizer), 3)
    assert result["validation_loss"] < block_loss(before, data.validation, 16) - 0.5
    assert (
        train_gpt(data, shape, replace(recipe, steps=1), a_started_run, "small", seed=3) == result
    )  # not trained again


@pytest.mark.slow
@pytest.mark.parametrize("train", [by_accelerate, by_lightning])
def test_a_training_in_16_bits_continues_from_its_checkpoint(data, tmp_path, train):
    """As one in 32 bits does, which the contract of the loop tests."""
    recipe = replace(RECIPE, saves=3, bf16=True)
    whole = train(data, recipe, Run.start(tmp_path / "whole", IDENTITY))
    with pytest.raises(Killed):
        train(data, recipe, Run.start(tmp_path / "killed", IDENTITY, progress=KillAt(8)))
    losses, weights = train(data, recipe, Run.start(tmp_path / "killed", IDENTITY, resume=True))
    assert losses == whole[0] and same(weights, whole[1])


def test_muon_under_deepspeed_is_refused(data, a_started_run, monkeypatch):
    monkeypatch.setattr(Accelerator, "distributed_type", property(lambda self: DistributedType.DEEPSPEED))
    with pytest.raises(UserError, match="Muon needs them whole: --optimizer adamw"):
        by_accelerate(data, RECIPE, a_started_run)


def test_without_lightning_the_extra_is_named(monkeypatch):
    import importlib
    import sys

    monkeypatch.setitem(sys.modules, "lightning", None)
    monkeypatch.delitem(sys.modules, "hf_llmpath.stages.s15_scaling.lightning_loop", raising=False)
    with pytest.raises(UserError, match=r"pip install 'hf-llmpath\[lightning\]'"):
        importlib.import_module("hf_llmpath.stages.s15_scaling.lightning_loop")
