"""Pipelines that transformers 5 has dropped, for its registry.

They work for every model of their Auto class, ours or not. `registration.py` calls `register` when both
packages are imported.
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
    """Adds our tasks to `transformers.pipeline`; `pipelines` is the module `transformers.pipelines`."""
    for task, (pipeline_class, auto_class) in _OURS.items():
        # transformers lists the tasks that it has dropped, and refuses them before it looks into its
        # registry.
        getattr(pipelines, "REMOVED_TASKS", {}).pop(task, None)
        if task not in pipelines.PIPELINE_REGISTRY.get_supported_tasks():
            pipelines.PIPELINE_REGISTRY.register_pipeline(
                task, pipeline_class, pt_model=auto_class, type="text"
            )


__all__ = ["QuestionAnsweringPipeline", "SummarizationPipeline", "register"]
