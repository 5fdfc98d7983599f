"""Summaries by an encoder-decoder model.

import hf_llmpath from transformers import pipeline summarize = pipeline("summarization",
"runs/09-attention/model") summarize("Ada the teacher longed for ...", max_new_tokens=60, num_beams=4)  #
[{"summary_text": "Ada wanted ..."}]
"""

from typing import Any

from transformers import GenerationConfig, Pipeline
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

logger = logging.get_logger(__name__)


class SummarizationPipeline(Pipeline):
    """Document in, summary out, by an encoder-decoder model.

    Call it with a text, or with a list of texts (and `batch_size=`), and with any argument of
    `generate()`: `max_length`, `max_new_tokens`, `min_length`, `num_beams`, `do_sample`,
    `num_return_sequences`, ...

    Returns:
        `[{"summary_text": ...}]`, one dict for each text (a list of dicts, where several sequences are
        asked for).

    Args of a call:
        truncation (`bool`, *optional*, defaults to `True`): cut a document that is longer than the
            tokenizer's `model_max_length`; a warning says how much of it was read.
        clean_up_tokenization_spaces (`bool`, *optional*): as in `tokenizer.decode`.
        return_tensors (`bool`, *optional*, defaults to `False`): return `summary_token_ids` instead of
            the text.

    Raises:
        ValueError: a document that is empty, or no text.
    """

    _pipeline_calls_generate = True
    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = True
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
        given = {
            "clean_up_tokenization_spaces": clean_up_tokenization_spaces,
            "return_tensors": return_tensors,
        }
        preprocess = {} if truncation is None else {"truncation": truncation}
        return (
            preprocess,
            generate_kwargs,
            {name: value for name, value in given.items() if value is not None},
        )

    def __call__(
        self, documents: str | list[str], **kwargs: Any
    ) -> list[dict[str, Any]] | list[list[dict[str, Any]]]:
        if isinstance(documents, list) and not documents:
            return []
        found = super().__call__(documents, **kwargs)
        if isinstance(documents, list) and all(len(summaries) == 1 for summaries in found):
            return [summaries[0] for summaries in found]
        return found

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
        return {name: inputs[name] for name in ("input_ids", "attention_mask")}

    def _forward(self, model_inputs: dict[str, Any], **generate_kwargs: Any) -> dict[str, Any]:
        batch = model_inputs["input_ids"].shape[0]
        output = self.model.generate(**model_inputs, **self._prepare_generate_kwargs(generate_kwargs))
        sequences = output if not hasattr(output, "sequences") else output.sequences
        return {"sequences": sequences.view(batch, -1, sequences.shape[-1])}

    def postprocess(
        self,
        model_outputs: dict[str, Any],
        clean_up_tokenization_spaces: bool | None = None,
        return_tensors: bool = False,
    ) -> list[dict[str, Any]]:
        sequences = model_outputs["sequences"][0]
        if return_tensors:
            return [{"summary_token_ids": sequence} for sequence in sequences]
        return [
            {
                "summary_text": self.tokenizer.decode(
                    sequence,
                    skip_special_tokens=True,
                    clean_up_tokenization_spaces=clean_up_tokenization_spaces,
                ).strip()
            }
            for sequence in sequences
        ]
