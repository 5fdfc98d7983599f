"""What every model must do: one suite over the table of models (`cases.py`)."""

import json

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from hf_llmpath.models.model_table import MODELS
from tests.models.cases import CASES, GENERATING


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", CASES, ids=lambda case: case.name)
    if "generating" in metafunc.fixturenames:
        metafunc.parametrize("generating", GENERATING, ids=lambda case: case.name)
    if "reading" in metafunc.fixturenames:
        reading = [case for case in CASES if case.kind == "tokens"]
        metafunc.parametrize("reading", reading, ids=lambda case: case.name)


def tensor_of(output):
    return next(
        output[key]
        for key in ("logits", "start_logits", "prediction_outputs", "last_hidden_state")
        if key in output
    )


def test_every_class_of_the_table_has_a_case():
    covered = {(case.model_type, case.auto_class) for case in CASES}
    assert covered == {(row.model_type, auto) for row in MODELS for auto in row.classes}


def test_what_is_saved_loads_exactly_and_in_half_precision(case, tmp_path):
    model = case.make().eval()
    model.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert type(config) is type(model.config)
    ignored = {"transformers_version", "_name_or_path", "architectures", "dtype"}
    before, after = (
        {k: v for k, v in c.to_dict().items() if k not in ignored} for c in (model.config, config)
    )
    assert before == after

    files = {path.name for path in tmp_path.iterdir()}
    assert "model.safetensors" in files and not any(name.endswith((".bin", ".pt", ".pkl")) for name in files)
    load = getattr(transformers, case.auto_class).from_pretrained
    again = load(tmp_path)
    assert type(again) is type(model)
    assert torch.equal(tensor_of(model(**case.inputs())), tensor_of(again(**case.inputs())))

    row = next(row for row in MODELS if row.model_type == case.model_type)
    assert json.loads((tmp_path / "config.json").read_text())["auto_map"] == row.auto_map
    for module in {path.partition(".")[0] for path in (row.config, *row.classes.values())}:
        assert f"{module}.py" in files

    half = load(tmp_path, dtype=torch.bfloat16).eval()
    inputs = {k: v.to(torch.bfloat16) if v.is_floating_point() else v for k, v in case.inputs().items()}
    assert tensor_of(half(**inputs)).dtype is torch.bfloat16


def test_config_refuses_a_typo(case):
    right = next(name for name in case.arguments if len(name) > 5)
    with pytest.raises(ValueError, match=f"did you mean '{right}'"):
        case.make(**{right[:3] + right[4:]: 8})


def test_loss_reaches_every_weight(case):
    model = case.make().train()
    output = model(**case.inputs())
    loss = output.loss if "loss" in output else tensor_of(output).square().mean()
    assert torch.isfinite(loss)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0 or any(part in name for part in case.still), name


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


def test_padding_on_either_side_changes_nothing(reading):
    model = reading.make().eval()
    inputs = reading.inputs(2, 6)
    ids = inputs.pop("input_ids")
    is_per_token = not (reading.is_encoder_decoder or "Sequence" in reading.auto_class)
    labels = {} if is_per_token else inputs
    plain = tensor_of(model(input_ids=ids, **labels))  # (batch, length or labels, ...)
    for left, right in ((3, 0), (0, 2), (2, 3)) if reading.left_padding else ((0, 2),):
        padded = torch.nn.functional.pad(ids, (left, right), value=0)
        mask = torch.nn.functional.pad(torch.ones_like(ids), (left, right), value=0)
        output = tensor_of(model(input_ids=padded, attention_mask=mask, **labels))
        output = output[:, left : left + 6] if is_per_token else output
        torch.testing.assert_close(output, plain, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"do_sample": False},
        {"do_sample": True, "temperature": 0.8, "top_k": 10},
        {"do_sample": False, "num_beams": 4, "length_penalty": 0.6},
    ],
    ids=["greedy", "sampling", "beam"],
)
def test_generation_is_the_same_with_and_without_cache(generating, options):
    model = generating.make().eval()
    ids = generating.inputs(3, 5)["input_ids"]
    mask = torch.ones_like(ids)
    mask[0, :2], ids[0, :2] = 0, 0
    texts = []
    for use_cache in (True, False):
        torch.manual_seed(7)
        texts.append(
            model.generate(ids, attention_mask=mask, max_new_tokens=12, use_cache=use_cache, **options)
        )
    assert texts[0].shape[1] > (1 if generating.is_encoder_decoder else 5)
    assert torch.equal(*texts)


def test_greedy_generation_equals_a_loop_by_hand(generating):
    model = generating.make().eval()
    ids = generating.inputs(1, 4)["input_ids"]
    two_sided = generating.is_encoder_decoder
    text = torch.tensor([[model.generation_config.decoder_start_token_id]]) if two_sided else ids
    for _ in range(8):
        inputs = {"input_ids": ids, "decoder_input_ids": text} if two_sided else {"input_ids": text}
        text = torch.cat([text, model(**inputs).logits[:, -1:].argmax(-1)], dim=1)
    generated = model.generate(ids, max_new_tokens=8, do_sample=False, eos_token_id=None)
    assert torch.equal(generated, text)


def test_logits_to_keep(generating):
    if generating.is_encoder_decoder:
        pytest.skip("the decoder is asked for all logits of its target")
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


def test_text_generation_pipeline(tmp_path):
    from hf_llmpath.data.tokenizers.characters import train_character_tokenizer

    tokenizer = train_character_tokenizer(["the quick brown fox"], byte_fallback=False)
    model = next(case for case in GENERATING if not case.is_encoder_decoder).make(
        vocab_size=len(tokenizer), pad_token_id=0, bos_token_id=2, eos_token_id=2
    )
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    pipe = transformers.pipeline("text-generation", str(tmp_path))
    assert isinstance(pipe.model, type(AutoModelForCausalLM.from_pretrained(tmp_path)))
    text = pipe("the", max_new_tokens=10, do_sample=False)[0]["generated_text"]
    assert text.startswith("the") and len(text) > 3
