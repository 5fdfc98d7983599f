"""A chatbot aligned by low-rank updates, with weights in 32 or 4 bits, is a plain model afterwards."""

import json

import pytest
import torch

from hf_llmpath.errors import UserError
from hf_llmpath.models.modeling_gpt import LLMPathGPTForCausalLM
from hf_llmpath.stages.runner import run_stage
from hf_llmpath.stages.s16_rlhf import trl_trainers
from hf_llmpath.stages.s16_rlhf.low_rank import low_rank_policy, with_updates
from hf_llmpath.stages.s16_rlhf.policy_loop import PolicyRecipe
from hf_llmpath.stages.s16_rlhf.rewards import RewardModel
from hf_llmpath.training.recipe import Recipe
from tests.stages.s16_rlhf.test_trl_trainers import (
    CHATS,
    PAIRS,
    TOKENIZER,
    config,
    ids_of,
    reply_log_probs,
    reward_model,
)
from tests.support.small import TINY, KillAt, Killed, same, weights_of

RANK = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A language model whose layers are wide enough for 4 bits."""
    path = tmp_path_factory.mktemp("sft")
    torch.manual_seed(0)
    LLMPathGPTForCausalLM(
        config(hidden_size=64, intermediate_size=64, initializer_range=0.1)
    ).save_pretrained(path)
    TOKENIZER.save_pretrained(path)
    return path


def margins(model) -> torch.Tensor:
    return reply_log_probs(model, "chosen") - reply_log_probs(model, "rejected")


@pytest.mark.parametrize("four_bits", [False, True], ids=["lora", "qlora"])
def test_dpo_by_low_rank_updates_gives_a_plain_model_that_prefers_the_chosen_reply(
    folder, a_started_run, four_bits
):
    torch.manual_seed(1)
    policy = low_rank_policy(folder, RANK, four_bits)
    learning = [name for name, value in policy.named_parameters() if value.requires_grad]
    assert learning and all("lora_" in name for name in learning)
    before = LLMPathGPTForCausalLM.from_pretrained(folder)
    untouched = with_updates(folder, policy)
    assert same(weights_of(untouched), weights_of(before)) and all(
        p.requires_grad for p in untouched.parameters()
    )

    job, recipe = a_started_run.job(f"dpo-{four_bits}"), Recipe(30, 8, 1e-2)
    trl_trainers.train_dpo(policy, None, TOKENIZER, PAIRS, recipe, 0.3, job, 0)
    after = with_updates(folder, policy)
    assert type(after) is LLMPathGPTForCausalLM
    assert (margins(after) > margins(before)).all()
    first, last = weights_of(before), weights_of(after)
    changed = {name for name in first if not torch.equal(first[name], last[name])}
    assert changed and all("_proj" in name for name in changed)
    for name in changed:
        assert last[name].dtype is torch.float32
        assert torch.linalg.matrix_rank(last[name] - first[name], rtol=1e-3) <= RANK
    if not four_bits:
        ids, mask = ids_of("chosen")
        with torch.no_grad():
            torch.testing.assert_close(after(ids, mask).logits, policy(ids, mask).logits, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["rloo", "grpo"])
def test_groups_learn_by_low_rank_updates(method, folder, a_started_run):
    torch.manual_seed(1)
    policy = low_rank_policy(folder, RANK)
    wanted = TOKENIZER.convert_tokens_to_ids("baker")

    class Share(RewardModel):
        def of_conversations(self, rows):
            return torch.tensor([10 * row[8:].count(wanted) / len(row) for row in rows])

    recipe = PolicyRecipe(Recipe(25, 32, 2e-2), 4, beta=0.01, max_new_tokens=8, unfinished_penalty=0.0)
    prompts, reward = [chat[:1] for chat in CHATS], Share(reward_model(), TOKENIZER.pad_token_id)
    job = a_started_run.job(f"low-rank-{method}")
    trl_trainers.train_rloo_or_grpo(method, policy, TOKENIZER, prompts, reward, recipe, job, 0)
    rows = [json.loads(line) for line in (job.folder / "history.jsonl").read_text().splitlines()]
    rewards = [row["reward"] for row in rows if "reward" in row]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:3]) / 3 + 0.5


@pytest.mark.slow
def test_a_stopped_training_next_to_4_bits_continues_to_the_same_weights(folder, a_started_run):
    """TRL rounds such updates to 16 bits, and a resumed training would begin from rounded ones."""
    recipe, quiet = Recipe(12, 4, 1e-2, saves=3), a_started_run.progress

    def trained(name: str, kill_at: int | None = None) -> dict[str, torch.Tensor]:
        torch.manual_seed(1)
        policy = low_rank_policy(folder, RANK, four_bits=True)
        a_started_run.progress = quiet if kill_at is None else KillAt(kill_at)
        trl_trainers.train_dpo(policy, None, TOKENIZER, PAIRS, recipe, 0.3, a_started_run.job(name), 0)
        learning = [value for value in policy.parameters() if value.requires_grad]
        assert learning and all(value.dtype is torch.float32 for value in learning)
        return weights_of(with_updates(folder, policy))

    whole = trained("whole")
    with pytest.raises(Killed):
        trained("killed", kill_at=8)
    assert same(whole, trained("killed"))


@pytest.mark.slow
def test_the_stage_takes_a_rank(tmp_path):
    options = TINY["rlhf"] | {"methods": "dpo", "lora_rank": "2", "hacking_steps": "0"}
    run = run_stage("rlhf", overrides=options, output_dir=tmp_path)
    model = LLMPathGPTForCausalLM.from_pretrained(run.model_dir)
    sft = LLMPathGPTForCausalLM.from_pretrained(run.path / "models" / "sft")
    changed = {
        name for name, value in weights_of(model).items() if not torch.equal(value, weights_of(sft)[name])
    }
    assert changed and all("_proj" in name for name in changed)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"methods": "ppo", "lora_rank": "2"}, "low-rank updates work with dpo, rloo, grpo; ppo trains"),
        ({"methods": "dpo", "frozen_bits": "4"}, "give their rank too: --set lora_rank=8"),
        ({"methods": "dpo", "frozen_bits": "8", "lora_rank": "2"}, "frozen_bits"),
        ({"methods": "dpo", "lora_rank": "0"}, "lora_rank"),
    ],
)
def test_what_low_rank_updates_are_not_for_is_told_in_a_line(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        run_stage("rlhf", overrides=TINY["rlhf"] | options, output_dir=tmp_path)
