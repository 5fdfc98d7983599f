"""Implements what several models share: a classifier's loss, and encoder-decoders with a next-token head.

An encoder-decoder inherits from `Seq2SeqModel`, and its language model from `Seq2SeqHead`, before its own
base class:

    class LLMPathT5Model(Seq2SeqModel, LLMPathT5PreTrainedModel): ...
    class LLMPathT5ForConditionalGeneration(Seq2SeqHead, LLMPathT5PreTrainedModel, GenerationMixin): ...

transformers also has generic heads (`transformers.modeling_layers`). They fit none of these models: they
support neither `token_type_ids` nor `num_items_in_batch`, and they name a classifier's weights differently.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache
from transformers.masking_utils import create_bidirectional_mask, create_causal_mask
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput, Seq2SeqModelOutput
from transformers.utils import can_return_tuple
from transformers.utils.deprecation import deprecate_kwarg

IGNORED = -100  # the label that a loss skips


@contextmanager
def wrong_labels_named(labels: Tensor, classes: int) -> Iterator[None]:
    """Turns the `IndexError` of a loss whose label is out of range into a `ValueError` that names the label.

    On a GPU, such a label makes a kernel fail later instead.
    """
    try:
        yield
    except IndexError:
        wrong = [
            label for label in labels.flatten().tolist() if label != IGNORED and not 0 <= label < classes
        ]
        if not wrong:  # the IndexError had another cause
            raise
        raise ValueError(f"label {wrong[0]} is no class; labels run from 0 to {classes - 1}") from None


def classifier_loss(
    model: PreTrainedModel, logits: Tensor, labels: Tensor | None, num_items_in_batch: Tensor | int | None
) -> Tensor | None:
    """Returns the loss of a sequence or token classifier by transformers' rules, or None without labels.

    Args:
        model: its class selects the loss function; `config.num_labels` and `config.problem_type` select the
            variant.
        logits: `(batch, num_labels)`, or `(batch, length, num_labels)` for a token classifier.
        labels: classes `(batch,)` or `(batch, length)`, or numbers for a regression; -100 is skipped.
        num_items_in_batch: divides the summed loss in place of the number of labels, for accumulated batches.

    Raises:
        ValueError: a label is not a class.
    """
    if labels is None:
        return None
    with wrong_labels_named(labels, logits.shape[-1]):
        # A sequence classifier's loss reads pooled_logits, a token classifier's reads logits.
        return model.loss_function(
            logits=logits,
            pooled_logits=logits,
            labels=labels,
            config=model.config,
            num_items_in_batch=num_items_in_batch,
        )


def new_seq2seq_cache(config: Any) -> EncoderDecoderCache:
    """Returns an empty cache: one half for keys and values of the target, one for those of the source."""
    return EncoderDecoderCache(DynamicCache(config=config), DynamicCache(config=config))


def target_cache(cache: Cache | None) -> Cache | None:
    """Returns the half of the cache that holds the target, which self-attention reads."""
    return cache.self_attention_cache if isinstance(cache, EncoderDecoderCache) else cache


def decoder_masks(
    config: Any,
    hidden_states: Tensor,
    attention_mask: Tensor | None,
    cache: Cache | None,
    encoder_hidden_states: Tensor | None,
    encoder_attention_mask: Tensor | None,
) -> tuple[Tensor | None, Tensor | None]:
    """Returns the target's causal mask and the source's padding mask, for any attention implementation."""
    # (batch, 1, length, past + length) and (batch, 1, length, source), or None where no mask is needed
    causal = create_causal_mask(config, hidden_states, attention_mask, target_cache(cache))
    source = create_bidirectional_mask(config, hidden_states, encoder_attention_mask, encoder_hidden_states)
    return causal, source


class Seq2SeqModel(nn.Module):
    """The forward pass of an encoder-decoder that has an `encoder` and a `decoder`."""

    encoder: Any
    decoder: Any

    def decode(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        source: BaseModelOutput,
        source_mask: Tensor | None,
        inputs_embeds: Tensor | None,
        **kwargs: Any,
    ) -> Any:
        """Runs the decoder on the target so far; models whose decoder takes other inputs override this."""
        return self.decoder(
            input_ids, attention_mask, source.last_hidden_state, source_mask, inputs_embeds, **kwargs
        )

    @deprecate_kwarg("past_key_values", "6.0.0", new_name="cache")
    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: BaseModelOutput | tuple[Tensor, ...] | None = None,
        cache: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> Seq2SeqModelOutput:
        """Encodes the source, unless that has been done, and decodes the target.

        Args:
            input_ids, attention_mask: the source, `(batch, source)`.
            decoder_input_ids, decoder_attention_mask: the target so far, `(batch, target)`. If it is missing,
                the decoder reads the source as well.
            encoder_outputs: the encoder's output, if the source has been encoded before.
            cache: the decoder's memory of earlier steps.
        """
        if encoder_outputs is None:
            encoder_outputs = self.encoder(input_ids, attention_mask, inputs_embeds, **kwargs)
        elif not isinstance(encoder_outputs, BaseModelOutput):
            encoder_outputs = BaseModelOutput(*encoder_outputs)  # type: ignore[arg-type]
        assert isinstance(encoder_outputs, BaseModelOutput)
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids, decoder_inputs_embeds = input_ids, inputs_embeds
            decoder_attention_mask = attention_mask
        outputs = self.decode(
            decoder_input_ids,
            decoder_attention_mask,
            encoder_outputs,
            attention_mask,
            decoder_inputs_embeds,
            cache=cache,
            use_cache=use_cache,
            **kwargs,
        )
        return Seq2SeqModelOutput(
            last_hidden_state=outputs.last_hidden_state,  # (batch, target, hidden_size)
            decoder_hidden_states=outputs.hidden_states,
            decoder_attentions=outputs.attentions,  # per layer (batch, heads, target, target)
            cross_attentions=outputs.cross_attentions,  # per layer (batch, heads, target, source)
            encoder_last_hidden_state=encoder_outputs.last_hidden_state,  # (batch, source, hidden_size)
            encoder_hidden_states=encoder_outputs.hidden_states,
            encoder_attentions=encoder_outputs.attentions,
            cache=outputs.cache,
        )


class Seq2SeqHead(nn.Module):
    """The forward pass of an encoder-decoder `model` with a next-token head `lm_head`."""

    config: Any
    model: Any
    lm_head: nn.Linear

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """Returns the decoder's inputs for teacher forcing: at each position it reads the true token before.

        The inputs are the start token followed by the labels, shifted by one step, `(batch, target)`.
        """
        start = labels.new_full((labels.shape[0], 1), self.config.decoder_start_token_id or 0)  # (batch, 1)
        shifted = torch.cat([start, labels[:, :-1]], dim=1)  # (batch, target)
        # -100 marks labels that the loss skips, but it has no embedding, so padding replaces it.
        return shifted.masked_fill(shifted == IGNORED, self.config.pad_token_id or 0)

    def next_token_logits(self, outputs: Seq2SeqModelOutput, source: Any) -> Tensor:
        """Returns the logits `(batch, target, vocab_size)`; models that need more steps override this."""
        return self.lm_head(outputs.last_hidden_state)

    @deprecate_kwarg("past_key_values", "6.0.0", new_name="cache")
    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,  # the source, (batch, source)
        attention_mask: Tensor | None = None,  # (batch, source), 0 for padding
        decoder_input_ids: Tensor | None = None,  # the target so far, (batch, target)
        encoder_outputs: BaseModelOutput | tuple[Tensor, ...] | None = None,
        labels: Tensor | None = None,
        cache: Cache | None = None,
        use_cache: bool | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: Any,
    ) -> Seq2SeqLMOutput:
        """Computes the logits of the next token at every position of the target, and the loss.

        Args:
            labels: the target `(batch, target)`; -100 is skipped. Without `decoder_input_ids`, the decoder
                reads the labels shifted by one step.
            num_items_in_batch: divides the summed loss in place of the number of labels, for accumulated
                batches.

        The other arguments are those of `Seq2SeqModel`.
        """
        if labels is not None:
            use_cache = False  # teacher forcing computes all positions at once; no later step reads a cache
            if decoder_input_ids is None and kwargs.get("decoder_inputs_embeds") is None:
                decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        if encoder_outputs is None:
            for_encoder = {name: value for name, value in kwargs.items() if not name.startswith("decoder_")}
            encoder_outputs = self.model.encoder(input_ids, attention_mask, **for_encoder)
        outputs = self.model(
            input_ids,
            attention_mask,
            decoder_input_ids,
            encoder_outputs=encoder_outputs,
            cache=cache,
            use_cache=use_cache,
            **kwargs,
        )
        logits = self.next_token_logits(outputs, encoder_outputs)  # (batch, target, vocab_size)
        loss = None
        if labels is not None:
            # Not `self.loss_function`: transformers would choose the loss by the name of the class, and that
            # loss shifts the labels, as a causal model needs it. Here they match the logits already.
            loss = nn.functional.cross_entropy(
                logits.flatten(0, 1).float(),  # (batch * target, vocab_size)
                labels.flatten(),  # (batch * target,)
                ignore_index=IGNORED,
                reduction="mean" if num_items_in_batch is None else "sum",
            )
            if num_items_in_batch is not None:
                loss = loss / num_items_in_batch
        return Seq2SeqLMOutput(
            loss=loss,
            logits=logits,
            decoder_hidden_states=outputs.decoder_hidden_states,
            decoder_attentions=outputs.decoder_attentions,
            cross_attentions=outputs.cross_attentions,
            encoder_last_hidden_state=outputs.encoder_last_hidden_state,
            encoder_hidden_states=outputs.encoder_hidden_states,
            encoder_attentions=outputs.encoder_attentions,
            cache=outputs.cache,
        )
