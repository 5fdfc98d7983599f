"""Decoding from scratch compared with transformers' `generate`: greedy and beam search, the same tokens.

python tests/benchmarks/bench_decoding.py
"""

import statistics

import torch
from timing import seconds_in_turn
from transformers import set_seed

from hf_llmpath.decoding.beam_search import beam_search
from hf_llmpath.decoding.generation import greedy
from hf_llmpath.models.configuration_gpt import LLMPathGPTConfig
from hf_llmpath.models.modeling_gpt import LLMPathGPTForCausalLM

TOKENS, REPEATS = 64, 7


def main() -> None:
    set_seed(0)
    config = LLMPathGPTConfig(
        vocab_size=2000, hidden_size=128, num_hidden_layers=4, num_attention_heads=4, initializer_range=0.2,
        zero_init_projections=False, pad_token_id=1, bos_token_id=2, eos_token_id=None,
    )  # fmt: skip
    model = LLMPathGPTForCausalLM(config).eval()
    print(f"{TOKENS} tokens, {torch.get_num_threads()} threads; tokens per second of ours / generate = ratio")
    for batch in (1, 8):
        ids = torch.randint(3, 2000, (batch, 8))
        mask = torch.ones_like(ids)
        pairs = {
            "greedy": (
                lambda ids=ids, mask=mask: greedy(model, ids, mask, max_new_tokens=TOKENS),
                lambda ids=ids, mask=mask: model.generate(
                    ids, attention_mask=mask, max_new_tokens=TOKENS, do_sample=False
                ),
            ),
            "4 beams": (
                lambda ids=ids, mask=mask: (
                    beam_search(model, ids, mask, num_beams=4, max_new_tokens=TOKENS).sequences
                ),
                lambda ids=ids, mask=mask: model.generate(
                    ids, attention_mask=mask, max_new_tokens=TOKENS, num_beams=4, do_sample=False
                ),
            ),
        }
        for name, (ours, reference) in pairs.items():
            assert torch.equal(ours(), reference())
            times = seconds_in_turn((ours, reference), REPEATS)
            mine, theirs = (batch * TOKENS / statistics.median(seconds) for seconds in times)
            print(f"{name}, batch {batch}: {mine:,.0f} / {theirs:,.0f} = {mine / theirs:.2f}")


if __name__ == "__main__":
    main()
