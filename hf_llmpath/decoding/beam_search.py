"""Implements beam search, which finds likely texts by keeping the `num_beams` best beginnings at each step.

    beams = beam_search(model, input_ids, attention_mask, num_beams=4)
    beams.sequences                          # as model.generate(..., num_beams=4)

Each step computes the next-token log-probabilities of all beams at once, adds the sum that each beam has so
far, and keeps the best of all `num_beams * vocab_size` continuations. A continuation that ends a text leaves
the beams and competes with the finished texts; its score is its sum divided by length^length_penalty (Wu et
al. 2016, section 7, with a plain length). The stopping rules are those of transformers, and the results are
equal.

Three things make this search faster than the one in transformers: it reads the prompt once, not once per
beam; it stores texts as pointers from each step to the one before; and it does not touch the cache while the
beams keep their order.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ..errors import UserError
from .generation import Stops, _check, _setting, begin, prompt_of

NEVER = -1.0e9  # below every sum of log-probabilities


class Ended(NamedTuple):
    """A text that has ended.

    Its fields are the row, the beam of the previous step that it continues, its last token, the sum of its
    log-probabilities, and its score, which is that sum / length^length_penalty.
    """

    row: int
    parent: int
    token: int
    log_probability: float
    score: float


@dataclass(frozen=True)
class BeamStep:
    """The beams that one step kept; each tensor is `(batch, num_beams)`.

    Attributes:
        tokens: the new token of each beam.
        parents: the beam of the previous step that each beam continues.
        log_probabilities: log-probabilities of the whole texts; after the last step, when no text continues,
            they are below `NEVER / 2`.
        ended: texts that ended in this step.
    """

    tokens: Tensor
    parents: Tensor
    log_probabilities: Tensor
    ended: list[Ended] = field(default_factory=list)


@dataclass(frozen=True)
class Beams:
    """The best texts that a search found.

    Attributes:
        sequences: `(batch * num_return_sequences, length)`, including the prompt, as `generate` returns them.
        scores: `(batch * num_return_sequences,)`, log-probability / length^length_penalty.
        steps: the beams that each step kept, for drawing the search; empty unless requested.
    """

    sequences: Tensor
    scores: Tensor
    steps: list[BeamStep]


class _Finished:
    """The best `num_beams` finished texts of each row.

    A text is stored as the place where it ended: the step, the beam of the previous step, and the last token.
    """

    def __init__(self, batch: int, beams: int):
        self.scores = torch.full((batch, beams), NEVER)
        self.exists = torch.zeros(batch, beams, dtype=torch.bool)
        self.ends = torch.zeros(batch, beams, 3, dtype=torch.long)

    def add(self, scores: Tensor, exists: Tensor, ends: Tensor) -> None:
        """Adds texts: scores `(batch, n)`, below `NEVER` where not `exists`, and ends `(batch, n, 3)`."""
        # Keep the best: (batch, beams + n) -> (batch, beams).
        scores, best = torch.cat([self.scores, scores], dim=1).topk(self.scores.shape[1])
        self.scores = scores
        self.exists = torch.cat([self.exists, exists], dim=1).gather(1, best)  # (batch, beams)
        # best (batch, beams, 1) selects whole triples: (batch, beams, 3)
        self.ends = torch.cat([self.ends, ends], dim=1).take_along_dim(best[..., None], dim=1)


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
    """Finds the best texts with a search that keeps `num_beams` beams.

    Args:
        model, input_ids, attention_mask: see `generation.Stepper`.
        num_beams: number of beginnings kept at each step.
        max_new_tokens: number of new tokens after which a text is cut off.
        length_penalty: exponent of the length by which a finished text's log-probability is divided; above 0
            it favors long texts.
        early_stopping: when the search stops. With `True`, it stops once there are `num_beams` finished
            texts; with `False`, once the best beam, at its present length, is no better than the worst of
            them; with `"never"`, once the best beam could not become better at any length.
        num_return_sequences: number of texts returned for each prompt, the best first.
        eos_token_id: token or tokens that end a text; the model's own if None.
        with_steps: whether to return the beams of each step as well.

    Raises:
        UserError: there are no beams, more beams than tokens in the vocabulary, or fewer beams than requested
            texts.
    """
    _check(input_ids, max_new_tokens)
    check_beams(num_beams, num_return_sequences, model.config.get_text_config().vocab_size)
    stops = Stops.of(model, eos_token_id)
    stepper = begin(model, input_ids, attention_mask)
    # offset (batch, 1): index of each row's first beam among all beams
    batch, offset = len(input_ids), torch.arange(len(input_ids))[:, None] * num_beams
    # With this many candidates, `num_beams` of them continue even if every beam's ways to end are among them.
    candidates = max(2, 1 + (0 if stops.eos is None else len(stops.eos))) * num_beams
    sums = torch.zeros(batch, num_beams)
    sums[:, 1:] = NEVER  # at first, all beams are the same prompt, so only one of them may count
    finished, improvable = _Finished(batch, num_beams), torch.ones(batch, 1, dtype=torch.bool)
    in_place = torch.arange(batch * num_beams)
    history: list[tuple[Tensor, Tensor]] = []
    steps: list[BeamStep] = []

    logits = stepper.logits()
    stepper.repeat(num_beams)
    logits = logits.repeat_interleave(num_beams, dim=0)  # (batch * beams, vocab)
    for step in range(max_new_tokens):
        # (batch * beams, vocab) -> (batch, beams, vocab) -> (batch, beams * vocab)
        totals = (logits.log_softmax(-1).view(batch, num_beams, -1) + sums[..., None]).flatten(1)
        scores, index = totals.topk(candidates)  # (batch, candidates)
        vocab_size = totals.shape[1] // num_beams
        parents, tokens = index // vocab_size, index % vocab_size  # (batch, candidates) each
        is_last = step + 1 == max_new_tokens
        ends = stops.ends(tokens) | is_last

        # The beams of the next step are the best candidates that have not ended, (batch, beams) each.
        sums, kept = (scores + ends * NEVER).topk(num_beams)  # NEVER pushes ended texts to the end
        beam_tokens, beam_parents = tokens.gather(1, kept), parents.gather(1, kept)

        # A text may end here only if it is among the first `num_beams` candidates, as in transformers.
        if bool(ends.any()):
            full = finished.exists.all(1, keepdim=True) & (early_stopping is True)
            finals = ends[:, :num_beams]  # (batch, beams)
            final_scores = scores[:, :num_beams] / (step + 1) ** length_penalty  # log P / length^penalty
            # No text may enter a row that is complete or cannot improve, and only finished texts may.
            final_scores = final_scores + (full.float() + (~improvable).float() + (~finals).float()) * NEVER
            steps_ended = torch.full_like(parents[:, :num_beams], step)
            where = [steps_ended, parents[:, :num_beams], tokens[:, :num_beams]]
            finished.add(final_scores, finals, torch.stack(where, dim=-1))  # (batch, beams, 3)
        if with_steps:
            ended = [
                Ended(row, int(parents[row, rank]), int(tokens[row, rank]), score, score / length)
                for row, rank in ends[:, :num_beams].nonzero().tolist()
                for score, length in [(float(scores[row, rank]), (step + 1) ** length_penalty)]
            ]
            steps.append(BeamStep(beam_tokens, beam_parents, sums, ended))
        history.append((beam_parents, beam_tokens))

        improvable = _can_improve(
            improvable, sums, finished, step + 1, max_new_tokens, early_stopping, length_penalty
        )
        is_full = early_stopping is True and bool(finished.exists.all())
        if is_last or is_full or not bool(improvable.any()) or bool(ends.all()):
            break
        rows = (beam_parents + offset).flatten()  # (batch * beams,)
        if not torch.equal(rows, in_place):  # reordering the cache copies it
            stepper.reorder(rows)
        stepper.give(beam_tokens.flatten())  # (batch * beams,)
        logits = stepper.logits()

    sequences = _texts(finished, history, num_return_sequences, _fill(model, stops))
    # (batch * num_return_sequences, prompt length)
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
    """Returns whether the best beam may still beat the worst finished text, `(batch, 1)`."""
    # With a positive penalty, the score of a beam with a fixed sum is highest at the greatest length.
    at = longest if early_stopping == "never" and penalty > 0 else length
    # (batch, beams): the worst score of the row, or NEVER in a place without a text
    worst = finished.scores.min(1, keepdim=True).values.where(finished.exists, NEVER)
    return improvable & (sums[:, :1] / at**penalty > worst).any(1, keepdim=True)


def _texts(finished: _Finished, history: list[tuple[Tensor, Tensor]], wanted: int, fill: int) -> Tensor:
    """Returns the finished texts, read back along the pointers of the steps, `(batch * wanted, longest)`."""
    texts = []
    for row in range(len(finished.scores)):
        for step, beam, token in finished.ends[row, :wanted].tolist():
            text = [token]
            for parents, tokens in reversed(history[:step]):
                text.append(int(tokens[row, beam]))
                beam = int(parents[row, beam])
            texts.append(text[::-1])
    longest = max(map(len, texts))
    # (batch * wanted, longest)
    return torch.tensor([text + [fill] * (longest - len(text)) for text in texts])


def _fill(model: Any, stops: Stops) -> int:
    """Returns the token that fills shorter texts: end of text if the padding id is 0, as in `generate`."""
    pad = _setting(model, "pad_token_id")
    return pad or int(stops.eos[0]) if stops.eos is not None else -1


def check_beams(num_beams: int, wanted: int, vocab_size: int) -> None:
    """Checks the sizes of a search.

    Raises:
        UserError: the sizes do not fit each other; see `beam_search`.
    """
    if num_beams < 1:
        raise UserError(f"num_beams is {num_beams}; it must be 1 or more")
    if num_beams > vocab_size:
        raise UserError(
            f"num_beams is {num_beams}; the vocabulary has {vocab_size} tokens, "
            "so at most as many beams differ"
        )
    if wanted > num_beams:
        raise UserError(f"num_return_sequences is {wanted}; {num_beams} beams find at most {num_beams}")
