"""Implements what PPO and REINFORCE share: drawing replies, one optimizer step, and the state of a run.

The algorithms are in `ppo.py` and `reinforce.py`; `Loop` handles checkpoints, history, and Ctrl-C.
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

Measure = Callable[[nn.Module], dict[str, float]]  # policy -> its metrics


@dataclass(frozen=True)
class PolicyRecipe:
    """Describes how to train a policy with a reward.

    Attributes:
        training: the optimization. A step is one round of drawing and learning, and `batch_size` is the
            number of replies per round. The learning rate rises over the first twentieth of the steps and
            then falls linearly to 0.
        group: the number of replies to each prompt.
        beta: the weight of the KL penalty; 0 lets the policy go wherever the reward pulls it.
        target_kl: the divergence per reply, in nats, toward which β is adjusted; None keeps β constant.
        kl_horizon: the number of replies over which β reacts.
        max_new_tokens: the length at which a reply is cut off.
        unfinished_penalty: the amount subtracted from the score of a reply that was cut off.
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
        """The number of prompts per round."""
        return self.training.batch_size // self.group


@dataclass(frozen=True)
class PolicyTask:
    """Describes what a policy learns.

    Attributes:
        reference: the frozen model against which the KL penalty is measured.
        reward: the function that scores the replies of a rollout.
        prompts: the token ids of each prompt.
        pad, end: the ids of the padding token and the end token.
    """

    reference: nn.Module
    reward: Reward
    prompts: Sequence[Sequence[int]]
    pad: int
    end: int


@dataclass(frozen=True)
class Experience:
    """Holds the replies of one round with their log-probabilities and scores.

    Per-token tensors have the shape `(batch, time - 1)`: they begin with the second token, which is the
    first one that has a probability.

    Attributes:
        rollout: the replies.
        mask: 1 for tokens that belong to a reply, 0 elsewhere.
        log_probs: the log-probabilities under the policy that drew the replies.
        reference: the log-probabilities under the frozen reference.
        scores: the reward of each reply, `(batch,)`.
    """

    rollout: Rollout
    mask: Tensor
    log_probs: Tensor
    reference: Tensor
    scores: Tensor

    @property
    def kl(self) -> Tensor:
        """The log-ratio of policy to reference for each token (the k1 estimate of the KL divergence)."""
        return kl_estimate(self.log_probs, self.reference) * self.mask  # (batch, time - 1)


class PolicyTraining:
    """Trains a policy: draws replies, updates the weights, and records each round.

    Args:
        policy: a causal language model, which is trained in place.
        task, recipe: what the policy learns, and how.
        job: the place for checkpoints, history, and progress.
        seed: the seed for the order of the prompts and for the replies.
        value_head: a module that is trained along with the policy.
        measure: a function called with the policy before the first round, `evaluations` times during the
            training, and at the end. Its numbers are stored in the history with the prefix `eval_`. Calling
            it does not change what is drawn afterward.

    Attributes:
        loop: the counter of rounds, which also keeps the history.
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
        policy.eval()  # without dropout, the ratio of a policy to itself is exactly 1
        task.reference.eval().requires_grad_(False)
        modules = [policy] if value_head is None else [policy, value_head]
        self.parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        training = recipe.training
        # No weight decay: it would pull the policy away from the reference.
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
        """The weight of the KL penalty in this round."""
        return self.adaptive_kl.beta

    def draw_replies(self, prompts: Sequence[Sequence[int]] | None = None) -> Experience:
        """Draws a reply to each prompt, with its log-probabilities under policy and reference and its score.

        Args:
            prompts: the prompts to answer; this round's prompts if None.
        """
        # The policy is measured before its first update, once: `rows` is not empty in a second call.
        if self.loop.step == 0 and not self.loop.rows and self.measure is not None:
            self.loop.log(self._measured())
        recipe, task = self.recipe, self.task
        with torch.no_grad():
            prompts = self._next_prompts() if prompts is None else prompts
            try:
                rollout = draw(self.policy, prompts, task.pad, task.end, recipe.max_new_tokens)
            except RuntimeError as error:  # torch.multinomial complains when the logits have overflowed
                if "probability tensor" not in str(error):
                    raise
                raise self.loop.diverged(self.loop.step, "a probability") from None
            log_probs = reply_log_probs(self.policy, rollout)  # (batch, time - 1)
            reference = reply_log_probs(task.reference, rollout)  # (batch, time - 1)
            penalty = recipe.unfinished_penalty * (~rollout.finished).to(log_probs.dtype)  # (batch,)
            scores = task.reward(rollout).to(log_probs.dtype) - penalty  # (batch,)
        # A token's mask sits where its probability does: the first token has none.
        return Experience(rollout, rollout.reply[:, 1:].to(log_probs.dtype), log_probs, reference, scores)

    def _next_prompts(self) -> list[Sequence[int]]:
        """Returns this round's prompts, each repeated `group` times; every epoch is shuffled anew."""
        count, first = len(self.task.prompts), self.loop.step * self.recipe.prompts
        chosen = []
        for number in range(first, first + self.recipe.prompts):
            epoch, index = divmod(number, count)  # a round may straddle two epochs
            # The order depends on seed and epoch alone, so a resumed run continues with the same prompts. The
            # large factor keeps the seeds of different runs from sharing the orders of their epochs.
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            chosen.append(self.task.prompts[int(torch.randperm(count, generator=generator)[index])])
        return [prompt for prompt in chosen for _ in range(self.recipe.group)]

    def update(self, loss: Tensor) -> float:
        """Takes one optimizer step, skipped if the gradient is not finite; returns the gradient's norm."""
        training, step = self.recipe.training, self.loop.step
        # The rate rises linearly over the first 1/20 of the rounds and then falls linearly to 0.
        rising, falling = (step + 1) / max(1, training.steps // 20), 1 - step / training.steps
        for group in self.optimizer.param_groups:
            group["lr"] = training.learning_rate * min(rising, falling)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        # An infinite limit leaves the gradient as it is; the norm is needed in any case.
        norm = nn.utils.clip_grad_norm_(self.parameters, training.max_grad_norm or math.inf)
        if torch.isfinite(norm):
            self.optimizer.step()
        return float(norm)

    def after_round(self, experience: Experience, numbers: dict[str, float]) -> None:
        """Finishes a round: records it, measures the policy if due, adjusts β, and saves a checkpoint if due.

        Args:
            experience: the replies that were learned from.
            numbers: the numbers that the algorithm reports, including `loss`.
        """
        self.loop.require_finite(numbers["loss"])
        lengths = experience.mask.sum(dim=1).float()  # (batch,)
        row = {
            "reward": float(experience.scores.mean()),
            "reward_sd": float(experience.scores.std()) if len(lengths) > 1 else 0.0,
            "kl": float(experience.kl.sum(dim=1).mean()),  # (batch, time - 1) -> (batch,) -> per reply
            "beta": self.beta,
            "length": float(lengths.mean()),
            "finished": float(experience.rollout.finished.float().mean()),
            **numbers,
        }
        # `row` records the β of this round; the checkpoint keeps the β of the next one.
        self.loop.state["beta"] = self.adaptive_kl.update(row["kl"], len(experience.rollout))
        steps, evaluations = self.recipe.training.steps, max(1, self.recipe.training.evaluations)
        done = self.loop.step + 1  # `after_step` counts this round only below
        if self.measure is not None and (done % math.ceil(steps / evaluations) == 0 or done == steps):
            row |= self._measured()
        self.loop.after_step(row.pop("loss"), save=self._write, **row)

    def _measured(self) -> dict[str, float]:
        with torch.random.fork_rng(), torch.no_grad():  # measuring leaves the training's draws as they were
            values = self.measure(self.policy)
        return {f"eval_{name}": value for name, value in values.items()}

    def _write(self, folder: Path) -> None:
        # Everything that a round changes: weights, AdamW's moments, and the random state; `loop` stores β.
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
        # "moment.3.exp_avg" -> moments[3]["exp_avg"], as the optimizer's own state is laid out
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("moment."):
                _, i, moment = name.split(".")
                moments.setdefault(int(i), {})[moment] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        torch.set_rng_state(tensors["generator"])  # replies continue with the same draws
