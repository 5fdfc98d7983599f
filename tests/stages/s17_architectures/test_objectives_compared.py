"""Three architectures on equal terms: the same size, the same tokens, the same labels; and what is
measured is what it says.
"""

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from hf_llmpath.data.batches.streams import IGNORED
from hf_llmpath.data.batches.token_rows import TokenRows
from hf_llmpath.data.tokenizers.subwords import train_subwords
from hf_llmpath.errors import UserError
from hf_llmpath.models.configuration_bert import LLMPathBertConfig
from hf_llmpath.models.configuration_gpt import LLMPathGPTConfig
from hf_llmpath.models.configuration_t5 import LLMPathT5Config
from hf_llmpath.models.layers_attention import causal_mask
from hf_llmpath.runs import Run
from hf_llmpath.stages.s17_architectures.objectives_compared import (
    KINDS,
    WORD,
    LabeledRows,
    SharedTexts,
    class_scores,
    class_targets,
    held_out_loss,
    of_size,
    pretrain,
    teach,
    training_memory_mb,
)
from hf_llmpath.stages.s17_architectures.span_corruption import add_sentinels, restore, sentinels_of
from hf_llmpath.stages.s17_architectures.strengths import (
    continue_text,
    fill_spans,
    look,
    mask_of,
    masked_accuracy,
    span_exact_match,
)
from hf_llmpath.training.recipes.masked_language_model import encode
from hf_llmpath.training.trainer import Recipe
from tests.support.small import IDENTITY

GOOD, BAD = ("fine", "lovely"), ("awful", "dull")
ROWS = [
    f"the {thing} was {word} and we saw the {other}"
    for thing in ("tea", "cake", "room")
    for other in ("inn", "mill")
    for word in (*GOOD, *BAD)
]
LABELS = [int(any(word in row for word in GOOD)) for row in ROWS]
CLASSES = ("bad", "good")


@pytest.fixture(scope="module")
def texts() -> SharedTexts:
    tokenizer = train_subwords(ROWS, "wordpiece", 80, max_length=32)
    tokenizer.add_tokens(list(CLASSES))
    add_sentinels(tokenizer, 6)
    rows = TokenRows(encode(tokenizer, ROWS, 32))
    return SharedTexts(tokenizer, rows, rows, mask_rate=0.2)


def makers(texts):
    shared = {
        "vocab_size": len(texts.tokenizer),
        "hidden_size": 16,
        "pad_token_id": texts.tokenizer.pad_token_id,
    }
    short = {"num_hidden_layers": 2, "max_position_embeddings": 32}
    encoder = {
        "type_vocab_size": 0,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "classifier_pooling": "mean",
        "position_embedding_type": "rotary",
        "norm_position": "pre",
        "initializer_range": 0.1,
    }
    both = {
        "num_encoder_layers": 1,
        "num_decoder_layers": 1,
        "embedding_initializer_range": 0.1,
        "scale_decoder_outputs": False,
        "eos_token_id": texts.tokenizer.sep_token_id,
    }
    return {
        "gpt": lambda size: LLMPathGPTConfig(intermediate_size=size, **short, **shared),
        "bert": lambda size: LLMPathBertConfig(intermediate_size=size, **encoder, **short, **shared),
        "t5": lambda size: LLMPathT5Config(intermediate_size=size, **both, **shared),
    }


def make(texts, kind, size=32, seed=0):
    torch.manual_seed(seed)
    return getattr(transformers, KINDS[kind]).from_config(makers(texts)[kind](size)).eval()


@pytest.mark.parametrize("parameters", [9_000, 20_000])
def test_models_of_equal_size(texts, parameters):
    for kind, maker in makers(texts).items():
        config = of_size(maker, kind, parameters)
        model = getattr(transformers, KINDS[kind]).from_config(config)
        assert abs(model.num_parameters() - parameters) / parameters < 0.01, kind
        assert sum(p.numel() for p in model.parameters()) == model.num_parameters()  # tied weights count once


def test_a_size_that_no_width_gives_is_told(texts):
    with pytest.raises(UserError, match="bert has .* weights .* no size gives it 1,000"):
        of_size(makers(texts)["bert"], "bert", 1000)


def test_all_three_read_the_same_tokens(texts):
    made = {kind: texts.batches(kind, texts.train, 4, 7, seed=3) for kind in KINDS}
    known = set(sentinels_of(texts.tokenizer))
    for start in range(0, 28, 4):
        gpt, bert, t5 = (data.__getitems__(list(range(start, start + 4))) for data in made.values())
        for row, ids in enumerate(gpt["input_ids"]):
            text = ids[gpt["attention_mask"][row].bool()].tolist()
            guessed = bert["labels"][row] != IGNORED
            whole = torch.where(guessed, bert["labels"][row], bert["input_ids"][row])
            kept = t5["input_ids"][row][t5["attention_mask"][row].bool()][:-1].tolist()
            told = [token for token in t5["labels"][row].tolist() if token != IGNORED][:-1]
            assert whole[bert["attention_mask"][row].bool()].tolist() == text
            assert restore(kept, told, sorted(known)) == text[1:-1]
            assert gpt["labels"][row][: len(text)].tolist() == text


def test_too_few_sentinels_are_told_before_anything_is_trained(texts):
    tokenizer = train_subwords(ROWS, "wordpiece", 80)
    add_sentinels(tokenizer, 2)
    rows = TokenRows([[2, *[9] * 30, 3]])
    with pytest.raises(UserError, match="--set sentinels="):
        SharedTexts(tokenizer, rows, rows).batches("t5", rows, 1, 1, 0)


def test_the_held_out_loss_is_the_mean_over_all_targets(texts):
    for kind in KINDS:
        model = make(texts, kind)
        batches = texts.batches(kind, texts.held_out, 8, 3, seed=1)
        total, count = 0.0, 0
        for start in range(0, 24, 8):
            batch = batches.__getitems__(list(range(start, start + 8)))
            logits, labels = model(**batch).logits, batch["labels"]
            if kind == "gpt":
                logits, labels = logits[:, :-1], labels[:, 1:]
            total += nn.functional.cross_entropy(
                logits.flatten(0, 1), labels.flatten(), reduction="sum"
            ).item()
            count += int((labels != IGNORED).sum())
        assert held_out_loss(model, batches) == pytest.approx(total / count, rel=1e-5), kind


def test_scores_of_classes_are_the_probabilities_of_their_names(texts):
    """Names of several tokens too: the product of the probabilities of their tokens and of the end."""
    model, tokenizer = make(texts, "t5", seed=2), texts.tokenizer_of("t5")
    targets = class_targets(tokenizer, ["good", "tea was lovely", "bad"])
    scores = class_scores(model, texts.held_out, targets, tokenizer.pad_token_id, batch_size=5)
    assert scores.shape == (len(ROWS), 3)
    for row in (0, 7):
        ids = torch.tensor([tokenizer(ROWS[row])["input_ids"]])
        for place, target in enumerate(targets):
            labels = torch.tensor([target])
            expected = -model(input_ids=ids, labels=labels).loss.item() * len(target)
            assert scores[row, place] == pytest.approx(expected, abs=1e-4)


def test_names_that_the_tokenizer_cannot_tell_apart_are_told(texts):
    with pytest.raises(UserError, match="not all different"):
        class_targets(texts.tokenizer_of("t5"), ["☃", "☂"])


def test_memory_is_weights_gradients_moments_and_activations(texts):
    """Of one linear layer it can be counted by hand; and of a model, twice the texts need more."""

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(512, 256, bias=False)

        def num_parameters(self):
            return 512 * 256

        def forward(self, x):
            return type("Output", (), {"loss": self.layer(x).sum()})()

    weights, inputs = 512 * 256 * WORD, 1024 * 512 * WORD
    found = training_memory_mb(Linear(), {"x": torch.zeros(1024, 512)}) * 2**20
    assert found == 4 * weights + inputs  # the gradient of a weight needs the input, that of a sum nothing
    for kind in KINDS:
        model, batches = make(texts, kind), texts.batches(kind, texts.train, 16, 1, 0)
        whole = batches.__getitems__(list(range(16)))
        half = {name: value[:8] for name, value in whole.items()}
        few, many = (training_memory_mb(model, batch) for batch in (half, whole))
        assert few < many < 2.2 * few
        assert training_memory_mb(model, whole) == many  # the same every time
        assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_each_learns_to_classify_and_is_read_back(texts, kind, tmp_path):
    run = Run.start(tmp_path / "run", IDENTITY)
    data = LabeledRows(CLASSES, (texts.train, LABELS), (texts.held_out, LABELS))
    first, second = run.job("first"), run.job("second")
    result = pretrain(kind, makers(texts)[kind](32), texts, Recipe(60, 12, 1e-2, saves=0), first, 0)
    assert result["perplexity"] < 0.7 * len(texts.tokenizer)
    assert result["tokens"] == 60 * 12 * texts.train.lengths.mean()  # all texts have the same length here
    after = teach(kind, first.model_dir, data, texts, Recipe(120, 12, 1e-2, saves=0), second, 0)
    assert after["accuracy"] > 0.9
    assert teach(kind, first.model_dir, data, texts, Recipe(1, 12, 1e-2), run.job("second"), 0) == after
    if kind == "t5":
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(second.model_dir)
        tokenizer = transformers.AutoTokenizer.from_pretrained(second.model_dir)
        answers = model.generate(**tokenizer(ROWS[:8], return_tensors="pt", padding=True), max_new_tokens=4)
        written = [tokenizer.decode(answer, skip_special_tokens=True) for answer in answers]
        assert (
            np.mean([CLASSES[label] == word for label, word in zip(LABELS[:8], written, strict=True)]) > 0.8
        )


def test_masks_of_the_three_are_read_off_their_weights(texts):
    sentence = "the tea was fine"
    maps = {
        kind: look(kind, make(texts, kind), texts.tokenizer_of(kind), sentence, "the tea") for kind in KINDS
    }
    weights, rows, columns = maps["gpt"]["decoder"]
    assert torch.equal(torch.from_numpy(mask_of(weights)), causal_mask(5, 5)) and rows == columns
    assert mask_of(maps["bert"]["encoder"][0]).all()
    assert mask_of(maps["t5"]["encoder"][0]).all()
    weights, rows, _ = maps["t5"]["decoder"]
    assert torch.equal(torch.from_numpy(mask_of(weights)), causal_mask(len(rows), len(rows)))
    weights, rows, columns = maps["t5"]["decoder to encoder"]
    assert mask_of(weights).all() and weights.shape[2:] == (len(rows), len(columns)) == (4, 5)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)


def test_a_model_that_knows_the_answer_has_every_mark(texts, monkeypatch):
    """An encoder that sees through its masks, and an encoder-decoder that writes the target."""
    bert, t5 = make(texts, "bert"), make(texts, "t5")
    batches = {
        kind: texts.batches(kind, texts.held_out, 24, 1, 5).__getitems__(list(range(24)))
        for kind in ("bert", "t5")
    }
    told = batches["bert"]["labels"].clamp(min=0)

    class Output:
        logits = nn.functional.one_hot(told, len(texts.tokenizer)).float()

    monkeypatch.setattr(bert, "forward", lambda **inputs: Output)
    assert masked_accuracy(bert, texts, 5) == 1.0
    labels = batches["t5"]["labels"]
    answers = torch.cat(
        [torch.zeros(24, 1, dtype=torch.long), labels.masked_fill(labels == IGNORED, 0)], dim=1
    )
    monkeypatch.setattr(t5, "generate", lambda **inputs: answers)
    assert span_exact_match(t5, texts, 5, rows=24) == 1.0
    answers[::2, 2] = 7
    assert span_exact_match(t5, texts, 5, rows=24) == pytest.approx(0.5, abs=0.1)


def test_gaps_are_filled_with_what_was_written(texts, monkeypatch):
    model, tokenizer = make(texts, "t5"), texts.tokenizer_of("t5")
    written = tokenizer("<extra_id_0> tea was <extra_id_1> lovely <extra_id_2>", return_tensors="pt")[
        "input_ids"
    ]
    monkeypatch.setattr(
        model, "generate", lambda **inputs: torch.cat([torch.zeros(1, 1, dtype=torch.long), written], 1)
    )
    whole, answer = fill_spans(model, tokenizer, "the ___ fine and ___ inn")
    assert whole == "the tea was fine and lovely inn"
    assert answer == "<extra_id_0> tea was <extra_id_1> lovely <extra_id_2>"


@pytest.mark.parametrize(
    "text, said",
    [("", "empty"), ("no gap here", "no ___"), ("___ " * 9, "9 gaps; this model can tell 5 apart")],
)
def test_gaps_that_cannot_be_filled_are_told(texts, text, said):
    with pytest.raises(UserError, match=said):
        fill_spans(make(texts, "t5"), texts.tokenizer_of("t5"), text)


def test_a_decoder_goes_on_as_generate_would(texts):
    model, tokenizer = make(texts, "gpt"), texts.tokenizer
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    cold = continue_text(model, tokenizer, "the tea", seed=0, temperature=1e-4)
    start = torch.tensor([tokenizer("the tea")["input_ids"][:-1]])
    greedy = model.generate(start, max_length=32, do_sample=False, eos_token_id=tokenizer.sep_token_id)
    assert cold == tokenizer.decode(greedy[0], skip_special_tokens=True) and cold.startswith("the tea")
    warm = [continue_text(model, tokenizer, "the tea", seed=seed, temperature=1.0) for seed in (1, 1, 2)]
    assert warm[0] == warm[1] != warm[2]
