"""ONNX files compute what the model computes, and write what it writes."""

import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, set_seed

from hf_llmpath.decoding.generation import greedy, sample
from hf_llmpath.decoding.sampling import Sampling
from hf_llmpath.deploy import onnx_export, onnx_generation
from hf_llmpath.deploy.onnx_export import export_onnx, exported_before, metadata_of, quantize_onnx
from hf_llmpath.deploy.onnx_generation import OnnxDecoder
from hf_llmpath.errors import UserError
from hf_llmpath.models.configuration_bert import LLMPathBertConfig
from hf_llmpath.models.configuration_gpt import LLMPathGPTConfig
from hf_llmpath.models.configuration_mlp import LLMPathMLPConfig
from hf_llmpath.models.configuration_rnn import LLMPathRNNConfig
from hf_llmpath.models.modeling_bert import (
    LLMPathBertForQuestionAnswering,
    LLMPathBertForSequenceClassification,
)
from hf_llmpath.models.modeling_gpt import LLMPathGPTForCausalLM
from hf_llmpath.models.modeling_mlp import LLMPathMLPForImageClassification
from hf_llmpath.models.modeling_rnn import LLMPathRNNForCausalLM

pytestmark = pytest.mark.slow

NEW = 24


def _save(folder, **options):
    set_seed(0)
    config = LLMPathGPTConfig(
        vocab_size=61, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64,
        zero_init_projections=False, initializer_range=0.3, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        **options,
    )  # fmt: skip
    LLMPathGPTForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return _save(tmp_path_factory.mktemp("gpt"))


@pytest.fixture(scope="module")
def exported(folder, tmp_path_factory):
    return export_onnx(folder, tmp_path_factory.mktemp("onnx") / "model.onnx")


@pytest.fixture(scope="module")
def decoder(exported, folder):
    return OnnxDecoder(exported.path, folder)


@pytest.fixture(scope="module")
def batch():
    torch.manual_seed(1)
    ids, lengths = torch.randint(3, 61, (3, 9)), torch.tensor([9, 5, 1])
    mask = (torch.arange(9) >= 9 - lengths[:, None]).long()
    return {"input_ids": ids.where(mask == 1, 0), "attention_mask": mask}


def test_a_small_file_is_run_by_one_thread_and_a_large_one_by_as_many_as_torch(exported, folder, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)

    def threads(**options):
        decoder = OnnxDecoder(exported.path, folder, **options)
        return decoder.session.get_session_options().intra_op_num_threads

    assert threads() == 1 and threads(threads=2) == 2
    monkeypatch.setattr(onnx_generation, "SMALL", 0)
    assert threads() == 3


def test_the_file_is_near_the_model_at_any_shape(exported, decoder, folder):
    assert exported.max_difference < 1e-4 and exported.agreement == 1
    assert [path.name for path in exported.path.parent.iterdir()] == ["model.onnx"]
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    for shape in ((1, 1), (1, 17), (5, 3)):
        ids = torch.randint(0, 61, shape)
        with torch.no_grad():
            torch.testing.assert_close(decoder.logits(ids), model(ids).logits, rtol=1e-4, atol=1e-4)


def test_the_streamed_text_is_that_of_generate(decoder, folder, batch):
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    expected = model.generate(**batch, max_new_tokens=NEW, do_sample=False)
    assert torch.equal(decoder.generate(**batch, max_new_tokens=NEW), expected)
    ends = sorted(set(expected[:, -NEW:].flatten().tolist()))[3:8]
    expected = model.generate(**batch, max_new_tokens=NEW, do_sample=False, eos_token_id=ends)
    assert torch.equal(decoder.generate(**batch, max_new_tokens=NEW, eos_token_id=ends), expected)
    assert torch.equal(expected, greedy(model, **batch, max_new_tokens=NEW, eos_token_id=ends))


def test_the_same_seed_draws_the_same_text_as_the_model(decoder, folder, batch):
    model, how = (
        AutoModelForCausalLM.from_pretrained(folder).eval(),
        Sampling(temperature=0.9, top_k=20, top_p=0.9),
    )
    first, second = (torch.Generator().manual_seed(4) for _ in range(2))
    drawn = decoder.generate(**batch, sampling=how, max_new_tokens=NEW, generator=first)
    assert torch.equal(drawn, sample(model, **batch, sampling=how, max_new_tokens=NEW, generator=second))
    assert not torch.equal(drawn, decoder.generate(**batch, max_new_tokens=NEW))


@pytest.mark.parametrize(
    "options", [{"layout": "gpt2"}, {"num_key_value_heads": 2, "hidden_act": "swiglu"}], ids=str
)
def test_other_layouts_are_exported(options, batch, tmp_path):
    folder = _save(tmp_path / "model", **options)
    decoder = OnnxDecoder(export_onnx(folder, tmp_path / "model.onnx").path, folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    assert torch.equal(
        decoder.generate(**batch, max_new_tokens=NEW), greedy(model, **batch, max_new_tokens=NEW)
    )


def test_in_8_bits_the_file_is_smaller_and_still_agrees(exported, folder, batch):
    small = quantize_onnx(exported.path, exported.path.with_name("model_int8.onnx"), folder)
    assert small.agreement >= 0.8 and small.max_difference > 0
    assert metadata_of(small.path) == metadata_of(exported.path)
    assert OnnxDecoder(small.path, folder).generate(**batch, max_new_tokens=NEW).shape == (3, 9 + NEW)


BERT = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


@pytest.mark.parametrize(
    "make",
    [
        lambda: LLMPathBertForSequenceClassification(LLMPathBertConfig(**BERT)),
        lambda: LLMPathBertForQuestionAnswering(LLMPathBertConfig(**BERT, type_vocab_size=2)),
        lambda: LLMPathMLPForImageClassification(
            LLMPathMLPConfig(image_size=6, hidden_sizes=[8], num_labels=3)
        ),
        lambda: LLMPathMLPForImageClassification(
            LLMPathMLPConfig(input_size=2, hidden_sizes=[8], num_labels=2)
        ),
    ],
    ids=["classifier", "reader", "images", "points"],
)
def test_encoders_and_image_classifiers_are_exported(make, tmp_path):
    set_seed(0)
    make().save_pretrained(tmp_path / "model")
    exported = export_onnx(tmp_path / "model", tmp_path / "model.onnx")
    assert exported.max_difference < 1e-4 and exported.agreement == 1
    with pytest.raises(UserError, match="is no decoder exported by llmpath"):
        OnnxDecoder(exported.path)


def test_the_agreement_of_a_reader_counts_each_text_and_ignores_padding():
    mask = np.array([[True, True], [True, False]])
    rows = onnx_export._without_padding(np.array([[0.0, 1.0], [0.0, 1.0]]), mask, "start_logits")
    assert rows.argmax(-1).tolist() == [1, 0]
    assert onnx_export._without_padding(np.zeros((2, 2, 5)), mask, "logits").shape == (3, 5)
    classes = np.array([[0.0, 1.0], [0.0, 1.0]])
    assert onnx_export._without_padding(classes, mask, "logits") is classes


def test_a_file_made_from_these_weights_is_used_again(exported, folder, tmp_path):
    found = exported_before(folder, exported.path)
    assert found == exported
    assert exported_before(_save(tmp_path, num_key_value_heads=2), exported.path) is None
    assert exported_before(folder, tmp_path / "model.onnx") is None


def test_a_file_made_from_other_weights_is_refused(exported, folder, tmp_path):
    changed = tmp_path / "model"
    shutil.copytree(folder, changed)
    model = AutoModelForCausalLM.from_pretrained(changed)
    with torch.no_grad():
        model.model.norm.weight[0] += 1e-3
    model.save_pretrained(changed)
    with pytest.raises(UserError, match="was made from other weights than those now in"):
        OnnxDecoder(exported.path, changed)


def test_a_file_that_computes_something_else_is_not_kept(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(onnx_export, "HIDDEN", 0.0)  # the graph sees what comes later
    with pytest.raises(UserError, match="away from the model's"):
        export_onnx(folder, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_has_no_onnx_form_is_said_in_one_line(folder, tmp_path):
    LLMPathRNNForCausalLM(LLMPathRNNConfig(vocab_size=9, hidden_size=8)).save_pretrained(tmp_path / "rnn")
    with pytest.raises(UserError, match="LLMPathRNNForCausalLM has no ONNX form here; what has: decoders"):
        export_onnx(tmp_path / "rnn", tmp_path / "model.onnx")
    with pytest.raises(UserError, match="no file .*; make it with: llmpath export"):
        OnnxDecoder(tmp_path / "model.onnx", folder)
    (tmp_path / "broken.onnx").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="is no ONNX file that can be read"):
        OnnxDecoder(tmp_path / "broken.onnx", folder)
