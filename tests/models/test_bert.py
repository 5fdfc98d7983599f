"""What is particular to the encoder: positions, pooling, limits, and the pipelines of transformers."""

import pytest
import torch
import transformers

from hf_llmpath.data.tokenizers.subwords import train_subwords
from hf_llmpath.models.configuration_bert import LLMPathBertConfig
from hf_llmpath.models.layers_attention import eager_attention
from hf_llmpath.models.modeling_bert import (
    LLMPathBertForMaskedLM,
    LLMPathBertForQuestionAnswering,
    LLMPathBertForSequenceClassification,
    LLMPathBertForTokenClassification,
    LLMPathBertModel,
)
from tests.support.small import text_of_hats

SIZES = {"vocab_size": 40, "hidden_size": 16, "num_attention_heads": 2, "max_position_embeddings": 12}
MODERN = {"position_embedding_type": "rotary", "norm_position": "pre", "classifier_pooling": "mean"}


def config(**changes):
    return LLMPathBertConfig(
        **SIZES | {"initializer_range": 0.3, "dropout": 0.0, "attention_dropout": 0.0} | changes
    )


def made(model_class, **changes):
    torch.manual_seed(0)
    return model_class(config(**changes)).eval()


IDS = torch.tensor([[2, 8, 9, 10, 11, 3]])


def test_rotary_positions_know_distances_and_nothing_else():
    model = made(LLMPathBertModel, **MODERN)
    plain = model(IDS).last_hidden_state
    moved = model(IDS, position_ids=torch.arange(5, 11).unsqueeze(0)).last_hidden_state
    torch.testing.assert_close(moved, plain, rtol=0, atol=1e-5)
    apart = model(IDS, position_ids=torch.tensor([[0, 1, 2, 5, 6, 7]])).last_hidden_state
    assert (apart - plain).abs().max() > 1e-2


def test_learned_positions_know_where_a_token_stands():
    model = made(LLMPathBertModel)
    plain = model(IDS).last_hidden_state
    moved = model(IDS, position_ids=torch.arange(5, 11).unsqueeze(0)).last_hidden_state
    assert (moved - plain).abs().max() > 1e-2
    assert torch.equal(model(IDS, position_ids=torch.arange(6).unsqueeze(0)).last_hidden_state, plain)


@pytest.mark.parametrize("layout", [{}, MODERN], ids=["bert", "modern"])
def test_a_sequence_longer_than_the_model_is_refused(layout):
    with pytest.raises(ValueError, match="13 tokens; this model takes max_position_embeddings .12. at most"):
        made(LLMPathBertModel, **layout)(torch.ones(1, 13, dtype=torch.long))


def test_the_mean_leaves_padding_out():
    model = made(LLMPathBertModel, **MODERN)
    output = model(torch.nn.functional.pad(IDS, (0, 4)), attention_mask=torch.tensor([[1] * 6 + [0] * 4]))
    torch.testing.assert_close(output.pooler_output[0], output.last_hidden_state[0, :6].mean(0))
    torch.testing.assert_close(output.pooler_output, model(IDS).pooler_output, rtol=0, atol=1e-5)


def test_one_segment_is_the_first_of_several():
    model = made(LLMPathBertModel)
    plain, zeros = model(IDS), model(IDS, token_type_ids=torch.zeros_like(IDS))
    assert torch.equal(plain.last_hidden_state, zeros.last_hidden_state)
    ones = model(IDS, token_type_ids=torch.ones_like(IDS)).last_hidden_state
    assert (ones - plain.last_hidden_state).abs().max() > 1e-2


def test_attention_weights_are_returned_where_attention_is_eager():
    model = made(LLMPathBertModel, **MODERN)
    with eager_attention(model):
        attentions = model(IDS, output_attentions=True).attentions
    assert len(attentions) == 2 and attentions[0].shape == (1, 2, 6, 6)
    torch.testing.assert_close(attentions[1].sum(-1), torch.ones(1, 2, 6))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"hidden_size": 15}, r"hidden_size \(15\) must be a multiple of num_attention_heads \(2\)"),
        ({"hidden_size": 6, "position_embedding_type": "rotary"}, "even head size"),
        ({"hidden_act": "gelou"}, "hidden_act .'gelou'. must be one of"),
        ({"norm_position": "middle"}, "norm_position"),
        ({"dropout": 1.0}, r"dropout \(1.0\)"),
        ({"type_vocab_size": -1}, "type_vocab_size"),
        ({"vocab_size": 0}, "vocab_size"),
    ],
)
def test_impossible_configurations_are_refused(changes, message):
    with pytest.raises(Exception, match=message):
        config(**changes)


def test_berts_names_of_the_dropouts_work_too():
    own = LLMPathBertConfig(hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.2)
    assert (own.dropout, own.attention_dropout, own.classifier_dropout) == (0.3, 0.2, 0.3)
    assert own.hidden_dropout_prob == 0.3


def test_regression_and_several_labels():
    """A single output is a number, labels that are numbers are several yes or no questions, as everywhere
    in transformers.
    """
    one = made(LLMPathBertForSequenceClassification, num_labels=1)
    output = one(IDS, labels=torch.tensor([2.5]))
    torch.testing.assert_close(output.loss, (output.logits[0, 0] - 2.5).square())
    several = made(LLMPathBertForSequenceClassification, num_labels=3)
    labels = torch.tensor([[1.0, 0.0, 1.0]])
    output = several(IDS, labels=labels)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(output.logits, labels)
    torch.testing.assert_close(output.loss, expected)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`folder(model_class)`: an untrained model and its tokenizer, saved."""
    tokenizer = train_subwords(text_of_hats().splitlines(), "wordpiece", 90, max_length=32)
    root = tmp_path_factory.mktemp("models")

    def save(model_class, **changes):
        torch.manual_seed(0)
        sizes = {"vocab_size": len(tokenizer), "pad_token_id": 0, "max_position_embeddings": 32}
        model = model_class(config(**sizes | changes))
        path = root / model_class.__name__
        model.save_pretrained(path)
        tokenizer.save_pretrained(path)
        return str(path)

    return save


@pytest.mark.parametrize("layout", [{}, MODERN | {"type_vocab_size": 0}], ids=["bert", "modern"])
def test_fill_mask_pipeline(folder, layout):
    fill = transformers.pipeline("fill-mask", folder(LLMPathBertForMaskedLM, **layout))
    assert isinstance(fill.model, LLMPathBertForMaskedLM)
    found = fill("Anna had a [MASK] hat", top_k=3)
    assert len(found) == 3 and found[0]["score"] >= found[1]["score"]
    assert found[0]["token_str"] in found[0]["sequence"] or found[0]["token_str"].startswith("##")
    with pytest.raises(Exception, match="No mask_token"):
        fill("Anna had a hat")


def test_text_classification_pipeline(folder):
    names = {"id2label": {0: "cold", 1: "warm"}, "label2id": {"cold": 0, "warm": 1}}
    classify = transformers.pipeline(
        "text-classification", folder(LLMPathBertForSequenceClassification, **names)
    )
    scores = {row["label"]: row["score"] for row in classify("Anna had a hat", top_k=None)}
    assert scores.keys() == {"cold", "warm"} and sum(scores.values()) == pytest.approx(1)


def test_token_classification_pipeline(folder):
    tag = transformers.pipeline(
        "token-classification", folder(LLMPathBertForTokenClassification, num_labels=3)
    )
    found = tag("Anna had a red hat")
    assert [row["word"] for row in found] == ["anna", "had", "a", "red", "hat"]
    assert {row["entity"] for row in found} <= {"LABEL_0", "LABEL_1", "LABEL_2"}


def test_feature_extraction_pipeline(folder):
    path = folder(LLMPathBertModel)
    features = transformers.pipeline("feature-extraction", path)("Anna had a red hat")
    model = LLMPathBertModel.from_pretrained(path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    expected = model(**tokenizer("Anna had a red hat", return_tensors="pt")).last_hidden_state
    torch.testing.assert_close(torch.tensor(features), expected, rtol=0, atol=1e-5)


def test_an_answer_beyond_the_sequence_is_left_out_of_the_loss():
    model = made(LLMPathBertForQuestionAnswering)
    two = IDS.expand(2, 6)
    both = model(two, start_positions=torch.tensor([1, 6]), end_positions=torch.tensor([2, 6]))
    one = model(IDS, start_positions=torch.tensor([1]), end_positions=torch.tensor([2]))
    torch.testing.assert_close(both.loss, one.loss)
