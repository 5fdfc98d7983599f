"""T5 and our text-to-text Transformer are one function: values, gradients, generated texts, in both
directions.
"""

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BartConfig,
    BartModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    T5Model,
)

from hf_llmpath import LLMPathT5Config, LLMPathT5ForConditionalGeneration
from hf_llmpath.convert.t5 import from_t5, load_t5, t5_name, to_t5
from hf_llmpath.data.tokenizers.subwords import train_subwords
from hf_llmpath.errors import UserError

SHAPES = {
    "1.0": {"d_model": 24, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 3},
    "1.1": {
        "d_model": 16,
        "d_kv": 6,
        "d_ff": 20,
        "num_layers": 2,
        "num_heads": 4,
        "feed_forward_proj": "gated-gelu",
    },
    "uneven": {
        "d_model": 16,
        "d_kv": 4,
        "d_ff": 24,
        "num_layers": 1,
        "num_decoder_layers": 3,
        "num_heads": 2,
    },
    "gated-silu": {
        "d_model": 12,
        "d_kv": 5,
        "d_ff": 9,
        "num_layers": 2,
        "num_heads": 2,
        "feed_forward_proj": "gated-silu",
    },
    "few-buckets": {
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 16,
        "num_layers": 1,
        "num_heads": 2,
        "relative_attention_num_buckets": 8,
        "relative_attention_max_distance": 6,
    },
}
UNTIED = ("1.1", "gated-silu")


def t5(shape="1.0", cls=T5ForConditionalGeneration, **changes):
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "dropout_rate": 0.0, "decoder_start_token_id": 0} | SHAPES[shape]
    model = cls(T5Config(**sizes | changes, **({"tie_word_embeddings": False} if shape in UNTIED else {})))
    if shape in UNTIED and hasattr(model, "lm_head"):
        model.lm_head.weight = nn.Parameter(torch.randn_like(model.shared.weight))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))  # norms and biases that count
    return model.eval()


IDS = torch.tensor([[5, 9, 30, 7, 7, 12, 8, 1], [2, 2, 11, 3, 39, 1, 0, 0]])
MASK = (IDS != 0).long()
LABELS = torch.tensor([[6, 33, 4, 20, 1], [8, 8, 1, -100, -100]])


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_equal_those_of_t5(shape, implementation):
    theirs = t5(shape)
    ours = from_t5(theirs)
    ours.set_attn_implementation(implementation)
    assert ours.config.tie_word_embeddings == (shape not in UNTIED)
    expected = theirs(input_ids=IDS, attention_mask=MASK, labels=LABELS)
    found = ours(input_ids=IDS, attention_mask=MASK, labels=LABELS)
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.loss, expected.loss, rtol=1e-6, atol=1e-6)
    expected.loss.backward()
    found.loss.backward()
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    compared = 0
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(
            parameter.grad, gradients[t5_name(name, ours.config.is_gated)], rtol=1e-4, atol=1e-5, msg=name
        )
        compared += 1
    assert compared == len(gradients)


@pytest.mark.parametrize("shape", SHAPES)
def test_there_and_back_is_the_same_model(shape):
    theirs = t5(shape)
    back = to_t5(from_t5(theirs))
    weights, again = theirs.state_dict(), back.state_dict()
    assert weights.keys() == again.keys()
    for name, value in weights.items():
        assert torch.equal(again[name], value), name
    assert torch.equal(back(input_ids=IDS, labels=LABELS).logits, theirs(input_ids=IDS, labels=LABELS).logits)
    for name in ("feed_forward_proj", "d_kv", "num_decoder_layers", "scale_decoder_outputs"):
        assert getattr(back.config, name) == getattr(theirs.config, name), name


def test_the_model_without_a_head_comes_over():
    theirs = t5(cls=T5Model)
    read = {"input_ids": IDS, "attention_mask": MASK, "decoder_input_ids": IDS[:, :3]}
    for model in (from_t5(theirs), to_t5(from_t5(theirs))):
        torch.testing.assert_close(
            model(**read).last_hidden_state, theirs(**read).last_hidden_state, rtol=1e-5, atol=1e-5
        )


def test_a_longer_text_than_the_farthest_distance():
    theirs = t5("few-buckets")
    ids = torch.randint(2, 40, (1, 50), generator=torch.Generator().manual_seed(1))
    expected = theirs(input_ids=ids, labels=ids[:, ::2]).logits
    torch.testing.assert_close(
        from_t5(theirs)(input_ids=ids, labels=ids[:, ::2]).logits, expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("shape", ["1.0", "1.1"])
def test_generated_texts_are_the_same(shape):
    theirs = t5(shape)
    ours = from_t5(theirs)
    for options in ({"do_sample": False}, {"num_beams": 3}, {"do_sample": True, "temperature": 0.7}):
        texts = []
        for model in (theirs, ours):
            torch.manual_seed(3)
            texts.append(
                model.generate(IDS, attention_mask=MASK, max_new_tokens=12, eos_token_id=None, **options)
            )
        assert texts[0].shape == (2, 13) and torch.equal(*texts)


@pytest.mark.parametrize("shape", ["1.0", "1.1"])
def test_a_checkpoint_in_the_files_of_the_hub_comes_over_with_its_tokenizer(tmp_path, shape):
    trained = train_subwords(["the cat sat on the mat", "a dog ran to the cat"] * 5, "wordpiece", 60)
    t5(shape, vocab_size=len(trained) + 9).save_pretrained(tmp_path / "theirs")
    PreTrainedTokenizerFast(tokenizer_object=trained.backend_tokenizer, pad_token="[PAD]").save_pretrained(
        tmp_path / "theirs"
    )
    theirs = T5ForConditionalGeneration.from_pretrained(tmp_path / "theirs")
    own, tokenizer = load_t5(tmp_path / "theirs")
    own.save_pretrained(tmp_path / "ours")
    tokenizer.save_pretrained(tmp_path / "ours")
    ours, again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "ours"), load_t5(tmp_path / "ours")[0]
    assert isinstance(ours, LLMPathT5ForConditionalGeneration)
    to_t5(ours).save_pretrained(tmp_path / "back")
    back = T5ForConditionalGeneration.from_pretrained(tmp_path / "back")
    text = "the dog sat"
    read = AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert read(text)["input_ids"] == trained(text)["input_ids"]
    ids = torch.tensor([read(text)["input_ids"]])
    expected = theirs(input_ids=ids, labels=ids).logits
    for model in (own, ours, again, back):
        torch.testing.assert_close(
            model.eval()(input_ids=ids, labels=ids).logits, expected, rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"dropout": 0.1, "attention_dropout": 0.2}, "one dropout"),
        ({"is_gated": True, "hidden_act": "gelu"}, "gelu_new"),
    ],
)
def test_what_t5_does_not_have_is_told(changes, said):
    with pytest.raises(UserError, match=said):
        to_t5(LLMPathT5ForConditionalGeneration(LLMPathT5Config(hidden_size=16, **changes)))


def test_other_models_are_told(tmp_path):
    with pytest.raises(UserError, match="BartModel has no counterpart"):
        sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
        heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
        from_t5(BartModel(BartConfig(vocab_size=9, d_model=8, **sizes, **heads)))
    with pytest.raises(UserError, match="no model folder"):
        load_t5("./nothing/here")
    BartConfig().save_pretrained(tmp_path)
    with pytest.raises(UserError):
        load_t5(tmp_path)


def test_a_tokenizer_of_another_model_is_told(tmp_path):
    trained = train_subwords(["the cat sat on the mat, the dog ran"] * 5, "wordpiece", 60)
    from_t5(t5("1.0", vocab_size=len(trained) - 3)).save_pretrained(tmp_path)
    trained.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="tokenizer of another model"):
        load_t5(tmp_path)
