"""Implements the encoder-decoder Transformer of Vaswani et al. 2017.

    model = AutoModelForSeq2SeqLM.from_pretrained("runs/10-transformer/model")
    model.generate(**tokenizer("3 march 1998", return_tensors="pt"), max_new_tokens=12)

With copied weights, the model equals `torch.nn.Transformer`, in its pre-norm and post-norm forms. The encoder
alone makes a text classifier. The layers are in layers_transformer.py, and the forward passes of model and
head are in layers_heads.py.
"""

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
    SequenceClassifierOutput,
)
from transformers.utils import can_return_tuple
from transformers.utils.deprecation import deprecate_kwarg
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .configuration_transformer import LLMPathTransformerConfig
from .layers_attention import MultiHeadAttention
from .layers_heads import Seq2SeqHead, Seq2SeqModel, classifier_loss, decoder_masks, new_seq2seq_cache
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
            # Times √hidden_size, the embeddings have the size of 1, like sinusoidal positions; as the output
            # layer, they give logits with the size of 1.
            init.normal_(module.weight, std=self.config.hidden_size**-0.5)
            if module.padding_idx is not None and not getattr(module.weight, "_is_hf_initialized", False):
                module.weight[module.padding_idx] = 0
        else:
            super()._init_weights(module)


class _Stack(LLMPathTransformerPreTrainedModel):
    """The common parts of encoder and decoder: embeddings with positions, the layers, and a final norm."""

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
        """Returns embeddings with positions `(batch, length, hidden)`, and the rotation of rotary positions.

        Positions count only the tokens that the mask keeps, so padding on either side changes nothing.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        # (batch, length, hidden)
        embeds = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        length, width = embeds.shape[1:]
        if mask is not None and mask.dim() == 2:
            # (batch, past + length) -> (batch, length); padding on the left, which nothing reads, gets 0
            position_ids = (mask.long().cumsum(-1) - 1).clamp(min=0)[:, -length:]
        else:
            position_ids = torch.arange(past, past + length, device=embeds.device).unsqueeze(0)  # (1, length)
        if (
            self.embed_positions is not None
        ):  # scaled together with the token embeddings, because both have the same initialization
            embeds = embeds + self.embed_positions(position_ids)
        embeds = embeds * width**0.5  # Vaswani et al. 2017, section 3.4
        if self.config.position_embedding_type == "sinusoidal":
            embeds = embeds + sinusoidal_positions(position_ids, width, embeds.dtype)
        rotation = None if self.rotary is None else self.rotary(position_ids, embeds.dtype)
        return self.dropout(embeds), rotation


class LLMPathTransformerEncoder(_Stack):
    """The encoder reads the source; every position sees every other."""

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
        """Encodes the source.

        Args:
            input_ids: `(batch, length)`, or `inputs_embeds` `(batch, length, hidden_size)`.
            attention_mask: `(batch, length)`, 0 for padding on either side.
        """
        kwargs.pop("use_cache", None)  # an argument of the whole model, which the attention does not accept
        hidden_states, rotation = self._embed(input_ids, inputs_embeds, attention_mask)
        # (batch, 1, length, length), or None where the attention implementation needs no mask
        mask = create_bidirectional_mask(self.config, hidden_states, attention_mask)
        for layer in self.layers:
            hidden_states = layer(hidden_states, mask, rotation, **kwargs)  # (batch, length, hidden_size)
        return BaseModelOutput(last_hidden_state=self.norm(hidden_states))


class LLMPathTransformerDecoder(_Stack):
    """The decoder writes the target; a position sees itself, earlier positions, and the whole source."""

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
        """Decodes the target, or its newest tokens.

        Args:
            input_ids: `(batch, length)`, or `inputs_embeds` `(batch, length, hidden_size)`.
            attention_mask: `(batch, past + length)`, 0 for padding on either side.
            encoder_hidden_states: `(batch, source_length, hidden_size)`.
            encoder_attention_mask: `(batch, source_length)`, 0 for padding.
            cache: the keys and values of earlier steps.
        """
        if use_cache and cache is None:
            cache = new_seq2seq_cache(self.config)
        past = cache.get_seq_length() if cache is not None else 0  # number of target tokens in the cache
        hidden_states, rotation = self._embed(input_ids, inputs_embeds, attention_mask, past)
        mask, encoder_mask = decoder_masks(
            self.config, hidden_states, attention_mask, cache, encoder_hidden_states, encoder_attention_mask
        )
        for layer in self.layers:  # every layer maps (batch, length, hidden_size) to the same shape
            hidden_states = layer(
                hidden_states, mask, encoder_hidden_states, encoder_mask, rotation, cache=cache, **kwargs
            )
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=self.norm(hidden_states), cache=cache
        )


class LLMPathTransformerModel(Seq2SeqModel, LLMPathTransformerPreTrainedModel):
    """The encoder and the decoder; `has_decoder=False` leaves out the decoder, for a classifier."""

    _tied_weights_keys = {"decoder.embed_tokens.weight": "encoder.embed_tokens.weight"}

    def __init__(self, config: LLMPathTransformerConfig, has_decoder: bool = True):
        super().__init__(config)
        self.encoder = LLMPathTransformerEncoder(config)
        if has_decoder:
            self.decoder = LLMPathTransformerDecoder(config)
        else:  # transformers must not look for a decoder embedding to tie
            self._tied_weights_keys = {}
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.encoder.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        assert isinstance(value, nn.Embedding)
        self.encoder.embed_tokens = value
        if hasattr(self, "decoder") and self.config.tie_word_embeddings:
            self.decoder.embed_tokens = value


class LLMPathTransformerForConditionalGeneration(
    Seq2SeqHead, LLMPathTransformerPreTrainedModel, GenerationMixin
):
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


class LLMPathTransformerForSequenceClassification(LLMPathTransformerPreTrainedModel):
    """The encoder with a classifier on the mean of its outputs, without a decoder."""

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
        input_ids: Tensor | None = None,  # (batch, length)
        attention_mask: Tensor | None = None,  # (batch, length), 0 for padding
        inputs_embeds: Tensor | None = None,  # (batch, length, hidden_size)
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Computes `logits` `(batch, num_labels)`, and the loss if there are labels.

        `labels` `(batch,)` are classes, or numbers if `config.problem_type` is `"regression"`.
        """
        num_items_in_batch = kwargs.pop("num_items_in_batch", None)
        outputs = self.model.encoder(input_ids, attention_mask, inputs_embeds, **kwargs)
        states = outputs.last_hidden_state  # (batch, length, hidden_size)
        if attention_mask is None:
            weights = states.new_ones(states.shape[:2])  # (batch, length)
        else:
            weights = attention_mask.to(states.dtype)  # (batch, length), 0 for padding
        # (batch, 1, length) @ (batch, length, hidden_size) -> (batch, 1, hidden_size) -> (batch, hidden_size)
        total = (weights.unsqueeze(1) @ states).squeeze(1)
        mean = total / weights.sum(1, keepdim=True).clamp(min=1)  # an empty text gets zeros, not NaN
        logits = self.classifier(self.dropout(mean))  # (batch, num_labels)
        return SequenceClassifierOutput(
            loss=classifier_loss(self, logits, labels, num_items_in_batch),
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
