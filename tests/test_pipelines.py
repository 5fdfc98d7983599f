"""Our pipelines in transformers' registry."""

import logging
import subprocess
import sys

import pytest
import torch
import transformers
from transformers import T5Config, T5ForConditionalGeneration

from hf_llmpath.data.tokenizers.subwords import train_subwords
from hf_llmpath.data.tokenizers.word_level import train_word_tokenizer
from hf_llmpath.models.configuration_bert import LLMPathBertConfig
from hf_llmpath.models.configuration_summarizer import LLMPathSummarizerConfig
from hf_llmpath.models.modeling_bert import LLMPathBertForQuestionAnswering
from hf_llmpath.models.modeling_summarizer import LLMPathSummarizerForConditionalGeneration
from hf_llmpath.pipelines import SummarizationPipeline

TEXTS = ["Ada wanted a red kite, so Ben made one.", "The sea was calm. Ben slept."]


@pytest.fixture(scope="module")
def tokenizer():
    return train_word_tokenizer(TEXTS, longest=12)


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(0)
    config = LLMPathSummarizerConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        embedding_size=8,
        initializer_range=1.0,
        decoder_start_token_id=2,
    )
    return LLMPathSummarizerForConditionalGeneration(config).eval()


@pytest.fixture
def summarize(model, tokenizer):
    return transformers.pipeline("summarization", model=model, tokenizer=tokenizer)


def test_a_saved_model_summarizes_by_name(model, tokenizer, tmp_path):
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    pipe = transformers.pipeline("summarization", str(tmp_path))
    assert isinstance(pipe, SummarizationPipeline)
    result = pipe(TEXTS[0], max_new_tokens=5, num_beams=2)
    ids = model.generate(**tokenizer(TEXTS[0], return_tensors="pt"), max_new_tokens=5, num_beams=2)
    assert result == [{"summary_text": tokenizer.decode(ids[0], skip_special_tokens=True)}]


def test_a_list_gives_a_dict_for_each_text(summarize):
    result = summarize(TEXTS, max_new_tokens=5)
    assert [list(one) for one in result] == [["summary_text"], ["summary_text"]]
    assert result == [summarize(text, max_new_tokens=5)[0] for text in TEXTS]
    assert summarize(TEXTS, max_new_tokens=5, batch_size=2) == result
    assert summarize([]) == []


def test_arguments_of_generate_reach_it(summarize):
    long = summarize(TEXTS[0], min_length=9, max_length=9, return_tensors=True)[0]["summary_token_ids"]
    assert len(long) == 9
    several = summarize(TEXTS, num_beams=3, num_return_sequences=3, max_new_tokens=4)
    assert [len(one) for one in several] == [3, 3] and set(several[0][0]) == {"summary_text"}
    torch.manual_seed(0)
    one = summarize(TEXTS[0], do_sample=True, num_beams=1, max_new_tokens=8)
    torch.manual_seed(0)
    assert summarize(TEXTS[0], do_sample=True, num_beams=1, max_new_tokens=8) == one


def test_what_is_left_out_of_a_long_document_is_said(summarize, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("hf_llmpath.pipelines"), "propagate", True)
    with caplog.at_level("WARNING"):
        summarize(" ".join(TEXTS), max_new_tokens=5)
    assert "the document has 20 tokens, the model reads 12: the rest was left out" in caplog.text
    caplog.clear()
    whole = summarize(" ".join(TEXTS), max_new_tokens=5, truncation=False)
    assert "left out" not in caplog.text and isinstance(whole[0]["summary_text"], str)


@pytest.mark.parametrize(
    "text, message", [("", "is empty"), (" \n", "is empty"), (5, "must be a text, not int")]
)
def test_bad_input_is_refused(summarize, text, message):
    with pytest.raises(ValueError, match=message):
        summarize(text)


def test_models_of_others_summarize_too(tokenizer):
    torch.manual_seed(0)
    sizes = {
        "d_model": 8,
        "d_kv": 4,
        "d_ff": 16,
        "num_layers": 1,
        "num_heads": 2,
        "vocab_size": len(tokenizer),
    }
    t5 = T5ForConditionalGeneration(
        T5Config(**sizes, decoder_start_token_id=0, eos_token_id=2, pad_token_id=0)
    )
    pipe = transformers.pipeline("summarization", model=t5, tokenizer=tokenizer)
    assert isinstance(pipe(TEXTS[0], max_new_tokens=5)[0]["summary_text"], str)


@pytest.mark.slow
def test_the_task_is_there_whichever_package_is_imported_first():
    check = (
        "from transformers.pipelines import PIPELINE_REGISTRY as registry\n"
        "print(registry.check_task('summarization')[1]['impl'])"
    )
    for order in (
        ("hf_llmpath", "transformers"),
        ("transformers.pipelines", "hf_llmpath"),
        ("hf_llmpath.pipelines", "transformers"),
    ):
        run = subprocess.run(
            [sys.executable, "-c", f"import {order[0]}; import {order[1]}; {check}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "hf_llmpath.pipelines.summarization.SummarizationPipeline" in run.stdout


def test_importing_the_package_loads_neither_torch_nor_transformers():
    code = (
        "import sys, hf_llmpath; print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


QUESTION, CONTEXT = (
    "Who wanted a kite?",
    "Ada wanted a red kite, so Ben made one. The sea was calm. Ben slept.",
)


@pytest.fixture(scope="module")
def answer():
    tokenizer = train_subwords([QUESTION, CONTEXT], vocab_size=100, max_length=48)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "initializer_range": 0.6}
    config = LLMPathBertConfig(vocab_size=len(tokenizer), max_position_embeddings=48, pad_token_id=0, **sizes)
    model = LLMPathBertForQuestionAnswering(config).eval()
    return transformers.pipeline("question-answering", model=model, tokenizer=tokenizer)


def test_question_and_context_give_a_passage_with_its_probability(answer):
    result = answer(question=QUESTION, context=CONTEXT)
    assert list(result) == ["score", "start", "end", "answer"]
    assert CONTEXT[result["start"] : result["end"]] == result["answer"] != ""
    assert 0 < result["score"] <= 1
    assert answer({"question": QUESTION, "context": CONTEXT}) == result


def test_lists_of_questions_answer_as_one_at_a_time(answer):
    pairs = [{"question": QUESTION, "context": CONTEXT}, {"question": "Who slept?", "context": CONTEXT * 4}]
    single = [answer(pair) for pair in pairs]
    questions, contexts = [pair["question"] for pair in pairs], [pair["context"] for pair in pairs]
    by_lists = answer(question=questions, context=contexts)
    for result in (answer(pairs), answer(pairs, batch_size=1), by_lists):
        assert [(one["answer"], one["start"]) for one in result] == [
            (one["answer"], one["start"]) for one in single
        ]
        assert [one["score"] for one in result] == pytest.approx([one["score"] for one in single], rel=1e-4)
    again = answer(question=[QUESTION, QUESTION], context=CONTEXT)
    assert [(one["answer"], one["start"]) for one in again] == [(single[0]["answer"], single[0]["start"])] * 2
    assert [one["score"] for one in again] == pytest.approx([single[0]["score"]] * 2, rel=1e-4)
    assert answer([]) == []


def test_arguments_of_the_question_answering_pipeline(answer):
    several = answer(question=QUESTION, context=CONTEXT, top_k=4)
    assert len(several) == 4 and [a["score"] for a in several] == sorted(
        (a["score"] for a in several), reverse=True
    )
    short = answer(question=QUESTION, context=CONTEXT, top_k=50, max_answer_len=1)
    assert {len(one["answer"].split()) for one in short} == {1}
    possible = answer(question=QUESTION, context=CONTEXT, top_k=400, handle_impossible_answer=True)
    assert {"", several[0]["answer"]} <= {one["answer"] for one in possible}
    assert "" not in {one["answer"] for one in answer(question=QUESTION, context=CONTEXT, top_k=400)}
    long = answer(question=QUESTION, context=CONTEXT * 9, max_seq_len=32, doc_stride=8)
    assert (CONTEXT * 9)[long["start"] : long["end"]] == long["answer"]


def test_the_answer_is_the_likeliest_span_of_the_model(answer):
    inputs = answer.tokenizer(QUESTION, CONTEXT, return_tensors="pt", return_offsets_mapping=True)
    places = inputs.pop("offset_mapping")[0].tolist()
    output = answer.model(**inputs)
    context = [index for index, which in enumerate(inputs.sequence_ids()) if which == 1]
    chosen = [0, *context]
    start, end = (logits[0, chosen].softmax(0)[1:] for logits in (output.start_logits, output.end_logits))
    spans = (start[:, None] * end[None, :]).triu().tril(14)
    best = int(spans.argmax())
    first, last = context[best // len(context)], context[best % len(context)]
    result = answer(question=QUESTION, context=CONTEXT, align_to_words=False)
    assert (result["start"], result["end"]) == (places[first][0], places[last][1])
    assert result["score"] == pytest.approx(float(spans.max().detach()), rel=1e-4)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"question": "", "context": CONTEXT}, "the question is empty"),
        ({"question": QUESTION, "context": "  "}, "the context is empty"),
        ({"question": QUESTION}, "give both question= and context="),
        ({"question": [QUESTION], "context": [CONTEXT, CONTEXT]}, "1 questions for 2 contexts"),
        ({"question": QUESTION, "context": CONTEXT, "top_k": 0}, "top_k .0. must be at least 1"),
        (
            {"question": QUESTION, "context": CONTEXT, "max_seq_len": 99},
            "max_seq_len .99. is more than the 48 tokens",
        ),
        ({"question": QUESTION, "context": CONTEXT, "doc_stride": 40}, "are too short"),
    ],
)
def test_questions_that_cannot_be_asked_are_told(answer, options, message):
    with pytest.raises(ValueError, match=message):
        answer(**options)
    with pytest.raises(ValueError, match="'question' and 'context' is needed"):
        answer([QUESTION])


def test_it_reads_with_a_bert_of_transformers(answer):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(vocab_size=len(answer.tokenizer), max_position_embeddings=48, **sizes)
    pipe = transformers.pipeline(
        "question-answering", model=transformers.BertForQuestionAnswering(config), tokenizer=answer.tokenizer
    )
    assert pipe(question=QUESTION, context=CONTEXT)["answer"] in CONTEXT
