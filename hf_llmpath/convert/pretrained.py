"""Loads a model saved by transformers or by us as one of our classes, from a folder or the Hub."""

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
    """Loads a model and its tokenizer; one that is not ours is converted.

    Args:
        source: a local folder, or the id of a model on the Hub.
        ours: our class.
        theirs: the class of transformers with the same weights.
        convert: makes our model from theirs; takes `changes` too.
        changes: further arguments of our configuration, such as another dropout.

    Raises:
        UserError: nothing is there; weights are missing, truncated, or pickled; the model has another type;
            or it has no tokenizer.
    """
    if Path(source).is_dir():
        check_model_folder(source)
    elif str(source).startswith((".", "/", "~")) or str(source).count("/") > 1:
        raise UserError(
            f"no model folder '{source}'; name a folder that save_pretrained wrote, or a model on the Hub"
        )
    their_type, our_type = (getattr(kind.config_class, "model_type", "") for kind in (theirs, ours))
    try:
        model_type = AutoConfig.from_pretrained(source).model_type
        if model_type not in (their_type, our_type):
            raise UserError(f"{source} is of type '{model_type}', not '{their_type}' or '{our_type}'")
        if model_type == their_type:
            model = convert(theirs.from_pretrained(source, use_safetensors=True), **changes)
        else:
            model = ours.from_pretrained(source, use_safetensors=True, **changes)
        return model, AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise UserError(f"'{source}' cannot be loaded: {str(error).strip().splitlines()[0][:160]}") from None
