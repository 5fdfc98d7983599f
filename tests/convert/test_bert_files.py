"""BERT checkpoints as files: what the Hub has loads, of every shape; what would run code or does not fit
is refused.
"""

import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, BertConfig

from hf_llmpath.convert.bert import bert_name, load_bert, to_bert
from hf_llmpath.errors import UserError

WORDS = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
    "who", "wren", "otto", "went", "to", "the", "mill", "##s", "?", ".", "a",
]  # fmt: skip


def sizes(hidden, layers, heads, **others):
    return {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads} | others


SHAPES = [
    sizes(24, 3, 4, intermediate_size=40),
    sizes(32, 1, 1, intermediate_size=128, hidden_act="relu"),
    sizes(18, 5, 6, intermediate_size=7, type_vocab_size=3),
    sizes(16, 2, 2, layer_norm_eps=1e-3, max_position_embeddings=512),
]
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.3}


def checkpoint(folder, kind="ForPreTraining", **shape):
    """A random BERT in the files of google-bert: both heads of its pretraining, and only vocab.txt."""
    torch.manual_seed(0)
    shape = {"vocab_size": len(WORDS), "max_position_embeddings": 32} | SHAPES[0] | shape
    model = getattr(transformers, f"Bert{kind}")(BertConfig(**shape | STILL))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": 32}))
    return model


def batch_of(tokenizer):
    batch = tokenizer(
        ["Who went to the mills?", "Who?"],
        ["Wren went to the mill.", "Otto."],
        padding=True,
        return_tensors="pt",
    )
    return dict(batch) | {"start_positions": torch.tensor([7, 3]), "end_positions": torch.tensor([8, 3])}


@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_a_checkpoint_of_any_shape_gives_the_same_logits_and_gradients(tmp_path, shape):
    checkpoint(tmp_path, "ForQuestionAnswering", **SHAPES[shape])
    bert = transformers.BertForQuestionAnswering.from_pretrained(tmp_path)
    own, tokenizer = load_bert(tmp_path, "LLMPathBertForQuestionAnswering")
    theirs, ours = bert.eval()(**batch_of(tokenizer)), own.eval()(**batch_of(tokenizer))
    for name in ("loss", "start_logits", "end_logits"):
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-5)
    theirs.loss.backward()
    ours.loss.backward()
    gradients = dict(bert.named_parameters())
    for name, parameter in own.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[bert_name(name)].grad, rtol=1e-4, atol=1e-5)


def test_the_vocabulary_of_vocab_txt_cuts_words_as_bert_does(tmp_path):
    checkpoint(tmp_path)
    _, tokenizer = load_bert(tmp_path, "LLMPathBertForQuestionAnswering")
    assert tokenizer.is_fast and tokenizer.model_max_length == 32
    found = tokenizer("WHO went to the Mills?", "Ötto.")
    words = ["[CLS]", "who", "went", "to", "the", "mill", "##s", "?", "[SEP]", "otto", ".", "[SEP]"]
    assert tokenizer.convert_ids_to_tokens(found["input_ids"]) == words
    assert found["token_type_ids"] == [0] * 9 + [1] * 3
    assert found["input_ids"] == [WORDS.index(word) for word in words]


def test_all_heads_of_the_pretraining_leave_the_encoder_and_a_new_head(tmp_path):
    bert = checkpoint(tmp_path)
    own, tokenizer = load_bert(tmp_path, "LLMPathBertForQuestionAnswering")
    wanted = bert.state_dict()
    for name, value in own.state_dict().items():
        if name.startswith("model."):
            assert torch.equal(value, wanted[bert_name(name)]), name
    fill, _ = load_bert(tmp_path, "LLMPathBertForMaskedLM", sparse_prediction=False)
    inputs = {name: value for name, value in batch_of(tokenizer).items() if "positions" not in name}
    torch.testing.assert_close(
        fill.eval()(**inputs).logits, bert.eval()(**inputs).prediction_logits, rtol=0, atol=1e-5
    )


def test_old_names_of_the_norms_are_understood(tmp_path):
    """google-bert's files say gamma and beta where transformers says weight and bias."""
    checkpoint(tmp_path)
    modern, _ = load_bert(tmp_path, "LLMPathBertModel")
    weights = load_file(tmp_path / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in weights.items()
    }
    assert old.keys() != weights.keys()
    save_file(old, tmp_path / "model.safetensors", metadata={"format": "pt"})
    again, _ = load_bert(tmp_path, "LLMPathBertModel")
    for name, value in modern.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_sharded_weights_load(tmp_path):
    bert = checkpoint(tmp_path, "ForQuestionAnswering")
    (tmp_path / "model.safetensors").unlink()
    bert.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    own, _ = load_bert(tmp_path, "LLMPathBertForQuestionAnswering")
    assert torch.equal(own.qa_outputs.weight, bert.qa_outputs.weight)


def test_ours_saved_and_loaded_and_back_in_bert(tmp_path):
    bert = checkpoint(tmp_path / "bert", "ForQuestionAnswering")
    own, tokenizer = load_bert(tmp_path / "bert", "LLMPathBertForQuestionAnswering")
    own.save_pretrained(tmp_path / "own")
    tokenizer.save_pretrained(tmp_path / "own")
    again, _ = load_bert(tmp_path / "own", "LLMPathBertForQuestionAnswering")
    to_bert(again).save_pretrained(tmp_path / "back")
    back = load_file(tmp_path / "back" / "model.safetensors")
    assert back.keys() == load_file(tmp_path / "bert" / "model.safetensors").keys()
    for name, value in bert.state_dict().items():
        assert torch.equal(back[name], value), name
    assert type(AutoModelForQuestionAnswering.from_pretrained(tmp_path / "own")) is type(own)
    assert AutoTokenizer.from_pretrained(tmp_path / "own").get_vocab() == tokenizer.get_vocab()


def pickled(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def truncated(folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def another_tokenizer(folder):
    (folder / "vocab.txt").write_text("\n".join(WORDS[:-3]) + "\n")


def another_kind(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "roberta"}))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (pickled, "only pickled weights .pytorch_model.bin., which can run code"),
        (truncated, "truncated"),
        (another_tokenizer, "tokenizer of another model"),
        (another_kind, "is of type 'roberta', not 'bert'"),
        (shutil.rmtree, "no model folder"),
    ],
)
def test_what_does_not_fit_or_could_run_code_is_refused_in_one_line(tmp_path, spoil, message):
    folder = tmp_path / "bert"
    checkpoint(folder, "ForQuestionAnswering")
    spoil(folder)
    with pytest.raises(UserError, match=message) as error:
        load_bert(folder, "LLMPathBertForQuestionAnswering")
    assert "\n" not in str(error.value)
