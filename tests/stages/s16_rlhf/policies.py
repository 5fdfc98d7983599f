"""Policies small enough that what they should learn is known."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

PAD, END = 0, 1


def tiny_policy(vocab_size: int, seed: int = 0) -> GPT2LMHeadModel:
    """A causal language model of some thousand weights, without dropout."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=vocab_size,
        n_positions=32,
        n_embd=16,
        n_layer=1,
        n_head=2,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        pad_token_id=PAD,
        bos_token_id=END,
        eos_token_id=END,
    )
    return GPT2LMHeadModel(config).eval()
