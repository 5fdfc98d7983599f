"""The pipeline for extractive question answering, whose answers are passages of the context.

    import hf_llmpath
    from transformers import pipeline
    answer = pipeline("question-answering", "runs/13-fine-tuning/model")
    answer(question="Who sold the red ball?", context="Wren sold a red ball there. Otto found an old map.")
    # {"score": 0.98, "start": 0, "end": 4, "answer": "Wren"}

Calls, arguments, and answers are the same as in the pipeline that transformers 4 had under this name.
"""

# Subclasses of transformers' Pipeline name their own arguments, which mypy takes for an error.
# mypy: disable-error-code="override"

from collections.abc import Mapping
from typing import Any

from transformers import Pipeline
from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES

from ..data.answer_windows import cut_windows
from ..decoding.answer_spans import LONGEST_ANSWER, Answer, SpanCollector, answer_windows
from ..errors import UserError

LONGEST_WINDOW = 384  # tokens, as in Devlin et al. 2018, if the model can read that many


class QuestionAnsweringPipeline(Pipeline):
    """Takes a question and a context, and returns the likeliest answers that an extractive model finds.

    Call it with `question=` and `context=`: two texts, two lists of equal length, or a list of questions
    about one context. Or call it with a dict `{"question": ..., "context": ...}` or a list of such dicts.

    Returns:
        `{"score", "start", "end", "answer"}`, where `answer` is `context[start:end]` and `score` is its
        probability; a list of such dicts for `top_k` above 1; a list of results for a list of questions.

    Args of a call:
        top_k (`int`, *optional*, defaults to 1): maximum number of answers; the likeliest comes first.
        doc_stride (`int`, *optional*): number of tokens that neighboring windows of a long context share; by
            default a quarter of a window, but at most 128.
        max_answer_len (`int`, *optional*, defaults to 15): maximum number of tokens in an answer.
        max_seq_len (`int`, *optional*): maximum number of tokens in a window with its question; by default as
            many as the model can read, but at most 384.
        max_question_len (`int`, *optional*): maximum number of tokens of the question that are read; by
            default half of a window, but at most 64.
        handle_impossible_answer (`bool`, *optional*, defaults to `False`): whether "no answer" (an empty
            text) competes with the other answers.
        align_to_words (`bool`, *optional*, defaults to `True`): whether answers consist of whole words.
        batch_size (`int`, *optional*, defaults to 64): number of windows that the model reads at once.

    Raises:
        ValueError: a question or context is empty, lists differ in length, or an argument is out of range.
    """

    # What transformers.pipeline loads next to the model: the tokenizer, and nothing else.
    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = True
    tokenizer: Any

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.check_model_type(MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES)

    def _sanitize_parameters(
        self,
        top_k: int | None = None,
        doc_stride: int | None = None,
        max_answer_len: int | None = None,
        max_seq_len: int | None = None,
        max_question_len: int | None = None,
        handle_impossible_answer: bool | None = None,
        align_to_words: bool | None = None,
        batch_size: int | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        windows = {"max_seq_len": max_seq_len, "max_question_len": max_question_len}
        reading = {"max_answer_len": max_answer_len, "batch_size": batch_size}
        choice = {"top_k": top_k}
        for name, value in (windows | reading | choice).items():
            if value is not None and value < 1:
                raise ValueError(f"{name} ({value}) must be at least 1")
        return (
            _given(**windows, doc_stride=doc_stride, align_to_words=align_to_words),
            _given(**reading),
            _given(**choice, handle_impossible_answer=handle_impossible_answer),
        )

    def __call__(self, *samples: Any, question: Any = None, context: Any = None, **kwargs: Any) -> Any:
        if len(samples) > 1 or (samples and (question is not None or context is not None)):
            raise ValueError("give question= and context=, or one dict (or list of dicts) that has both")
        given = samples[0] if samples else _pairs(question, context)
        is_single = isinstance(given, Mapping)
        pairs = [_checked(pair) for pair in ([given] if is_single else given)]
        if not pairs:
            return []
        windows, reading, choice = self._sanitize_parameters(**kwargs)
        # All pairs run as a single input, so `_forward` can batch windows across questions.
        answers = self.run_single(
            pairs,
            self._preprocess_params | windows,
            self._forward_params | reading,
            self._postprocess_params | choice,
        )
        return answers[0] if is_single else answers

    def preprocess(
        self,
        pairs: list[tuple[str, str]],
        doc_stride: int | None = None,
        max_seq_len: int | None = None,
        max_question_len: int | None = None,
        align_to_words: bool = True,
    ) -> dict[str, Any]:
        longest = min(
            self.tokenizer.model_max_length, getattr(self.model.config, "max_position_embeddings", 2**30)
        )
        if max_seq_len is not None and max_seq_len > longest:
            raise ValueError(
                f"max_seq_len ({max_seq_len}) is more than the {longest} tokens that the model reads"
            )
        questions, contexts = [question for question, _ in pairs], [context for _, context in pairs]
        try:
            windows = cut_windows(
                self.tokenizer,
                questions,
                contexts,
                max_seq_len or min(longest, LONGEST_WINDOW),
                doc_stride,
                max_question_len,
                whole_words=align_to_words,
            )
        except UserError as error:  # pipelines raise ValueError; only our commands know UserError
            raise ValueError(str(error)) from None
        return {"windows": windows, "contexts": contexts}

    def _forward(
        self, model_inputs: dict[str, Any], max_answer_len: int = LONGEST_ANSWER, batch_size: int = 64
    ) -> dict[str, Any]:
        pad = self.tokenizer.pad_token_id or 0
        spans = answer_windows(self.model, model_inputs["windows"], pad, max_answer_len, batch_size)
        return {"spans": spans, "contexts": model_inputs["contexts"]}

    def postprocess(
        self, model_outputs: dict[str, Any], top_k: int = 1, handle_impossible_answer: bool = False
    ) -> list[Any]:
        spans: SpanCollector = model_outputs["spans"]
        return [
            _as_dict(answers[0]) if top_k == 1 else [_as_dict(answer) for answer in answers]
            for answers in spans.answers(model_outputs["contexts"], top_k, handle_impossible_answer)
        ]


def _given(**arguments: Any) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _pairs(question: Any, context: Any) -> Any:
    if question is None or context is None:
        raise ValueError("give both question= and context=")
    if isinstance(question, str):
        return {"question": question, "context": context}
    questions = list(question)
    contexts = [context] * len(questions) if isinstance(context, str) else list(context)
    if len(questions) != len(contexts):
        raise ValueError(
            f"{len(questions)} questions for {len(contexts)} contexts; there must be one for each"
        )
    return [{"question": one, "context": other} for one, other in zip(questions, contexts, strict=True)]


def _checked(pair: Any) -> tuple[str, str]:
    if not isinstance(pair, Mapping) or not {"question", "context"} <= pair.keys():
        raise ValueError(f"a dict with 'question' and 'context' is needed, not {str(pair)[:60]!r}")
    for name in ("question", "context"):
        if not isinstance(pair[name], str):
            raise ValueError(f"the {name} must be a text, not {type(pair[name]).__name__}")
        if not pair[name].strip():
            raise ValueError(f"the {name} is empty; give a question and the context that it is about")
    return pair["question"], pair["context"]


def _as_dict(answer: Answer) -> dict[str, Any]:
    return {"score": answer.score, "start": answer.start, "end": answer.end, "answer": answer.text}
