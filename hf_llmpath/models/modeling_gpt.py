"""Implements the decoder-only Transformer, in GPT-2's layout and in the layout of current language models.

    model = AutoModelForCausalLM.from_pretrained("runs/15-scaling/model")
    model.generate(**tokenizer("Once", return_tensors="pt"), max_new_tokens=100)

Both layouts are pre-norm: x + attention(norm(x)), then x + feed_forward(norm(x)). They differ in their parts:

                    "gpt2"                          "modern"
    positions       learned, added once             rotary, in every layer
    norm            layer norm                      RMSNorm, and on queries and keys as well
    feed-forward    GELU                            ReLU² or SwiGLU
    biases          everywhere                      nowhere

In GPT-2's layout, the model equals transformers' `GPT2LMHeadModel`, whose weights `convert/gpt2.py` converts.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache, DynamicCache
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    SequenceClassifierOutput,
)
from transformers.modeling_utils import slice_logits_to_keep
from transformers.utils import can_return_tuple
from transformers.utils.deprecation import deprecate_kwarg
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_gpt import LLMPathGPTConfig
from .layers_attention import MultiHeadAttention
from .layers_heads import classifier_loss
from .layers_norms import RMSNorm
from .layers_positions import LearnedPositions, RotaryPositions
from .layers_transformer import FeedForward


def _norm(config: LLMPathGPTConfig) -> nn.Module:
    if config.normalization == "rms":
        return RMSNorm(config.hidden_size, eps=config.layer_norm_eps)
    return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


class LLMPathGPTLayer(GradientCheckpointingLayer):
    """Causal self-attention, then feed-forward, each added to the residual stream."""

    def __init__(self, config: LLMPathGPTConfig, layer_idx: int):
        super().__init__()
        self.attention_norm = _norm(config)
        self.attention = MultiHeadAttention(config, layer_idx, is_causal=True, bias=bool(config.bias))
        self.mlp_norm = _norm(config)
        is_swiglu, bias = config.hidden_act == "swiglu", bool(config.bias)
        self.mlp = FeedForward(config, "silu" if is_swiglu else None, bias, is_gated=is_swiglu)
        self.dropout = nn.Dropout(config.dropout)
        # Weights are initialized leaf by leaf, so a mark must tell which leaves write into the stream.
        for projection in (self.attention.o_proj, self.mlp.down_proj):
            projection._writes_residual = True  # type: ignore[assignment]

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,  # (batch, 1, length, keys), or None
        rotation: tuple[Tensor, Tensor] | None = None,  # each (batch, 1, length, head_dim)
        cache: Cache | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Maps hidden_states `(batch, length, hidden_size)` to the same shape."""
        attended, _ = self.attention(
            self.attention_norm(hidden_states), attention_mask, cache=cache, rotation=rotation, **kwargs
        )
        hidden_states = hidden_states + self.dropout(attended)  # (batch, length, hidden_size)
        return hidden_states + self.dropout(self.mlp(self.mlp_norm(hidden_states)))


class LLMPathGPTPreTrainedModel(PreTrainedModel):
    config: LLMPathGPTConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _no_split_modules = ["LLMPathGPTLayer"]
    _skip_keys_device_placement = ["cache"]
    _can_record_outputs = {"hidden_states": LLMPathGPTLayer, "attentions": MultiHeadAttention}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        config = self.config
        if isinstance(module, nn.Linear):
            std = config.initializer_range
            # 2 projections per layer add to the stream. Divided by √(2 layers), their sum has a variance
            # that does not grow with the depth (Radford et al. 2019, section 2.3).
            if getattr(module, "_writes_residual", False):
                std = 0.0 if config.zero_init_projections else std / (2 * config.num_hidden_layers) ** 0.5
            init.normal_(module.weight, std=std) if std else init.zeros_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=config.initializer_range)
        elif isinstance(module, RMSNorm):
            init.ones_(module.weight)
        else:
            super()._init_weights(module)


class LLMPathGPTModel(LLMPathGPTPreTrainedModel):
    """Embeddings, a stack of layers, and a final norm."""

    def __init__(self, config: LLMPathGPTConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        is_rotary = config.position_embedding_type == "rotary"
        head_dim = config.hidden_size // config.num_attention_heads
        self.rotary = RotaryPositions(head_dim, config.rope_theta) if is_rotary else None
        self.embed_positions = (
            None if is_rotary else LearnedPositions(config.max_position_embeddings, config.hidden_size)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(
            [LLMPathGPTLayer(config, index) for index in range(config.num_hidden_layers)]
        )
        self.norm = _norm(config)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embed_tokens = value  # type: ignore[assignment]

    @deprecate_kwarg("past_key_values", "6.0.0", new_name="cache")
    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Reads the tokens; each one sees itself and the tokens before it.

        Args:
            input_ids: `(batch, length)`, or `inputs_embeds` `(batch, length, hidden_size)`.
            attention_mask: `(batch, past + length)`, 0 for padding on either side.
            position_ids: `(batch, length)`. By default they count only the tokens that the mask keeps, so
                padding changes nothing.
            cache: the keys and values of earlier steps.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        # (batch, length, hidden_size): the residual stream, to which every sublayer adds
        hidden_states = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache and cache is None:
            cache = DynamicCache(config=self.config)
        if position_ids is None:
            position_ids = self._positions(attention_mask, hidden_states, cache)
        if self.embed_positions is not None:
            hidden_states = hidden_states + self.embed_positions(position_ids)
        rotation = None if self.rotary is None else self.rotary(position_ids, hidden_states.dtype)
        # (batch, 1, length, past + length), or None where the attention implementation needs no mask
        mask = create_causal_mask(self.config, hidden_states, attention_mask, cache, position_ids)
        hidden_states = self.dropout(hidden_states)
        for layer in self.layers:
            hidden_states = layer(hidden_states, mask, rotation, cache=cache, **kwargs)  # the same shape
        return BaseModelOutputWithPast(last_hidden_state=self.norm(hidden_states), cache=cache)

    @staticmethod
    def _positions(mask: Tensor | None, hidden_states: Tensor, cache: Cache | None) -> Tensor:
        """Returns the number of tokens before each one, without padding, `(batch or 1, length)`."""
        length = hidden_states.shape[1]
        if mask is not None and mask.dim() == 2:
            # Count over all tokens so far, (batch, past + length), and cut to the new ones, (batch, length).
            # Padding on the left would get -1; nothing reads its position, but an index must be valid.
            return (mask.long().cumsum(-1) - 1).clamp(min=0)[:, -length:]
        past = cache.get_seq_length() if cache is not None else 0
        return torch.arange(past, past + length, device=hidden_states.device).unsqueeze(0)  # (1, length)


class LLMPathGPTForCausalLM(LLMPathGPTPreTrainedModel, GenerationMixin):
    """The decoder with a next-token head."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: LLMPathGPTConfig):
        super().__init__(config)
        self.model = LLMPathGPTModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @deprecate_kwarg("past_key_values", "6.0.0", new_name="cache")
    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,  # (batch, length)
        attention_mask: Tensor | None = None,  # (batch, past + length), 0 for padding
        position_ids: Tensor | None = None,  # (batch, length)
        cache: Cache | None = None,
        inputs_embeds: Tensor | None = None,  # (batch, length, hidden_size)
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Computes `logits` `(batch, kept, vocab_size)` of the next token, and the loss if there are labels.

        Args:
            labels: `(batch, length)`, the input ids themselves: the loss shifts them by one step and skips
                -100. `shift_labels` in their place are the next tokens, already shifted.
            logits_to_keep: number of last positions, or indices of the positions, whose logits are computed;
                0 for all.

        The other arguments are those of `LLMPathGPTModel`.
        """
        # The base model would pass these on to the attention function, so take them out first.
        loss_arguments = {
            name: kwargs.pop(name) for name in ("shift_labels", "num_items_in_batch") if name in kwargs
        }
        if labels is not None or loss_arguments.get("shift_labels") is not None:
            use_cache = False if use_cache is None else use_cache  # training needs no cache
        outputs = self.model(
            input_ids, attention_mask, position_ids, cache, inputs_embeds, use_cache=use_cache, **kwargs
        )
        states = slice_logits_to_keep(outputs.last_hidden_state, logits_to_keep)  # (batch, kept, hidden_size)
        logits = self.lm_head(states)  # (batch, kept, vocab_size)
        loss = None
        if labels is not None or loss_arguments.get("shift_labels") is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.vocab_size, **loss_arguments
            )
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            cache=outputs.cache,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class LLMPathGPTForSequenceClassification(LLMPathGPTPreTrainedModel):
    """The decoder with a classifier on the last token's state; a reward model if `num_labels` is 1."""

    def __init__(self, config: LLMPathGPTConfig):
        super().__init__(config)
        self.num_labels: int = config.num_labels  # type: ignore[assignment]
        self.model = LLMPathGPTModel(config)
        self.score = nn.Linear(config.hidden_size, self.num_labels, bias=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,  # (batch, length)
        attention_mask: Tensor | None = None,  # (batch, length), 0 for padding
        position_ids: Tensor | None = None,  # (batch, length)
        inputs_embeds: Tensor | None = None,  # (batch, length, hidden_size)
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Computes `logits` `(batch, num_labels)`, and the loss if there are labels.

        `labels` `(batch,)` are classes, or numbers if `num_labels` is 1.
        """
        kwargs.pop("use_cache", None)  # callers may pass it, but no next step needs a cache
        outputs = self.model(
            input_ids, attention_mask, position_ids, inputs_embeds=inputs_embeds, use_cache=False, **kwargs
        )
        states = outputs.last_hidden_state  # (batch, length, hidden_size)
        last = self._last_tokens(input_ids, attention_mask, states)  # (batch,)
        # (batch, length, hidden_size) -> (batch, hidden_size) -> (batch, num_labels)
        logits = self.score(states[torch.arange(len(states), device=states.device), last])
        return SequenceClassifierOutput(
            loss=classifier_loss(self, logits, labels, num_items_in_batch),
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def _last_tokens(self, input_ids: Tensor | None, mask: Tensor | None, states: Tensor) -> Tensor:
        """Returns the index of the last token that is not padding, `(batch,)`.

        Padding is where the mask is 0 or, without a mask, where the padding token is.
        """
        length = states.shape[1]
        if mask is None and input_ids is not None and self.config.pad_token_id is not None:
            mask = input_ids != self.config.pad_token_id
        if mask is None:
            return torch.full((len(states),), length - 1, device=states.device)
        # The largest index of a token is the last token, whichever side the padding is on.
        index = torch.arange(length, device=states.device)  # (length,), broadcast over the batch
        return (index * mask[:, -length:].to(index.dtype)).argmax(-1)  # (batch, length) -> (batch,)
