"""The chat template: what it writes, which tokens it marks, and which templates are refused."""

import pytest
from transformers import AutoTokenizer

from hf_llmpath.data.tokenizers.chat_template import (
    chat_tokenizer,
    conversation_ids,
    prompt_ids,
    require_chat_template,
    require_context,
)
from hf_llmpath.errors import UserError

ASKED = {"role": "user", "content": "Who is the baker, please?"}
SAID = {"role": "assistant", "content": "Mara is the baker."}


@pytest.fixture(scope="module")
def tokenizer():
    return chat_tokenizer([ASKED["content"], SAID["content"]])


def test_a_prompt_is_the_beginning_of_the_conversation(tokenizer):
    opening, whole = prompt_ids(tokenizer, [ASKED]), conversation_ids(tokenizer, [ASKED, SAID])
    assert whole[: len(opening)] == opening
    assert tokenizer.decode(whole[len(opening) :], skip_special_tokens=True) == SAID["content"]
    assert whole[-1] == tokenizer.eos_token_id
    assert tokenizer.convert_ids_to_tokens(opening)[0] == "<|user|>"
    assert tokenizer.convert_ids_to_tokens(opening)[-1] == "<|assistant|>"


def test_only_what_the_assistant_says_is_marked(tokenizer):
    found = tokenizer.apply_chat_template(
        [ASKED, SAID, ASKED, SAID], return_dict=True, return_assistant_tokens_mask=True
    )
    said = [i for i, mark in zip(found["input_ids"], found["assistant_masks"], strict=True) if mark]
    reply = conversation_ids(tokenizer, [ASKED, SAID])[len(prompt_ids(tokenizer, [ASKED])) :]
    assert said == reply * 2


def test_the_template_travels_with_the_tokenizer(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert conversation_ids(again, [ASKED, SAID]) == conversation_ids(tokenizer, [ASKED, SAID])
    require_chat_template(again)


def test_pieces_spell_words_that_were_never_seen():
    tokenizer = chat_tokenizer(["baker", "walking talking working"] * 20, kind="pieces", vocab_size=60)
    assert tokenizer.unk_token_id not in conversation_ids(tokenizer, [{"role": "user", "content": "baking"}])


@pytest.mark.parametrize(
    "template, message",
    [
        (None, "has no chat template"),
        (
            "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}{% endif %}{% endfor %}",
            "assistant",
        ),
        ("{{ raise_exception('only users') if messages[-1]['role'] == 'assistant' }}x", "only users"),
        ("{% for m in messages %}{{ m['content'] }}{% endfor %}", "no {% generation %} markers"),
        (
            "{% for m in messages %}{{ m['role'] + m['content'] }}{% endfor %}"
            "{% if add_generation_prompt %}<a>{% endif %}",
            "must be the beginning",
        ),
    ],
)
def test_a_template_without_the_assistant_is_refused(template, message):
    tokenizer = chat_tokenizer(["a question", "a reply 7"])
    tokenizer.chat_template = template
    with pytest.raises(UserError, match=message):
        require_chat_template(tokenizer)


def test_an_unknown_role_is_refused(tokenizer):
    with pytest.raises(Exception, match="unknown role tool"):
        prompt_ids(tokenizer, [{"role": "tool", "content": "x"}])


def test_a_prompt_longer_than_the_context_is_refused(tokenizer):
    prompts = [prompt_ids(tokenizer, [ASKED])]
    require_context(tokenizer, prompts, 20)
    with pytest.raises(
        UserError, match=r"a prompt has \d+ tokens and the context is 5: “Who is the baker, please"
    ):
        require_context(tokenizer, [*prompts, *prompts], 5)
