"""Loads a model that transformers or this package saved, from a folder or the Hub, as one of our classes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ..errors import UserError
from ..hub.model_folder import check_model_folder


def load_converted(
    source: str | Path,
    ours: type[PreTrainedModel],
    theirs: type[PreTrainedModel],
    convert: Callable[..., PreTrainedModel],
    **changes: Any,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads a model and its tokenizer, and converts the model if transformers saved it.

    Args:
        source: a local folder, or the id of a model on the Hub.
        ours: our class of the model.
        theirs: the class of transformers that has the same weights.
        convert: function that makes our model from a model of class `theirs`; it also receives `changes`.
        changes: arguments of our configuration that differ from the source's, such as the dropout.

    Raises:
        UserError: the source does not exist; weights are missing, truncated, or pickled; the model has
            another type; or it has no tokenizer.
    """
    if Path(source).is_dir():
        check_model_folder(source)
    elif str(source).startswith((".", "/", "~")) or str(source).count("/") > 1:
        # A Hub id is NAME or OWNER/NAME, so this can only be a path; the Hub is not asked for it.
        raise UserError(
            f"no model folder '{source}'; name a folder that save_pretrained wrote, or a model on the Hub"
        )
    their_type, our_type = (getattr(kind.config_class, "model_type", "") for kind in (theirs, ours))
    try:
        model_type = AutoConfig.from_pretrained(source).model_type
        if model_type not in (their_type, our_type):
            raise UserError(f"{source} is of type '{model_type}', not '{their_type}' or '{our_type}'")
        # Reading a pickle can run code, so only safetensors files are loaded.
        if model_type == their_type:
            model = convert(theirs.from_pretrained(source, use_safetensors=True), **changes)
        else:
            model = ours.from_pretrained(source, use_safetensors=True, **changes)
        return model, AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise UserError(f"'{source}' cannot be loaded: {str(error).strip().splitlines()[0][:160]}") from None
