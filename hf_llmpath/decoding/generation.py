"""Implements decoding from scratch: turns a next-token model into text, greedily or by sampling.

    tokens = greedy(model, input_ids, attention_mask, max_new_tokens=100)

The result equals that of `model.generate(...)` token for token, for decoders (Transformer or recurrent) and
encoder-decoders, in batches padded on the left. Beam search is in `beam_search.py`.
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
    """Feeds a model the prompt once and then one token per step, with all earlier steps cached.

    Args:
        model: a `...ForCausalLM` or `...ForConditionalGeneration`, in evaluation mode.
        input_ids: `(batch, length)`, the prompt, padded on the left; for an encoder-decoder, the source,
            padded on either side.
        attention_mask: `(batch, length)`, 0 for padding; all ones if None.
        use_cache: whether to keep keys, values, or states; otherwise, each step reads the whole text again.

    Attributes:
        prompt: `(batch, length)`, the tokens that the new tokens follow: the prompt, or an encoder-decoder's
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
        if self.is_encoder_decoder:  # the source does not change, so encode it once
            with torch.no_grad():
                encoded = model.get_encoder()(input_ids=input_ids, attention_mask=self.mask)
            self.fixed = {"encoder_outputs": encoded}
        self.prompt = self._unread = prompt_of(model, input_ids)

    @torch.no_grad()
    def logits(self) -> Tensor:
        """Computes the logits of the next token in 32 bits: `(batch, vocab_size)`."""
        tokens: dict[str, Any]
        if self.is_encoder_decoder:
            tokens = {"decoder_input_ids": self._unread}
        else:
            tokens = {"input_ids": self._unread, "logits_to_keep": 1}
        output = self.model(
            **tokens, **self.fixed, attention_mask=self.mask, cache=self.cache, use_cache=self.use_cache
        )
        self.cache = output.cache if self.use_cache else None
        return output.logits[:, -1].float()  # (batch, vocab_size)

    def give(self, tokens: Tensor) -> None:
        """Appends one token to each text; `tokens` is `(batch,)`."""
        column = tokens[:, None]  # (batch, 1)
        # Without a cache, all tokens are read again: (batch, length + 1)
        self._unread = column if self.use_cache else torch.cat([self._unread, column], dim=1)
        if not self.is_encoder_decoder:
            # (batch, length + 1)
            self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=1)

    def repeat(self, times: int) -> None:
        """Turns every text into `times` copies that may differ from here on."""
        # (batch, ...) -> (batch * times, ...)
        self._map(lambda tensor: tensor.repeat_interleave(times, dim=0))
        if self.cache is not None:
            batch = len(self.mask) // times
            # Rows 0, 0, ..., 1, 1, ...: (batch * times,)
            self.cache.reorder_cache(torch.arange(batch).repeat_interleave(times))

    def reorder(self, rows: Tensor) -> None:
        """Makes text i continue the former text `rows[i]`."""
        # Beams move only within a row, so the mask and the encoder's output stay as they are.
        if self.cache is not None:
            self.cache.reorder_cache(rows)
        else:
            self._unread = self._unread[rows]  # (batch, length)

    def _map(self, change: Any) -> None:
        self.mask, self._unread = change(self.mask), change(self._unread)
        if self.fixed:
            encoded = self.fixed["encoder_outputs"]
            tensors = {name: change(value) for name, value in encoded.items() if isinstance(value, Tensor)}
            self.fixed = {"encoder_outputs": type(encoded)(**tensors)}


def begin(
    model: Any, input_ids: Tensor, attention_mask: Tensor | None = None, use_cache: bool = True
) -> Stepper | BareStepper:
    """Returns the stepper that is fastest for this model."""
    if use_cache and BareStepper.fits(model):
        return BareStepper(model, input_ids, attention_mask)
    return Stepper(model, input_ids, attention_mask, use_cache)


@dataclass(frozen=True)
class Stops:
    """The rule that decides when a text ends.

    Attributes:
        eos: ids that end a text, `(n,)`; if None, only the number of tokens ends it.
        pad: id that fills rows that end before the others.
    """

    eos: Tensor | None
    pad: int

    @classmethod
    def of(cls, model: nn.Module, eos_token_id: int | list[int] | None = None) -> "Stops":
        """Takes the ids from the model's generation config or, if it has none, from its config."""
        eos = _setting(model, "eos_token_id") if eos_token_id is None else eos_token_id
        ids = None if eos is None else torch.tensor([eos] if isinstance(eos, int) else list(eos))
        pad = _setting(model, "pad_token_id")
        return cls(ids, pad if pad is not None else 0 if ids is None else int(ids[0]))

    def ends(self, tokens: Tensor) -> Tensor:
        """Returns where a text ends, as a boolean tensor with the shape of `tokens`."""
        if self.eos is None:
            return torch.zeros_like(tokens, dtype=torch.bool)
        return torch.isin(tokens, self.eos)


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
    """Yields one token `(batch,)` per step until every row has ended or `max_new_tokens` are written.

    Args:
        model, input_ids, attention_mask, use_cache: see `Stepper`.
        sampling: how a token is chosen.
        max_new_tokens: maximum number of tokens to write.
        eos_token_id: token or tokens that end a text; the model's own if None.
        generator: generator of the random draws; torch's own if None.
        reader: function that makes the stepper.

    Raises:
        UserError: `max_new_tokens` is below 1, or the prompt is empty.
    """
    _check(input_ids, max_new_tokens)
    stepper = reader(model, input_ids, attention_mask, use_cache)
    stops, choose = Stops.of(model, eos_token_id), sampling.chooser(generator)
    writes = torch.ones(len(input_ids), dtype=torch.bool)  # (batch,), True for rows that have not ended
    for step in range(max_new_tokens):
        tokens = choose(stepper.logits()).where(writes, stops.pad)  # (batch,)
        yield tokens
        writes = writes & ~stops.ends(tokens)
        if step + 1 == max_new_tokens or not writes.any():
            return
        stepper.give(tokens)


def greedy(model: Any, input_ids: Tensor, attention_mask: Tensor | None = None, **options: Any) -> Tensor:
    """Takes the most probable token at each step; `options` are those of `stream`.

    Returns:
        Token ids `(batch, length + written)`, including the prompt; for an encoder-decoder,
        `(batch, 1 + written)`, including the start token.
    """
    return sample(model, input_ids, attention_mask, GREEDY, **options)


def sample(
    model: Any,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008 - frozen
    **options: Any,
) -> Tensor:
    """Draws a token at each step; the draws equal those of `generate(do_sample=True)` from the same state.

    Returns:
        Token ids, as `greedy` does.
    """
    written = list(stream(model, input_ids, attention_mask, sampling, **options))
    tokens = torch.stack(written, dim=1)  # steps x (batch,) -> (batch, steps)
    return torch.cat([prompt_of(model, input_ids), tokens], dim=1)  # (batch, prompt + steps)


def prompt_of(model: Any, input_ids: Tensor) -> Tensor:
    """Returns the beginning of `generate`'s result: the prompt, or an encoder-decoder's start token."""
    if not model.config.is_encoder_decoder:
        return input_ids
    start = _setting(model, "decoder_start_token_id")
    start = _setting(model, "bos_token_id") if start is None else start
    return input_ids.new_full((len(input_ids), 1), start)  # (batch, 1)


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
