"""Greedy, sampling, and beam search write what transformers' `generate` writes, token for token."""

import itertools

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    set_seed,
)

from hf_llmpath.decoding.beam_search import beam_search
from hf_llmpath.decoding.generation import greedy, sample, stream
from hf_llmpath.decoding.sampling import Sampling
from hf_llmpath.errors import UserError
from hf_llmpath.models.configuration_gpt import LLMPathGPTConfig
from hf_llmpath.models.configuration_rnn import LLMPathRNNConfig
from hf_llmpath.models.configuration_summarizer import LLMPathSummarizerConfig
from hf_llmpath.models.configuration_transformer import LLMPathTransformerConfig
from hf_llmpath.models.modeling_gpt import LLMPathGPTForCausalLM
from hf_llmpath.models.modeling_rnn import LLMPathRNNForCausalLM
from hf_llmpath.models.modeling_summarizer import LLMPathSummarizerForConditionalGeneration
from hf_llmpath.models.modeling_transformer import LLMPathTransformerForConditionalGeneration

VOCABULARY, PAD, EOS, NEW = 23, 1, 2, 16
SPECIAL = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "eos_token_id": EOS}


def _gpt(**options):
    return LLMPathGPTForCausalLM(
        LLMPathGPTConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64,
            bos_token_id=0, **SPECIAL, **options,
        )
    )  # fmt: skip


MAKE = {
    "gpt": _gpt,
    "gpt2": lambda: _gpt(layout="gpt2"),
    "gpt-grouped": lambda: _gpt(num_key_value_heads=2, hidden_act="swiglu"),
    "lstm": lambda: LLMPathRNNForCausalLM(
        LLMPathRNNConfig(cell="lstm", hidden_size=32, num_hidden_layers=2, **SPECIAL)
    ),
    "gru": lambda: LLMPathRNNForCausalLM(LLMPathRNNConfig(cell="gru", hidden_size=32, **SPECIAL)),
    "transformer": lambda: LLMPathTransformerForConditionalGeneration(
        LLMPathTransformerConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, bos_token_id=0,
            decoder_start_token_id=0, **SPECIAL,
        )
    ),
    "summarizer": lambda: LLMPathSummarizerForConditionalGeneration(
        LLMPathSummarizerConfig(hidden_size=32, bos_token_id=0, decoder_start_token_id=0, **SPECIAL)
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=MAKE)
def model(request):
    """One of the models, with weights so large that it has opinions, and an end of text that is likely
    enough to come.
    """
    set_seed(3)
    model = MAKE[request.param]().eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.35 if "embed" in name or "lm_head" in name else 0.25)
    model.generation_config.update(num_beams=1, do_sample=False, max_new_tokens=None, max_length=None)
    drawn = model.generate(
        **_prompts(), max_new_tokens=NEW, do_sample=True, top_k=0, eos_token_id=VOCABULARY
    )[:, -NEW:]
    model.generation_config.eos_token_id = int(drawn[:, 4:].mode().values[0])
    return model


@pytest.fixture(scope="module")
def batch():
    return _prompts()


def _prompts():
    """Three prompts of 7, 4 and 1 tokens, padded on the left."""
    torch.manual_seed(0)
    ids, lengths = torch.randint(3, VOCABULARY, (3, 7)), torch.tensor([7, 4, 1])
    mask = (torch.arange(7) >= 7 - lengths[:, None]).long()
    return {"input_ids": ids.where(mask == 1, PAD), "attention_mask": mask}


def _lengths(model, texts):
    """How many tokens each text has after the prompt before it ends."""
    return ((texts[:, -NEW:] == model.generation_config.eos_token_id).cumsum(1) == 0).sum(1).tolist()


def test_greedy_decoding_is_that_of_generate(model, batch):
    expected = model.generate(**batch, max_new_tokens=NEW, do_sample=False)
    assert torch.equal(greedy(model, **batch, max_new_tokens=NEW), expected)


def test_without_the_cache_the_text_is_the_same(model, batch):
    expected = greedy(model, **batch, max_new_tokens=NEW)
    assert torch.equal(greedy(model, **batch, max_new_tokens=NEW, use_cache=False), expected)


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0.6}, {"top_k": 4}, {"top_p": 0.7}, {"temperature": 1.5, "top_k": 9, "top_p": 0.8}],
)
def test_sampling_draws_what_generate_draws(model, batch, options):
    for seed in range(3):
        set_seed(seed)
        expected = model.generate(**batch, max_new_tokens=NEW, do_sample=True, **{"top_k": 0} | options)
        set_seed(seed)
        assert torch.equal(sample(model, **batch, sampling=Sampling(**options), max_new_tokens=NEW), expected)


@pytest.mark.parametrize(
    "num_beams, length_penalty, early_stopping",
    [*itertools.product((2, 5), (1.0, 0.0, 2.0, -1.0), (False, True, "never")), (VOCABULARY, 1.0, False)],
)
def test_beam_search_finds_what_generate_finds(model, batch, num_beams, length_penalty, early_stopping):
    options = {"num_beams": num_beams, "length_penalty": length_penalty, "early_stopping": early_stopping}
    options |= {"max_new_tokens": NEW, "num_return_sequences": min(num_beams, 2)}
    expected = model.generate(**batch, return_dict_in_generate=True, output_scores=True, **options)
    found = beam_search(model, **batch, **options)
    assert torch.equal(found.sequences, expected.sequences)
    torch.testing.assert_close(found.scores, expected.sequences_scores, rtol=1e-5, atol=1e-6)


def test_texts_of_the_comparison_end_at_different_places(model, batch):
    """Otherwise the tests above would not see how an end of text is treated."""
    set_seed(0)
    drawn = model.generate(**batch, max_new_tokens=NEW, do_sample=True, top_k=0)
    beams = beam_search(model, **batch, max_new_tokens=NEW, num_beams=5, with_steps=True)
    assert len(set(_lengths(model, drawn))) > 1
    assert any(step.ended for step in beams.steps[:-1])


def test_one_beam_is_greedy_decoding(model, batch):
    assert torch.equal(
        beam_search(model, **batch, max_new_tokens=1, num_beams=1).sequences,
        greedy(model, **batch, max_new_tokens=1),
    )
    row = {name: value[:1] for name, value in batch.items()}
    found = beam_search(model, **row, max_new_tokens=NEW, num_beams=1, early_stopping=True).sequences
    assert torch.equal(found, greedy(model, **row, max_new_tokens=NEW)[:, : found.shape[1]])


def test_several_end_of_text_tokens_are_those_of_generate(model, batch):
    ends = [EOS, 5, 7]
    expected = model.generate(**batch, max_new_tokens=NEW, num_beams=4, eos_token_id=ends)
    assert torch.equal(beam_search(model, **batch, max_new_tokens=NEW, eos_token_id=ends).sequences, expected)
    expected = model.generate(**batch, max_new_tokens=NEW, do_sample=False, eos_token_id=ends)
    assert torch.equal(greedy(model, **batch, max_new_tokens=NEW, eos_token_id=ends), expected)


def test_a_batch_is_decoded_as_its_rows_alone(model, batch):
    together = beam_search(model, **batch, max_new_tokens=NEW, num_beams=3)
    for row, score in enumerate(together.scores):
        there = batch["attention_mask"][row : row + 1].bool()
        alone = {name: value[row : row + 1][there][None] for name, value in batch.items()}
        found = beam_search(model, **alone, max_new_tokens=NEW, num_beams=3)
        torch.testing.assert_close(found.scores[0], score, rtol=1e-4, atol=1e-5)


def test_the_filters_are_those_of_transformers():
    torch.manual_seed(0)
    logits = torch.randn(50, 40) * 3
    logits[::7, :5] = logits[::7, 5:6]  # ties
    warpers = LogitsProcessorList([TemperatureLogitsWarper(0.7), TopKLogitsWarper(12), TopPLogitsWarper(0.8)])
    expected = warpers(torch.zeros(50, 1, dtype=torch.long), logits)
    assert torch.equal(Sampling(temperature=0.7, top_k=12, top_p=0.8).logits(logits), expected)


def test_beam_search_with_every_beam_finds_the_likeliest_text_of_all():
    """Against the sum over all texts of three tokens, with nothing that ends a text earlier."""
    set_seed(1)
    model = _gpt().eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.5)
    prompt = torch.tensor([[3, 4]])
    every = torch.cartesian_prod(*[torch.arange(VOCABULARY)] * 2)
    with torch.no_grad():
        texts = torch.cat([prompt.expand(len(every), -1), every], dim=1)
        log_probs = model(texts).logits.log_softmax(-1)[:, 1:-1].gather(2, every[..., None]).sum((1, 2))
    found = beam_search(model, prompt, num_beams=VOCABULARY, max_new_tokens=2, eos_token_id=VOCABULARY + 1)
    assert found.sequences[0, 2:].tolist() == every[log_probs.argmax()].tolist()
    torch.testing.assert_close(found.scores[0], log_probs.max() / 2)


def test_the_steps_of_a_search_tell_its_result():
    set_seed(2)
    model = _gpt().eval()
    found = beam_search(
        model, torch.tensor([[3, 4]]), num_beams=3, max_new_tokens=5, eos_token_id=VOCABULARY, with_steps=True
    )
    assert len(found.steps) == 5 and all(step.tokens.shape == (1, 3) for step in found.steps)
    assert len(found.steps[-1].ended) == 3 and not any(step.ended for step in found.steps[:-1])
    best = max(found.steps[-1].ended, key=lambda end: end.score)
    assert best.score == pytest.approx(float(found.scores[0]), rel=1e-6)
    assert best.score == pytest.approx(best.log_probability / 5)
    beam, text = best.parent, []
    for step in reversed(found.steps[:-1]):
        text.append(int(step.tokens[0, beam]))
        beam = int(step.parents[0, beam])
    assert [*text[::-1], best.token] == found.sequences[0, 2:].tolist()


def test_streamed_tokens_are_those_of_the_whole_text(batch):
    model = MAKE["gpt"]().eval()
    tokens = torch.stack(list(stream(model, **batch, max_new_tokens=9)), dim=1)
    assert torch.equal(tokens, greedy(model, **batch, max_new_tokens=9)[:, 7:])
    own = [torch.Generator().manual_seed(5) for _ in range(2)]
    first, second = (sample(model, **batch, max_new_tokens=9, generator=generator) for generator in own)
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda m, ids: beam_search(m, ids, num_beams=VOCABULARY + 1),
            "num_beams is 24; the vocabulary has 23 tokens",
        ),
        (lambda m, ids: beam_search(m, ids, num_beams=0), "num_beams is 0; it must be 1 or more"),
        (
            lambda m, ids: beam_search(m, ids, num_beams=2, num_return_sequences=3),
            "num_return_sequences is 3; 2 beams",
        ),
        (lambda m, ids: greedy(m, ids, max_new_tokens=0), "max_new_tokens is 0; it must be 1 or more"),
        (lambda m, ids: greedy(m, ids[:, :0]), "the prompt has no token"),
        (lambda m, ids: Sampling(temperature=0), "temperature is 0; it must be more than 0"),
        (lambda m, ids: Sampling(top_p=1.5), "top_p is 1.5; it must be more than 0 and at most 1"),
        (lambda m, ids: Sampling(top_k=-1), "top_k is -1; it must be 1 or more"),
    ],
)
def test_what_cannot_be_decoded_is_said_in_one_line(call, message):
    with pytest.raises(UserError, match=message):
        call(MAKE["gpt"](), torch.tensor([[3, 4]]))
