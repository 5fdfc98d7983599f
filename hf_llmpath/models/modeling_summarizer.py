"""A recurrent encoder-decoder with attention, as transformers models.

    model = AutoModelForSeq2SeqLM.from_pretrained("runs/09-attention/model")
    model.generate(**tokenizer(document, return_tensors="pt"), num_beams=4)

The encoder reads the source in both directions. The decoder (Luong et al. 2015) runs over the whole
target first, then all its states look at the source in one batched product: nothing of the attention
stands inside the recurrence. `generate()` carries the decoder's state and the keys and values of the
source along as the cache.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import (
    BaseModelOutput,
    BaseModelOutputWithPastAndCrossAttentions,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
)
from transformers.utils import can_return_tuple
from transformers.utils.deprecation import deprecate_kwarg
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .configuration_summarizer import LLMPathSummarizerConfig
from .layers_recurrence import RecurrentCache, RecurrentLayer, initialize_recurrent
from .layers_summarizer import BidirectionalLayer, LookBack, taken

IGNORED = -100  # label that the loss leaves out


@dataclass
class LLMPathSummarizerEncoderOutput(BaseModelOutput):
    """`last_hidden_state` `(batch, source, hidden)`, zero at padding; `final_state` `(batch, hidden)`,
    what the two directions knew when each had read everything; `source_ids` `(batch, source)`, for the
    decoder to copy from."""

    final_state: Tensor | None = None
    source_ids: Tensor | None = None


class LLMPathSummarizerPreTrainedModel(PreTrainedModel):
    config: LLMPathSummarizerConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _is_stateful = True
    _no_split_modules = ["RecurrentLayer", "LookBack"]
    _skip_keys_device_placement = ["cache"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, RecurrentLayer):
            initialize_recurrent(module, self.config.forget_bias)
        elif isinstance(module, nn.Embedding):
            init.uniform_(module.weight, -self.config.initializer_range, self.config.initializer_range)
            if module.padding_idx is not None and not getattr(module.weight, "_is_hf_initialized", False):
                module.weight[module.padding_idx] = 0
        elif isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # generate() would make a cache of attention layers


class LLMPathSummarizerEncoder(LLMPathSummarizerPreTrainedModel):
    """Embedding and a stack of bidirectional recurrent layers."""

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
        """
        Args:
            input_ids: `(batch, source)`, or `inputs_embeds` `(batch, source, embedding_size)`.
            attention_mask: `(batch, source)`, 0 for padding, wherever it is: it changes nothing.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        hidden_states = self.dropout(inputs_embeds)
        order = reverse = None
        if attention_mask is not None and not bool(attention_mask.all()):
            # The tokens of each row to its left end: then no step of the recurrence needs a mask.
            mask = attention_mask.to(torch.uint8)
            order = mask.argsort(dim=1, descending=True, stable=True)
            lengths = mask.sum(1, keepdim=True, dtype=torch.long)
            places = torch.arange(mask.shape[1], device=mask.device).expand_as(order)
            reverse = torch.where(places < lengths, lengths - 1 - places, places)
            hidden_states = taken(hidden_states, order)
        for index, layer in enumerate(self.layers):
            hidden_states = layer(hidden_states, reverse)
            if index + 1 < len(self.layers):
                hidden_states = self.dropout(hidden_states)
        half = self.config.hidden_size // 2
        if order is None:
            last = hidden_states[:, -1, :half]
        else:
            last = taken(hidden_states[..., :half], (lengths - 1).clamp_min(0)).squeeze(1)
        final_state = torch.cat([last, hidden_states[:, 0, half:]], dim=-1)
        if order is not None:
            hidden_states = taken(hidden_states, order.argsort(dim=1)) * mask.unsqueeze(-1).to(last.dtype)
        return LLMPathSummarizerEncoderOutput(hidden_states, final_state=final_state, source_ids=input_ids)


class LLMPathSummarizerDecoder(LLMPathSummarizerPreTrainedModel):
    """Embedding, a stack of recurrent layers, and the look at the source that follows them."""

    _can_record_outputs = {
        "hidden_states": RecurrentLayer,
        "cross_attentions": OutputRecorder(LookBack, index=1),
    }

    def __init__(self, config: LLMPathSummarizerConfig):
        super().__init__(config)
        hidden = config.hidden_size
        self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size, config.pad_token_id)
        sizes = [config.embedding_size] + [hidden] * (config.num_hidden_layers - 1)
        self.layers = nn.ModuleList([RecurrentLayer(config.cell, size, hidden) for size in sizes])
        parts = 2 if config.cell == "lstm" else 1
        self.bridge = nn.Linear(hidden, parts * config.num_hidden_layers * hidden)
        self.attention = LookBack(config) if config.attention != "none" else None
        self.combine = nn.Linear(2 * hidden, config.embedding_size)
        self.dropout = nn.Dropout(config.dropout)
        self.gradient_checkpointing = False
        self.post_init()

    def first_states(self, final_state: Tensor | None) -> list[tuple[Tensor, ...]]:
        """What each layer starts from: s_0 = tanh(W h), h the encoder's last state (Bahdanau et al. 2015,
        A.2.2).
        """
        parts = torch.tanh(self.bridge(final_state)).chunk(
            self.bridge.out_features // self.config.hidden_size, dim=-1
        )
        each = len(parts) // len(self.layers)
        return [parts[index * each : (index + 1) * each] for index in range(len(self.layers))]

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
        """
        Args:
            input_ids: `(batch, target)`, or `inputs_embeds` `(batch, target, embedding_size)`.
            attention_mask: `(batch, past + target)`, 0 for padding of the target.
            encoder_outputs: of the encoder.
            encoder_attention_mask: `(batch, source)`, 0 for padding of the source.
            cache: the decoder's states so far, and the keys and values of the source.

        Returns:
            `last_hidden_state` `(batch, target, embedding_size)`: tanh(W [context; state]), Luong et al.
            2015, eq. 5; and the attention weights `(batch, 1, target, source)` as the one entry of
            `cross_attentions`.
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
            attention_mask = attention_mask[:, -length:]
            attention_mask = None if bool(attention_mask.all()) else attention_mask

        remembered = _states_of(cache)
        if remembered is not None and remembered.get_seq_length():
            states: list = [layer.state for layer in remembered.layers]
        else:
            states = self.first_states(encoder_outputs.final_state)
        hidden_states = self.dropout(inputs_embeds)
        for index, layer in enumerate(self.layers):
            hidden_states, state, _ = layer(hidden_states, states[index], attention_mask)
            if remembered is not None:
                remembered.layers[index].update(state, length)
            hidden_states = self.dropout(hidden_states)
        context, weights = self._look_back(hidden_states, encoder_outputs, encoder_attention_mask, cache)
        hidden_states = self.dropout(torch.tanh(self.combine(torch.cat([context, hidden_states], dim=-1))))
        return BaseModelOutputWithPastAndCrossAttentions(hidden_states, cross_attentions=weights, cache=cache)

    def _look_back(self, states: Tensor, encoder_outputs, mask: Tensor | None, cache):
        if self.attention is None:
            return encoder_outputs.final_state.unsqueeze(1).expand_as(states), None
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


def _states_of(cache: EncoderDecoderCache | None) -> RecurrentCache | None:
    states = cache.self_attention_cache if cache is not None else None
    if states is not None and not isinstance(states, RecurrentCache):
        raise TypeError(f"the decoder keeps its states in a RecurrentCache, not in a {type(states).__name__}")
    return states


class LLMPathSummarizerModel(LLMPathSummarizerPreTrainedModel):
    """Encoder and decoder."""

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

    @deprecate_kwarg("past_key_values", "6.0.0", new_name="cache")
    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: LLMPathSummarizerEncoderOutput | None = None,
        cache: EncoderDecoderCache | None = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs,
    ) -> Seq2SeqModelOutput:
        """`decoder_input_ids` `(batch, target)` is the target so far; without one the decoder reads the
        source as well. `cross_attentions` is always returned: the copy mechanism needs it, and so do the
        pictures."""
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids, decoder_attention_mask = input_ids, attention_mask
        if encoder_outputs is None:
            encoder_outputs = self.encoder(
                input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **kwargs
            )
        decoded = self.decoder(
            input_ids=decoder_input_ids,
            attention_mask=decoder_attention_mask,
            encoder_outputs=encoder_outputs,
            encoder_attention_mask=attention_mask,
            cache=cache,
            inputs_embeds=decoder_inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        return Seq2SeqModelOutput(
            last_hidden_state=decoded.last_hidden_state,
            decoder_hidden_states=decoded.hidden_states,
            cross_attentions=decoded.cross_attentions,
            encoder_last_hidden_state=encoder_outputs.last_hidden_state,
            encoder_hidden_states=encoder_outputs.hidden_states,
            cache=decoded.cache,
        )


class LLMPathSummarizerForConditionalGeneration(LLMPathSummarizerPreTrainedModel, GenerationMixin):
    """The encoder-decoder with a next-token head, and a gate by which it copies source tokens."""

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

    def get_encoder(self, *_, **__) -> LLMPathSummarizerEncoder:
        return self.model.encoder

    def get_decoder(self) -> LLMPathSummarizerDecoder:
        return self.model.decoder

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """The target one step late, behind the start token: what teacher forcing shows the decoder."""
        shifted = labels.roll(1, dims=1)
        shifted[:, 0] = self.config.decoder_start_token_id or 0
        return shifted.masked_fill(shifted == IGNORED, self.config.pad_token_id or 0)

    @deprecate_kwarg("past_key_values", "6.0.0", new_name="cache")
    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        encoder_outputs: LLMPathSummarizerEncoderOutput | None = None,
        labels: Tensor | None = None,
        cache: EncoderDecoderCache | None = None,
        use_cache: bool | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs,
    ) -> Seq2SeqLMOutput:
        """`labels` `(batch, target)` are the target itself, ended by the end token (-100 is left out);
        the decoder is shown them one step late. With the copy mechanism the logits are log-probabilities."""
        if labels is not None and decoder_input_ids is None and kwargs.get("decoder_inputs_embeds") is None:
            decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        if encoder_outputs is None:
            wanted = {name: value for name, value in kwargs.items() if not name.startswith("decoder_")}
            encoder_outputs = self.model.encoder(input_ids=input_ids, attention_mask=attention_mask, **wanted)
            kwargs.pop("inputs_embeds", None)
        outputs = self.model(
            attention_mask=attention_mask,
            decoder_input_ids=decoder_input_ids,
            encoder_outputs=encoder_outputs,
            cache=cache,
            use_cache=use_cache,
            **kwargs,
        )
        logits = self.lm_head(outputs.last_hidden_state)
        if self.copy_gate is not None:
            if encoder_outputs.source_ids is None:
                raise ValueError(
                    "copy_mechanism needs the source's input_ids; inputs_embeds cannot be copied"
                )
            gate = torch.sigmoid(self.copy_gate(outputs.last_hidden_state).float())
            logits = self._with_copies(logits, gate, outputs.cross_attentions[0], encoder_outputs.source_ids)
        loss = None
        if labels is not None:
            reduction = "mean" if num_items_in_batch is None else "sum"
            loss = nn.functional.cross_entropy(
                logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction=reduction
            )
            if num_items_in_batch is not None:
                loss = loss / num_items_in_batch
        return Seq2SeqLMOutput(
            loss=loss,
            logits=logits,
            decoder_hidden_states=outputs.decoder_hidden_states,
            cross_attentions=outputs.cross_attentions,
            encoder_last_hidden_state=outputs.encoder_last_hidden_state,
            encoder_hidden_states=outputs.encoder_hidden_states,
            cache=outputs.cache,
        )

    @staticmethod
    def _with_copies(logits: Tensor, gate: Tensor, attentions: Tensor, source_ids: Tensor) -> Tensor:
        """log P(w), P(w) = (1 - g) P_vocab(w) + g Σ_{i: x_i = w} α_i (See et al. 2017, eq. 9, with g for
        1 - p_gen).

        Args:
            logits: `(batch, target, vocab_size)`, of P_vocab.
            gate: g, `(batch, target, 1)`.
            attentions: α, `(batch, 1, target, source)`.
            source_ids: x, `(batch, source)`.
        """
        weights = gate * attentions.squeeze(1).float()
        places = source_ids.unsqueeze(1).expand_as(weights)
        mixture = ((1 - gate) * logits.float().softmax(-1)).scatter_add(2, places, weights)
        return mixture.clamp_min(torch.finfo(mixture.dtype).tiny).log().to(logits.dtype)
