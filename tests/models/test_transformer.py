"""The Transformer equals `torch.nn.Transformer` with the same weights and is trained by teacher forcing."""

import pytest
import torch
from torch import nn
from transformers import AutoModelForSeq2SeqLM, AutoModelForSequenceClassification

from hf_llmpath.models.configuration_transformer import LLMPathTransformerConfig
from hf_llmpath.models.layers_attention import eager_attention
from hf_llmpath.models.layers_positions import sinusoidal_positions
from hf_llmpath.models.modeling_transformer import (
    LLMPathTransformerForConditionalGeneration,
    LLMPathTransformerForSequenceClassification,
    LLMPathTransformerModel,
)

VOCAB = 13
SMALL = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "num_encoder_layers": 2,
    "num_decoder_layers": 3,
    "max_position_embeddings": 40,
}


def config(**changes):
    return LLMPathTransformerConfig(**SMALL | changes)


def generator(**changes) -> LLMPathTransformerForConditionalGeneration:
    torch.manual_seed(0)
    model = LLMPathTransformerForConditionalGeneration(config(**changes))
    with torch.no_grad():  # fresh weights write one token over and over; these write something
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def ids(*shape, seed=1):
    return torch.randint(3, VOCAB, shape, generator=torch.Generator().manual_seed(seed))


def copy_attention(ours, reference):
    for index, name in enumerate(("q_proj", "k_proj", "v_proj")):
        getattr(ours, name).weight.copy_(reference.in_proj_weight.chunk(3)[index])
        getattr(ours, name).bias.copy_(reference.in_proj_bias.chunk(3)[index])
    ours.o_proj.load_state_dict(reference.out_proj.state_dict())


@torch.no_grad()
def copy_weights(ours: LLMPathTransformerModel, reference: nn.Transformer) -> None:
    for stack, other in ((ours.encoder, reference.encoder), (ours.decoder, reference.decoder)):
        stack.norm.load_state_dict(other.norm.state_dict())
        for layer, theirs in zip(stack.layers, other.layers, strict=True):
            copy_attention(layer.self_attn, theirs.self_attn)
            residuals = [layer.self_attn_residual, layer.mlp_residual]
            if hasattr(layer, "cross_attn"):
                copy_attention(layer.cross_attn, theirs.multihead_attn)
                residuals.insert(1, layer.cross_attn_residual)
            for residual, norm in zip(residuals, ("norm1", "norm2", "norm3"), strict=False):
                residual.norm.load_state_dict(getattr(theirs, norm).state_dict())
            layer.mlp.up_proj.load_state_dict(theirs.linear1.state_dict())
            layer.mlp.down_proj.load_state_dict(theirs.linear2.state_dict())


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("norm_first", [True, False], ids=["pre-norm", "post-norm"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_transformer_equals_torch(norm_first, activation, implementation):
    """Outputs, and the gradients of inputs and weights, with padding in source and target and the causal
    mask.
    """
    torch.manual_seed(0)
    reference = nn.Transformer(16, 4, 2, 3, 24, 0.0, activation, batch_first=True, norm_first=norm_first)
    for parameter in reference.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours = LLMPathTransformerModel(config(norm_first=norm_first, hidden_act=activation))
    ours.set_attn_implementation(implementation)
    copy_weights(ours, reference)
    source, target = ids(3, 7), ids(3, 5, seed=2)
    source_mask, target_mask = torch.ones(3, 7, dtype=torch.long), torch.ones(3, 5, dtype=torch.long)
    source_mask[1, 4:] = target_mask[2, 3:] = 0

    def embedded(tokens):
        table = sinusoidal_positions(torch.arange(tokens.shape[1]), 16)
        return ours.encoder.embed_tokens(tokens).detach() * 4 + table  # times the root of the width

    x, y = embedded(source).requires_grad_(), embedded(target).requires_grad_()
    expected = reference(
        x,
        y,
        tgt_mask=nn.Transformer.generate_square_subsequent_mask(5).isinf(),
        src_key_padding_mask=source_mask == 0,
        tgt_key_padding_mask=target_mask == 0,
        memory_key_padding_mask=source_mask == 0,
    )
    output = ours(source, source_mask, target, target_mask)
    there = target_mask.bool()
    torch.testing.assert_close(output.last_hidden_state[there], expected[there], rtol=0, atol=1e-5)
    memory = reference.encoder(x, src_key_padding_mask=source_mask == 0)[source_mask.bool()]
    torch.testing.assert_close(
        output.encoder_last_hidden_state[source_mask.bool()], memory, rtol=0, atol=1e-5
    )

    gradient = torch.randn(expected[there].shape)
    expected[there].backward(gradient)
    output.last_hidden_state[there].backward(gradient)
    for mine, theirs in (
        (ours.encoder.layers[0].mlp.up_proj, reference.encoder.layers[0].linear1),
        (ours.decoder.layers[-1].mlp.down_proj, reference.decoder.layers[-1].linear2),
        (ours.decoder.layers[0].cross_attn.o_proj, reference.decoder.layers[0].multihead_attn.out_proj),
        (ours.encoder.layers[0].self_attn_residual.norm, reference.encoder.layers[0].norm1),
    ):
        torch.testing.assert_close(mine.weight.grad, theirs.weight.grad, rtol=1e-4, atol=1e-4)
    embedding = torch.zeros(VOCAB, 16).index_add_(0, source.flatten(), x.grad.flatten(0, 1) * 4)
    embedding.index_add_(0, target.flatten(), y.grad.flatten(0, 1) * 4)
    tied = ours.encoder.embed_tokens.weight.grad
    torch.testing.assert_close(tied, embedding, rtol=1e-4, atol=1e-4)


def test_greedy_generation_equals_a_loop_by_hand():
    model = generator().eval()
    source, target = ids(1, 6), torch.tensor([[model.config.decoder_start_token_id]])
    for _ in range(7):
        logits = model(source, decoder_input_ids=target, use_cache=False).logits
        target = torch.cat([target, logits[:, -1:].argmax(-1)], dim=1)
    generated = model.generate(source, max_new_tokens=7, do_sample=False, eos_token_id=None)
    assert torch.equal(generated, target)


def test_the_loss_is_cross_entropy_with_teacher_forcing():
    """The decoder reads the start token and then the labels; -100 counts in neither sum nor mean."""
    model = generator().eval()
    source, labels = ids(2, 6), ids(2, 5, seed=2)
    labels[1, 3:] = -100
    inputs = model.prepare_decoder_input_ids_from_labels(labels)
    assert inputs[:, 0].tolist() == [1, 1] and torch.equal(inputs[0, 1:], labels[0, :-1])
    assert inputs[1].tolist() == [1, *labels[1, :3].tolist(), 0]
    log_probabilities = model(source, decoder_input_ids=inputs).logits.log_softmax(-1)
    picked = [
        -log_probabilities[row, step, labels[row, step]]
        for row, steps in ((0, 5), (1, 3))
        for step in range(steps)
    ]
    expected = torch.stack(picked).mean()
    torch.testing.assert_close(model(source, labels=labels).loss, expected)
    torch.testing.assert_close(model(source, labels=labels, num_items_in_batch=16).loss, expected * 8 / 16)


def test_the_decoder_does_not_see_what_comes_later():
    model = generator().eval()
    source, target = ids(1, 6), ids(1, 5, seed=2)
    changed = target.clone()
    changed[0, 3] = target[0, 3] % (VOCAB - 3) + 3
    before, after = (model(source, decoder_input_ids=t).logits for t in (target, changed))
    torch.testing.assert_close(after[:, :3], before[:, :3])
    assert not torch.allclose(after[:, 3:], before[:, 3:])


def test_attentions_of_encoder_decoder_and_cross():
    model = generator().eval()
    with eager_attention(model):
        output = model(
            ids(2, 6), decoder_input_ids=ids(2, 4), output_attentions=True, output_hidden_states=True
        )
    shapes = {
        "encoder_attentions": (2, (6, 6)),
        "decoder_attentions": (3, (4, 4)),
        "cross_attentions": (3, (4, 6)),
    }
    for name, (layers, shape) in shapes.items():
        assert [tuple(layer.shape) for layer in output[name]] == [(2, 4, *shape)] * layers
        torch.testing.assert_close(output[name][0].sum(-1), torch.ones(2, 4, shape[0]))
    assert len(output.encoder_hidden_states) == 3 and len(output.decoder_hidden_states) == 4


def test_tied_embeddings_are_saved_once_and_come_back(tmp_path):
    for tied in (True, False):
        model = generator(tie_word_embeddings=tied).eval()
        model.save_pretrained(tmp_path / str(tied))
        again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / str(tied))
        source, target = ids(2, 6), ids(2, 4)
        assert torch.equal(
            again(source, decoder_input_ids=target).logits, model(source, decoder_input_ids=target).logits
        )
        same = again.lm_head.weight.data_ptr() == again.model.decoder.embed_tokens.weight.data_ptr()
        assert same == tied
    sizes = [(tmp_path / str(tied) / "model.safetensors").stat().st_size for tied in (True, False)]
    assert sizes[1] - sizes[0] > 2 * VOCAB * 16 * 4 * 0.9


def test_a_classifier_takes_the_encoder_of_a_generator(tmp_path):
    model = generator().eval()
    model.save_pretrained(tmp_path)
    classifier = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=3)
    assert not hasattr(classifier.model, "decoder")
    source = ids(2, 6)
    states = model.model.encoder(source).last_hidden_state
    assert torch.equal(classifier.model.encoder(source).last_hidden_state, states)
    torch.testing.assert_close(classifier(source).logits, classifier.classifier(states.mean(1)))


def test_a_classifier_leaves_padding_out():
    torch.manual_seed(0)
    model = LLMPathTransformerForSequenceClassification(config(num_labels=3)).eval()
    source = ids(2, 6)
    mask = nn.functional.pad(torch.ones_like(source), (1, 2))
    padded = nn.functional.pad(source, (1, 2))
    torch.testing.assert_close(model(padded, mask).logits, model(source).logits, rtol=0, atol=1e-5)


def test_embeddings_are_resized_together():
    model = generator()
    model.resize_token_embeddings(VOCAB + 4)
    weight = model.model.encoder.embed_tokens.weight
    assert weight.shape[0] == VOCAB + 4 and model.config.vocab_size == VOCAB + 4
    assert model.lm_head.weight is weight and model.model.decoder.embed_tokens.weight is weight


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"hidden_size": 18}, r"hidden_size \(18\) must be a multiple of num_attention_heads \(4\)"),
        (
            {"hidden_size": 12, "position_embedding_type": "rotary"},
            r"rotary positions need an even head size; .* is 3",
        ),
        ({"num_encoder_layers": 0}, r"num_encoder_layers \(0\) must be at least 1"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_config_refuses_what_cannot_work(changes, message):
    with pytest.raises(Exception, match=message):
        config(**changes)


def test_a_generator_needs_a_decoder():
    with pytest.raises(ValueError, match="num_decoder_layers"):
        LLMPathTransformerForConditionalGeneration(config(num_decoder_layers=0))
