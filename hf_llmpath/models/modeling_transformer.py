"""The encoder-decoder Transformer of Vaswani et al. 2017, as a transformers model.

    model = AutoModelForSeq2SeqLM.from_pretrained("runs/10-transformer/model")
    model.generate(**tokenizer("3 march 1998", return_tensors="pt"), max_new_tokens=12)

With copied weights it equals `torch.nn.Transformer`, pre- and post-norm. Its encoder alone is a text
classifier.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache
from transformers.masking_utils import create_bidirectional_mask, create_causal_mask
from transformers.modeling_outputs import (
    BaseModelOutput,
    BaseModelOutputWithPastAndCrossAttentions,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
    SequenceClassifierOutput,
)
from transformers.utils import can_return_tuple
from transformers.utils.deprecation import deprecate_kwarg
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .configuration_transformer import LLMPathTransformerConfig
from .labels import told_by_name
from .layers_attention import MultiHeadAttention
from .layers_positions import LearnedPositions, RotaryPositions, sinusoidal_positions
from .layers_transformer import LLMPathTransformerDecoderLayer, LLMPathTransformerEncoderLayer


class LLMPathTransformerPreTrainedModel(PreTrainedModel):
    config: LLMPathTransformerConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _no_split_modules = ["LLMPathTransformerEncoderLayer", "LLMPathTransformerDecoderLayer"]
    _skip_keys_device_placement = ["cache"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            # Times sqrt(hidden_size) they are of size 1, like sinusoidal positions; alone they give
            # logits of size 1.
            init.normal_(module.weight, std=self.config.hidden_size**-0.5)
            if module.padding_idx is not None and not getattr(module.weight, "_is_hf_initialized", False):
                module.weight[module.padding_idx] = 0
        else:
            super()._init_weights(module)


class _Stack(LLMPathTransformerPreTrainedModel):
    """What encoder and decoder have in common: embeddings with positions, layers, and a layer norm at the
    end.
    """

    def __init__(self, config: LLMPathTransformerConfig, layers: list[nn.Module]):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        kind, head_dim = config.position_embedding_type, config.hidden_size // config.num_attention_heads
        learned, rotary = kind == "learned", kind == "rotary"
        self.embed_positions = (
            LearnedPositions(config.max_position_embeddings, config.hidden_size) if learned else None
        )
        self.rotary = RotaryPositions(head_dim, config.rope_theta) if rotary else None
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.gradient_checkpointing = False

    def _embed(
        self, input_ids: Tensor | None, inputs_embeds: Tensor | None, mask: Tensor | None, past: int = 0
    ) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Embeddings with positions `(batch, length, hidden)`, and the rotation where positions are rotary.

        Positions count the tokens that the mask leaves, so that padding changes nothing on either side.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        embeds = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        length, width = embeds.shape[1:]
        if mask is not None and mask.dim() == 2:
            position_ids = (mask.long().cumsum(-1) - 1).clamp(min=0)[:, -length:]
        else:
            position_ids = torch.arange(past, past + length, device=embeds.device).unsqueeze(0)
        if self.embed_positions is not None:
            embeds = embeds + self.embed_positions(position_ids)
        embeds = embeds * width**0.5  # Vaswani et al. 2017, section 3.4
        if self.config.position_embedding_type == "sinusoidal":
            embeds = embeds + sinusoidal_positions(position_ids, width, embeds.dtype)
        rotation = None if self.rotary is None else self.rotary(position_ids, embeds.dtype)
        return self.dropout(embeds), rotation


class LLMPathTransformerEncoder(_Stack):
    """Reads the source: every position sees every other."""

    _can_record_outputs = {"hidden_states": LLMPathTransformerEncoderLayer, "attentions": MultiHeadAttention}

    def __init__(self, config: LLMPathTransformerConfig):
        super().__init__(
            config,
            [LLMPathTransformerEncoderLayer(config, index) for index in range(config.num_encoder_layers)],
        )
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutput:
        """
        Args:
            input_ids: `(batch, length)`, or `inputs_embeds` `(batch, length, hidden_size)`.
            attention_mask: `(batch, length)`, 0 for padding on either side.
        """
        kwargs.pop("use_cache", None)
        hidden_states, rotation = self._embed(input_ids, inputs_embeds, attention_mask)
        mask = create_bidirectional_mask(self.config, hidden_states, attention_mask)
        for layer in self.layers:
            hidden_states = layer(hidden_states, mask, rotation, **kwargs)
        return BaseModelOutput(last_hidden_state=self.norm(hidden_states))


class LLMPathTransformerDecoder(_Stack):
    """Writes the target: a position sees itself and those before it (causal mask), and all of the source."""

    _can_record_outputs = {
        "hidden_states": LLMPathTransformerDecoderLayer,
        "attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="self_attn"),
        "cross_attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="cross_attn"),
    }

    def __init__(self, config: LLMPathTransformerConfig):
        if config.num_decoder_layers < 1:
            raise ValueError(
                f"num_decoder_layers ({config.num_decoder_layers}) must be at least 1 for this model"
            )
        super().__init__(
            config,
            [LLMPathTransformerDecoderLayer(config, index) for index in range(config.num_decoder_layers)],
        )
        self.post_init()

    @deprecate_kwarg("past_key_values", "6.0.0", new_name="cache")
    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        cache: EncoderDecoderCache | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """
        Args:
            input_ids: `(batch, length)`, or `inputs_embeds` `(batch, length, hidden_size)`.
            attention_mask: `(batch, past + length)`, 0 for padding on either side.
            encoder_hidden_states: `(batch, source_length, hidden_size)`.
            encoder_attention_mask: `(batch, source_length)`, 0 for padding.
            cache: keys and values of the steps before.
        """
        if use_cache and cache is None:
            cache = EncoderDecoderCache(DynamicCache(config=self.config), DynamicCache(config=self.config))
        past = cache.get_seq_length() if cache is not None else 0
        hidden_states, rotation = self._embed(input_ids, inputs_embeds, attention_mask, past)
        own_cache = cache.self_attention_cache if isinstance(cache, EncoderDecoderCache) else cache
        mask = create_causal_mask(self.config, hidden_states, attention_mask, own_cache)
        encoder_mask = create_bidirectional_mask(
            self.config, hidden_states, encoder_attention_mask, encoder_hidden_states
        )
        for layer in self.layers:
            hidden_states = layer(
                hidden_states, mask, encoder_hidden_states, encoder_mask, rotation, cache=cache, **kwargs
            )
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=self.norm(hidden_states), cache=cache
        )


class LLMPathTransformerModel(LLMPathTransformerPreTrainedModel):
    """Encoder and decoder; `has_decoder=False` for models that only read."""

    _tied_weights_keys = {"decoder.embed_tokens.weight": "encoder.embed_tokens.weight"}

    def __init__(self, config: LLMPathTransformerConfig, has_decoder: bool = True):
        super().__init__(config)
        self.encoder = LLMPathTransformerEncoder(config)
        if has_decoder:
            self.decoder = LLMPathTransformerDecoder(config)
        else:
            self._tied_weights_keys = {}
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.encoder.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        assert isinstance(value, nn.Embedding)
        self.encoder.embed_tokens = value
        if hasattr(self, "decoder") and self.config.tie_word_embeddings:
            self.decoder.embed_tokens = value

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
        """
        Args:
            input_ids, attention_mask: of the source, `(batch, source_length)`.
            decoder_input_ids, decoder_attention_mask: of the target so far, `(batch, length)`; without
                them the decoder reads the source as well.
            encoder_outputs: what the encoder made of the source, if it has been read already.
            cache: keys and values of the steps before.
        """
        if encoder_outputs is None:
            read = self.encoder(input_ids, attention_mask, inputs_embeds, **kwargs)
        elif isinstance(encoder_outputs, BaseModelOutput):
            read = encoder_outputs
        else:
            read = BaseModelOutput(*encoder_outputs)  # type: ignore[arg-type]
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids, decoder_inputs_embeds, decoder_attention_mask = (
                input_ids,
                inputs_embeds,
                attention_mask,
            )
        outputs = self.decoder(
            decoder_input_ids,
            decoder_attention_mask,
            read.last_hidden_state,
            attention_mask,
            decoder_inputs_embeds,
            cache=cache,
            use_cache=use_cache,
            **kwargs,
        )
        return Seq2SeqModelOutput(
            last_hidden_state=outputs.last_hidden_state,
            decoder_hidden_states=outputs.hidden_states,
            decoder_attentions=outputs.attentions,
            cross_attentions=outputs.cross_attentions,
            encoder_last_hidden_state=read.last_hidden_state,
            encoder_hidden_states=read.hidden_states,
            encoder_attentions=read.attentions,
            cache=outputs.cache,
        )


class LLMPathTransformerForConditionalGeneration(LLMPathTransformerPreTrainedModel, GenerationMixin):
    """The Transformer with a next-token head."""

    _tied_weights_keys = {
        "lm_head.weight": "model.encoder.embed_tokens.weight",
        "model.decoder.embed_tokens.weight": "model.encoder.embed_tokens.weight",
    }

    def __init__(self, config: LLMPathTransformerConfig):
        super().__init__(config)
        self.model = LLMPathTransformerModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """Teacher forcing: the decoder reads the right answer up to each position, `(batch, length)`: the
        start token, then the labels one step later."""
        start = labels.new_full((labels.shape[0], 1), self.config.decoder_start_token_id)
        shifted = torch.cat([start, labels[:, :-1]], dim=1)
        return shifted.masked_fill(shifted == -100, self.config.pad_token_id)

    @deprecate_kwarg("past_key_values", "6.0.0", new_name="cache")
    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        labels: Tensor | None = None,
        cache: Cache | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> Seq2SeqLMOutput:
        """`labels` `(batch, length)` are the target's ids; -100 is left out of the loss. Other arguments
        as in `LLMPathTransformerModel`."""
        num_items_in_batch = kwargs.pop("num_items_in_batch", None)
        if labels is not None:
            use_cache = False
            if decoder_input_ids is None and kwargs.get("decoder_inputs_embeds") is None:
                decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        outputs = self.model(
            input_ids, attention_mask, decoder_input_ids, cache=cache, use_cache=use_cache, **kwargs
        )
        logits = self.lm_head(outputs.last_hidden_state)
        loss = None
        if labels is not None:
            # transformers' own loss for this name of class shifts the labels, as a causal model needs it.
            reduction = "mean" if num_items_in_batch is None else "sum"
            loss = nn.functional.cross_entropy(
                logits.flatten(0, 1).float(), labels.flatten(), reduction=reduction
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


class LLMPathTransformerForSequenceClassification(LLMPathTransformerPreTrainedModel):
    """The encoder with a classification head on the mean of its outputs; there is no decoder."""

    def __init__(self, config: LLMPathTransformerConfig):
        super().__init__(config)
        self.num_labels: int = config.num_labels  # type: ignore[assignment]
        self.model = LLMPathTransformerModel(config, has_decoder=False)
        dropout = config.dropout if config.classifier_dropout is None else config.classifier_dropout
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """`labels` `(batch,)` are classes, or numbers where `config.problem_type` is `"regression"`."""
        num_items_in_batch = kwargs.pop("num_items_in_batch", None)
        outputs = self.model.encoder(input_ids, attention_mask, inputs_embeds, **kwargs)
        states = outputs.last_hidden_state
        weights = (
            states.new_ones(states.shape[:2]) if attention_mask is None else attention_mask.to(states.dtype)
        )
        mean = (weights.unsqueeze(1) @ states).squeeze(1) / weights.sum(1, keepdim=True).clamp(min=1)
        logits = self.classifier(self.dropout(mean))
        loss = None
        if labels is not None:
            with told_by_name(labels, logits.shape[-1]):
                loss = self.loss_function(
                    labels=labels,
                    pooled_logits=logits,
                    config=self.config,
                    num_items_in_batch=num_items_in_batch,
                )
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
