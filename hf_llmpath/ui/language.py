"""What the pages ask of a character-level language model: probabilities, states, gates, and text as it is
written.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.tokenizers.characters import unknown_characters
from ..hub.weights import load_pair
from .loading import loaded
from .pictures import visible

LONGEST_PROMPT = 1000
LONGEST_TEXT = 1000


@dataclass
class Trace:
    """Tokens as text, and for each what the model did after reading it: `values` `(time, units)`."""

    tokens: list[str] = field(default_factory=list)
    values: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))


@dataclass
class Writing:
    """A text being written: `text` without the prompt; and, if states were asked for, `tokens` and
    `states` of all that the model has read, prompt included."""

    text: str
    tokens: list[str] = field(default_factory=list)
    states: list[np.ndarray] = field(default_factory=list)

    @property
    def trace(self) -> Trace:
        """The hidden states `(time, hidden)` as an array; made when it is wanted, for most steps are not
        drawn.
        """
        return Trace(self.tokens, np.concatenate(self.states)[1:])


class CharacterModel:
    """A causal language model whose tokens are characters, in evaluation mode."""

    def __init__(self, folder: Path):
        self.model, self.tokenizer = load_pair("AutoModelForCausalLM", folder)
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.context: int | None = getattr(self.model.config, "max_position_embeddings", None)

    def encode(self, text: str) -> Tensor:
        """Token ids `(1, 1 + length)`: the text at the beginning of a document, as in training; of a text
        longer than the model's context the end."""
        ids = [
            self.tokenizer.bos_token_id,
            *self.tokenizer.encode(text[:LONGEST_PROMPT], add_special_tokens=False),
        ]
        return torch.tensor([ids[-self.context :] if self.context else ids])

    def labels(self, ids: list[int]) -> list[str]:
        """Each token as text: a character, `<0xE2>` for a byte, a sign for a special token."""
        signs = {
            self.tokenizer.eos_token_id: "∎",
            self.tokenizer.bos_token_id: "∎",
            self.tokenizer.unk_token_id: "\N{REPLACEMENT CHARACTER}",
            self.tokenizer.pad_token_id: "∅",
        }
        tokens = self.tokenizer.convert_ids_to_tokens(ids)
        return [signs.get(index, token) for index, token in zip(ids, tokens, strict=True)]

    def note(self, text: str) -> str:
        """What to know about how this text is read: characters that the vocabulary lacks."""
        strange = unknown_characters(self.tokenizer, text)
        if not strange:
            return ""
        return f"The model never saw {' '.join(map(visible, strange))} and reads it as an unknown character."

    @torch.no_grad()
    def next_probabilities(self, text: str, temperature: float) -> list[tuple[str, float]]:
        """Every token with its probability of coming next, the likeliest first."""
        logits = self.model(input_ids=self.encode(text), use_cache=False).logits[0, -1]
        probabilities = (logits.double() / temperature).softmax(-1)
        order = probabilities.argsort(descending=True).tolist()
        return list(zip(self.labels(order), probabilities[order].tolist(), strict=True))

    @torch.no_grad()
    def states(self, text: str, layer: int = -1) -> Trace:
        """Hidden state `(time, hidden)` of a layer after each token."""
        ids = self.encode(text)
        hidden = self.model(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states[layer]
        return Trace(self.labels(ids[0, 1:].tolist()), hidden[0, 1:].float().numpy())

    @torch.no_grad()
    def gates(self, text: str, layer: int = -1) -> tuple[list[str], dict[str, np.ndarray]]:
        """Tokens, and for each gate of a layer its opening `(time, hidden)`."""
        ids = self.encode(text)
        gates = self.model(input_ids=ids, output_gates=True, use_cache=False).gates[layer]
        return self.labels(ids[0, 1:].tolist()), {
            name: values[0, 1:].float().numpy() for name, values in gates.items()
        }

    @torch.no_grad()
    def write(
        self, prompt: str, temperature: float, length: int, seed: int, with_states: bool = False
    ) -> Iterator[Writing]:
        """Samples up to `length` tokens, one per step; the state is carried along, so each step costs the
        same.

        The seed has a generator of its own: the same seed gives the same text whatever else this process
        is doing. A model whose context is full starts again from the last half of it.
        """
        generator = torch.Generator().manual_seed(int(seed))
        inputs, cache = self.encode(prompt), None
        ids, states = inputs[0].tolist(), []
        start, held = len(ids), 0
        for _ in range(min(int(length), LONGEST_TEXT)):
            output = self.model(
                input_ids=inputs, cache=cache, use_cache=True, output_hidden_states=with_states or None
            )
            if with_states:
                states.append(output.hidden_states[-1][0].float().numpy())
            cache, held = output.cache, held + inputs.shape[1]
            probabilities = (output.logits[0, -1] / max(temperature, 0.01)).softmax(-1)
            token = int(torch.multinomial(probabilities, 1, generator=generator))
            if token == self.tokenizer.eos_token_id:
                break
            read = (self.labels(ids[1:]), list(states)) if with_states else ()
            ids.append(token)
            inputs = torch.tensor([[token]])
            if self.context and held >= self.context:
                inputs, cache, held = torch.tensor([ids[-max(1, self.context // 2) :]]), None, 0
            yield Writing(self.tokenizer.decode(ids[start:], skip_special_tokens=True), *read)


def load_character_model(folder: Path) -> CharacterModel:
    """The model saved in `folder`; kept in memory until the files change.

    Raises:
        UserError: its weight file is missing, truncated or a pickle.
    """
    return loaded(CharacterModel, folder)
