"""TRL's trainers on our models: their losses are our formulas, and they learn from what they should."""

import json

import pytest
import torch

from hf_llmpath.data.tokenizers.chat_template import chat_tokenizer, conversation_ids, prompt_ids
from hf_llmpath.errors import UserError
from hf_llmpath.models.configuration_gpt import LLMPathGPTConfig
from hf_llmpath.models.modeling_gpt import LLMPathGPTForCausalLM, LLMPathGPTForSequenceClassification
from hf_llmpath.stages.s16_rlhf import trl_trainers
from hf_llmpath.stages.s16_rlhf.objectives import bradley_terry_loss, dpo_loss
from hf_llmpath.stages.s16_rlhf.policy_loop import PolicyRecipe
from hf_llmpath.stages.s16_rlhf.rewards import RewardModel, pairwise_accuracy, right_padded
from hf_llmpath.stages.s16_rlhf.rollouts import draw, token_log_probs
from hf_llmpath.training.recipe import Recipe

WORDS = ["baker", "miller", "tailor", "sailor", "hunter", "pilot", "smith", "weaver"]


def conversation(word: str, reply: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Who is the {word}?"}, {"role": "assistant", "content": reply}]


CHATS = [conversation(word, f"The {word} is here, I think.") for word in WORDS]
PAIRS = [
    {"prompt": chat[:1], "chosen": chat[1:], "rejected": conversation("x", f"Go away {place}!")[1:]}
    for place, chat in enumerate(CHATS)
]
TOKENIZER = chat_tokenizer(
    [m["content"] for chat in CHATS for m in chat] + [p["rejected"][0]["content"] for p in PAIRS]
)
STILL = Recipe(steps=3, batch_size=8, learning_rate=0.0)  # weights that do not move


def config(**changes) -> LLMPathGPTConfig:
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 48,
    }
    special = {"pad_token_id": TOKENIZER.pad_token_id, "eos_token_id": TOKENIZER.eos_token_id}
    options = {"initializer_range": 0.3, "zero_init_projections": False}
    return LLMPathGPTConfig(vocab_size=len(TOKENIZER), **sizes | special | options | changes)


def policy(seed: int = 0) -> LLMPathGPTForCausalLM:
    torch.manual_seed(seed)
    return LLMPathGPTForCausalLM(config())


def reward_model() -> LLMPathGPTForSequenceClassification:
    torch.manual_seed(1)
    return LLMPathGPTForSequenceClassification(config(num_labels=1))


def losses(job) -> list[float]:
    rows = map(json.loads, (job.folder / "history.jsonl").read_text().splitlines())
    return [row["loss"] for row in rows if "loss" in row]


def ids_of(side: str) -> tuple[torch.Tensor, torch.Tensor]:
    return right_padded(
        [conversation_ids(TOKENIZER, p["prompt"] + p[side]) for p in PAIRS], TOKENIZER.pad_token_id
    )


@torch.no_grad()
def reply_log_probs(model, side: str) -> torch.Tensor:
    ids, mask = ids_of(side)
    starts = torch.tensor([len(prompt_ids(TOKENIZER, pair["prompt"])) for pair in PAIRS])
    said = mask.bool() & (torch.arange(ids.shape[1]) >= starts[:, None])
    log_probs = token_log_probs(model(input_ids=ids, attention_mask=mask).logits, ids)
    return (log_probs * said[:, 1:]).sum(dim=1)


def test_the_loss_of_the_reward_model_is_ours(a_started_run):
    model, job = reward_model(), a_started_run.job("reward")
    with torch.no_grad():
        scores = []
        for side in ("chosen", "rejected"):
            ids, mask = ids_of(side)
            scores.append(model(input_ids=ids, attention_mask=mask).logits[:, 0])
    trl_trainers.train_reward_model(model, TOKENIZER, PAIRS, STILL, job, 0)
    assert losses(job) == pytest.approx([float(bradley_terry_loss(*scores))] * 3, abs=1e-5)


def test_the_loss_of_dpo_is_ours(a_started_run):
    model, reference, job = policy(0), policy(5), a_started_run.job("dpo")
    parts = [reply_log_probs(m, side) for m in (model, reference) for side in ("chosen", "rejected")]
    expected = float(dpo_loss(*parts, beta=0.3))
    assert abs(expected - 0.6931) > 0.01
    trl_trainers.train_dpo(model, reference, TOKENIZER, PAIRS, STILL, 0.3, job, 0)
    assert losses(job) == pytest.approx([expected] * 3, abs=1e-4)


def test_fine_tuning_learns_from_the_assistants_tokens_alone(a_started_run):
    model, job = policy(), a_started_run.job("sft")
    ids, mask = right_padded([conversation_ids(TOKENIZER, chat) for chat in CHATS], TOKENIZER.pad_token_id)
    starts = torch.tensor([len(prompt_ids(TOKENIZER, chat[:1])) for chat in CHATS])
    said = (mask.bool() & (torch.arange(ids.shape[1]) >= starts[:, None]))[:, 1:]
    with torch.no_grad():
        log_probs = token_log_probs(model(input_ids=ids, attention_mask=mask).logits, ids)
    expected = float(-log_probs[said].mean())
    assert expected != pytest.approx(float(-log_probs[mask[:, 1:].bool()].mean()), abs=1e-3)
    trl_trainers.fine_tune_on_chats(model, TOKENIZER, CHATS, STILL, job, 0)
    assert losses(job) == pytest.approx([expected] * 3, abs=1e-5)


def test_muon_moves_the_hidden_matrices_alone(a_started_run):
    """AdamW's rate of 0 leaves embeddings and norms where they were."""
    model, recipe = policy(), Recipe(2, 8, 0.02, adam_learning_rate=0.0)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    trl_trainers.fine_tune_on_chats(model, TOKENIZER, CHATS, recipe, a_started_run.job("sft"), 0)
    moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == {name for name in before if name.endswith("proj.weight")} and moved


def test_a_reward_model_learns_the_pairs(a_started_run):
    model, recipe = reward_model(), Recipe(40, 8, 1e-2)
    trl_trainers.train_reward_model(model, TOKENIZER, PAIRS, recipe, a_started_run.job("reward"), 0)
    reward = RewardModel(model, TOKENIZER.pad_token_id)
    rows = {
        s: [conversation_ids(TOKENIZER, p["prompt"] + p[s]) for p in PAIRS] for s in ("chosen", "rejected")
    }
    assert pairwise_accuracy(*(reward.of_conversations(rows[side]) for side in ("chosen", "rejected"))) == 1.0


def test_dpo_makes_the_chosen_reply_likelier(a_started_run):
    model, reference, job = policy(), policy(), a_started_run.job("dpo")
    before = reply_log_probs(model, "chosen") - reply_log_probs(model, "rejected")
    trl_trainers.train_dpo(model, reference, TOKENIZER, PAIRS, Recipe(30, 8, 3e-3), 0.3, job, 0)
    assert (reply_log_probs(model, "chosen") - reply_log_probs(model, "rejected") > before).all()


@pytest.mark.parametrize("method", ["rloo", "grpo"])
def test_groups_learn_what_the_reward_wants(method, a_started_run, tmp_path):
    """The reward is the share of the token “baker”; the reference is loaded from the folder again."""
    policy().save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    model = LLMPathGPTForCausalLM.from_pretrained(tmp_path)
    wanted = TOKENIZER.convert_tokens_to_ids("baker")

    class Share(RewardModel):
        def of_conversations(self, rows):
            return torch.tensor([10 * row[8:].count(wanted) / len(row) for row in rows])

    prompts = [chat[:1] for chat in CHATS]
    recipe = PolicyRecipe(Recipe(25, 32, 1e-2), 4, beta=0.01, max_new_tokens=8, unfinished_penalty=0.0)
    job = a_started_run.job(method)
    reward = Share(reward_model(), TOKENIZER.pad_token_id)
    trl_trainers.train_rloo_or_grpo(method, model, TOKENIZER, prompts, reward, recipe, job, 0)
    rows = [json.loads(line) for line in (job.folder / "history.jsonl").read_text().splitlines()]
    rewards = [row["reward"] for row in rows if "reward" in row]
    assert sum(rewards[-5:]) / 5 > sum(rewards[:3]) / 3 + 0.5


def test_replies_that_make_no_groups_are_refused():
    with pytest.raises(UserError, match="a batch of 10 replies cannot be divided into groups of 4"):
        trl_trainers.require_groups(10, 4)
    with pytest.raises(UserError, match="groups of 1; a group has at least 2"):
        trl_trainers.require_groups(10, 1)


def test_calibrated_rewards_have_mean_zero_and_deviation_one():
    reward = RewardModel(reward_model(), TOKENIZER.pad_token_id)
    torch.manual_seed(0)
    prompts = [prompt_ids(TOKENIZER, chat[:1]) for chat in CHATS]
    rollout = draw(policy(), prompts, TOKENIZER.pad_token_id, TOKENIZER.eos_token_id, 8)
    raw = reward(rollout)
    reward.calibrate(rollout)
    found = reward(rollout)
    assert float(found.mean()) == pytest.approx(0, abs=1e-5) and float(found.std()) == pytest.approx(
        1, abs=1e-4
    )
    assert torch.equal(found.argsort(), raw.argsort())
    rows = [row[mask.bool()].tolist() for row, mask in zip(rollout.ids, rollout.attention_mask, strict=True)]
    torch.testing.assert_close(reward.of_conversations(rows), found, atol=1e-5, rtol=1e-4)
