"""Stage 16: a chatbot learns from preferences which of its replies are wanted, and what goes wrong when
it overdoes it.
"""

from dataclasses import dataclass, replace
from typing import Literal

from ...settings import Settings, setting
from ..stage import Concept, Stage

METHODS = ("ppo", "reinforce", "dpo", "rloo", "grpo")
BY_TRL = ("dpo", "rloo", "grpo")


@dataclass(frozen=True)
class RLHFSettings(Settings):
    dataset: str = setting("world/preferences", "preferences: embedded name, Hub id, or local file or folder")
    chats: Literal["auto", "world", "chosen"] = setting(
        "auto", "what is fine-tuned on first: chats of the world, or chosen replies; auto: by the data set"
    )
    conversations: int = setting(4000, "most conversations to fine-tune on", minimum=2)
    pairs: int = setting(3000, "most pairs to learn from", minimum=2)
    tokenizer: Literal["words", "pieces"] = setting("words", "tokens are whole words, or pieces of words")
    vocab_size: int = setting(4000, "most tokens of the tokenizer", minimum=50)
    hidden_size: int = setting(128, "width of the language model", minimum=8)
    num_hidden_layers: int = setting(2, "layers of the language model", minimum=1)
    num_attention_heads: int = setting(4, "attention heads of a layer", minimum=1)
    context: int = setting(192, "tokens of the longest conversation", minimum=16)
    sft_steps: int = setting(1800, "steps of the supervised fine-tuning", minimum=1)
    sft_batch_size: int = setting(16, "conversations per step of it", minimum=1)
    sft_learning_rate: float = setting(0.02, "peak of its cosine schedule, of Muon", minimum=0)
    sft_adam_learning_rate: float = setting(5e-3, "the same, of AdamW for embeddings and norms", minimum=0)
    reward_layers: int = setting(
        3, "layers of the reward model; those that the language model lacks are new", minimum=1
    )
    reward_steps: int = setting(200, "steps of the reward model", minimum=1)
    reward_batch_size: int = setting(16, "pairs per step of it", minimum=1)
    reward_learning_rate: float = setting(0.01, "peak of its cosine schedule, of Muon", minimum=0)
    reward_adam_learning_rate: float = setting(
        3e-3, "the same, of AdamW for embeddings, norms and the head", minimum=0
    )
    methods: tuple[str, ...] = setting(("ppo",), "how to align: of " + ", ".join(METHODS))
    steps: int = setting(60, "rounds of a policy gradient", minimum=1)
    prompts: int = setting(32, "prompts per round", minimum=1)
    group: int = setting(2, "replies to each prompt", minimum=2)
    learning_rate: float = setting(5e-4, "of PPO, which learns from a round several times", minimum=0)
    single_learning_rate: float = setting(
        1e-3, "of REINFORCE, RLOO and GRPO, which learn from it once", minimum=0
    )
    beta: float = setting(0.05, "weight of the KL penalty", minimum=0)
    max_new_tokens: int = setting(64, "where a reply is broken off", minimum=1)
    dpo_steps: int = setting(150, "steps of DPO", minimum=1)
    dpo_batch_size: int = setting(16, "pairs per step of DPO", minimum=1)
    dpo_learning_rate: float = setting(3e-4, "peak of DPO's cosine schedule", minimum=0)
    dpo_beta: float = setting(0.1, "how much DPO is held to the reference", minimum=0)
    lora_rank: int | None = setting(
        None,
        "rank of the low-rank updates that DPO, RLOO and GRPO learn by; all weights learn if none",
        minimum=1,
    )
    frozen_bits: Literal[32, 4] = setting(32, "of the weights beside the low-rank updates; 4: QLoRA")
    hacking_steps: int = setting(0, "rounds of REINFORCE without a KL penalty; 0 leaves it out", minimum=0)
    hacking_learning_rate: float = setting(
        3e-3, "its rate, high so that the reward is soon followed to its end", minimum=0
    )
    examined: int = setting(300, "held-out prompts to measure on", minimum=1)
    seeds: int = setting(1, "policies per method, each with draws of its own", minimum=1)

    @classmethod
    def full(cls) -> "RLHFSettings":
        return replace(
            cls(),
            pairs=9000,
            reward_layers=4,
            reward_steps=300,
            methods=METHODS,
            steps=40,
            prompts=48,
            group=4,
            dpo_steps=400,
            dpo_learning_rate=1e-3,
            hacking_steps=120,
            seeds=3,
        )


STAGE = Stage(
    number=16,
    slug="rlhf",
    title="Reinforcement learning with human feedback",
    phase="Advanced topics",
    summary="A chatbot learns from pairs of replies which one is wanted, by reward model, policy gradient and DPO.",
    model_type="llmpath-gpt",
    auto_class="AutoModelForCausalLM",
    main="win_rate",
    concepts=(
        Concept("supervised fine-tuning", "hf_llmpath.stages.s16_rlhf.trl_trainers.fine_tune_on_chats"),
        Concept("preference data", "hf_llmpath.stages.s16_rlhf.preference_data.load_preferences"),
        Concept("reward model (Bradley-Terry)", "hf_llmpath.stages.s16_rlhf.objectives.bradley_terry_loss"),
        Concept("policy gradient (REINFORCE)", "hf_llmpath.stages.s16_rlhf.reinforce.train_reinforce"),
        Concept("PPO", "hf_llmpath.stages.s16_rlhf.ppo.train_ppo"),
        Concept("ratio and clipping", "hf_llmpath.stages.s16_rlhf.objectives.clipped_surrogate"),
        Concept("value head", "hf_llmpath.stages.s16_rlhf.ppo.ValueHead"),
        Concept("advantage", "hf_llmpath.stages.s16_rlhf.objectives.generalized_advantages"),
        Concept("KL penalty", "hf_llmpath.stages.s16_rlhf.objectives.AdaptiveKL"),
        Concept("DPO", "hf_llmpath.stages.s16_rlhf.objectives.dpo_loss"),
        Concept("reward hacking", "hf_llmpath.stages.s16_rlhf.policy_loop.PolicyRecipe"),
    ),
    settings=RLHFSettings,
    package=__name__,
    prompt="Who is the baker?",
)
