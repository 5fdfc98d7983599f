"""The text-to-text Transformer T5 (Raffel et al. 2020), as a transformers model: every task is a text in
and a text out.

    model = AutoModelForSeq2SeqLM.from_pretrained("runs/17-architectures/model")
    model.generate(**tokenizer("The tea was lovely.", return_tensors="pt"), max_new_tokens=4)

An encoder-decoder like that of 2017 (modeling_transformer.py), with these differences:

    positions       a learned number per head and bucket of distance, added to the scores; one table for each stack
    scores          q kᵀ without 1 / √d: the first weights of q_proj are smaller by that factor instead
    norm            RMSNorm before each sublayer and at the end of each stack: no mean, no bias
    biases          nowhere else either
    output layer    the embeddings, on states divided by √hidden_size; or, from T5 1.1 on, a matrix of its own

It equals transformers' `T5ForConditionalGeneration`, whose weights `convert/t5.py` brings over.
"""

from collections.abc import Sequence
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
)
from transformers.utils import can_return_tuple
from transformers.utils.deprecation import deprecate_kwarg
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .configuration_t5 import LLMPathT5Config
from .layers_attention import MultiHeadAttention
from .layers_norms import RMSNorm
from .layers_positions import RelativePositionBias
from .layers_t5 import LLMPathT5DecoderLayer, LLMPathT5EncoderLayer


class LLMPathT5PreTrainedModel(PreTrainedModel):
    config: LLMPathT5Config
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules = ["LLMPathT5EncoderLayer", "LLMPathT5DecoderLayer"]
    _skip_keys_device_placement = ["cache"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        factor, width = self.config.initializer_factor, self.config.hidden_size
        if isinstance(module, nn.Linear):
            std = module.in_features**-0.5
            if getattr(module, "_asks", False):
                std *= (self.config.head_dim or 1) ** -0.5
            init.normal_(module.weight, std=factor * std)
        elif isinstance(module, nn.Embedding):  # of tokens, or of the buckets of distance
            is_bias = getattr(module, "_adds_to_scores", False)
            std = width**-0.5 if is_bias else self.config.embedding_initializer_range
            init.normal_(module.weight, std=factor * std)
        elif isinstance(module, RMSNorm):
            init.constant_(module.weight, factor)
        else:
            super()._init_weights(module)


class _Stack(LLMPathT5PreTrainedModel):
    """What encoder and decoder have in common: the bias of their distances, layers, and a norm at the end."""

    def __init__(self, config: LLMPathT5Config, layers: Sequence[nn.Module], bidirectional: bool):
        super().__init__(config)
        self.position_bias = RelativePositionBias(
            config.num_attention_heads,
            bidirectional,
            config.relative_attention_num_buckets,
            config.relative_attention_max_distance,
        )
        self.position_bias.bias._adds_to_scores = True  # type: ignore[assignment]
        self.layers = nn.ModuleList(layers)
        self.norm = RMSNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.gradient_checkpointing = False


class LLMPathT5Encoder(_Stack):
    """Reads the source: every position sees every other."""

    _can_record_outputs = {"hidden_states": LLMPathT5EncoderLayer, "attentions": MultiHeadAttention}

    def __init__(self, config: LLMPathT5Config):
        layers = [LLMPathT5EncoderLayer(config, index) for index in range(config.num_encoder_layers)]
        super().__init__(config, layers, bidirectional=True)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
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
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        hidden_states = self.dropout(self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds)
        mask = create_bidirectional_mask(self.config, hidden_states, attention_mask)
        length = hidden_states.shape[1]
        bias = self.position_bias(length, length)
        for layer in self.layers:
            hidden_states = layer(hidden_states, mask, bias, **kwargs)
        return BaseModelOutput(last_hidden_state=self.dropout(self.norm(hidden_states)))


class LLMPathT5Decoder(_Stack):
    """Writes the target: a position sees itself and those before it, and all of the source. The
    embeddings are the encoder's, so it reads vectors."""

    _can_record_outputs = {
        "hidden_states": LLMPathT5DecoderLayer,
        "attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="self_attn"),
        "cross_attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="cross_attn"),
    }

    def __init__(self, config: LLMPathT5Config):
        layers = [LLMPathT5DecoderLayer(config, index) for index in range(config.num_decoder_layers)]
        super().__init__(config, layers, bidirectional=False)
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        inputs_embeds: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        cache: EncoderDecoderCache | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """
        Args:
            inputs_embeds: `(batch, length, hidden_size)`.
            attention_mask: `(batch, past + length)`, 0 for padding on either side.
            encoder_hidden_states: `(batch, source_length, hidden_size)`.
            encoder_attention_mask: `(batch, source_length)`, 0 for padding.
            cache: keys and values of the steps before.
        """
        if use_cache and cache is None:
            cache = EncoderDecoderCache(DynamicCache(config=self.config), DynamicCache(config=self.config))
        own_cache = cache.self_attention_cache if isinstance(cache, EncoderDecoderCache) else cache
        hidden_states, length = self.dropout(inputs_embeds), inputs_embeds.shape[1]
        past = own_cache.get_seq_length() if own_cache is not None else 0
        keys = own_cache.get_mask_sizes(length, 0)[0] if own_cache is not None else length
        bias = self.position_bias(length, keys, past)
        mask = create_causal_mask(self.config, hidden_states, attention_mask, own_cache)
        encoder_mask = create_bidirectional_mask(
            self.config, hidden_states, encoder_attention_mask, encoder_hidden_states
        )
        for layer in self.layers:
            hidden_states = layer(
                hidden_states, mask, bias, encoder_hidden_states, encoder_mask, cache=cache, **kwargs
            )
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=self.dropout(self.norm(hidden_states)), cache=cache
        )


class LLMPathT5Model(LLMPathT5PreTrainedModel):
    """Encoder and decoder on one table of embeddings."""

    def __init__(self, config: LLMPathT5Config):
        super().__init__(config)
        self.encoder = LLMPathT5Encoder(config)
        self.decoder = LLMPathT5Decoder(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.encoder.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.encoder.embed_tokens = value  # type: ignore[assignment]

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
        if decoder_inputs_embeds is None:
            decoder_inputs_embeds = self.encoder.embed_tokens(decoder_input_ids)
        outputs = self.decoder(
            decoder_inputs_embeds,
            decoder_attention_mask,
            read.last_hidden_state,
            attention_mask,
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


class LLMPathT5ForConditionalGeneration(LLMPathT5PreTrainedModel, GenerationMixin):
    """T5 with a next-token head."""

    _tied_weights_keys = {"lm_head.weight": "model.encoder.embed_tokens.weight"}

    def __init__(self, config: LLMPathT5Config):
        super().__init__(config)
        self.model = LLMPathT5Model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """Teacher forcing: the decoder reads the right answer up to each position, `(batch, length)`: the
        start token, then the labels one step later."""
        start = labels.new_full((labels.shape[0], 1), int(self.config.decoder_start_token_id or 0))
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
        as in `LLMPathT5Model`."""
        num_items_in_batch = kwargs.pop("num_items_in_batch", None)
        if labels is not None:
            use_cache = False
            if decoder_input_ids is None and kwargs.get("decoder_inputs_embeds") is None:
                decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        outputs = self.model(
            input_ids, attention_mask, decoder_input_ids, cache=cache, use_cache=use_cache, **kwargs
        )
        states = outputs.last_hidden_state
        if self.config.scale_decoder_outputs:
            states = states * self.config.hidden_size**-0.5
        logits = self.lm_head(states)
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
