"""Implements a bidirectional encoder (BERT) with a masked language modeling head and fine-tuning heads.

    fill = pipeline("fill-mask", "runs/11-pretraining/model")
    fill("The tea was not [MASK] at all.")

The default configuration has BERT's layout, weight for weight; `convert/bert.py` converts BERT's weights.
Attention and positions are in layers_attention.py and layers_positions.py.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.utils import can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_bert import LLMPathBertConfig
from .layers_attention import MultiHeadAttention
from .layers_heads import IGNORED, classifier_loss
from .layers_positions import LearnedPositions, RotaryPositions


def _norm(config: LLMPathBertConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


class LLMPathBertEmbeddings(nn.Module):
    """Adds the embeddings of token, position, and segment (Devlin et al. 2018, figure 2)."""

    def __init__(self, config: LLMPathBertConfig):
        super().__init__()
        size = config.hidden_size
        self.tokens = nn.Embedding(config.vocab_size, size, config.pad_token_id)
        is_learned = config.position_embedding_type == "learned"
        self.positions = LearnedPositions(config.max_position_embeddings, size) if is_learned else None
        self.token_types = nn.Embedding(config.type_vocab_size, size) if config.type_vocab_size else None
        self.norm = _norm(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        input_ids: Tensor | None,  # (batch, length)
        token_type_ids: Tensor | None,  # (batch, length)
        position_ids: Tensor,  # (1 or batch, length)
        embeds: Tensor | None,  # (batch, length, hidden_size)
    ) -> Tensor:
        embeddings = self.tokens(input_ids) if embeds is None else embeds  # (batch, length, hidden_size)
        if self.token_types is not None:
            # Most inputs have one segment, whose vector is added without a lookup per token.
            types = self.token_types.weight[0] if token_type_ids is None else self.token_types(token_type_ids)
            embeddings = embeddings + types  # (hidden_size,) or (batch, length, hidden_size)
        if self.positions is not None:
            embeddings = embeddings + self.positions(position_ids)
        return self.dropout(self.norm(embeddings))


class LLMPathBertLayer(GradientCheckpointingLayer):
    """Attention to all tokens in both directions, then a feed-forward network for each token.

    Post-norm: x ← LN(x + f(x)) (Vaswani et al. 2017, section 3.1). Pre-norm: x ← x + f(LN(x)) (Xiong et
    al. 2020).
    """

    def __init__(self, config: LLMPathBertConfig, layer_idx: int):
        super().__init__()
        self.is_pre_norm = config.norm_position == "pre"
        self.attention = MultiHeadAttention(config, layer_idx)
        self.attention_norm = _norm(config)
        width = config.intermediate_size or 4 * config.hidden_size
        self.up_proj = nn.Linear(config.hidden_size, width)
        self.down_proj = nn.Linear(width, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.feed_forward_norm = _norm(config)
        self.dropout = nn.Dropout(config.dropout)

    def feed_forward(self, x: Tensor) -> Tensor:
        inner = self.activation(self.up_proj(x))  # (batch, length, intermediate_size)
        return self.dropout(self.down_proj(inner))  # (batch, length, hidden_size)

    def attend(self, x: Tensor, attention_mask: Tensor | None, **kwargs: Any) -> Tensor:
        return self.dropout(self.attention(x, attention_mask, **kwargs)[0])

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> Tensor:
        x = hidden_states  # (batch, length, hidden_size), like the result
        if self.is_pre_norm:  # the residual sum is normed only once, at the end of the stack
            x = x + self.attend(self.attention_norm(x), attention_mask, **kwargs)
            return x + self.feed_forward(self.feed_forward_norm(x))
        x = self.attention_norm(x + self.attend(x, attention_mask, **kwargs))
        return self.feed_forward_norm(x + self.feed_forward(x))


class LLMPathBertPooler(nn.Module):
    """Computes one vector per sequence: tanh(W h_first + b), as in BERT, or the mean of the states."""

    def __init__(self, config: LLMPathBertConfig):
        super().__init__()
        is_mean = config.classifier_pooling == "mean"
        self.dense = None if is_mean else nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, states: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Maps states `(batch, length, hidden)`, masked by `(batch, length)`, to `(batch, hidden)`."""
        if self.dense is not None:
            return torch.tanh(self.dense(states[:, 0]))  # the state of [CLS], (batch, hidden)
        if attention_mask is None:
            return states.mean(1)  # (batch, length, hidden) -> (batch, hidden)
        weights = attention_mask.to(states.dtype).unsqueeze(-1)  # (batch, length, 1), 0 for padding
        # (batch, hidden) / (batch, 1); an empty sequence gets zeros, not NaN
        return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


class LLMPathBertHead(nn.Module):
    """Applies a dense layer, an activation, and a layer norm to the states before the logits, as in BERT."""

    def __init__(self, config: LLMPathBertConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.norm = _norm(config)

    def forward(self, states: Tensor) -> Tensor:
        return self.norm(self.activation(self.dense(states)))


class LLMPathBertPreTrainedModel(PreTrainedModel):
    config: LLMPathBertConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["LLMPathBertEmbeddings", "LLMPathBertLayer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": LLMPathBertLayer, "attentions": MultiHeadAttention}


class LLMPathBertModel(LLMPathBertPreTrainedModel):
    """Embeddings and a stack of layers.

    Args:
        config: the configuration.
        add_pooling_layer: whether to return one vector per sequence in `pooler_output`.
    """

    def __init__(self, config: LLMPathBertConfig, add_pooling_layer: bool = True):
        super().__init__(config)
        self.embeddings = LLMPathBertEmbeddings(config)
        self.layers = nn.ModuleList(
            [LLMPathBertLayer(config, index) for index in range(config.num_hidden_layers)]
        )
        self.norm = _norm(config) if config.norm_position == "pre" else None
        is_rotary = config.position_embedding_type == "rotary"
        head_dim = config.hidden_size // config.num_attention_heads
        self.rotary = RotaryPositions(head_dim, config.rope_theta) if is_rotary else None
        self.pooler = LLMPathBertPooler(config) if add_pooling_layer else None
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings.tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embeddings.tokens = value  # type: ignore[assignment]

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """Encodes sequences.

        Args:
            input_ids: `(batch, length)`, or `inputs_embeds` `(batch, length, hidden_size)`.
            attention_mask: `(batch, length)`, 0 for padding.
            token_type_ids: `(batch, length)`, the segment of each token; all 0 if not given.
            position_ids: `(batch, length)`; 0, 1, 2, ... if not given.

        Raises:
            ValueError: the call gives both or neither of input_ids and inputs_embeds, or a sequence is longer
                than `max_position_embeddings`.
        """
        given = input_ids if inputs_embeds is None else inputs_embeds
        if given is None or (input_ids is not None and inputs_embeds is not None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        length = given.shape[1]
        if length > self.config.max_position_embeddings:
            raise ValueError(
                f"the sequence has {length} tokens; this model takes max_position_embeddings "
                f"({self.config.max_position_embeddings}) at most"
            )
        if position_ids is None:
            position_ids = torch.arange(length, device=given.device).unsqueeze(0)  # (1, length)
        hidden_states = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds)
        # (batch, 1, length, length), or None where the attention implementation needs no mask
        mask = create_bidirectional_mask(
            config=self.config, inputs_embeds=hidden_states, attention_mask=attention_mask
        )
        if self.rotary is not None:
            kwargs["rotation"] = self.rotary(position_ids, hidden_states.dtype)
        for layer in self.layers:
            hidden_states = layer(hidden_states, mask, **kwargs)  # (batch, length, hidden_size)
        if self.norm is not None:  # pre-norm layers do not normalize their residual sum
            hidden_states = self.norm(hidden_states)
        pooled = self.pooler(hidden_states, attention_mask) if self.pooler is not None else None
        return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=pooled)


class LLMPathBertForMaskedLM(LLMPathBertPreTrainedModel):
    """The encoder with a head that predicts masked tokens."""

    _tied_weights_keys = {"decoder.weight": "model.embeddings.tokens.weight"}

    def __init__(self, config: LLMPathBertConfig):
        super().__init__(config)
        self.model = LLMPathBertModel(config, add_pooling_layer=False)
        self.head = LLMPathBertHead(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        return self.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        self.decoder = new_embeddings

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,  # (batch, length)
        attention_mask: Tensor | None = None,  # (batch, length), 0 for padding
        token_type_ids: Tensor | None = None,  # (batch, length)
        position_ids: Tensor | None = None,  # (batch, length)
        inputs_embeds: Tensor | None = None,  # (batch, length, hidden_size)
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: Any,
    ) -> MaskedLMOutput:
        """Computes the logits of tokens, and the loss if there are labels.

        Args:
            labels: `(batch, length)`, the masked tokens, and -100 elsewhere.
            num_items_in_batch: divides the summed loss in place of the number of labels, for accumulated
                batches.

        Returns:
            `logits` `(batch, length, vocab_size)`. In training mode, with labels and
            `config.sparse_prediction`, only the masked tokens get logits, `(masked, vocab_size)`.
        """
        outputs = self.model(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, **kwargs)
        states = outputs.last_hidden_state  # (batch, length, hidden_size)
        if labels is not None and self.training and self.config.sparse_prediction:
            is_masked = labels != IGNORED  # (batch, length)
            states, labels = states[is_masked], labels[is_masked]  # (masked, hidden_size), (masked,)
        logits = self.decoder(self.head(states))  # (batch, length, vocab_size), or (masked, vocab_size)
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits,
                labels=labels,
                vocab_size=self.config.vocab_size,
                num_items_in_batch=num_items_in_batch,
            )
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class LLMPathBertClassifier(LLMPathBertPreTrainedModel):
    """The common base of both classifiers: dropout and a linear layer on the encoder's output."""

    def __init__(self, config: LLMPathBertConfig, of_sequences: bool):
        super().__init__(config)
        self.model = LLMPathBertModel(config, add_pooling_layer=of_sequences)
        self.dropout = nn.Dropout(config.classifier_dropout or 0.0)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)  # type: ignore[arg-type]
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,  # (batch, length)
        attention_mask: Tensor | None = None,  # (batch, length), 0 for padding
        token_type_ids: Tensor | None = None,  # (batch, length)
        position_ids: Tensor | None = None,  # (batch, length)
        inputs_embeds: Tensor | None = None,  # (batch, length, hidden_size)
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput | TokenClassifierOutput:
        """Computes the logits, and the loss if there are labels.

        Args:
            labels: for sequences, classes `(batch,)`, or numbers if `config.num_labels` is 1. For tokens,
                classes `(batch, length)`, with -100 where a token has none.

        Returns:
            `logits` `(batch, num_labels)` for sequences, `(batch, length, num_labels)` for tokens.
        """
        outputs = self.model(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, **kwargs)
        of_sequences = self.model.pooler is not None
        states = outputs.pooler_output if of_sequences else outputs.last_hidden_state
        logits = self.classifier(self.dropout(states))  # (batch, num_labels), or (batch, length, num_labels)
        return (SequenceClassifierOutput if of_sequences else TokenClassifierOutput)(
            loss=classifier_loss(self, logits, labels, num_items_in_batch),
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class LLMPathBertForSequenceClassification(LLMPathBertClassifier):
    """The encoder with a classifier of the pooled sequence."""

    def __init__(self, config: LLMPathBertConfig):
        super().__init__(config, of_sequences=True)


class LLMPathBertForTokenClassification(LLMPathBertClassifier):
    """The encoder with a classifier of every token."""

    def __init__(self, config: LLMPathBertConfig):
        super().__init__(config, of_sequences=False)


class LLMPathBertForQuestionAnswering(LLMPathBertPreTrainedModel):
    """The encoder with two scores per token: one for the start of the answer and one for its end."""

    def __init__(self, config: LLMPathBertConfig):
        super().__init__(config)
        self.model = LLMPathBertModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,  # (batch, length)
        attention_mask: Tensor | None = None,  # (batch, length), 0 for padding
        token_type_ids: Tensor | None = None,  # (batch, length)
        position_ids: Tensor | None = None,  # (batch, length)
        inputs_embeds: Tensor | None = None,  # (batch, length, hidden_size)
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: Any,
    ) -> QuestionAnsweringModelOutput:
        """Computes `start_logits` and `end_logits` `(batch, length)`, and the loss if the answers are given.

        `start_positions` and `end_positions` `(batch,)` are the first and last token of the answer. The loss
        skips positions beyond the end of the sequence.
        """
        outputs = self.model(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, **kwargs)
        scores = self.qa_outputs(outputs.last_hidden_state)  # (batch, length, 2)
        # (batch, length, 2) -> twice (batch, length); the loss and exported graphs need contiguous memory.
        start_logits, end_logits = scores[..., 0].contiguous(), scores[..., 1].contiguous()
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = self.loss_function(
                start_logits,
                end_logits,
                start_positions,
                end_positions,
                num_items_in_batch=num_items_in_batch,
            )
        return QuestionAnsweringModelOutput(
            loss=loss,
            start_logits=start_logits,
            end_logits=end_logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
