"""Brings back two pipelines that transformers 5 has dropped: summarization and question answering.

They work with every model of their Auto class, from this package or not. `registration.py` calls `register`
once both packages are imported.
"""

from types import ModuleType

from transformers import AutoModelForQuestionAnswering, AutoModelForSeq2SeqLM, Pipeline

from .question_answering import QuestionAnsweringPipeline
from .summarization import SummarizationPipeline

_OURS: dict[str, tuple[type[Pipeline], type]] = {
    "summarization": (SummarizationPipeline, AutoModelForSeq2SeqLM),
    "question-answering": (QuestionAnsweringPipeline, AutoModelForQuestionAnswering),
}


def register(pipelines: ModuleType) -> None:
    """Adds our tasks to `transformers.pipeline`.

    Args:
        pipelines: the module `transformers.pipelines`.
    """
    for task, (pipeline_class, auto_class) in _OURS.items():
        # transformers refuses the tasks that it lists as dropped before it looks into its registry.
        getattr(pipelines, "REMOVED_TASKS", {}).pop(task, None)
        if task not in pipelines.PIPELINE_REGISTRY.get_supported_tasks():
            pipelines.PIPELINE_REGISTRY.register_pipeline(
                task, pipeline_class, pt_model=auto_class, type="text"
            )


__all__ = ["QuestionAnsweringPipeline", "SummarizationPipeline", "register"]
