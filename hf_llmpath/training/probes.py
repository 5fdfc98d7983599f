"""Examines a trained recurrent language model: its units, its gates, and the reach of its gradients."""

from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast, set_seed


def gradient_by_lag(
    model: nn.Module, tokens: np.ndarray, length: int, seed: int, windows: int = 32
) -> list[float]:
    """Measures how much the loss at one character depends on the state k steps earlier, for k = 0, 1, ...

    The measure is the norm of dL_t / ds_{t-k}, averaged over windows of the text and divided by its value at
    k = 0. The state s is the hidden state and, for an LSTM, also the cell state. The norm shrinks or grows as
    a product of k Jacobians (Pascanu et al. 2013, "On the difficulty of training recurrent neural networks").

    Args:
        model: a recurrent language model; its last layer is measured.
        tokens: ids of a text of more than `length + 1` tokens.
        length: number of lags; the largest is `length - 1`.
        seed: seed of the choice of windows.
        windows: number of windows of the text to average over.
    """
    random = np.random.default_rng(seed)
    starts = random.integers(0, len(tokens) - length - 1, size=windows)
    # windows times (length + 1,) -> (windows, length + 1)
    batch = torch.from_numpy(np.stack([tokens[start : start + length + 1] for start in starts]))
    model.eval()
    backbone, cell_layer = model.model, model.model.layers[-1]
    hidden = backbone.embed_tokens(batch[:, :-1])  # (windows, length, embedding_size)
    for layer in backbone.layers[:-1]:
        hidden = layer(hidden)[0]  # (windows, length, hidden)
    # The last layer runs step by step, and each state is a separate node, so every dL/ds can be read.
    state, states = None, []
    for t in range(length):
        _, state, _ = cell_layer(hidden[:, t : t + 1].detach(), state)
        # A view is a new node, through which the next step reads the state; each (windows, hidden).
        state = tuple(tensor.view_as(tensor) for tensor in state)
        for tensor in state:
            tensor.retain_grad()
        states.append(state)
    loss = nn.functional.cross_entropy(model.lm_head(states[-1][0]), batch[:, -1], reduction="sum")
    model.zero_grad()
    loss.backward()
    norms = []
    for state in reversed(states):
        # The loss does not depend on the last cell state, which therefore has no gradient.
        grads = [tensor.grad for tensor in state if tensor.grad is not None]
        # (windows, hidden), or (windows, 2 * hidden) with a cell state; the norm is (windows,)
        norms.append(torch.cat(grads, dim=-1).norm(dim=-1).mean().item())
    model.zero_grad()
    return [norm / norms[0] for norm in norms]


def one_character_each(tokenizer: PreTrainedTokenizerFast, tokens: np.ndarray) -> str:
    """Returns the text of `tokens` with exactly one character per token.

    A line feed replaces an end of text, and U+FFFD replaces a byte.
    """
    special = set(tokenizer.all_special_ids)
    pieces = tokenizer.convert_ids_to_tokens(tokens.tolist())
    return "".join(
        "\n" if token in special else piece if len(piece) == 1 else "\ufffd"
        for token, piece in zip(tokens.tolist(), pieces, strict=True)
    )


def text_features(text: str) -> dict[str, np.ndarray]:
    """Returns features of each character of `text` and its surroundings, by name, each `(len(text),)`."""
    characters = np.array(list(text))
    index = np.arange(len(text))

    def since(mask: np.ndarray) -> np.ndarray:
        """Counts the characters since `mask` was last true (or since the start)."""
        # The running maximum of the indices where `mask` is true is the last such index.
        return index - np.maximum.accumulate(np.where(mask, index, 0))

    is_letter = np.char.isalpha(characters)
    before = np.append(False, is_letter[:-1])
    first_letter = is_letter & ~before
    in_word = np.where(is_letter, since(~is_letter), 0)  # 1 for the first letter, 2 for the second, ...
    # Index of the first letter of each letter's word, which tells whether the word begins with a capital.
    begins = np.maximum.accumulate(np.where(first_letter, index, 0))
    capitalised = is_letter & np.char.isupper(characters)[begins]
    newline, ends = characters == "\n", np.isin(characters, list(".!?"))
    features = {
        "inside quotation": (np.cumsum(characters == '"') % 2).astype(float),
        "position in line": since(newline).astype(float),
        "position in sentence": since(ends).astype(float),
        "position in word": in_word.astype(float),
        "first letter of a word": first_letter.astype(float),
        "inside a capitalised word": capitalised.astype(float),
        "between sentences": (~is_letter & (since(ends) <= 2) & (np.cumsum(ends) > 0)).astype(float),
        "last letter of a word": (is_letter & ~np.append(is_letter[1:], True)).astype(float),
        "word boundary": (~is_letter).astype(float),
        "vowel": np.isin(np.char.lower(characters), list("aeiou")).astype(float),
        "capital letter": np.char.isupper(characters).astype(float),
    }
    if newline.any():
        capitals = [[float(line.isupper())] * (len(line) + 1) for line in text.split("\n")]
        # (len(text) + 1,) -> (len(text),): the last line has no line feed
        features["line of capitals"] = np.concatenate(capitals)[: len(text)]
    # Leave out constant features, whose correlation is not defined.
    return {name: values for name, values in features.items() if values.std() > 0}


@torch.no_grad()
def unit_activations(model: nn.Module, tokens: np.ndarray, length: int = 512) -> np.ndarray:
    """Returns the last layer's hidden state after every token, `(len(tokens), hidden)`.

    The text is read from end to end without a reset of the state.
    """
    cache, pieces = None, []
    model.eval()
    for start in range(0, len(tokens), length):
        ids = torch.from_numpy(tokens[start : start + length]).unsqueeze(0)  # (1, length)
        outputs = model.model(input_ids=ids, cache=cache, use_cache=True)
        cache = outputs.cache
        pieces.append(outputs.last_hidden_state[0].numpy())  # (1, length, hidden) -> (length, hidden)
    return np.concatenate(pieces)  # (len(tokens), hidden)


def readable_unit(model: nn.Module, tokenizer: PreTrainedTokenizerFast, tokens: np.ndarray) -> dict[str, Any]:
    """Finds the unit that correlates best with a readable feature, after Karpathy et al. 2015.

    The first half of `tokens` selects the unit and the feature, and the second half gives the reported
    correlation, so the choice among many units does not inflate the result. The comparison includes features
    of the current character alone (a vowel, a capital), but the function prefers a feature that needs memory
    (quotation, position).

    Returns:
        A dictionary with `unit`, `feature`, `correlation` (Pearson, on the second half), `chosen_by` (the
        correlation on the first half), and `table`, the best unit for every feature.
    """
    activations = unit_activations(model, tokens)
    features = text_features(one_character_each(tokenizer, tokens))
    half = len(tokens) // 2
    table = []
    for name, values in features.items():
        first = _correlations(activations[:half], values[:half])
        unit = int(np.abs(first).argmax())
        second = _correlations(activations[half:, [unit]], values[half:])[0]  # one column, (time, 1) -> (1,)
        table.append(
            {"feature": name, "unit": unit, "correlation": float(second), "chosen_by": float(first[unit])}
        )
    table.sort(key=lambda row: -abs(row["chosen_by"]))
    about_the_current_character = ("word boundary", "vowel", "capital letter")
    best = next((row for row in table if row["feature"] not in about_the_current_character), table[0])
    return {**best, "table": table}


def _correlations(activations: np.ndarray, values: np.ndarray) -> np.ndarray:
    centered = activations - activations.mean(0)  # (time, units)
    values = values - values.mean()
    # r = Σ a b / (|a| |b|) for centered a and b, (units,); a unit that never changes gets 0
    scale = np.linalg.norm(centered, axis=0) * np.linalg.norm(values)
    return np.divide(values @ centered, scale, out=np.zeros(centered.shape[1]), where=scale > 0)


def hidden_states_of(
    model: nn.Module, tokenizer: PreTrainedTokenizerFast, tokens: np.ndarray, first: int = 0, units: int = 24
) -> dict[str, Any]:
    """Returns the states of unit `first` and of the units that vary most over a text, for a heat map.

    Returns:
        A dictionary with `text` (one character per token), `units` (indices), and `values` (one list over
        time per unit).
    """
    activations = unit_activations(model, tokens)
    order = [first, *(int(unit) for unit in np.argsort(-activations.std(0)) if unit != first)][:units]
    return {
        "text": one_character_each(tokenizer, tokens),
        "units": order,
        "values": np.round(activations[:, order].T, 4).tolist(),  # (units, time)
    }


@torch.no_grad()
def gates_of(
    model: nn.Module, tokenizer: PreTrainedTokenizerFast, tokens: np.ndarray, units: int = 12
) -> dict[str, Any]:
    """Shows what the last layer's gates do over a text.

    Returns:
        A dictionary with four entries. `text` has one character per token. `mean` maps each gate to its mean
        over all units after each character. `indices` has the `units` units whose keeping gate (the forget or
        update gate; the state itself for a plain RNN) changes most slowly, the slowest first, because they
        are the easiest to read. `units` maps each gate to its values over time in each of these units.
    """
    ids = torch.from_numpy(tokens).unsqueeze(0)  # (1, time)
    gates = model.eval().model(input_ids=ids, output_gates=True, use_cache=False).gates[-1]
    traces = {name: values[0].numpy() for name, values in gates.items()}  # (time, unit)
    keeping = next(traces[name] for name in ("forget_gate", "update_gate", "hidden_state") if name in traces)
    slowest = np.argsort(-_persistence(keeping), kind="stable")[:units]
    return {
        "text": one_character_each(tokenizer, tokens),
        "mean": {name: np.round(values.mean(1), 4).tolist() for name, values in traces.items()},
        "indices": slowest.tolist(),
        # (units, time) for each gate
        "units": {name: np.round(values[:, slowest].T, 4).tolist() for name, values in traces.items()},
    }


def _persistence(values: np.ndarray) -> np.ndarray:
    """Computes the correlation of each column with itself one step later, `(units,)`."""
    centered = values - values.mean(0)  # (time, units)
    power = centered.var(0)  # (units,)
    return np.divide(
        (centered[1:] * centered[:-1]).mean(0), power, out=np.zeros_like(power), where=power > 1e-6
    )


def sample_text(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerFast,
    length: int,
    temperature: float,
    seed: int,
    prompt: str = "",
) -> str:
    """Samples `length` characters at `temperature` after `prompt`, and returns them with the prompt."""
    # The beginning-of-text token, which the last line removes, allows for an empty prompt: (1, length).
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)]])
    set_seed(seed)
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=length,
        do_sample=True,
        temperature=temperature,
        top_k=0,  # no limit, in place of transformers' default of 50
        eos_token_id=None,  # write on after the end of a text, up to `length`
        pad_token_id=tokenizer.pad_token_id,
    )
    return tokenizer.decode(output[0, 1:]).replace(tokenizer.eos_token, "\n")


def one_hot(tokenizer: PreTrainedTokenizerFast, text: str) -> dict[str, Any]:
    """Returns the one-hot rows of a text.

    Multiplying such a row by the embedding matrix looks up one row of the matrix.

    Returns:
        A dictionary with `characters`, `vocabulary` (the characters that the tokens stand for), and `rows`
        (0 or 1, characters x vocabulary).
    """
    tokens = tokenizer.encode(text, add_special_tokens=False)
    rows = np.eye(len(tokenizer), dtype=int)[tokens]  # (characters, vocabulary)
    return {
        "characters": [tokenizer.decode([token]) for token in tokens],
        "vocabulary": tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))),
        "rows": rows.tolist(),
    }


@torch.no_grad()
def next_characters(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerFast,
    prompt: str,
    temperatures: tuple[float, ...],
    top: int = 12,
) -> dict[str, Any]:
    """Finds the most probable characters after `prompt`: softmax(logits / temperature) for each temperature.

    Returns:
        A dictionary with `prompt`, `characters` (the `top` most probable ones, the most probable first), and
        `probabilities`, which maps each temperature to the probabilities of these characters.
    """
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)]])
    logits = model.eval()(ids, use_cache=False).logits[0, -1]  # (vocabulary,)
    order = logits.argsort(descending=True)[:top]  # (top,); the temperature does not change the order
    return {
        "prompt": prompt,
        "characters": tokenizer.convert_ids_to_tokens(order.tolist()),
        "probabilities": {str(t): torch.softmax(logits / t, dim=-1)[order].tolist() for t in temperatures},
    }
