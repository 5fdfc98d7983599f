"""Talks to a trained chatbot and records which of two replies was better.

    bot = Chatbot("runs/16-rlhf/model")
    for text in bot.stream("Who is the baker?", temperature=0.7, seed=0): ...
    save_preference("thumbs.jsonl", "Who is the baker?", better, worse)

`llmpath run rlhf --dataset thumbs.jsonl` then trains on the preferences.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import torch

from ..data.tokenizers.chat_template import prompt_ids, require_context
from ..data.tokenizers.word_level import unknown_words
from ..errors import UserError
from ..hub.model_folder import load_pair
from .generation import stream
from .sampling import GREEDY, Sampling

LONGEST_REPLY = 96  # number of tokens
THUMBS = "thumbs.jsonl"  # file in a run folder: preferences of people who talked to its chatbot


class Chatbot:
    """A causal language model with a chat template, in evaluation mode.

    Raises:
        UserError: the folder cannot be read, or its tokenizer belongs to another model.
    """

    def __init__(self, folder: Path | str):
        self.model, self.tokenizer = load_pair("AutoModelForCausalLM", folder)

    def unknown(self, prompt: str) -> list[str]:
        """Returns the words of the prompt that the model has never seen."""
        return unknown_words(self.tokenizer, prompt)

    def stream(self, prompt: str, temperature: float = 0.7, seed: int = 0) -> Iterator[str]:
        """Yields the reply so far after every token; the same seed gives the same reply.

        Args:
            prompt: the user's message.
            temperature: divisor of the logits; 0 always takes the most probable token.
            seed: seed of the random draws.

        Raises:
            UserError: the prompt is empty or leaves no room for a reply.
        """
        if not prompt.strip():
            raise UserError("say something first; the prompt is empty")
        ids = prompt_ids(self.tokenizer, [{"role": "user", "content": prompt.strip()}])
        context = self.model.config.max_position_embeddings
        require_context(self.tokenizer, [ids], context)
        generator = torch.Generator().manual_seed(int(seed))
        tokens = stream(
            self.model,
            torch.tensor([ids]),  # (length,) -> (1, length)
            sampling=Sampling(temperature) if temperature > 0 else GREEDY,
            max_new_tokens=min(LONGEST_REPLY, context - len(ids)),
            eos_token_id=self.tokenizer.eos_token_id,
            generator=generator,
        )
        reply: list[int] = []
        yield ""
        for token in tokens:
            if int(token) == self.tokenizer.eos_token_id:
                return
            reply.append(int(token))
            # Decode the whole reply each time, because a token may change the spaces before it.
            yield self.tokenizer.decode(reply, skip_special_tokens=True)


def save_preference(path: Path, prompt: str, chosen: str, rejected: str) -> int:
    """Appends a pair to a file that `run rlhf --dataset` reads, and returns how many pairs it now has.

    Raises:
        UserError: the two replies are equal.
    """
    if chosen.strip() == rejected.strip():
        raise UserError("both replies are the same; ask again, or with another seed, before you choose")
    row = {
        "prompt": [{"role": "user", "content": prompt.strip()}],
        "chosen": [{"role": "assistant", "content": chosen.strip()}],
        "rejected": [{"role": "assistant", "content": rejected.strip()}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return sum(1 for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
