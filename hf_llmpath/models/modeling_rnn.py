"""Implements a recurrent language model (RNN, LSTM, or GRU) and a recurrent time series model.

    model = AutoModelForCausalLM.from_pretrained("runs/08-lstm-gru/model")
    model.generate(**tokenizer("Once", return_tensors="pt"), max_new_tokens=200, do_sample=True)

`generate()` passes the recurrent state from step to step as `cache`, so every step costs the same, however
long the text is.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import GenerationMixin
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import slice_logits_to_keep
from transformers.utils import ModelOutput, can_return_tuple
from transformers.utils.deprecation import deprecate_kwarg
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_rnn import LLMPathRNNConfig
from .layers_recurrence import RecurrentCache, RecurrentLayer, RecurrentPreTrainedModel

Gates = tuple[dict[str, Tensor], ...]


@dataclass
class LLMPathRNNModelOutput(BaseModelOutputWithPast):
    """The output of the recurrent model.

    Args:
        last_hidden_state: `(batch, length, hidden)`.
        cache: the state of every layer after the last token.
        hidden_states: the embeddings, then the output of each layer.
        gates: for each layer, a mapping from the name of a gate to its values `(batch, length, hidden)`.
    """

    gates: Gates | None = None


@dataclass
class LLMPathRNNCausalLMOutput(CausalLMOutputWithPast):
    """The output of the language model: `logits` `(batch, length, vocab_size)`, plus the fields above."""

    gates: Gates | None = None


@dataclass
class LLMPathRNNForecastOutput(ModelOutput):
    """The output of the series model: `prediction_outputs` `(batch, steps)`, the forecast at each step."""

    loss: Tensor | None = None
    prediction_outputs: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class LLMPathRNNPreTrainedModel(RecurrentPreTrainedModel):
    config: LLMPathRNNConfig
    base_model_prefix = "model"
    _no_split_modules = ["RecurrentLayer"]
    _can_record_outputs = {"hidden_states": RecurrentLayer}


class LLMPathRNNModel(LLMPathRNNPreTrainedModel):
    """Embeddings and a stack of recurrent layers."""

    def __init__(self, config: LLMPathRNNConfig):
        super().__init__(config)
        width = config.embedding_size or config.hidden_size
        # A series model passes `inputs_embeds`, so it needs no token embeddings.
        self.embed_tokens = (
            nn.Embedding(config.vocab_size, width, config.pad_token_id) if config.vocab_size else None
        )
        sizes = [width] + [config.hidden_size] * (config.num_hidden_layers - 1)
        self.layers = nn.ModuleList([RecurrentLayer(config.cell, size, config.hidden_size) for size in sizes])
        self.dropout = nn.Dropout(config.dropout)
        self.gradient_checkpointing = False
        self.post_init()

    @deprecate_kwarg("past_key_values", "6.0.0", new_name="cache")
    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        cache: RecurrentCache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_gates: bool = False,
        **kwargs,
    ) -> LLMPathRNNModelOutput:
        """Reads the tokens from left to right.

        Args:
            input_ids: `(batch, length)`, or `inputs_embeds` `(batch, length, embedding_size)`.
            attention_mask: `(batch, past + length)`, 0 for padding on either side, which leaves the state
                unchanged.
            cache: the state to start from.
            output_gates: whether to return the values of the gates at each step (slower).
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        if inputs_embeds is None:
            if self.embed_tokens is None:
                raise ValueError("this model has no token embeddings (vocab_size is 0); give inputs_embeds")
            inputs_embeds = self.embed_tokens(input_ids)  # (batch, length, embedding_size)
        length = inputs_embeds.shape[1]
        if use_cache and cache is None:
            cache = RecurrentCache(self.config.num_hidden_layers)
        # Without a mask a layer can run all steps at once.
        attention_mask = self._needed_mask(attention_mask, length, cache is not None)

        hidden_states, gates = self.dropout(inputs_embeds), []
        for index, layer in enumerate(self.layers):
            layer_cache = cache.layers[index] if cache is not None else None
            state = layer_cache.state if layer_cache is not None else None
            # (batch, length, hidden_size), and a state of one or two tensors (batch, hidden_size)
            hidden_states, state, layer_gates = layer(hidden_states, state, attention_mask, output_gates)
            if layer_cache is not None:
                layer_cache.update(state, length)
            gates.append(layer_gates)
            if index + 1 < len(self.layers):  # the head applies its own dropout to the last layer
                hidden_states = self.dropout(hidden_states)
        return LLMPathRNNModelOutput(
            last_hidden_state=hidden_states, cache=cache, gates=tuple(gates) if output_gates else None
        )

    @staticmethod
    def _needed_mask(mask: Tensor | None, length: int, keeps_state: bool) -> Tensor | None:
        """Returns the mask of the new tokens `(batch, length)`, or None if it cannot affect the result."""
        if mask is None:
            return None
        mask = mask[:, -length:]  # (batch, past + length) -> (batch, length)
        if mask.all():
            return None
        # Right padding never turns from 0 back to 1. The states behind it matter only if a cache stores them.
        padded_right = bool((mask[:, 1:] <= mask[:, :-1]).all())
        return None if padded_right and not keeps_state else mask


class LLMPathRNNForCausalLM(LLMPathRNNPreTrainedModel, GenerationMixin):
    """The recurrent model with a next-token head."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: LLMPathRNNConfig):
        super().__init__(config)
        self.model = LLMPathRNNModel(config)
        self.dropout = nn.Dropout(config.dropout)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def new_cache(self) -> RecurrentCache:
        """Returns an empty `cache`."""
        return RecurrentCache(self.config.num_hidden_layers)

    @deprecate_kwarg("past_key_values", "6.0.0", new_name="cache")
    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,  # (batch, length)
        attention_mask: Tensor | None = None,  # (batch, past + length), 0 for padding
        cache: RecurrentCache | None = None,
        inputs_embeds: Tensor | None = None,  # (batch, length, embedding_size)
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs,
    ) -> LLMPathRNNCausalLMOutput:
        """Computes the logits of the next token at every position, and the loss if there are labels.

        Args:
            labels: `(batch, length)`, the input ids themselves: the loss shifts them and skips -100. Windows
                cut from one long text may pass `shift_labels` instead, the next token at each position.
            logits_to_keep: number of last positions, or indices of the positions, whose logits are computed;
                0 for all.

        The other arguments are those of `LLMPathRNNModel`.
        """
        kwargs.pop("position_ids", None)  # the recurrence itself encodes the order
        shift_labels = kwargs.pop("shift_labels", None)
        num_items_in_batch = kwargs.pop("num_items_in_batch", None)
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            cache=cache,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        hidden_states = slice_logits_to_keep(self.dropout(outputs.last_hidden_state), logits_to_keep)
        logits = self.lm_head(hidden_states)  # (batch, kept, vocab_size)
        loss = None
        if labels is not None or shift_labels is not None:
            loss = self.loss_function(
                logits=logits,
                labels=labels,
                shift_labels=shift_labels,
                vocab_size=self.config.vocab_size,
                num_items_in_batch=num_items_in_batch,
            )
        return LLMPathRNNCausalLMOutput(
            loss=loss,
            logits=logits,
            cache=outputs.cache,
            hidden_states=outputs.hidden_states,
            gates=outputs.gates,
        )


class LLMPathRNNForTimeSeriesPrediction(LLMPathRNNPreTrainedModel):
    """The recurrent model with a next-value head.

    The inputs of a step are the values at `config.lags_sequence` steps before the one to forecast. The
    forecast is the first of these values plus a learned change, which starts at 0. An untrained model
    therefore gives the (seasonal) naive forecast.
    """

    main_input_name = "past_values"

    def __init__(self, config: LLMPathRNNConfig):
        super().__init__(config)
        self.model = LLMPathRNNModel(config)
        self.lags: list[int] = config.lags_sequence or [1]
        self.value_projection = nn.Linear(len(self.lags), config.embedding_size or config.hidden_size)
        self.head = nn.Linear(config.hidden_size, 1)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Linear) and module.out_features == 1:  # the head starts without a change
            init.zeros_(module.weight)

    def _standardize(self, values: Tensor) -> Tensor:
        if self.config.log_values:
            values = values.log()
        return (values - self.config.value_mean) / self.config.value_std

    def _restore(self, values: Tensor) -> Tensor:
        values = values * self.config.value_std + self.config.value_mean
        return values.exp() if self.config.log_values else values

    @can_return_tuple
    def forward(
        self,
        past_values: Tensor,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs,
    ) -> LLMPathRNNForecastOutput:
        """Forecasts the next value at every step.

        Args:
            past_values: `(batch, length)` in the units of the data, evenly spaced, oldest first.
            labels: `(batch, length)`, usually `past_values` themselves, the values that each forecast is
                compared with. The loss is the mean squared error of the standardized values; NaN is skipped.

        Returns:
            `prediction_outputs` `(batch, length - max(lags) + 1)`, in the units of the data. Entry j
            forecasts the value at position `max(lags) + j` from those before it; the last entry lies beyond
            the given values.
        """
        lags, longest = self.lags, max(self.lags)
        values = self._standardize(past_values)
        steps = values.shape[1] - longest + 1
        if steps < 1:
            raise ValueError(
                f"past_values has {values.shape[1]} steps; the longest lag needs at least {longest}"
            )
        # One shifted copy of the series per lag: lags times (batch, steps) -> (batch, steps, lags).
        inputs = torch.stack([values[:, longest - lag : longest - lag + steps] for lag in lags], dim=-1)
        outputs = self.model(
            inputs_embeds=self.value_projection(inputs),
            output_hidden_states=output_hidden_states,
            use_cache=False,
        )
        prediction = inputs[..., 0] + self.head(outputs.last_hidden_state).squeeze(-1)  # (batch, steps)
        loss = None
        if labels is not None:
            target = self._standardize(labels)[:, longest:]  # (batch, steps - 1)
            # The loss leaves out the last forecast, because its true value lies beyond the given ones.
            known = ~target.isnan()  # (batch, steps - 1); measured values may be missing
            loss = (prediction[:, :-1] - target)[known].square().mean()
        return LLMPathRNNForecastOutput(
            loss=loss, prediction_outputs=self._restore(prediction), hidden_states=outputs.hidden_states
        )

    @torch.no_grad()
    def forecast(self, past_values: Tensor, horizon: int) -> Tensor:
        """Returns the next `horizon` values `(batch, horizon)`, feeding each forecast back as an input."""
        values, longest = self._standardize(past_values), max(self.lags)
        steps, cache = values.shape[1] - longest + 1, RecurrentCache(self.config.num_hidden_layers)
        for _ in range(horizon):
            # After the first pass, one new step is enough, because the cached state holds the earlier ones.
            start = values.shape[1] + 1 - steps
            # (batch, steps, lags)
            inputs = torch.stack([values[:, start - lag : start - lag + steps] for lag in self.lags], dim=-1)
            embeds = self.value_projection(inputs)
            states = self.model(inputs_embeds=embeds, cache=cache, use_cache=True).last_hidden_state
            forecast = inputs[:, -1, :1] + self.head(states[:, -1])  # (batch, 1)
            values, steps = torch.cat([values, forecast], dim=1), 1  # (batch, length + 1)
        return self._restore(values[:, past_values.shape[1] :])  # (batch, horizon)
