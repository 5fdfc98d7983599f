"""The loop around a policy gradient: draw replies, score them, learn from them, again.

What is learned from them is the method's own: `reinforce.py` and `ppo.py` implement `learn`.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...errors import UserError
from ...runs import Job, NoProgress, write_json, write_text
from ...training.callbacks import CatchInterrupt
from ...training.checkpoints import last_checkpoint, write_checkpoint
from .objectives import AdaptiveKL, kl_estimate
from .rollouts import Reward, Rollout, draw, reply_log_probs

Measure = Callable[[nn.Module], dict[str, float]]


@dataclass(frozen=True)
class PolicyRecipe:
    """How to train a policy.

    Attributes:
        steps: rounds of drawing and learning.
        prompts: prompts per round.
        group: replies to each prompt.
        learning_rate: of AdamW; rises over the first twentieth of the steps, then falls linearly to zero.
        beta: weight of the KL penalty; 0 lets the policy go wherever the reward pulls it.
        target_kl: divergence of a reply, in nats, that β is steered to; if none, β stays.
        kl_horizon: replies over which β reacts.
        max_new_tokens: where a reply is broken off.
        unfinished_penalty: taken off the score of a reply that was broken off.
        max_grad_norm: gradients longer than this are scaled down to it.
        evaluations: how many times to measure the policy on the way.
        saves: checkpoints on the way.
        rate_setting: the stage's setting that is the learning rate, which advice names.
    """

    steps: int
    prompts: int
    group: int = 1
    learning_rate: float = 3e-4
    beta: float = 0.05
    target_kl: float | None = None
    kl_horizon: int = 1000
    max_new_tokens: int = 64
    unfinished_penalty: float = 1.0
    max_grad_norm: float = 1.0
    evaluations: int = 4
    saves: int = 3
    rate_setting: str = "learning_rate"


@dataclass(frozen=True)
class Experience:
    """A round's replies and what is known of them; per token `(batch, time - 1)`, aligned with the tokens
    from the second on.

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
        """Per token, how much likelier the policy found it than the reference does (k1)."""
        return kl_estimate(self.log_probs, self.reference) * self.mask


class PolicyTraining:
    """Trains `policy` in place; a subclass implements `learn`.

    Args:
        policy: a causal language model.
        reference: what it is held to, frozen.
        reward: scores the replies of a rollout.
        prompts: token ids of each prompt.
        recipe: how.
        pad, end: ids of the padding and of the end token.
        seed: of the order of the prompts and of what is drawn.
    """

    def __init__(
        self,
        policy: nn.Module,
        reference: nn.Module,
        reward: Reward,
        prompts: Sequence[Sequence[int]],
        recipe: PolicyRecipe,
        pad: int,
        end: int,
        seed: int,
    ):
        self.policy, self.reference, self.reward = policy, reference.eval().requires_grad_(False), reward
        self.prompts, self.recipe, self.pad, self.end, self.seed = prompts, recipe, pad, end, seed
        self.policy.eval()  # no dropout: the ratio of a policy to itself is one
        self.step, self.seconds = 0, 0.0
        self.history: list[dict[str, float]] = []
        self.controller = AdaptiveKL(recipe.beta, recipe.target_kl, recipe.kl_horizon)
        self.parameters = [p for module in self.modules for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=recipe.learning_rate, weight_decay=0.0)

    @property
    def modules(self) -> list[nn.Module]:
        """Everything that learns."""
        return [self.policy]

    def learn(self, experience: Experience) -> dict[str, float]:
        """Changes the weights; returns numbers for the history, `loss` among them."""
        raise NotImplementedError

    def run(
        self, job: Job | None = None, progress: NoProgress | None = None, measure: Measure | None = None
    ) -> list[dict[str, float]]:
        """All steps that are left; returns the history.

        Args:
            job: where checkpoints and history go; if none, nothing is written.
            progress: shows progress.
            measure: called with the policy `evaluations` times on the way and at the end; what it returns
                stands in the history with `eval_` before the name. Does not change what is drawn
                afterwards.

        Raises:
            UserError: the loss is not finite.
            KeyboardInterrupt: Ctrl-C came; a checkpoint is on disk.
        """
        recipe = self.recipe
        torch.manual_seed(self.seed)
        if job is not None:
            self._load(job.folder)
        save_every = max(1, math.ceil(recipe.steps / (recipe.saves + 1)))
        measure_every = max(1, math.ceil(recipe.steps / max(1, recipe.evaluations)))
        with (
            CatchInterrupt() as ctrl_c,
            (progress or NoProgress()).task(job.name if job else "", recipe.steps) as task,
        ):
            while self.step < recipe.steps:
                began = time.perf_counter()
                if self.step == 0 and measure:
                    self.history.append({"step": 0, **self._measured(measure)})
                entry = self._step()
                last = self.step == recipe.steps
                if measure and (self.step % measure_every == 0 or last):
                    entry |= self._measured(measure)
                self.seconds += time.perf_counter() - began
                self.history.append(entry)
                task.update(self.step, loss=entry["loss"])
                if job is not None:
                    self._write_history(job.folder)
                    if (self.step % save_every == 0 and not last) or (ctrl_c.interrupted and not last):
                        self._save(job.folder)
                if ctrl_c.interrupted and not last:
                    raise KeyboardInterrupt
        return self.history

    def _step(self) -> dict[str, float]:
        experience = self.gather(self._next_prompts())
        self._set_rate()
        found = self.learn(experience)
        if not math.isfinite(found["loss"]):
            raise UserError(
                f"the loss is not finite at step {self.step + 1}; try a lower learning rate, for example "
                f"--set {self.recipe.rate_setting}={self.recipe.learning_rate / 3:.1g}"
            )
        self.step += 1
        kl = float(experience.kl.sum(dim=1).mean())
        beta = self.controller.beta
        self.controller.update(kl, len(experience.rollout))
        lengths = experience.mask.sum(dim=1).float()
        return {
            "step": self.step,
            "reward": float(experience.scores.mean()),
            "reward_sd": float(experience.scores.std()) if len(lengths) > 1 else 0.0,
            "kl": kl,
            "beta": beta,
            "length": float(lengths.mean()),
            "finished": float(experience.rollout.finished.float().mean()),
            **found,
        }

    def _set_rate(self) -> None:
        steps = self.recipe.steps
        rising, falling = (self.step + 1) / max(1, steps // 20), 1 - self.step / steps
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * min(rising, falling)

    def _next_prompts(self) -> list[Sequence[int]]:
        """The prompts of this step; each epoch has an order of its own."""
        count, first = len(self.prompts), self.step * self.recipe.prompts
        places = []
        for place in range(first, first + self.recipe.prompts):
            epoch, index = divmod(place, count)
            places.append(int(self._order(epoch)[index]))
        return [self.prompts[place] for place in places for _ in range(self.recipe.group)]

    def _order(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        return torch.randperm(len(self.prompts), generator=generator)

    @torch.no_grad()
    def gather(self, prompts: Sequence[Sequence[int]]) -> Experience:
        """Draws a reply to each prompt and looks at it with policy, reference and reward."""
        rollout = draw(self.policy, prompts, self.pad, self.end, self.recipe.max_new_tokens)
        log_probs = reply_log_probs(self.policy, rollout)
        reference = reply_log_probs(self.reference, rollout)
        penalty = self.recipe.unfinished_penalty * (~rollout.finished).to(log_probs.dtype)
        scores = self.reward(rollout).to(log_probs.dtype) - penalty
        return Experience(rollout, rollout.reply[:, 1:].to(log_probs.dtype), log_probs, reference, scores)

    def update(self, loss: Tensor) -> float:
        """One optimizer step; returns the length of the gradient."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.recipe.max_grad_norm)
        if torch.isfinite(norm):
            self.optimizer.step()
        return float(norm)

    def _measured(self, measure: Measure) -> dict[str, float]:
        with torch.random.fork_rng(), torch.no_grad():
            found = measure(self.policy)
        return {f"eval_{name}": value for name, value in found.items()}

    def _write_history(self, folder: Path) -> None:
        write_text(folder / "history.jsonl", "".join(json.dumps(entry) + "\n" for entry in self.history))

    def _save(self, folder: Path) -> None:
        """A checkpoint: weights, the optimizer's moments, the random generator, and how far the loop is."""
        tensors = {
            f"weight.{place}": value.detach().contiguous() for place, value in enumerate(self.parameters)
        }
        for place, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"moment.{place}.{name}": value.clone() for name, value in moments.items()}
        state: dict[str, Any] = {"step": self.step, "history": self.history, "beta": self.controller.beta}

        def write(temporary: Path) -> None:
            save_file(tensors | {"generator": torch.get_rng_state()}, temporary / "state.safetensors")
            write_json(temporary / "loop.json", state | {"seconds": self.seconds})

        write_checkpoint(folder, self.step, write)

    def _load(self, folder: Path) -> None:
        checkpoint = last_checkpoint(folder)
        if checkpoint is None:
            return
        tensors = load_file(checkpoint / "state.safetensors")
        state = json.loads((checkpoint / "loop.json").read_text(encoding="utf-8"))
        self.step, self.history, self.seconds = state["step"], state["history"], state["seconds"]
        self.controller.beta = state["beta"]
        with torch.no_grad():
            for place, value in enumerate(self.parameters):
                value.copy_(tensors[f"weight.{place}"])
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "moment":
                place, _, which = rest.partition(".")
                moments.setdefault(int(place), {})[which] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        torch.set_rng_state(tensors["generator"])
