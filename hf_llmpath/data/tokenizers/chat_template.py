"""Defines how a conversation is written for a language model, and makes the tokenizer that writes it.

    tokenizer = chat_tokenizer(texts)
    messages = [{"role": "user", "content": "Who is the baker?"}]
    tokenizer.apply_chat_template(messages, add_generation_prompt=True)

Every message begins with the token of its role and ends with the end token. Generation markers surround the
assistant's messages, so that a trainer can learn from these tokens alone (`assistant_only_loss`).
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ...errors import UserError
from .word_level import train_word_tokenizer

ROLE_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>")
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('unknown role ' + message['role']) }}"
    "{% endif %}"
    "{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}"
    "{% else %}{{ message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def chat_tokenizer(
    texts: Iterable[str],
    kind: Literal["words", "pieces"] = "words",
    vocab_size: int = 4000,
    longest: int = 256,
) -> PreTrainedTokenizerFast:
    """Returns a tokenizer trained on `texts`, with a token for each role and the chat template.

    Args:
        texts: the contents of the messages.
        kind: `"words"` for the most frequent words, or `"pieces"` of words, for texts with many different
            words.
        vocab_size: maximum number of tokens, including special tokens.
        longest: number of tokens in the longest conversation (`model_max_length`).
    """
    tokenizer = train_word_tokenizer(texts, vocab_size - len(ROLE_TOKENS), kind == "pieces", longest)
    tokenizer.add_special_tokens({"additional_special_tokens": list(ROLE_TOKENS)})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def require_chat_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Checks that the tokenizer's chat template can write the assistant's messages and marks them.

    Raises:
        UserError: the tokenizer has no template, or the template has no assistant role or no generation
            markers.
    """
    if not tokenizer.chat_template:
        raise UserError("the tokenizer has no chat template; chat_tokenizer() makes one that has")
    mark = "a reply 7"
    messages = [{"role": "user", "content": "a question"}, {"role": "assistant", "content": mark}]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        opening = tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template may raise any error of Jinja or its own
        raise UserError(f"the chat template does not take the assistant role: {error}") from None
    if mark not in text or not text.startswith(opening):
        raise UserError(
            "the chat template does not write the assistant role: what it opens for a reply must be "
            "the beginning of the "
            "conversation with that reply"
        )
    if "generation" not in str(tokenizer.chat_template).replace("add_generation_prompt", ""):
        raise UserError("the chat template has no {% generation %} markers around what the assistant says")


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, str]]) -> list[int]:
    """Returns the token ids of a conversation that the assistant is to answer."""
    encoded: Any = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, return_dict=True)
    return list(encoded["input_ids"])


def conversation_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, str]]) -> list[int]:
    """Returns the token ids of a whole conversation."""
    return list(tokenizer.apply_chat_template(list(messages), return_dict=True)["input_ids"])


def require_context(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Sequence[int]], context: int
) -> None:
    """Checks that each prompt leaves room for a reply.

    Raises:
        UserError: the longest prompt fills the context.
    """
    longest = max(map(len, prompts), default=0)
    if longest >= context:
        text = tokenizer.decode(max(prompts, key=len), skip_special_tokens=True)
        raise UserError(
            f"a prompt has {longest} tokens and the context is {context}: “{text[:60]}…”; shorten it "
            f"or raise context"
        )
