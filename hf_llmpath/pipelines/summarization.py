"""The summarization pipeline, for encoder-decoder models.

    import hf_llmpath
    from transformers import pipeline
    summarize = pipeline("summarization", "runs/09-attention/model")
    summarize("Ada the teacher longed for ...", max_new_tokens=60, num_beams=4)
    # [{"summary_text": "Ada wanted ..."}]

transformers 5 has no pipeline of this name; importing `hf_llmpath` adds it.
"""

# Subclasses of transformers' Pipeline name their own arguments, which mypy takes for an error.
# mypy: disable-error-code="override"

from typing import Any

from transformers import GenerationConfig, Pipeline
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

logger = logging.get_logger(__name__)


class SummarizationPipeline(Pipeline):
    """Takes a document and returns the summary that an encoder-decoder model writes.

    Call it with a text, or with a list of texts (and `batch_size=`), and with any argument of `generate()`:
    `max_length`, `max_new_tokens`, `min_length`, `num_beams`, `do_sample`, `num_return_sequences`, ...

    Returns:
        `[{"summary_text": ...}]`, one dict per text, or a list of dicts per text if `num_return_sequences`
        is above 1.

    Args of a call:
        truncation (`bool`, *optional*, defaults to `True`): whether to cut off a document that is longer than
            the tokenizer's `model_max_length`; a warning says how many tokens were read.
        clean_up_tokenization_spaces (`bool`, *optional*): as in `tokenizer.decode`.
        return_tensors (`bool`, *optional*, defaults to `False`): whether to return `summary_token_ids`
            instead of the text.

    Raises:
        ValueError: a document is empty, or is not a text.
    """

    _pipeline_calls_generate = True  # makes transformers prepare a generation config
    # What transformers.pipeline loads next to the model: the tokenizer, and nothing else.
    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = True
    tokenizer: Any
    model: Any
    _default_generation_config = GenerationConfig(max_new_tokens=128, num_beams=4)

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.check_model_type(MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES)

    def _sanitize_parameters(
        self,
        truncation: bool | None = None,
        clean_up_tokenization_spaces: bool | None = None,
        return_tensors: bool | None = None,
        **generate_kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        reading = {} if truncation is None else {"truncation": truncation}
        writing = {
            "clean_up_tokenization_spaces": clean_up_tokenization_spaces,
            "return_tensors": return_tensors,
        }
        return reading, generate_kwargs, {name: value for name, value in writing.items() if value is not None}

    def __call__(
        self, documents: str | list[str], **kwargs: Any
    ) -> list[dict[str, Any]] | list[list[dict[str, Any]]]:
        if isinstance(documents, list) and not documents:
            return []
        results = super().__call__(documents, **kwargs)
        # One summary per text needs no list of its own.
        if isinstance(documents, list) and all(len(summaries) == 1 for summaries in results):
            return [summaries[0] for summaries in results]
        return results

    def preprocess(self, document: str, truncation: bool = True) -> dict[str, Any]:
        if not isinstance(document, str):
            raise ValueError(f"a document must be a text, not {type(document).__name__}")
        if not document.strip():
            raise ValueError("the document is empty; give a text to summarize")
        text = f"{self.prefix or ''}{document}"
        longest = self.tokenizer.model_max_length
        length = len(self.tokenizer(text, verbose=False)["input_ids"])
        if truncation and length > longest:
            logger.warning(
                f"the document has {length} tokens, the model reads {longest}: the rest was left out"
            )
        inputs = self.tokenizer(
            text, truncation=truncation and length > longest, return_tensors="pt", verbose=False
        )
        # Without token_type_ids, which some tokenizers add and encoder-decoder models do not take.
        return {name: inputs[name] for name in ("input_ids", "attention_mask")}

    def _forward(self, model_inputs: dict[str, Any], **generate_kwargs: Any) -> dict[str, Any]:
        batch = model_inputs["input_ids"].shape[0]
        output = self.model.generate(**model_inputs, **self._prepare_generate_kwargs(generate_kwargs))
        sequences = output if not hasattr(output, "sequences") else output.sequences
        # (batch * sequences per document, length) -> (batch, sequences per document, length)
        return {"sequences": sequences.view(batch, -1, sequences.shape[-1])}

    def postprocess(
        self,
        model_outputs: dict[str, Any],
        clean_up_tokenization_spaces: bool | None = None,
        return_tensors: bool = False,
    ) -> list[dict[str, Any]]:
        sequences = model_outputs["sequences"][0]  # (sequences per document, length): one document at a time
        if return_tensors:
            return [{"summary_token_ids": sequence} for sequence in sequences]
        options = {"clean_up_tokenization_spaces": clean_up_tokenization_spaces, "skip_special_tokens": True}
        texts = [self.tokenizer.decode(sequence, **options) for sequence in sequences]
        return [{"summary_text": text.strip()} for text in texts]
