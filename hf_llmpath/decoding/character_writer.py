"""Lets a character-level language model write, and shows its probabilities, states, and gates.

writer = load_character_writer("runs/07-rnn/model")
for writing in writer.write("Otto", temperature=0.7, length=300, seed=0): ...
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.tokenizers.characters import unknown_characters
from ..hub.model_folder import load_pair, loaded
from .sampling import Sampling

LONGEST_PROMPT = 1000  # number of characters
LONGEST_TEXT = 1000  # number of characters


@dataclass
class Trace:
    """The states of a model while it read a text.

    Attributes:
        tokens: the tokens as text.
        values: the state after each token, `(time, units)`.
    """

    tokens: list[str] = field(default_factory=list)
    values: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))


@dataclass
class Writing:
    """A text, as far as it has been written.

    Attributes:
        text: the text without the prompt.
        tokens, states: the tokens that the model has read, including the prompt, and its states after them,
            if the caller requested states.
    """

    text: str
    tokens: list[str] = field(default_factory=list)
    states: list[np.ndarray] = field(default_factory=list)

    @property
    def trace(self) -> Trace:
        """Returns the hidden states as one array, built on request because most steps are never drawn."""
        # (1 + time, hidden) -> (time, hidden), because the beginning-of-text token has no label.
        return Trace(self.tokens, np.concatenate(self.states)[1:])


class CharacterWriter:
    """A causal language model whose tokens are characters, in evaluation mode.

    Raises:
        UserError: the folder cannot be read, or its tokenizer belongs to another model.
    """

    def __init__(self, folder: Path):
        self.model, self.tokenizer = load_pair("AutoModelForCausalLM", folder)
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.context: int | None = getattr(self.model.config, "max_position_embeddings", None)

    def encode(self, text: str) -> Tensor:
        """Encodes a text as the beginning of a document, as in training: ids `(1, 1 + length)`.

        If a text is longer than the model's context, only its end is kept.
        """
        ids = self.tokenizer.encode(text[:LONGEST_PROMPT], add_special_tokens=False)
        ids = [self.tokenizer.bos_token_id, *ids]
        return torch.tensor([ids[-self.context :] if self.context else ids])

    def labels(self, ids: list[int]) -> list[str]:
        """Returns each token as text: a character, `<0xE2>` for a byte, or a sign for a special token."""
        signs = {
            self.tokenizer.eos_token_id: "∎",
            self.tokenizer.bos_token_id: "∎",
            self.tokenizer.unk_token_id: "\N{REPLACEMENT CHARACTER}",
            self.tokenizer.pad_token_id: "∅",
        }
        tokens = self.tokenizer.convert_ids_to_tokens(ids)
        return [signs.get(index, token) for index, token in zip(ids, tokens, strict=True)]

    def note(self, text: str) -> str:
        """Returns a sentence about characters that the vocabulary lacks; empty if it has them all."""
        unknown = unknown_characters(self.tokenizer, text)
        if not unknown:
            return ""
        shown = " ".join(character if character.isprintable() else repr(character) for character in unknown)
        return f"The model never saw {shown} and reads it as an unknown character."

    @torch.no_grad()
    def next_probabilities(self, text: str, temperature: float) -> list[tuple[str, float]]:
        """Returns every token with its probability of coming next, the most probable first."""
        logits = self.model(input_ids=self.encode(text), use_cache=False).logits[0, -1]  # (vocabulary,)
        probabilities = (logits.double() / temperature).softmax(-1)
        order = probabilities.argsort(descending=True).tolist()
        return list(zip(self.labels(order), probabilities[order].tolist(), strict=True))

    @torch.no_grad()
    def states(self, text: str, layer: int = -1) -> Trace:
        """Returns the hidden state `(time, hidden)` of a layer after each token."""
        ids = self.encode(text)
        hidden = self.model(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states[layer]
        # Leave out the beginning-of-text token: (1, 1 + time, units) -> (time, units).
        return Trace(self.labels(ids[0, 1:].tolist()), hidden[0, 1:].float().numpy())

    @torch.no_grad()
    def gates(self, text: str, layer: int = -1) -> tuple[list[str], dict[str, np.ndarray]]:
        """Returns the tokens and, for each gate of a layer, how far it opens, `(time, hidden)`."""
        ids = self.encode(text)
        gates = self.model(input_ids=ids, output_gates=True, use_cache=False).gates[layer]
        # (1, 1 + time, hidden) -> (time, hidden) for each gate
        opened = {name: values[0, 1:].float().numpy() for name, values in gates.items()}
        return self.labels(ids[0, 1:].tolist()), opened

    @torch.no_grad()
    def write(
        self, prompt: str, temperature: float, length: int, seed: int, with_states: bool = False
    ) -> Iterator[Writing]:
        """Samples up to `length` tokens and yields the text after each of them.

        A cache carries the state from step to step, so each step reads only one new token. The seed feeds a
        generator that only this text uses, so the same seed gives the same text, whatever else the process
        does. When the context of a model is full, the model reads its last half again and continues from
        there.
        """
        # The lower limit avoids a division by 0; at 0.01, the draw almost always takes the best token.
        draw = Sampling(max(temperature, 0.01)).chooser(torch.Generator().manual_seed(int(seed)))
        inputs, cache = self.encode(prompt), None
        ids, states = inputs[0].tolist(), []
        start, cached = len(ids), 0
        for _ in range(min(int(length), LONGEST_TEXT)):
            output = self.model(
                input_ids=inputs, cache=cache, use_cache=True, output_hidden_states=with_states or None
            )
            if with_states:
                states.append(output.hidden_states[-1][0].float().numpy())  # (new tokens, hidden)
            cache, cached = output.cache, cached + inputs.shape[1]
            token = int(draw(output.logits[:, -1]))  # (1, vocabulary) -> (1,)
            if token == self.tokenizer.eos_token_id:
                break
            trace = (self.labels(ids[1:]), list(states)) if with_states else ()
            ids.append(token)
            inputs = torch.tensor([[token]])  # (1, 1)
            if self.context and cached >= self.context:
                inputs, cache, cached = torch.tensor([ids[-max(1, self.context // 2) :]]), None, 0
            yield Writing(self.tokenizer.decode(ids[start:], skip_special_tokens=True), *trace)


def load_character_writer(folder: Path) -> CharacterWriter:
    """Loads the model saved in `folder` and keeps it in memory until its files change.

    Raises:
        UserError: the weight file is missing, truncated, or a pickle.
    """
    return loaded(CharacterWriter, folder)
