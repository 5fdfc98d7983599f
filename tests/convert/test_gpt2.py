"""GPT-2 and our decoder in its layout are one function: values, gradients, generated texts, in both
directions.
"""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPT2Model,
    GPT2TokenizerFast,
)

from hf_llmpath import LLMPathGPTConfig, LLMPathGPTForCausalLM
from hf_llmpath.convert.gpt2 import from_gpt2, to_gpt2
from hf_llmpath.data.tokenizers.subwords import train_subwords
from hf_llmpath.errors import UserError

SHAPES = {
    "small": {"n_embd": 24, "n_layer": 2, "n_head": 3},
    "wide": {"n_embd": 32, "n_layer": 1, "n_head": 4, "n_inner": 50, "activation_function": "gelu"},
    "untied": {"n_embd": 16, "n_layer": 3, "n_head": 2, "tie_word_embeddings": False},
}


def gpt2(cls=GPT2LMHeadModel, **changes):
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 40,
        "n_positions": 20,
        "initializer_range": 0.3,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    quiet = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "pad_token_id": 2}
    model = cls(GPT2Config(**sizes | quiet | changes))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))  # biases and norms that count
    return model.eval()


IDS = torch.tensor([[5, 9, 30, 7, 7, 12], [2, 2, 11, 3, 39, 4]])
MASK = torch.tensor([[1] * 6, [0, 0, 1, 1, 1, 1]])


@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_equal_those_of_gpt2(shape):
    theirs = gpt2(**SHAPES[shape])
    ours = from_gpt2(theirs)
    labels = IDS.masked_fill(MASK == 0, -100)
    positions = (MASK.cumsum(-1) - 1).clamp(min=0)
    expected = theirs(input_ids=IDS, attention_mask=MASK, position_ids=positions, labels=labels)
    found = ours(input_ids=IDS, attention_mask=MASK, labels=labels)
    kept = MASK.bool()
    torch.testing.assert_close(found.logits[kept], expected.logits[kept], rtol=0, atol=1e-5)
    torch.testing.assert_close(found.loss, expected.loss, rtol=0, atol=1e-6)
    expected.loss.backward()
    found.loss.backward()
    back = to_gpt2(ours)  # the gradients travel as the weights do
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(back.state_dict()[name], parameter.data, rtol=0, atol=0)
    pairs = {
        "model.embed_tokens.weight": theirs.transformer.wte.weight.grad,
        "model.layers.0.attention.q_proj.weight": theirs.transformer.h[0].attn.c_attn.weight.grad.t()[
            : ours.config.hidden_size
        ],
        "model.layers.0.mlp.down_proj.weight": theirs.transformer.h[0].mlp.c_proj.weight.grad.t(),
        "model.norm.bias": theirs.transformer.ln_f.bias.grad,
    }
    own = dict(ours.named_parameters())
    for name, gradient in pairs.items():
        torch.testing.assert_close(own[name].grad, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", [GPT2Model, GPT2ForSequenceClassification])
def test_the_other_heads_come_over(cls):
    labels = {"num_labels": 3} if cls is GPT2ForSequenceClassification else {}
    theirs = gpt2(cls, **SHAPES["small"], **labels)
    ours, back = from_gpt2(theirs), to_gpt2(from_gpt2(theirs))
    ids = IDS[:1]
    for model in (ours, back):
        torch.testing.assert_close(model(input_ids=ids)[0], theirs(input_ids=ids)[0], rtol=0, atol=1e-5)
    if labels:
        assert ours.config.num_labels == 3


def test_generated_texts_are_the_same():
    theirs = gpt2(**SHAPES["small"])
    ours = from_gpt2(theirs)
    for options in ({"do_sample": False}, {"num_beams": 3}):
        texts = [
            model.generate(IDS[:1], max_new_tokens=12, eos_token_id=None, **options)
            for model in (theirs, ours)
        ]
        assert texts[0].shape == (1, 18) and torch.equal(*texts)


def test_a_checkpoint_in_the_files_of_the_hub_comes_over_with_its_tokenizer(tmp_path):
    tokenizer = train_subwords(["the cat sat on the mat", "a dog ran to the cat"] * 5, "bpe", 300)
    gpt2(vocab_size=len(tokenizer), **SHAPES["small"]).save_pretrained(tmp_path / "theirs")
    GPT2TokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, pad_token="[PAD]").save_pretrained(
        tmp_path / "theirs"
    )
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path / "theirs")
    read = AutoTokenizer.from_pretrained(tmp_path / "theirs")
    from_gpt2(theirs).save_pretrained(tmp_path / "ours")
    read.save_pretrained(tmp_path / "ours")
    ours, again = (
        AutoModelForCausalLM.from_pretrained(tmp_path / "ours"),
        AutoTokenizer.from_pretrained(tmp_path / "ours"),
    )
    assert isinstance(ours, LLMPathGPTForCausalLM)
    text = "the dog sat"
    assert again(text)["input_ids"] == read(text)["input_ids"]
    ids = torch.tensor([read(text)["input_ids"]])
    torch.testing.assert_close(ours(input_ids=ids).logits, theirs(input_ids=ids).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({}, "position_embedding_type"),
        ({"layout": "gpt2", "num_key_value_heads": 2}, "grouped heads"),
        ({"layout": "gpt2", "normalization": "rms"}, "normalization"),
    ],
)
def test_a_layout_that_gpt2_does_not_have_is_told(changes, said):
    with pytest.raises(UserError, match=said):
        to_gpt2(LLMPathGPTForCausalLM(LLMPathGPTConfig(hidden_size=16, num_hidden_layers=1, **changes)))


@pytest.mark.parametrize(
    "option",
    [{"scale_attn_by_inverse_layer_idx": True}, {"scale_attn_weights": False}],
    ids=["inverse", "unscaled"],
)
def test_an_option_that_ours_does_not_have_is_told(option):
    with pytest.raises(UserError, match=next(iter(option))):
        from_gpt2(gpt2(**SHAPES["small"], **option))
