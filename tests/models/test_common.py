"""What every model must do: one suite over the table of models."""

import importlib
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from hf_llmpath.models.table import MODELS

VOCAB = 23


@dataclass(frozen=True)
class Case:
    """One model class at one small configuration."""

    name: str
    model_type: str
    auto_class: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def make(self, **changes: Any) -> Any:
        torch.manual_seed(0)
        row = next(row for row in MODELS if row.model_type == self.model_type)
        module, _, name = row.config.rpartition(".")
        config = getattr(importlib.import_module(f"hf_llmpath.models.{module}"), name)(**self.arguments | changes)
        return getattr(transformers, self.auto_class).from_config(config)

    def inputs(self, batch: int = 3, length: int = 9) -> dict[str, torch.Tensor]:
        torch.manual_seed(1)
        if self.auto_class == "AutoModelForTimeSeriesPrediction":
            values = torch.randn(batch, length)
            return {"past_values": values, "labels": values}
        if self.model_type == "llmpath-mlp":
            images = {"pixel_values": torch.randn(8, 1, 6, 6)}
            return images if self.auto_class == "AutoModel" else images | {"labels": torch.arange(8) % 3}
        ids = torch.randint(3, VOCAB, (batch, length))
        return {"input_ids": ids} | ({} if self.auto_class == "AutoModel" else {"labels": ids})

    @property
    def generates(self) -> bool:
        return self.auto_class == "AutoModelForCausalLM"


TOKENS = {"vocab_size": VOCAB, "hidden_size": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
CASES = [
    Case(f"{cell}-{auto}", "llmpath-rnn", auto, {"cell": cell, "num_hidden_layers": 2, "embedding_size": 8} | TOKENS)
    for cell in ("rnn", "lstm", "gru")
    for auto in ("AutoModel", "AutoModelForCausalLM")
] + [
    Case("lstm-tied", "llmpath-rnn", "AutoModelForCausalLM", {"cell": "lstm", "tie_word_embeddings": True} | TOKENS),
    Case(
        "gru-series",
        "llmpath-rnn",
        "AutoModelForTimeSeriesPrediction",
        {"cell": "gru", "vocab_size": 0, "hidden_size": 8, "lags_sequence": [1, 4]},
    ),
]
IMAGES = {"image_size": 6, "hidden_sizes": [12, 12, 9], "num_labels": 3}
CASES += [
    Case("mlp", "llmpath-mlp", "AutoModel", IMAGES),
    Case("mlp-sigmoid", "llmpath-mlp", "AutoModelForImageClassification", {"hidden_act": "sigmoid"} | IMAGES),
    Case("mlp-norms", "llmpath-mlp", "AutoModelForImageClassification", {"normalization": "layer"} | IMAGES),
    Case(
        "mlp-residual",
        "llmpath-mlp",
        "AutoModelForImageClassification",
        {"normalization": "batch", "residual": True, "dropout": 0.2, "input_dropout": 0.1} | IMAGES,
    ),
]
GENERATING = [case for case in CASES if case.generates]


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", CASES, ids=lambda case: case.name)
    if "generating" in metafunc.fixturenames:
        metafunc.parametrize("generating", GENERATING, ids=lambda case: case.name)


def tensor_of(output):
    return next(output[key] for key in ("logits", "prediction_outputs", "last_hidden_state") if key in output)


def test_every_class_of_the_table_has_a_case():
    covered = {(case.model_type, case.auto_class) for case in CASES}
    assert covered == {(row.model_type, auto) for row in MODELS for auto in row.classes}


def test_save_and_load_are_exact(case, tmp_path):
    model = case.make().eval()
    model.save_pretrained(tmp_path)
    files = {path.name for path in tmp_path.iterdir()}
    assert "model.safetensors" in files and not any(name.endswith((".bin", ".pt", ".pkl")) for name in files)
    again = getattr(transformers, case.auto_class).from_pretrained(tmp_path)
    assert type(again) is type(model)
    assert torch.equal(tensor_of(model(**case.inputs())), tensor_of(again(**case.inputs())))
    row = next(row for row in MODELS if row.model_type == case.model_type)
    assert json.loads((tmp_path / "config.json").read_text())["auto_map"] == row.auto_map
    for module in {path.partition(".")[0] for path in (row.config, *row.classes.values())}:
        assert f"{module}.py" in files


def test_config_round_trip(case, tmp_path):
    config = case.make().config
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert type(again) is type(config)
    ignored = {"transformers_version", "_name_or_path", "architectures", "dtype"}
    before, after = ({k: v for k, v in c.to_dict().items() if k not in ignored} for c in (config, again))
    assert before == after


def test_config_refuses_a_typo(case):
    with pytest.raises(ValueError, match="did you mean 'hidden_size"):
        case.make(hiden_size=8)


def test_loss_reaches_every_weight(case):
    model = case.make().train()
    output = model(**case.inputs())
    loss = output.loss if "loss" in output else tensor_of(output).square().mean()
    assert torch.isfinite(loss)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        # The series head starts at zero, so that what lies before it gets no gradient in the first step.
        assert parameter.grad.abs().sum() > 0 or case.auto_class == "AutoModelForTimeSeriesPrediction", name


def test_trains(case):
    model = case.make().train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    inputs, losses = case.inputs(), []
    for _ in range(30):
        output = model(**inputs)
        loss = output.loss if "loss" in output else tensor_of(output).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_activation_checkpointing_changes_nothing(case):
    gradients = []
    for checkpointing in (False, True):
        model = case.make().train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        output = model(**case.inputs())
        loss = output.loss if "loss" in output else tensor_of(output).square().mean()
        loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert len(gradients[0]) > 0
    for plain, again in zip(*gradients, strict=True):
        assert torch.equal(plain, again)


def test_padding_on_either_side_changes_nothing(generating):
    model = generating.make().eval()
    ids = generating.inputs(2, 6)["input_ids"]
    plain = model(ids).logits
    for left, right in ((3, 0), (0, 2), (2, 3)):
        padded = torch.nn.functional.pad(ids, (left, right), value=0)
        mask = torch.nn.functional.pad(torch.ones_like(ids), (left, right), value=0)
        logits = model(padded, attention_mask=mask).logits[:, left : left + 6]
        torch.testing.assert_close(logits, plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"do_sample": False},
        {"do_sample": True, "temperature": 0.8, "top_k": 10},
        {"do_sample": False, "num_beams": 4, "length_penalty": 0.6},
        {"do_sample": True, "num_beams": 3},
    ],
    ids=["greedy", "sampling", "beam", "beam_sampling"],
)
def test_generation_is_the_same_with_and_without_cache(generating, options):
    model = generating.make().eval()
    ids = generating.inputs(3, 5)["input_ids"]
    mask = torch.ones_like(ids)
    mask[0, :2], ids[0, :2] = 0, 0
    texts = []
    for use_cache in (True, False):
        torch.manual_seed(7)
        texts.append(model.generate(ids, attention_mask=mask, max_new_tokens=12, use_cache=use_cache, **options))
    assert texts[0].shape[1] > 5
    assert torch.equal(*texts)


def test_greedy_generation_equals_a_loop_by_hand(generating):
    model = generating.make().eval()
    ids = generating.inputs(1, 4)["input_ids"]
    text = ids
    for _ in range(8):
        text = torch.cat([text, model(text).logits[:, -1:].argmax(-1)], dim=1)
    generated = model.generate(ids, max_new_tokens=8, do_sample=False, eos_token_id=None)
    assert torch.equal(generated, text)


def test_logits_to_keep(generating):
    model = generating.make().eval()
    ids = generating.inputs()["input_ids"]
    torch.testing.assert_close(model(ids, logits_to_keep=2).logits, model(ids).logits[:, -2:])


def test_attention_implementations_agree(case):
    model = case.make().eval()
    if not model._supports_sdpa:
        pytest.skip("no attention in this model")
    eager = tensor_of(model(**case.inputs()))
    model.set_attn_implementation("sdpa")
    torch.testing.assert_close(tensor_of(model(**case.inputs())), eager, rtol=0, atol=1e-5)


def test_half_precision_loads(case, tmp_path):
    case.make().save_pretrained(tmp_path)
    model = getattr(transformers, case.auto_class).from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    inputs = {k: v.to(torch.bfloat16) if v.is_floating_point() else v for k, v in case.inputs().items()}
    assert tensor_of(model(**inputs)).dtype is torch.bfloat16


def test_text_generation_pipeline(tmp_path):
    from hf_llmpath.data.characters import train_character_tokenizer

    tokenizer = train_character_tokenizer(["the quick brown fox"], byte_fallback=False)
    model = GENERATING[1].make(vocab_size=len(tokenizer), pad_token_id=0, bos_token_id=2, eos_token_id=2)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    pipe = transformers.pipeline("text-generation", str(tmp_path))
    assert isinstance(pipe.model, type(AutoModelForCausalLM.from_pretrained(tmp_path)))
    text = pipe("the", max_new_tokens=10, do_sample=False)[0]["generated_text"]
    assert text.startswith("the") and len(text) > 3
