"""Corpora as characters, and one training of a character model from text to numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_llmpath.data.sources import Texts
from hf_llmpath.errors import UserError
from hf_llmpath.models.configuration_rnn import LLMPathRNNConfig
from hf_llmpath.models.modeling_rnn import LLMPathRNNForCausalLM
from hf_llmpath.training.baselines import ngram_loss
from hf_llmpath.training.recipe import Recipe
from hf_llmpath.training.recipes.character_model import (
    CharacterData,
    CharacterModel,
    document_loss,
    hidden_size_for,
    stream_loss,
    train_character_model,
)
from tests.support.small import text_of_hats

LINES = text_of_hats().splitlines()
SHAPE = CharacterModel("gru", hidden_size=12, embedding_size=6, num_hidden_layers=1, dropout=0.1, context=16)
RECIPE = Recipe(steps=60, batch_size=4, learning_rate=0.01)


def texts_of(train: list[str], validation: list[str]) -> Texts:
    return Texts("hats", train, validation, "0" * 16)


def test_several_texts_form_one_stream_with_an_end_around_each():
    data = CharacterData.from_texts(texts_of(["ab", "c"], ["ba", "a"]), documents=False)
    end, (a, b, c) = data.tokenizer.eos_token_id, data.tokenizer.convert_tokens_to_ids(["a", "b", "c"])
    assert data.train.tolist() == [end, a, b, end, c, end]
    assert data.validation.tolist() == [end, b, a, end, a, end]


def test_one_text_is_the_stream():
    data = CharacterData.from_texts(texts_of(["abc"], ["cb"]), documents=False)
    assert data.tokenizer.decode(data.train) == "abc"
    assert data.tokenizer.decode(data.validation) == "cb"


def test_documents_stay_apart_and_the_vocabulary_is_of_the_training_split():
    data = CharacterData.from_texts(texts_of(["ab", "c"], ["dx", "a"]), documents=True)
    assert [data.tokenizer.decode(text) for text in data.train] == ["ab", "c"]
    unknown = data.tokenizer.unk_token_id
    assert data.validation[0].tolist() == [unknown, unknown]


def test_the_ngram_counts_the_targets_that_the_model_answers_for():
    documents = CharacterData.from_texts(texts_of(["ab", "b"] * 9, ["ab", "a"]), documents=True)
    end, (a, b) = documents.tokenizer.eos_token_id, documents.tokenizer.convert_tokens_to_ids(["a", "b"])
    train, validation = [end, end, *[a, b, end, b, end] * 9], [end, end, a, b, end, a, end]
    expected = ngram_loss(np.array(train), np.array(validation), len(documents.tokenizer), order=2)
    assert documents.ngram_loss(2) == pytest.approx(expected)


@pytest.mark.parametrize("documents", [False, True])
def test_a_trained_model_comes_with_its_numbers(a_started_run, documents):
    held_out = len(LINES) // 10
    split = (LINES[held_out:], LINES[:held_out])
    texts = texts_of(*split) if documents else texts_of(*(["\n".join(part)] for part in split))
    data = CharacterData.from_texts(texts, documents)
    recipe = Recipe(**vars(RECIPE) | {"carry_state": not documents})
    result = train_character_model(data, SHAPE, recipe, a_started_run, "gru", seed=3)
    folder = a_started_run.job("gru").model_dir
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    if documents:
        from hf_llmpath.data.batches.streams import Documents

        loss = document_loss(
            model, Documents(data.validation, tokenizer.eos_token_id, tokenizer.pad_token_id)
        )
    else:
        loss = stream_loss(model, data.validation)
    assert result["validation_loss"] == pytest.approx(loss, rel=1e-6)
    assert result["bits_per_character"] == pytest.approx(loss / math.log(2))
    assert result["perplexity"] == pytest.approx(math.exp(loss))
    assert result["parameters"] == sum(p.numel() for p in model.parameters())
    assert result["seconds"] > 0 and loss < math.log(len(tokenizer)) - 0.4
    assert tokenizer.get_vocab() == data.tokenizer.get_vocab()

    def refuse(*_, **__):
        raise AssertionError("a finished part is read back, not trained again")

    a_started_run.progress.task = refuse
    assert train_character_model(data, SHAPE, recipe, a_started_run, "gru", seed=3) == result


def test_a_text_shorter_than_a_batch_is_refused_with_the_settings_that_help(a_started_run):
    data = CharacterData.from_texts(texts_of(["short text"], ["text"]), documents=False)
    with pytest.raises(
        UserError, match="the training text has 10 characters; a batch of 4 with a context of 16"
    ):
        train_character_model(data, SHAPE, RECIPE, a_started_run, "x", seed=0)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@given(parameters=st.integers(2000, 2_000_000), vocab=st.integers(10, 400), embedding=st.integers(4, 128))
def test_hidden_size_for_comes_closest(cell, parameters, vocab, embedding):
    found = hidden_size_for(parameters, cell, vocab, embedding)
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[cell]

    def count(hidden: int) -> int:
        recurrent = gates * (hidden * embedding + hidden * hidden + 2 * hidden)
        return vocab * embedding + recurrent + vocab * hidden + vocab

    best = abs(count(found) - parameters)
    assert best <= abs(count(found + 1) - parameters)
    assert found == 8 or best <= abs(count(found - 1) - parameters)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_hidden_size_for_counts_what_the_model_has(cell):
    hidden = hidden_size_for(20_000, cell, 50, 16)
    sizes = {"vocab_size": 50, "embedding_size": 16, "cell": cell}
    counts = [
        LLMPathRNNForCausalLM(LLMPathRNNConfig(hidden_size=h, **sizes)).num_parameters()
        for h in (hidden, hidden + 1)
    ]
    assert abs(counts[0] - 20_000) <= (counts[1] - counts[0])
