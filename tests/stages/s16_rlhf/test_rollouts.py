"""Rollouts are laid out correctly, and their probabilities are those of the model without padding."""

import pytest
import torch

from hf_llmpath import LLMPathGPTConfig, LLMPathGPTForCausalLM
from hf_llmpath.decoding.bare_steps import BareStepper
from hf_llmpath.decoding.sampling import GREEDY, Sampling
from hf_llmpath.stages.s16_rlhf.rollouts import draw, reply_log_probs, token_log_probs
from tests.stages.s16_rlhf.policies import END, PAD, tiny_policy

PROMPTS = [[2, 3, 4, 5], [6], [3, 3], [7, 2, 5, 4, 6, 3]]


def drawn():
    torch.manual_seed(0)
    return draw(tiny_policy(9), PROMPTS, PAD, END, 8)


def test_rows_begin_with_the_prompt_and_end_with_the_end_token_or_the_limit():
    for seed in range(10):
        torch.manual_seed(seed)
        rollout = draw(tiny_policy(9), PROMPTS, PAD, END, 8)
        for row, prompt in enumerate(PROMPTS):
            ids, reply = rollout.ids[row].tolist(), rollout.replies()[row]
            assert ids[: len(prompt) + len(reply)] == [*prompt, *reply]
            assert set(ids[len(prompt) + len(reply) :]) <= {PAD}
            assert rollout.attention_mask[row].sum() == len(prompt) + len(reply)
            assert END not in reply[:-1] and 1 <= len(reply) <= 8
            assert bool(rollout.finished[row]) == (reply[-1] == END)
            assert reply[-1] == END or len(reply) == 8


def test_a_padding_token_that_the_model_drew_belongs_to_the_reply():
    policy = tiny_policy(9)
    with torch.no_grad():
        policy.transformer.wte.weight.zero_()  # every token equally likely, padding too
    torch.manual_seed(3)
    rollout = draw(policy, [[2]] * 200, PAD, END, 4)
    with_pad = [reply for reply in rollout.replies() if PAD in reply]
    assert with_pad and all(END not in reply[:-1] for reply in with_pad)


def test_a_batch_of_prompts_gets_the_replies_that_each_gets_alone():
    policy = tiny_policy(9)
    with torch.no_grad():
        policy.transformer.wpe.weight.mul_(30)
        policy.transformer.wte.weight.mul_(30)
    together = draw(policy, PROMPTS, PAD, END, 8, GREEDY)
    for row, prompt in enumerate(PROMPTS):
        alone = draw(policy, [prompt], PAD, END, 8, GREEDY)
        assert together.replies()[row] == alone.replies()[0]


@pytest.mark.parametrize("layout", ["gpt2", "modern"])
def test_the_bare_steps_draw_what_generate_draws(layout, monkeypatch):
    torch.manual_seed(0)
    sizes = {"vocab_size": 9, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    policy = LLMPathGPTForCausalLM(LLMPathGPTConfig(layout=layout, max_position_embeddings=64, **sizes))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.normal_(std=0.3)
    found = []
    for bare in (True, False):
        if not bare:
            monkeypatch.setattr(BareStepper, "fits", lambda model: False)
        torch.manual_seed(5)
        found.append(draw(policy, PROMPTS, PAD, END, 8, Sampling(temperature=0.9, top_k=6)))
    assert policy.training
    assert found[0].replies() == found[1].replies() and torch.equal(found[0].finished, found[1].finished)


def test_log_probabilities_equal_a_loop_over_tokens_without_padding():
    policy, rollout = tiny_policy(9), drawn()
    with torch.no_grad():
        found = reply_log_probs(policy, rollout)
        for row, prompt in enumerate(PROMPTS):
            reply = rollout.replies()[row]
            ids = torch.tensor([[*prompt, *reply]])
            log_probs = policy(ids).logits.log_softmax(-1)[0]
            for place in range(len(prompt), ids.shape[1]):
                expected = log_probs[place - 1, ids[0, place]]
                assert found[row, place - 1].item() == pytest.approx(expected.item(), abs=1e-5)
    assert not found[rollout.reply[:, 1:] == 0].any()


def test_token_log_probs_are_those_of_softmax():
    logits = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    ids = torch.randint(0, 7, (2, 5), generator=torch.Generator().manual_seed(1))
    expected = torch.gather(logits[:, :-1].log_softmax(-1), -1, ids[:, 1:, None])[..., 0]
    torch.testing.assert_close(token_log_probs(logits, ids), expected)


def test_rows_of_a_rollout_drop_the_padding_that_none_of_them_needs():
    rollout = drawn()
    some = rollout.rows(torch.tensor([1, 2]))
    assert some.replies() == [rollout.replies()[1], rollout.replies()[2]]
    assert some.ids.shape[1] == some.attention_mask.sum(dim=1).max()
