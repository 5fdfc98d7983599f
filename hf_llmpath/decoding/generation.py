"""Decoding from scratch: a model that gives next-token logits becomes one that writes. The loop, greedy
and sampled.

    tokens = greedy(model, input_ids, attention_mask, max_new_tokens=100)

equals `model.generate(...)` token for token, for decoders (Transformer or recurrent) and
encoder-decoders, in batches padded on the left. Beam search stands in `beam_search.py`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from .bare_steps import BareStepper
from .sampling import GREEDY, Sampling


class Stepper:
    """A model read token by token: the prompt once, then one token per step, with what was read kept in
    the cache.

    Args:
        model: `...ForCausalLM` or `...ForConditionalGeneration`, in evaluation mode.
        input_ids: `(batch, length)`: the prompt, padded on the left; of an encoder-decoder the source,
            padded on either side.
        attention_mask: `(batch, length)`, 0 for padding; all ones if none.
        use_cache: keep keys, values or states; without it each step reads everything again.

    Attributes:
        prompt: `(batch, length)`: what the written tokens follow: the prompt, or an encoder-decoder's
            start token.
    """

    def __init__(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor | None = None, use_cache: bool = True
    ):
        self.model, self.use_cache = model, use_cache
        self.mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        self.cache: Any = None
        self.fixed: dict[str, Any] = {}
        self.is_encoder_decoder = bool(model.config.is_encoder_decoder)
        if self.is_encoder_decoder:
            with torch.no_grad():
                read = model.get_encoder()(input_ids=input_ids, attention_mask=self.mask)
            self.fixed = {"encoder_outputs": read}
        self.prompt = self._unread = prompt_of(model, input_ids)

    @torch.no_grad()
    def logits(self) -> Tensor:
        """`(batch, vocab_size)` in 32 bits: of the token after all that was given so far."""
        if self.is_encoder_decoder:
            tokens = {"decoder_input_ids": self._unread}
        else:
            tokens = {"input_ids": self._unread, "logits_to_keep": 1}
        output = self.model(
            **tokens, **self.fixed, attention_mask=self.mask, cache=self.cache, use_cache=self.use_cache
        )
        self.cache = output.cache if self.use_cache else None
        return output.logits[:, -1].float()

    def give(self, tokens: Tensor) -> None:
        """Appends a token `(batch,)` to each text."""
        column = tokens[:, None]
        self._unread = column if self.use_cache else torch.cat([self._unread, column], dim=1)
        if not self.is_encoder_decoder:
            self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=1)

    def repeat(self, times: int) -> None:
        """Every text becomes `times` texts that go different ways from here."""
        self._map(lambda tensor: tensor.repeat_interleave(times, dim=0))
        if self.cache is not None:
            batch = len(self.mask) // times
            self.cache.reorder_cache(torch.arange(batch).repeat_interleave(times))

    def reorder(self, rows: Tensor) -> None:
        """Text i goes on from what text `rows[i]` was."""
        if self.cache is not None:
            self.cache.reorder_cache(rows)
        else:
            self._unread = self._unread[rows]

    def _map(self, change: Any) -> None:
        self.mask, self._unread = change(self.mask), change(self._unread)
        if self.fixed:
            read = self.fixed["encoder_outputs"]
            self.fixed = {
                "encoder_outputs": type(read)(
                    **{name: change(value) for name, value in read.items() if isinstance(value, Tensor)}
                )
            }


def begin(
    model: Any, input_ids: Tensor, attention_mask: Tensor | None = None, use_cache: bool = True
) -> Stepper | BareStepper:
    """The stepper that is fastest for this model."""
    if use_cache and BareStepper.fits(model):
        return BareStepper(model, input_ids, attention_mask)
    return Stepper(model, input_ids, attention_mask, use_cache)


@dataclass(frozen=True)
class Stops:
    """When a text ends.

    Attributes:
        eos: ids that end it `(n,)`; none: only the number of tokens does.
        pad: what fills the rows that ended before the others.
    """

    eos: Tensor | None
    pad: int

    @classmethod
    def of(cls, model: nn.Module, eos_token_id: int | list[int] | None = None) -> "Stops":
        """Those of the model, as its generation config and then its config have them."""
        eos = _setting(model, "eos_token_id") if eos_token_id is None else eos_token_id
        ids = None if eos is None else torch.tensor([eos] if isinstance(eos, int) else list(eos))
        pad = _setting(model, "pad_token_id")
        return cls(ids, pad if pad is not None else 0 if ids is None else int(ids[0]))

    def ends(self, tokens: Tensor) -> Tensor:
        """Boolean of the shape of `tokens`: where a text ends."""
        return (
            torch.zeros_like(tokens, dtype=torch.bool) if self.eos is None else torch.isin(tokens, self.eos)
        )


def stream(
    model: Any,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    sampling: Sampling = GREEDY,
    max_new_tokens: int = 100,
    eos_token_id: int | list[int] | None = None,
    generator: torch.Generator | None = None,
    use_cache: bool = True,
    reader: Callable[..., Stepper | BareStepper] = begin,
) -> Iterator[Tensor]:
    """Yields one token `(batch,)` per step, until each row has ended or `max_new_tokens` are written.

    Args:
        model, input_ids, attention_mask, use_cache: see `Stepper`.
        sampling: how a token is chosen.
        eos_token_id: what ends a text; the model's own if none.
        generator: of the draws; torch's own if none.
        reader: makes the stepper.

    Raises:
        UserError: fewer than one new token, or an empty prompt.
    """
    _check(input_ids, max_new_tokens)
    stepper = reader(model, input_ids, attention_mask, use_cache)
    stops, choose = Stops.of(model, eos_token_id), sampling.chooser(generator)
    writes = torch.ones(len(input_ids), dtype=torch.bool)
    for step in range(max_new_tokens):
        tokens = choose(stepper.logits()).where(writes, stops.pad)
        yield tokens
        writes = writes & ~stops.ends(tokens)
        if step + 1 == max_new_tokens or not writes.any():
            return
        stepper.give(tokens)


def greedy(model: Any, input_ids: Tensor, attention_mask: Tensor | None = None, **options: Any) -> Tensor:
    """The likeliest token at each step. `options` as in `stream`.

    Returns:
        `(batch, length + written)` with the prompt, of an encoder-decoder `(batch, 1 + written)` with the
        start token.
    """
    return sample(model, input_ids, attention_mask, GREEDY, **options)


def sample(
    model: Any,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008 - frozen
    **options: Any,
) -> Tensor:
    """A token drawn at each step. With torch's own generator in the same state it draws what
    `generate(do_sample=True)` does.

    Returns as `greedy` does.
    """
    written = list(stream(model, input_ids, attention_mask, sampling, **options))
    return torch.cat([prompt_of(model, input_ids), torch.stack(written, dim=1)], dim=1)


def prompt_of(model: Any, input_ids: Tensor) -> Tensor:
    """What the answer of `generate` begins with: the prompt, or an encoder-decoder's start token."""
    if not model.config.is_encoder_decoder:
        return input_ids
    start = _setting(model, "decoder_start_token_id")
    return input_ids.new_full(
        (len(input_ids), 1), _setting(model, "bos_token_id") if start is None else start
    )


def _setting(model: Any, name: str) -> Any:
    for config in (getattr(model, "generation_config", None), model.config):
        if getattr(config, name, None) is not None:
            return getattr(config, name)
    return None


def _check(input_ids: Tensor, max_new_tokens: int) -> None:
    if max_new_tokens < 1:
        raise UserError(f"max_new_tokens is {max_new_tokens}; it must be 1 or more")
    if input_ids.shape[1] == 0:
        raise UserError("the prompt has no token; begin with the model's begin-of-text token")
