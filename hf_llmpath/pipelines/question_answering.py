"""Answers to questions, each a passage of the context that it is asked about.

    import hf_llmpath
    from transformers import pipeline
    answer = pipeline("question-answering", "runs/13-fine-tuning/model")
    answer(question="Who sold the red ball?", context="Wren sold a red ball there. Otto found an old map.")
    # {"score": 0.98, "start": 0, "end": 4, "answer": "Wren"}

Calls, arguments and answers are those of the pipeline that transformers 4 had under this name.
"""

from collections.abc import Mapping
from typing import Any

from transformers import Pipeline
from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES

from ..data.answer_windows import cut_windows
from ..decoding.answer_spans import LONGEST_ANSWER, Answer, SpanCollector, answer_windows
from ..errors import UserError

LONGEST_WINDOW = 384  # tokens, as in Devlin et al. 2018, where the model reads as many


class QuestionAnsweringPipeline(Pipeline):
    """Question and context in, the likeliest answers out, by an extractive model.

    Call it with `question=` and `context=` (two texts, or two lists of equal length; or a list of
    questions about one context), or with a dict `{"question": ..., "context": ...}` or a list of such
    dicts.

    Returns:
        `{"score", "start", "end", "answer"}`, where `answer` is `context[start:end]` and `score` its
        probability; a list of them for `top_k` above 1, and a list of results for a list of questions.

    Args of a call:
        top_k (`int`, *optional*, defaults to 1): answers to return, the likeliest first; fewer, if there
            are fewer.
        doc_stride (`int`, *optional*): tokens that two windows of a long context share; a quarter of a
            window if not given, 128 at most.
        max_answer_len (`int`, *optional*, defaults to 15): most tokens of an answer.
        max_seq_len (`int`, *optional*): most tokens of a window with its question; as many as the model
            reads if not given, 384 at most.
        max_question_len (`int`, *optional*): most tokens of a question, the rest is left out; half of a
            window if not given, 64 at most.
        handle_impossible_answer (`bool`, *optional*, defaults to `False`): whether "no answer" (an empty
            text) competes.
        align_to_words (`bool`, *optional*, defaults to `True`): answers are made of whole words.
        batch_size (`int`, *optional*, defaults to 64): windows that the model reads at once.

    Raises:
        ValueError: an empty question or context, lists of different lengths, an argument out of range.
    """

    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = True

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
        sizes = {
            "top_k": top_k,
            "max_answer_len": max_answer_len,
            "max_seq_len": max_seq_len,
            "max_question_len": max_question_len,
            "batch_size": batch_size,
        }
        for name, value in sizes.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} ({value}) must be at least 1")
        cutting = {
            "doc_stride": doc_stride,
            "max_seq_len": max_seq_len,
            "max_question_len": max_question_len,
            "align_to_words": align_to_words,
        }
        reading = {"max_answer_len": max_answer_len, "batch_size": batch_size}
        choosing = {"top_k": top_k, "handle_impossible_answer": handle_impossible_answer}
        return tuple(
            {name: value for name, value in group.items() if value is not None}
            for group in (cutting, reading, choosing)
        )

    def __call__(self, *samples: Any, question: Any = None, context: Any = None, **kwargs: Any) -> Any:
        if len(samples) > 1 or (samples and (question is not None or context is not None)):
            raise ValueError("give question= and context=, or one dict (or list of dicts) that has both")
        given = samples[0] if samples else _pairs(question, context)
        is_single = isinstance(given, Mapping)
        pairs = [_checked(pair) for pair in ([given] if is_single else given)]
        if not pairs:
            return []
        groups = zip((self._preprocess_params, self._forward_params, self._postprocess_params),
                     self._sanitize_parameters(**kwargs), strict=True)  # fmt: skip
        found = self.run_single(pairs, *(before | now for before, now in groups))
        return found[0] if is_single else found

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
        questions, contexts = ([pair[place] for pair in pairs] for place in (0, 1))
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
        except UserError as error:
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
        found = spans.answers(model_outputs["contexts"], top_k, handle_impossible_answer)
        return [
            _as_dict(answers[0]) if top_k == 1 else [_as_dict(answer) for answer in answers]
            for answers in found
        ]


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
