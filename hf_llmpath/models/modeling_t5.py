"""Implements T5, the text-to-text Transformer (Raffel et al. 2020): every task maps a text to a text.

    model = AutoModelForSeq2SeqLM.from_pretrained("runs/17-architectures/model")
    model.generate(**tokenizer("The tea was lovely.", return_tensors="pt"), max_new_tokens=4)

T5 is an encoder-decoder like the Transformer of 2017 (modeling_transformer.py), with these differences:

    positions       a learned number per head and bucket of distances, added to the scores; a table per stack
    scores          q kᵀ without 1 / √d: the initial weights of q_proj are smaller by that factor instead
    norm            RMSNorm before each sublayer and at the end of each stack: no mean, no bias
    biases          none in the linear layers either
    output layer    the embeddings, on states divided by √hidden_size; since T5 1.1, a separate matrix

The model equals transformers' `T5ForConditionalGeneration`, whose weights `convert/t5.py` converts. The
layers are in layers_t5.py, and the forward passes of model and head are in layers_heads.py.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import EncoderDecoderCache
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import (
    BaseModelOutput,
    BaseModelOutputWithPastAndCrossAttentions,
    Seq2SeqModelOutput,
)
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .configuration_t5 import LLMPathT5Config
from .layers_attention import MultiHeadAttention
from .layers_heads import Seq2SeqHead, Seq2SeqModel, decoder_masks, new_seq2seq_cache, target_cache
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
            std = module.in_features**-0.5  # outputs then have the same variance as inputs
            if getattr(module, "_is_query", False):
                std *= (self.config.head_dim or 1) ** -0.5  # T5 does not scale the scores by 1 / √d
            init.normal_(module.weight, std=factor * std)
        elif isinstance(module, nn.Embedding):  # tokens, or buckets of distances
            is_bias = getattr(module, "_is_position_bias", False)
            std = width**-0.5 if is_bias else self.config.embedding_initializer_range
            init.normal_(module.weight, std=factor * std)
        elif isinstance(module, RMSNorm):
            init.constant_(module.weight, factor)
        else:
            super()._init_weights(module)


class _Stack(LLMPathT5PreTrainedModel):
    """The common parts of encoder and decoder: the position bias, the layers, and a final norm."""

    def __init__(self, config: LLMPathT5Config, layers: Sequence[nn.Module], bidirectional: bool):
        super().__init__(config)
        self.position_bias = RelativePositionBias(
            config.num_attention_heads,
            bidirectional,
            config.relative_attention_num_buckets,
            config.relative_attention_max_distance,
        )
        # Weights are initialized leaf by leaf, so the table must carry a mark that tells it from embeddings.
        self.position_bias.bias._is_position_bias = True  # type: ignore[assignment]
        self.layers = nn.ModuleList(layers)
        self.norm = RMSNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.gradient_checkpointing = False


class LLMPathT5Encoder(_Stack):
    """The encoder reads the source; every position sees every other."""

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
        """Encodes the source.

        Args:
            input_ids: `(batch, length)`, or `inputs_embeds` `(batch, length, hidden_size)`.
            attention_mask: `(batch, length)`, 0 for padding on either side.
        """
        kwargs.pop("use_cache", None)  # an argument of the whole model, which the attention does not accept
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        # (batch, length, hidden_size)
        hidden_states = self.dropout(self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds)
        # (batch, 1, length, length), or None where the attention implementation needs no mask
        mask = create_bidirectional_mask(self.config, hidden_states, attention_mask)
        length = hidden_states.shape[1]
        bias = self.position_bias(length, length)  # (1, heads, length, length), shared by all layers
        for layer in self.layers:
            hidden_states = layer(hidden_states, mask, bias, **kwargs)  # (batch, length, hidden_size)
        return BaseModelOutput(last_hidden_state=self.dropout(self.norm(hidden_states)))


class LLMPathT5Decoder(_Stack):
    """The decoder writes the target; a position sees itself, earlier positions, and the whole source.

    It reads vectors instead of ids, because the embeddings belong to the encoder.
    """

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
        """Decodes the target, or its newest tokens.

        Args:
            inputs_embeds: `(batch, length, hidden_size)`.
            attention_mask: `(batch, past + length)`, 0 for padding on either side.
            encoder_hidden_states: `(batch, source_length, hidden_size)`.
            encoder_attention_mask: `(batch, source_length)`, 0 for padding.
            cache: the keys and values of earlier steps.
        """
        if use_cache and cache is None:
            cache = new_seq2seq_cache(self.config)
        hidden_states, length = self.dropout(inputs_embeds), inputs_embeds.shape[1]
        # The bias must have as many keys as the mask below.
        past, keys, own_cache = 0, length, target_cache(cache)
        if own_cache is not None:  # a static cache has more keys than there are tokens so far
            past, keys = own_cache.get_seq_length(), own_cache.get_mask_sizes(length, 0)[0]
        bias = self.position_bias(length, keys, past)  # (1, heads, length, keys)
        mask, encoder_mask = decoder_masks(
            self.config, hidden_states, attention_mask, cache, encoder_hidden_states, encoder_attention_mask
        )
        for layer in self.layers:  # every layer maps (batch, length, hidden_size) to the same shape
            hidden_states = layer(
                hidden_states, mask, bias, encoder_hidden_states, encoder_mask, cache=cache, **kwargs
            )
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=self.dropout(self.norm(hidden_states)), cache=cache
        )


class LLMPathT5Model(Seq2SeqModel, LLMPathT5PreTrainedModel):
    """The encoder and the decoder, which share one table of embeddings."""

    def __init__(self, config: LLMPathT5Config):
        super().__init__(config)
        self.encoder = LLMPathT5Encoder(config)
        self.decoder = LLMPathT5Decoder(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.encoder.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.encoder.embed_tokens = value  # type: ignore[assignment]

    def decode(self, input_ids, attention_mask, source, source_mask, inputs_embeds, **kwargs: Any):
        if inputs_embeds is None:
            inputs_embeds = self.encoder.embed_tokens(input_ids)  # (batch, target, hidden_size)
        return self.decoder(inputs_embeds, attention_mask, source.last_hidden_state, source_mask, **kwargs)


class LLMPathT5ForConditionalGeneration(Seq2SeqHead, LLMPathT5PreTrainedModel, GenerationMixin):
    """T5 with a next-token head."""

    _tied_weights_keys = {"lm_head.weight": "model.encoder.embed_tokens.weight"}

    def __init__(self, config: LLMPathT5Config):
        super().__init__(config)
        self.model = LLMPathT5Model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def next_token_logits(self, outputs: Seq2SeqModelOutput, source: Any) -> Tensor:
        states = outputs.last_hidden_state  # (batch, target, hidden_size)
        if self.config.scale_decoder_outputs:  # tied embeddings are too large for an output layer
            states = states * self.config.hidden_size**-0.5
        return self.lm_head(states)  # (batch, target, vocab_size)
