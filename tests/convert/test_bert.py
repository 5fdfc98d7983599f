"""Our encoder equals transformers' BERT: values and gradients, random weights, both directions."""

import pytest
import torch
import transformers
from transformers import BertConfig

from hf_llmpath.convert.bert import bert_name, config_to_bert, from_bert, to_bert
from hf_llmpath.errors import UserError
from hf_llmpath.models import modeling_bert
from hf_llmpath.models.configuration_bert import LLMPathBertConfig

SIZES = {
    "vocab_size": 47,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 16,
    "initializer_range": 0.2,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
CLASSES = [
    "Model",
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
]


def random_bert(kind: str, seed: int = 0):
    torch.manual_seed(seed)
    classes = {"num_labels": 3} if "Classification" in kind else {}
    bert = getattr(transformers, f"Bert{kind}")(BertConfig(**SIZES | classes))
    with torch.no_grad():  # biases and norms start at 0 and 1, which would hide a mix-up
        for parameter in bert.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return bert.train()


def a_batch(kind: str):
    torch.manual_seed(1)
    ids = torch.randint(1, 47, (4, 11))
    mask = torch.ones_like(ids)
    mask[1, 7:], mask[3, 4:] = 0, 0
    batch = {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": (torch.arange(11) > 5).long().expand(4, 11),
    }
    tokens = torch.randint(0, 47, (4, 11)).where(torch.rand(4, 11) < 0.3, -100)
    batch |= {
        "Model": {},
        "ForMaskedLM": {"labels": tokens},
        "ForSequenceClassification": {"labels": torch.tensor([0, 2, 1, 1])},
        "ForTokenClassification": {"labels": torch.where(tokens == -100, -100, tokens % 3)},
        "ForQuestionAnswering": {
            "start_positions": torch.tensor([1, 2, 11, 0]),
            "end_positions": torch.tensor([3, 2, 11, 5]),
        },
    }[kind]
    return batch


def loss_of(output):
    """The loss itself; in 64 bits, which transformers' losses round to 32, a function of all that the
    model gives.
    """
    if "loss" in output and output.loss.dtype == output[1].dtype == torch.float32:
        return output.loss
    return sum(value.sin().sum() for name, value in output.items() if name != "loss")


def assert_equal_to(limit, ours, theirs, name):
    """In units of the largest number of a tensor, some of which are sums over all tokens."""
    scale = max(1.0, theirs.abs().max().item())
    torch.testing.assert_close(
        ours.to(theirs) / scale, theirs / scale, rtol=0, atol=limit, msg=lambda m: f"{name}: {m}"
    )


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["32", "64"]
)
def test_values_and_gradients_equal_those_of_bert(kind, attention, dtype, limit):
    bert = random_bert(kind).to(dtype)
    own = from_bert(bert, sparse_prediction=False)
    assert type(own) is getattr(modeling_bert, f"LLMPathBert{kind}")
    bert.set_attn_implementation(attention)
    own.set_attn_implementation(attention)
    theirs, ours = bert(**a_batch(kind)), own(**a_batch(kind))
    assert theirs.keys() == ours.keys()
    for name in ours:
        assert ours[name].dtype == dtype or name == "loss"
        assert_equal_to(max(limit, 1e-6) if name == "loss" else limit, ours[name], theirs[name], name)
    loss_of(theirs).backward()
    loss_of(ours).backward()
    gradients = dict(bert.named_parameters())
    for name, parameter in own.named_parameters():
        theirs = bert_name(name)
        expected = gradients["cls.predictions.bias" if theirs == "cls.predictions.decoder.bias" else theirs]
        assert_equal_to(limit, parameter.grad, expected.grad, name)


def test_attentions_and_hidden_states_equal_those_of_bert():
    bert = random_bert("Model").eval()
    own = from_bert(bert)
    bert.set_attn_implementation("eager")
    own.set_attn_implementation("eager")
    wanted = {"output_attentions": True, "output_hidden_states": True}
    theirs, ours = bert(**a_batch("Model"), **wanted), own(**a_batch("Model"), **wanted)
    assert len(ours.attentions) == 3 and len(ours.hidden_states) == 4
    for name in ("attentions", "hidden_states"):
        for a, b in zip(ours[name], theirs[name], strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", CLASSES)
def test_there_and_back_again_is_exact(kind):
    bert = random_bert(kind)
    again = to_bert(from_bert(bert))
    assert type(again) is type(bert)
    before, after = bert.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    for name in before:
        assert torch.equal(before[name], after[name]) or name == "cls.predictions.bias", name
    ours = {"_name_or_path", "architectures", "dtype", "transformers_version", "classifier_dropout"}
    for name, value in bert.config.to_dict().items():
        assert name in ours or again.config.to_dict()[name] == value, name


@pytest.mark.parametrize("num_items", [None, 7])
def test_logits_of_the_masked_tokens_alone_give_the_same_loss_and_gradients(num_items):
    batch = a_batch("ForMaskedLM") | {"num_items_in_batch": num_items}
    results = []
    for sparse in (True, False):
        own = from_bert(random_bert("ForMaskedLM"), sparse_prediction=sparse)
        output = own(**batch)
        output.loss.backward()
        results.append((output, {name: p.grad for name, p in own.named_parameters()}))
    (sparse, gradients), (full, expected) = results
    chosen = batch["labels"] != -100
    assert sparse.logits.shape == (int(chosen.sum()), 47) and full.logits.shape == (4, 11, 47)
    torch.testing.assert_close(sparse.logits, full.logits[chosen], rtol=0, atol=1e-6)
    torch.testing.assert_close(sparse.loss, full.loss, rtol=1e-6, atol=1e-6)
    for name in expected:
        torch.testing.assert_close(gradients[name], expected[name], rtol=1e-5, atol=1e-6)
    own.eval()
    own.config.sparse_prediction = True
    assert own(**batch).logits.shape == (4, 11, 47)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"position_embedding_type": "rotary"}, "position_embedding_type='learned'; this model has 'rotary'"),
        ({"norm_position": "pre"}, "norm_position='post'"),
        ({"classifier_pooling": "mean"}, "classifier_pooling='cls'"),
        ({"type_vocab_size": 0}, "type_vocab_size"),
    ],
)
def test_what_bert_does_not_have_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        config_to_bert(LLMPathBertConfig(**changes))


def test_other_berts_are_refused():
    with pytest.raises(UserError, match="is a decoder"):
        from_bert(transformers.BertModel(BertConfig(**SIZES, is_decoder=True)))
    with pytest.raises(UserError, match="BertForPreTraining has no counterpart here; there are: BertModel"):
        from_bert(transformers.BertForPreTraining(BertConfig(**SIZES)))
    with pytest.raises(KeyError):
        bert_name("lm_head.weight")
