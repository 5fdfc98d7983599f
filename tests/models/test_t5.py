"""The text-to-text Transformer: its configuration, first weights, relative positions and cache."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError

from hf_llmpath.models.configuration_t5 import LLMPathT5Config
from hf_llmpath.models.layers_attention import eager_attention
from hf_llmpath.models.modeling_t5 import LLMPathT5ForConditionalGeneration

SMALL = {"vocab_size": 30, "hidden_size": 32, "num_attention_heads": 4}


def make(**changes) -> LLMPathT5ForConditionalGeneration:
    torch.manual_seed(0)
    return LLMPathT5ForConditionalGeneration(LLMPathT5Config(**SMALL | changes)).eval()


def ids(*shape, seed=1):
    return torch.randint(2, 30, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"relative_attention_num_buckets": 5}, "even and at least 4"),
        ({"relative_attention_max_distance": 16}, "more than half"),
        ({"hidden_act": "rule"}, "hidden_act"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"num_decoder_layers": 0}, "num_decoder_layers"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_config_says_what_is_wrong(changes, said):
    with pytest.raises(StrictDataclassClassValidationError, match=said):
        LLMPathT5Config(**changes)


def test_what_follows_from_other_arguments():
    config = LLMPathT5Config(hidden_size=48, num_attention_heads=6, dropout=0.2, pad_token_id=7)
    assert (config.head_dim, config.intermediate_size, config.attention_dropout) == (8, 192, 0.2)
    assert config.decoder_start_token_id == 7 and config.scale_decoder_outputs
    assert not LLMPathT5Config(tie_word_embeddings=False).scale_decoder_outputs


def test_first_weights_are_those_of_the_paper():
    model = make(
        hidden_size=256, head_dim=64, intermediate_size=512, vocab_size=500, tie_word_embeddings=False
    )
    layer = model.model.decoder.layers[0]
    wanted = {
        layer.self_attn.q_proj: (256 * 64) ** -0.5,  # the product of the heads is not scaled later
        layer.cross_attn.q_proj: (256 * 64) ** -0.5,
        layer.self_attn.k_proj: 256**-0.5,
        layer.self_attn.o_proj: (4 * 64) ** -0.5,
        layer.mlp.down_proj: 512**-0.5,
        model.model.encoder.embed_tokens: 1.0,
    }
    for module, std in wanted.items():
        assert module.weight.std().item() == pytest.approx(std, rel=0.03)
    bias = model.model.decoder.position_bias.bias.weight
    assert bias.shape == (32, 4) and bias.std().item() == pytest.approx(256**-0.5, rel=0.3)


def test_the_start_token_learns():
    """It is the padding token, so the embeddings have no row that stays as it is."""
    model = make()
    model(input_ids=ids(2, 5), labels=ids(2, 3)).loss.backward()
    assert model.model.encoder.embed_tokens.weight.grad[0].abs().sum() > 0


def test_only_distances_matter():
    """The first token asks at distance 0, 1, 2, ...: shifted by padding that the mask hides, nothing
    changes; with the order of the tokens changed, everything does."""
    encoder = make().model.encoder
    text = ids(1, 6)
    states = encoder(text).last_hidden_state
    padded = torch.cat([torch.zeros(1, 4, dtype=torch.long), text], dim=1)
    shifted = encoder(padded, (padded > 0).long()).last_hidden_state[:, 4:]
    torch.testing.assert_close(shifted, states, rtol=0, atol=2e-6)
    turned = encoder(text.flip(1)).last_hidden_state.flip(1)
    assert (turned - states).abs().max() > 0.01


def test_masks_of_the_three_attentions():
    """Encoder: all to all. Decoder: a triangle. Between them: every place of the target to every place of
    the source.
    """
    model = make()
    with eager_attention(model):
        outputs = model(input_ids=ids(1, 7), labels=ids(1, 5), output_attentions=True)
    assert (outputs.encoder_attentions[0] > 0).all() and outputs.encoder_attentions[0].shape == (1, 4, 7, 7)
    triangle = torch.ones(5, 5).tril().bool()
    assert torch.equal((outputs.decoder_attentions[0] > 0)[0, 0], triangle)
    assert (outputs.cross_attentions[0] > 0).all() and outputs.cross_attentions[0].shape == (1, 4, 5, 7)


def test_a_cache_of_fixed_size_gives_the_same_text():
    model, text = make(), ids(2, 6)
    texts = [
        model.generate(text, max_new_tokens=9, do_sample=False, eos_token_id=None, cache_implementation=kind)
        for kind in (None, "static")
    ]
    assert torch.equal(*texts)


def test_the_loss_over_accumulated_batches_is_that_of_all():
    model = make()
    source, target = ids(4, 6), ids(4, 5)
    target[0, 2:] = -100
    whole = model(input_ids=source, labels=target).loss
    count = (target != -100).sum()
    halves = [
        model(input_ids=source[part], labels=target[part], num_items_in_batch=count).loss
        for part in (slice(0, 2), slice(2, 4))
    ]
    torch.testing.assert_close(sum(halves), whole)
