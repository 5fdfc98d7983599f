"""Beam search: the likeliest continuations that are found by keeping the `num_beams` best beginnings at
each step.

    found = beam_search(model, input_ids, attention_mask, num_beams=4)
    found.sequences                          # as model.generate(..., num_beams=4)

A step asks for the next-token log-probabilities of all beams at once, adds each beam's own sum, and keeps
the best of all `num_beams * vocab_size` continuations. A continuation that ends a text is taken from the
beams and competes, with its sum divided by length^length_penalty, for a place among the finished (Wu et
al. 2016, section 7, with a plain length). The rules about when to stop are those of transformers, so that
the result is the same. Three things make it quicker: the prompt is read once, not once per beam; the
texts are kept as pointers from each step to the one before; and the cache is left alone where the beams
stay in their places.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ..errors import UserError
from .generation import Stops, _check, _setting, begin, prompt_of

NEVER = -1.0e9  # a sum of log-probabilities that nothing comes below


class Ended(NamedTuple):
    """A text that ended: its row, the beam of the step before that it goes on from, its last token, the
    sum of its log-probabilities, and its score: that sum / length^length_penalty."""

    row: int
    parent: int
    token: int
    log_probability: float
    score: float


@dataclass(frozen=True)
class BeamStep:
    """What one step kept, `(batch, num_beams)` each: `tokens`, the beam of the step before that each goes
    on from, and the `log_probabilities` of the whole texts; after the last step nothing goes on and they
    are below `NEVER / 2`. `ended` lists the texts that ended here."""

    tokens: Tensor
    parents: Tensor
    log_probabilities: Tensor
    ended: list[Ended] = field(default_factory=list)


@dataclass(frozen=True)
class Beams:
    """The best texts.

    Attributes:
        sequences: `(batch * num_return_sequences, length)`, prompt included, as `generate` returns them.
        scores: `(batch * num_return_sequences,)`: log-probability / length^length_penalty.
        steps: what each step kept, for a picture of the search; empty if not asked for.
    """

    sequences: Tensor
    scores: Tensor
    steps: list[BeamStep]


class _Finished:
    """The best `num_beams` ended texts of each row; a text is where it ended: step, beam of the step
    before, last token.
    """

    def __init__(self, batch: int, beams: int):
        self.scores = torch.full((batch, beams), NEVER)
        self.there = torch.zeros(batch, beams, dtype=torch.bool)
        self.places = torch.zeros(batch, beams, 3, dtype=torch.long)

    def add(self, scores: Tensor, ends: Tensor, places: Tensor) -> None:
        """scores `(batch, n)`, below `NEVER` where `ends` is false; places `(batch, n, 3)`."""
        scores, best = torch.cat([self.scores, scores], dim=1).topk(self.scores.shape[1])
        self.scores = scores
        self.there = torch.cat([self.there, ends], dim=1).gather(1, best)
        self.places = torch.cat([self.places, places], dim=1).take_along_dim(best[..., None], dim=1)


@torch.no_grad()
def beam_search(
    model: Any,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    num_beams: int = 4,
    max_new_tokens: int = 100,
    length_penalty: float = 1.0,
    early_stopping: bool | Literal["never"] = False,
    num_return_sequences: int = 1,
    eos_token_id: int | list[int] | None = None,
    with_steps: bool = False,
) -> Beams:
    """
    Args:
        model, input_ids, attention_mask: see `decoding.Stepper`.
        num_beams: beginnings kept at each step.
        length_penalty: exponent of the length that a finished text's log-probability is divided by; above
            0 favors long texts.
        early_stopping: `True`: stop when there are `num_beams` finished texts; `False`: when the best
            beam, at its present length, is no better than the worst of them; `"never"`: when it could not
            become better at any length.
        num_return_sequences: texts returned for each prompt, the best first.
        with_steps: keep what each step did.

    Raises:
        UserError: no beam, more beams than tokens in the vocabulary, or more texts asked for than beams.
    """
    _check(input_ids, max_new_tokens)
    check_beams(num_beams, num_return_sequences, model.config.get_text_config().vocab_size)
    stops = Stops.of(model, eos_token_id)
    stepper = begin(model, input_ids, attention_mask)
    batch, offset = len(input_ids), torch.arange(len(input_ids))[:, None] * num_beams
    candidates = max(2, 1 + (0 if stops.eos is None else len(stops.eos))) * num_beams
    sums = torch.zeros(batch, num_beams)
    sums[:, 1:] = NEVER  # the beams are all the prompt as yet: only one of them counts
    finished, improvable = _Finished(batch, num_beams), torch.ones(batch, 1, dtype=torch.bool)
    in_place = torch.arange(batch * num_beams)
    history: list[tuple[Tensor, Tensor]] = []
    steps: list[BeamStep] = []

    logits = stepper.logits()
    stepper.repeat(num_beams)
    logits = logits.repeat_interleave(num_beams, dim=0)
    for step in range(max_new_tokens):
        totals = (logits.log_softmax(-1).view(batch, num_beams, -1) + sums[..., None]).flatten(1)
        scores, index = totals.topk(candidates)
        vocab_size = totals.shape[1] // num_beams
        parents, tokens = index // vocab_size, index % vocab_size
        is_last = step + 1 == max_new_tokens
        ends = stops.ends(tokens) | is_last

        # The beams of the next step: the best that go on.
        sums, kept = (scores + ends * NEVER).topk(num_beams)
        beam_tokens, beam_parents = tokens.gather(1, kept), parents.gather(1, kept)

        # Texts that end here; of the candidates only the first `num_beams` may.
        if bool(ends.any()):
            full = finished.there.all(1, keepdim=True) & (early_stopping is True)
            finals = ends[:, :num_beams]
            final_scores = scores[:, :num_beams] / (step + 1) ** length_penalty
            final_scores = final_scores + (full.float() + (~improvable).float() + (~finals).float()) * NEVER
            place = torch.full_like(parents[:, :num_beams], step)
            places = torch.stack([place, parents[:, :num_beams], tokens[:, :num_beams]], dim=-1)
            finished.add(final_scores, finals, places)
        if with_steps:
            ended = [
                Ended(row, *(int(of[row, rank]) for of in (parents, tokens)), float(scores[row, rank]),
                      float(scores[row, rank]) / (step + 1) ** length_penalty)
                for row, rank in ends[:, :num_beams].nonzero().tolist()
            ]  # fmt: skip
            steps.append(BeamStep(beam_tokens, beam_parents, sums, ended))
        history.append((beam_parents, beam_tokens))

        improvable = _can_improve(
            improvable, sums, finished, step + 1, max_new_tokens, early_stopping, length_penalty
        )
        is_full = early_stopping is True and bool(finished.there.all())
        if is_last or is_full or not bool(improvable.any()) or bool(ends.all()):
            break
        rows = (beam_parents + offset).flatten()
        if not torch.equal(rows, in_place):
            stepper.reorder(rows)
        stepper.give(beam_tokens.flatten())
        logits = stepper.logits()

    sequences = _texts(finished, history, num_return_sequences, _fill(model, stops))
    prompt = prompt_of(model, input_ids).repeat_interleave(num_return_sequences, dim=0)
    return Beams(
        torch.cat([prompt, sequences], dim=1), finished.scores[:, :num_return_sequences].flatten(), steps
    )


def _can_improve(
    improvable: Tensor,
    sums: Tensor,
    finished: _Finished,
    length: int,
    longest: int,
    early_stopping: Any,
    penalty: float,
) -> Tensor:
    """`(batch, 1)`: whether the best beam may still become better than the worst finished text."""
    at = longest if early_stopping == "never" and penalty > 0 else length
    worst = finished.scores.min(1, keepdim=True).values.where(finished.there, NEVER)
    return improvable & (sums[:, :1] / at**penalty > worst).any(1, keepdim=True)


def _texts(finished: _Finished, history: list[tuple[Tensor, Tensor]], wanted: int, fill: int) -> Tensor:
    """`(batch * wanted, longest)`: the finished texts, read back along the pointers of the steps."""
    texts = []
    for row in range(len(finished.scores)):
        for step, beam, token in finished.places[row, :wanted].tolist():
            text = [token]
            for parents, tokens in reversed(history[:step]):
                text.append(int(tokens[row, beam]))
                beam = int(parents[row, beam])
            texts.append(text[::-1])
    longest = max(map(len, texts))
    return torch.tensor([text + [fill] * (longest - len(text)) for text in texts])


def _fill(model: Any, stops: Stops) -> int:
    """What the shorter texts end with; `generate` takes the end-of-text token where the padding token has
    the id 0.
    """
    pad = _setting(model, "pad_token_id")
    return pad or int(stops.eos[0]) if stops.eos is not None else -1


def check_beams(num_beams: int, wanted: int, vocab_size: int) -> None:
    """
    Raises:
        UserError: no beam, more beams than tokens in the vocabulary, or more texts asked for than beams.
    """
    if num_beams < 1:
        raise UserError(f"num_beams is {num_beams}; it must be 1 or more")
    if num_beams > vocab_size:
        raise UserError(
            f"num_beams is {num_beams}; the vocabulary has {vocab_size} tokens, so at most as many beams differ"
        )
    if wanted > num_beams:
        raise UserError(f"num_return_sequences is {wanted}; {num_beams} beams find at most {num_beams}")
