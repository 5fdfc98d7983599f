"""What the pictures of stage 11 show: sentences with a blank, and one sentence masked in several ways."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from ...training.recipes.masked_language_model import MaskedTexts

OF_THE_WORLD = (
    "The tea was not [MASK] at all.",
    "The cake was lovely, but the tea was [MASK].",
    "We walked to the [MASK] on a sunny morning.",
    "If only the soup [MASK] been good!",
)


def sentences_of(dataset: str, texts: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Sentences with one mask each: of our own for the world, else the longest word of each of four texts
    blanked.
    """
    if dataset == "world/reviews":
        return list(OF_THE_WORLD)
    found = []
    for text in texts:
        words = text.split()[:14]
        if len(words) >= 6:
            longest = max(range(len(words)), key=lambda place: len(words[place]))
            found.append(" ".join([*words[:longest], tokenizer.mask_token, *words[longest + 1 :]]))
        if len(found) == 4:
            break
    return found or [f"{texts[0].split()[0]} {tokenizer.mask_token}"]


def maskings(texts: MaskedTexts, text: str, seed: int, draws: int = 4) -> dict[str, Any]:
    """The tokens of a text, and for some draws what the model sees and which tokens it must guess."""
    ids = torch.tensor([texts.tokenizer(text, truncation=True)["input_ids"]])
    special = torch.isin(ids, torch.tensor(texts.tokenizer.all_special_ids))
    generator, found = torch.Generator().manual_seed(seed), []
    for _ in range(draws):
        inputs, labels = texts.masking(ids, ~special, generator)
        found.append(
            {
                "seen": texts.tokenizer.convert_ids_to_tokens(inputs[0].tolist()),
                "guessed": (labels[0] >= 0).tolist(),
            }
        )
    return {"tokens": texts.tokenizer.convert_ids_to_tokens(ids[0].tolist()), "draws": found}
