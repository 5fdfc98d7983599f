"""A chatbot's stream is what `generate` writes, and a thumb becomes a pair that can be trained on."""

import pytest
import torch

from hf_llmpath.data.tokenizers.chat_template import chat_tokenizer, prompt_ids
from hf_llmpath.decoding.chatbot import Chatbot, save_preference
from hf_llmpath.errors import UserError
from hf_llmpath.models.configuration_gpt import LLMPathGPTConfig
from hf_llmpath.models.modeling_gpt import LLMPathGPTForCausalLM
from hf_llmpath.stages.s16_rlhf.preference_data import load_preferences

PROMPT = "Who is the baker?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizer = chat_tokenizer([PROMPT, "Mara is the baker.", "Go away, you fool!"])
    torch.manual_seed(2)
    config = LLMPathGPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        initializer_range=1.0,
        zero_init_projections=False,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    path = tmp_path_factory.mktemp("bot")
    LLMPathGPTForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def test_the_stream_ends_with_what_generate_writes(folder):
    bot = Chatbot(folder)
    ids = torch.tensor([prompt_ids(bot.tokenizer, [{"role": "user", "content": PROMPT}])])
    whole = bot.model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_length=32)
    expected = bot.tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True)
    pieces = list(bot.stream(PROMPT, temperature=0))
    assert pieces[0] == "" and pieces[-1] == expected and len(pieces) > 1


def test_the_same_seed_gives_the_same_reply(folder):
    bot = Chatbot(folder)
    replies = {seed: [list(bot.stream(PROMPT, 1.0, seed))[-1] for _ in range(2)] for seed in range(6)}
    assert all(one == other for one, other in replies.values())
    assert len({one for one, _ in replies.values()}) > 1


def test_what_cannot_be_answered_is_told(folder):
    bot = Chatbot(folder)
    with pytest.raises(UserError, match="the prompt is empty"):
        list(bot.stream("  "))
    with pytest.raises(UserError, match="the context is 32"):
        list(bot.stream(PROMPT * 20))
    assert bot.unknown("Who is the zookeeper?") == ["zookeeper"]


def test_a_thumb_becomes_a_pair(tmp_path):
    path = tmp_path / "deep" / "thumbs.jsonl"
    for count in range(1, 5):
        assert save_preference(path, PROMPT, f"Mara {count}.", "Go away!") == count
    found = load_preferences(str(path))
    assert len(found.train) == 3 and len(found.test) == 1
    assert found.train[0]["prompt"] == [{"role": "user", "content": PROMPT}]
    with pytest.raises(UserError, match="both replies are the same"):
        save_preference(path, PROMPT, "Oh.", "Oh. ")
