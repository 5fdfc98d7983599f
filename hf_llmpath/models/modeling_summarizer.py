"""Implements a recurrent encoder-decoder with attention and a copy mechanism.

    model = AutoModelForSeq2SeqLM.from_pretrained("runs/09-attention/model")
    model.generate(**tokenizer(document, return_tensors="pt"), num_beams=4)

The encoder reads the source in both directions. The decoder (Luong et al. 2015) first runs over the whole
target. Then all of its states attend to the source in one batched product: no attention happens inside the
recurrence. The cache of `generate()` holds the decoder's states and the keys and values of the source. The
layers are in layers_summarizer.py, and the forward passes of model and head are in layers_heads.py.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin
from transformers import initialization as init
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPastAndCrossAttentions
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .configuration_summarizer import LLMPathSummarizerConfig
from .layers_heads import Seq2SeqHead, Seq2SeqModel
from .layers_recurrence import RecurrentCache, RecurrentLayer, RecurrentPreTrainedModel
from .layers_summarizer import BidirectionalLayer, SourceAttention, gather_rows


@dataclass
class LLMPathSummarizerEncoderOutput(BaseModelOutput):
    """The encoder's output.

    Args:
        last_hidden_state: `(batch, source, hidden)`, zero at padding.
        final_state: `(batch, hidden)`, the state of each direction after it has read the whole source.
        source_ids: `(batch, source)`, the tokens that the decoder can copy.
    """

    final_state: Tensor | None = None
    source_ids: Tensor | None = None


class LLMPathSummarizerPreTrainedModel(RecurrentPreTrainedModel):
    config: LLMPathSummarizerConfig
    base_model_prefix = "model"
    _no_split_modules = ["RecurrentLayer", "SourceAttention"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        else:
            super()._init_weights(module)


class LLMPathSummarizerEncoder(LLMPathSummarizerPreTrainedModel):
    """Embeddings and a stack of bidirectional recurrent layers."""

    _can_record_outputs = {"hidden_states": BidirectionalLayer}

    def __init__(self, config: LLMPathSummarizerConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size, config.pad_token_id)
        sizes = [config.embedding_size] + [config.hidden_size] * (config.num_hidden_layers - 1)
        self.layers = nn.ModuleList(
            [BidirectionalLayer(config.cell, size, config.hidden_size) for size in sizes]
        )
        self.dropout = nn.Dropout(config.dropout)
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs,
    ) -> LLMPathSummarizerEncoderOutput:
        """Encodes the source.

        Args:
            input_ids: `(batch, source)`, or `inputs_embeds` `(batch, source, embedding_size)`.
            attention_mask: `(batch, source)`, 0 for padding, which may be anywhere and never changes the
                result.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        hidden_states = self.dropout(inputs_embeds)  # (batch, source, embedding_size)
        order = reverse = None
        if attention_mask is not None and not bool(attention_mask.all()):
            # Move the tokens of each row to its left end, so that no step of the recurrence needs a mask.
            mask = attention_mask.to(torch.uint8)
            order = mask.argsort(dim=1, descending=True, stable=True)  # (batch, source), tokens first
            lengths = mask.sum(1, keepdim=True, dtype=torch.long)  # (batch, source) -> (batch, 1)
            steps = torch.arange(mask.shape[1], device=mask.device).expand_as(order)  # (batch, source)
            reverse = torch.where(steps < lengths, lengths - 1 - steps, steps)  # padding stays in place
            hidden_states = gather_rows(hidden_states, order)  # (batch, source, embedding_size)
        for index, layer in enumerate(self.layers):
            hidden_states = layer(hidden_states, reverse)  # (batch, source, hidden)
            if index + 1 < len(self.layers):
                hidden_states = self.dropout(hidden_states)
        half = self.config.hidden_size // 2
        # The forward half has read the whole source at the last token, the backward half at the first.
        if order is None:
            last = hidden_states[:, -1, :half]  # (batch, hidden / 2)
        else:
            # (batch, 1, hidden / 2) -> (batch, hidden / 2); the clamp admits a row without any token
            last = gather_rows(hidden_states[..., :half], (lengths - 1).clamp_min(0)).squeeze(1)
        final_state = torch.cat([last, hidden_states[:, 0, half:]], dim=-1)  # (batch, hidden)
        if order is not None:  # move the tokens back, and set the states of padding to zero
            hidden_states = gather_rows(hidden_states, order.argsort(dim=1))  # the inverse permutation
            hidden_states = hidden_states * mask.unsqueeze(-1).to(last.dtype)  # (batch, source, hidden)
        return LLMPathSummarizerEncoderOutput(hidden_states, final_state=final_state, source_ids=input_ids)


class LLMPathSummarizerDecoder(LLMPathSummarizerPreTrainedModel):
    """Embeddings, a stack of recurrent layers, and attention to the source after the last layer."""

    _can_record_outputs = {
        "hidden_states": RecurrentLayer,
        "cross_attentions": OutputRecorder(SourceAttention, index=1),
    }

    def __init__(self, config: LLMPathSummarizerConfig):
        super().__init__(config)
        hidden = config.hidden_size
        self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size, config.pad_token_id)
        sizes = [config.embedding_size] + [hidden] * (config.num_hidden_layers - 1)
        self.layers = nn.ModuleList([RecurrentLayer(config.cell, size, hidden) for size in sizes])
        tensors = 2 if config.cell == "lstm" else 1  # in the state of one layer: (h, c) or (h,)
        self.bridge = nn.Linear(hidden, tensors * config.num_hidden_layers * hidden)
        self.attention = SourceAttention(config) if config.attention != "none" else None
        self.combine = nn.Linear(2 * hidden, config.embedding_size)
        self.dropout = nn.Dropout(config.dropout)
        self.gradient_checkpointing = False
        self.post_init()

    def first_states(self, final_state: Tensor | None) -> list[tuple[Tensor, ...]]:
        """Returns each layer's initial state s_0 = tanh(W h + b) from the encoder's final state h.

        Bahdanau et al. 2015, appendix A.2.2.
        """
        # (batch, tensors * layers * hidden) -> a tuple of (batch, hidden)
        tensors = torch.tanh(self.bridge(final_state)).split(self.config.hidden_size, dim=-1)
        each = len(tensors) // len(self.layers)  # one tensor per layer, or two for an LSTM
        return [tensors[index * each : (index + 1) * each] for index in range(len(self.layers))]

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_outputs: LLMPathSummarizerEncoderOutput | None = None,
        encoder_attention_mask: Tensor | None = None,
        cache: EncoderDecoderCache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs,
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """Decodes the target, or its newest tokens.

        Args:
            input_ids: `(batch, target)`, or `inputs_embeds` `(batch, target, embedding_size)`.
            attention_mask: `(batch, past + target)`, 0 for padding of the target.
            encoder_outputs: the encoder's output.
            encoder_attention_mask: `(batch, source)`, 0 for padding of the source.
            cache: the decoder's states so far, and the keys and values of the source.

        Returns:
            `last_hidden_state` `(batch, target, embedding_size)`: tanh(W [context; state] + b), Luong et al.
            2015, equation 5. `cross_attentions` has one entry, the weights `(batch, 1, target, source)`. With
            attention, it is present even if not asked for: the copy mechanism and the pictures need it.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of decoder_input_ids and decoder_inputs_embeds")
        if not isinstance(encoder_outputs, LLMPathSummarizerEncoderOutput):
            raise ValueError("encoder_outputs must be what this model's encoder returned")
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        length = inputs_embeds.shape[1]
        if use_cache and cache is None:
            cache = EncoderDecoderCache(RecurrentCache(self.config.num_hidden_layers), DynamicCache())
        if attention_mask is not None:
            attention_mask = attention_mask[:, -length:]  # (batch, past + target) -> (batch, target)
            # Without a mask, a recurrent layer takes its fast path.
            attention_mask = None if bool(attention_mask.all()) else attention_mask

        state_cache = _state_cache(cache)
        if state_cache is not None and state_cache.get_seq_length():
            states: list = [layer.state for layer in state_cache.layers]
        else:
            states = self.first_states(encoder_outputs.final_state)  # tuples of (batch, hidden)
        hidden_states = self.dropout(inputs_embeds)
        for index, layer in enumerate(self.layers):
            # (batch, target, hidden)
            hidden_states, state, _ = layer(hidden_states, states[index], attention_mask)
            if state_cache is not None:
                state_cache.layers[index].update(state, length)
            hidden_states = self.dropout(hidden_states)
        context, weights = self._attend(hidden_states, encoder_outputs, encoder_attention_mask, cache)
        combined = torch.cat([context, hidden_states], dim=-1)  # (batch, target, 2 * hidden)
        hidden_states = self.dropout(torch.tanh(self.combine(combined)))  # (batch, target, embedding_size)
        return BaseModelOutputWithPastAndCrossAttentions(hidden_states, cross_attentions=weights, cache=cache)

    def _attend(self, states: Tensor, encoder_outputs, mask: Tensor | None, cache):
        # Without attention, every step has the same context: (batch, hidden) -> (batch, target, hidden).
        if self.attention is None:
            return encoder_outputs.final_state.unsqueeze(1).expand_as(states), None
        # Keys and values (batch, 1, source, hidden) are computed once per source.
        if cache is not None and cache.is_updated.get(0):
            source = cache.cross_attention_cache.layers[0]
            keys, values = source.keys, source.values
        else:
            keys, values = self.attention.keys_and_values(encoder_outputs.last_hidden_state)
            if cache is not None:
                keys, values = cache.cross_attention_cache.update(keys, values, 0)
                cache.is_updated[0] = True
        context, weights = self.attention(states, keys, values, mask)
        return context, (weights,)


def _state_cache(cache: EncoderDecoderCache | None) -> RecurrentCache | None:
    states = cache.self_attention_cache if cache is not None else None
    if states is not None and not isinstance(states, RecurrentCache):
        raise TypeError(f"the decoder keeps its states in a RecurrentCache, not in a {type(states).__name__}")
    return states


class LLMPathSummarizerModel(Seq2SeqModel, LLMPathSummarizerPreTrainedModel):
    """The encoder and the decoder, without a head."""

    _tied_weights_keys = {"decoder.embed_tokens.weight": "encoder.embed_tokens.weight"}

    def __init__(self, config: LLMPathSummarizerConfig):
        super().__init__(config)
        self.encoder = LLMPathSummarizerEncoder(config)
        self.decoder = LLMPathSummarizerDecoder(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.encoder.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.encoder.embed_tokens = self.decoder.embed_tokens = value  # type: ignore[assignment]

    def decode(self, input_ids, attention_mask, source, source_mask, inputs_embeds, **kwargs: Any):
        return self.decoder(
            input_ids, attention_mask, source, source_mask, inputs_embeds=inputs_embeds, **kwargs
        )


class LLMPathSummarizerForConditionalGeneration(
    Seq2SeqHead, LLMPathSummarizerPreTrainedModel, GenerationMixin
):
    """The encoder-decoder with a next-token head, and a gate that lets it copy tokens of the source."""

    _tied_weights_keys = {
        "model.decoder.embed_tokens.weight": "model.encoder.embed_tokens.weight",
        "lm_head.weight": "model.encoder.embed_tokens.weight",
    }

    def __init__(self, config: LLMPathSummarizerConfig):
        super().__init__(config)
        self.model = LLMPathSummarizerModel(config)
        self.lm_head = nn.Linear(config.embedding_size, config.vocab_size)
        self.copy_gate = nn.Linear(config.embedding_size, 1) if config.copy_mechanism else None
        self.post_init()

    def next_token_logits(self, outputs: Any, source: Any) -> Tensor:
        """Returns the logits `(batch, target, vocab_size)`; with copying, they are log-probabilities."""
        states = outputs.last_hidden_state
        logits = self.lm_head(states)
        if self.copy_gate is None:
            return logits
        if source.source_ids is None:
            raise ValueError("copy_mechanism needs the source's input_ids; inputs_embeds cannot be copied")
        # g = σ(w · state + b), (batch, target, 1). In 32 bits, because a logarithm of the mixture follows.
        gate = torch.sigmoid(self.copy_gate(states).float())
        return self._with_copies(logits, gate, outputs.cross_attentions[0], source.source_ids)

    @staticmethod
    def _with_copies(logits: Tensor, gate: Tensor, attentions: Tensor, source_ids: Tensor) -> Tensor:
        """Returns log P(w), where P(w) = (1 - g) P_vocab(w) + g Σ_{i: x_i = w} α_i.

        See et al. 2017, equation 9, with g in place of 1 - p_gen.

        Args:
            logits: the logits of P_vocab, `(batch, target, vocab_size)`.
            gate: the gate g, `(batch, target, 1)`.
            attentions: the attention weights α, `(batch, 1, target, source)`.
            source_ids: the source tokens x, `(batch, source)`.
        """
        weights = gate * attentions.squeeze(1).float()  # (batch, target, source)
        ids = source_ids.unsqueeze(1).expand_as(weights)  # (batch, target, source)
        # A word that occurs several times in the source gets the sum of its weights.
        mixture = ((1 - gate) * logits.float().softmax(-1)).scatter_add(2, ids, weights)
        # log 0 is -inf, so a word of probability 0 gets the smallest normal number instead.
        return mixture.clamp_min(torch.finfo(mixture.dtype).tiny).log().to(logits.dtype)
