"""What PPO and REINFORCE share: replies to learn from, one optimizer step, and the state of a training.

The algorithms are in `ppo.py` and `reinforce.py`; checkpoints, history and Ctrl-C are `Loop`'s.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...runs import Job
from ...training.loop import Loop
from ...training.recipe import Recipe
from .objectives import AdaptiveKL, kl_estimate
from .rollouts import Reward, Rollout, draw, reply_log_probs

Measure = Callable[[nn.Module], dict[str, float]]


@dataclass(frozen=True)
class PolicyRecipe:
    """How to train a policy with a reward.

    Attributes:
        training: `steps` are rounds of drawing and learning, `batch_size` is the number of replies in a
            round; its learning rate rises over the first twentieth of the steps, then falls linearly to 0.
        group: replies to each prompt.
        beta: weight of the KL penalty; 0 lets the policy go wherever the reward pulls it.
        target_kl: divergence of a reply, in nats, to which β is steered; if None, β stays.
        kl_horizon: replies over which β reacts.
        max_new_tokens: where a reply is cut off.
        unfinished_penalty: subtracted from the score of a reply that was cut off.
    """

    training: Recipe
    group: int = 1
    beta: float = 0.05
    target_kl: float | None = None
    kl_horizon: int = 1000
    max_new_tokens: int = 64
    unfinished_penalty: float = 1.0

    @property
    def prompts(self) -> int:
        """Prompts per round."""
        return self.training.batch_size // self.group


@dataclass(frozen=True)
class PolicyTask:
    """What a policy learns.

    Attributes:
        reference: the frozen model from which the KL penalty measures.
        reward: scores the replies of a rollout.
        prompts: token ids of each prompt.
        pad, end: ids of the padding and of the end token.
    """

    reference: nn.Module
    reward: Reward
    prompts: Sequence[Sequence[int]]
    pad: int
    end: int


@dataclass(frozen=True)
class Experience:
    """The replies of a round. What is per token has the shape `(batch, time - 1)` and begins with the
    second token, the first one that has a probability.

    Attributes:
        rollout: the replies.
        mask: 1 for tokens of the replies.
        log_probs: by the policy that drew them.
        reference: by the frozen reference.
        scores: the reward of each reply `(batch,)`.
    """

    rollout: Rollout
    mask: Tensor
    log_probs: Tensor
    reference: Tensor
    scores: Tensor

    @property
    def kl(self) -> Tensor:
        """Per token, how much likelier it is under the policy than under the reference (k1)."""
        return kl_estimate(self.log_probs, self.reference) * self.mask


class PolicyTraining:
    """A policy, its optimizer and its prompts.

    Args:
        policy: a causal language model, trained in place.
        task, recipe: what it learns, and how.
        job: where checkpoints, history and progress go.
        seed: of the order of the prompts and of the replies.
        value_head: learns along with the policy.
        measure: called with the policy before the first round, `evaluations` times on the way and at the
            end; its numbers stand in the history with `eval_` before the name. It does not change what is
            drawn afterwards.

    Attributes:
        loop: counts the rounds and has the history.
    """

    def __init__(
        self,
        policy: nn.Module,
        task: PolicyTask,
        recipe: PolicyRecipe,
        job: Job,
        seed: int,
        value_head: nn.Module | None = None,
        measure: Measure | None = None,
    ):
        self.policy, self.task, self.recipe, self.seed, self.measure = policy, task, recipe, seed, measure
        policy.eval()  # no dropout: the ratio of a policy to itself is one
        task.reference.eval().requires_grad_(False)
        modules = [policy] if value_head is None else [policy, value_head]
        self.parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        training = recipe.training
        self.optimizer = torch.optim.AdamW(
            self.parameters, training.learning_rate, (0.9, training.adam_beta2), weight_decay=0.0
        )
        self.adaptive_kl = AdaptiveKL(recipe.beta, recipe.target_kl, recipe.kl_horizon)
        torch.manual_seed(seed)
        self.loop = Loop(job, training.steps, training.advice, training.saves, log_every=1)
        if self.loop.checkpoint is not None:
            self._read(self.loop.checkpoint)

    @property
    def beta(self) -> float:
        """Weight of the KL penalty in this round."""
        return self.adaptive_kl.beta

    def draw_replies(self, prompts: Sequence[Sequence[int]] | None = None) -> Experience:
        """A reply to each prompt, with what policy, reference and reward say about it.

        Args:
            prompts: those of this round if not given.
        """
        if self.loop.step == 0 and not self.loop.rows and self.measure is not None:
            self.loop.log(self._measured())
        recipe, task = self.recipe, self.task
        with torch.no_grad():
            prompts = self._next_prompts() if prompts is None else prompts
            try:
                rollout = draw(self.policy, prompts, task.pad, task.end, recipe.max_new_tokens)
            except RuntimeError as error:  # torch.multinomial: the logits have overflowed
                if "probability tensor" not in str(error):
                    raise
                raise self.loop.diverged(self.loop.step, "a probability") from None
            log_probs = reply_log_probs(self.policy, rollout)
            reference = reply_log_probs(task.reference, rollout)
            penalty = recipe.unfinished_penalty * (~rollout.finished).to(log_probs.dtype)
            scores = task.reward(rollout).to(log_probs.dtype) - penalty
        return Experience(rollout, rollout.reply[:, 1:].to(log_probs.dtype), log_probs, reference, scores)

    def _next_prompts(self) -> list[Sequence[int]]:
        """The prompts of this round, each `group` times; every epoch has an order of its own."""
        count, first = len(self.task.prompts), self.loop.step * self.recipe.prompts
        chosen = []
        for number in range(first, first + self.recipe.prompts):
            epoch, index = divmod(number, count)
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            chosen.append(self.task.prompts[int(torch.randperm(count, generator=generator)[index])])
        return [prompt for prompt in chosen for _ in range(self.recipe.group)]

    def update(self, loss: Tensor) -> float:
        """One optimizer step, unless the gradient is not finite; returns the length of the gradient."""
        training, step = self.recipe.training, self.loop.step
        rising, falling = (step + 1) / max(1, training.steps // 20), 1 - step / training.steps
        for group in self.optimizer.param_groups:
            group["lr"] = training.learning_rate * min(rising, falling)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, training.max_grad_norm or math.inf)
        if torch.isfinite(norm):
            self.optimizer.step()
        return float(norm)

    def after_round(self, experience: Experience, numbers: dict[str, float]) -> None:
        """Counts a round: history, measurements, β, checkpoint.

        Args:
            experience: what was learned from.
            numbers: of the algorithm, `loss` among them.
        """
        self.loop.require_finite(numbers["loss"])
        lengths = experience.mask.sum(dim=1).float()  # (batch,)
        row = {
            "reward": float(experience.scores.mean()),
            "reward_sd": float(experience.scores.std()) if len(lengths) > 1 else 0.0,
            "kl": float(experience.kl.sum(dim=1).mean()),
            "beta": self.beta,
            "length": float(lengths.mean()),
            "finished": float(experience.rollout.finished.float().mean()),
            **numbers,
        }
        self.loop.state["beta"] = self.adaptive_kl.update(row["kl"], len(experience.rollout))
        steps, evaluations = self.recipe.training.steps, max(1, self.recipe.training.evaluations)
        done = self.loop.step + 1
        if self.measure is not None and (done % math.ceil(steps / evaluations) == 0 or done == steps):
            row |= self._measured()
        self.loop.after_step(row.pop("loss"), save=self._write, **row)

    def _measured(self) -> dict[str, float]:
        with torch.random.fork_rng(), torch.no_grad():
            values = self.measure(self.policy)
        return {f"eval_{name}": value for name, value in values.items()}

    def _write(self, folder: Path) -> None:
        tensors = {f"weight.{i}": value.detach().contiguous() for i, value in enumerate(self.parameters)}
        for i, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"moment.{i}.{name}": value.clone() for name, value in moments.items()}
        save_file(tensors | {"generator": torch.get_rng_state()}, folder / "state.safetensors")

    def _read(self, checkpoint: Path) -> None:
        tensors = load_file(checkpoint / "state.safetensors")
        self.adaptive_kl.beta = self.loop.state["beta"]
        with torch.no_grad():
            for i, value in enumerate(self.parameters):
                value.copy_(tensors[f"weight.{i}"])
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("moment."):
                _, i, moment = name.split(".")
                moments.setdefault(int(i), {})[moment] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        torch.set_rng_state(tensors["generator"])
