"""Stage 16: a chatbot learns from preferences which of its replies people want."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ...settings import Settings, group, setting
from ...training.recipe import Recipe
from ..stage import Concept, Stage

METHODS = ("ppo", "reinforce", "dpo", "rloo", "grpo")
BY_TRL = ("dpo", "rloo", "grpo")


@dataclass(frozen=True)
class RLHFSettings(Settings):
    dataset: str = setting("world/preferences", "preferences: embedded name, Hub id, or local file or folder")
    chats: Literal["auto", "world", "chosen"] = setting(
        "auto",
        "conversations to fine-tune on first: the world's chats, or the chosen replies; auto: by data set",
    )
    conversations: int = setting(4000, "maximum number of conversations to fine-tune on", minimum=2)
    pairs: int = setting(3000, "maximum number of preference pairs to learn from", minimum=2)
    tokenizer: Literal["words", "pieces"] = setting(
        "words", "whether tokens are whole words or pieces of words"
    )
    vocab_size: int = setting(4000, "maximum vocabulary size", minimum=50)
    hidden_size: int = setting(128, "width of the language model", minimum=8)
    num_hidden_layers: int = setting(2, "layers of the language model", minimum=1)
    num_attention_heads: int = setting(4, "attention heads per layer", minimum=1)
    context: int = setting(192, "tokens of the longest conversation", minimum=16)
    sft: Recipe = group(
        Recipe(1800, 16, 0.02, weight_decay=0.01, adam_learning_rate=5e-3, saves=3),
        "supervised fine-tuning on conversations",
    )
    reward: Recipe = group(
        Recipe(200, 16, 0.01, weight_decay=0.01, adam_learning_rate=3e-3, saves=3),
        "training of the reward model on pairs",
    )
    reward_layers: int = setting(
        3, "layers of the reward model; those that the language model lacks start at random", minimum=1
    )
    dpo: Recipe = group(
        Recipe(150, 16, 3e-4, weight_decay=0.01, adam_beta2=0.98, saves=3), "DPO on preference pairs"
    )
    dpo_beta: float = setting(0.1, "how strongly DPO keeps to the reference", minimum=0)
    methods: tuple[str, ...] = setting(("ppo",), "alignment methods, from " + ", ".join(METHODS))
    steps: int = setting(60, "rounds of a policy gradient", minimum=1)
    prompts: int = setting(32, "prompts per round", minimum=1)
    group: int = setting(2, "replies to each prompt", minimum=2)
    learning_rate: float = setting(
        5e-4, "learning rate of PPO, which learns from a round several times", minimum=0
    )
    single_learning_rate: float = setting(
        1e-3, "learning rate of REINFORCE, RLOO, and GRPO, which learn from a round once", minimum=0
    )
    beta: float = setting(0.05, "weight of the KL penalty", minimum=0)
    max_new_tokens: int = setting(64, "maximum length of a reply, in tokens", minimum=1)
    lora_rank: int | None = setting(
        None, "rank of the low-rank updates of DPO, RLOO, and GRPO; none: all weights learn", minimum=1
    )
    frozen_bits: Literal[32, 4] = setting(
        32, "bits of the weights that low-rank updates leave frozen; 4: QLoRA"
    )
    hacking_steps: int = setting(0, "rounds of REINFORCE without a KL penalty; 0: none", minimum=0)
    hacking_learning_rate: float = setting(
        3e-3,
        "learning rate without the KL penalty, high enough to exploit the reward model within the rounds",
        minimum=0,
    )
    examined: int = setting(300, "held-out prompts to measure on", minimum=1)
    seeds: int = setting(1, "policies per method, each with its own random replies", minimum=1)

    renamed: ClassVar = {
        "sft_steps": "sft.steps",
        "sft_batch_size": "sft.batch_size",
        "sft_learning_rate": "sft.learning_rate",
        "sft_adam_learning_rate": "sft.adam_learning_rate",
        "reward_steps": "reward.steps",
        "reward_batch_size": "reward.batch_size",
        "reward_learning_rate": "reward.learning_rate",
        "reward_adam_learning_rate": "reward.adam_learning_rate",
        "dpo_steps": "dpo.steps",
        "dpo_batch_size": "dpo.batch_size",
        "dpo_learning_rate": "dpo.learning_rate",
    }

    @classmethod
    def full(cls) -> "RLHFSettings":
        recipes = {"reward.steps": 300, "dpo.steps": 400, "dpo.learning_rate": 1e-3}
        rounds = {"steps": 40, "prompts": 48, "group": 4, "hacking_steps": 120}
        return cls().updated(pairs=9000, reward_layers=4, methods=METHODS, seeds=3, **recipes, **rounds)


STAGE = Stage(
    number=16,
    slug="rlhf",
    title="Reinforcement learning with human feedback",
    phase="Advanced topics",
    summary="A chatbot learns from pairs of replies which one is wanted, by reward model, "
    "policy gradient, and DPO.",
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
