"""The code that loads a saved model and uses it, as cards, pages and the terminal show it. Each runs as
it stands.
"""

from collections.abc import Mapping
from typing import Any

_TEXT = "A lovely place, but the tea was cold."


def load_snippet(
    auto_class: str,
    source: str,
    config: Mapping[str, Any] | None = None,
    prompt: str = "Once",
    trust: bool = False,
) -> str:
    """A script that loads the model at `source` and uses it.

    Args:
        auto_class: the Auto class of transformers that loads it.
        source: a local folder or a repository on the Hub.
        config: its config.json, where the use depends on it.
        prompt: a text that the model can read.
        trust: for a machine without hf_llmpath: the code that lies beside the weights is run.
    """
    option = ", trust_remote_code=True" if trust else ""
    head = auto_class.removeprefix("AutoModelFor") if auto_class != "AutoModel" else ""
    make = _USES.get(head, _features)
    imports, body = make(auto_class, source, option, prompt, config or {})
    lines = [] if trust else ["import hf_llmpath  # makes the Auto classes of transformers know the model"]
    return "\n".join([*lines, *imports, "", *body]) + "\n"


def _model(auto_class: str, source: str, option: str) -> str:
    return f'model = {auto_class}.from_pretrained("{source}"{option})'


def _tokenizer(source: str, option: str) -> str:
    return f'tokenizer = AutoTokenizer.from_pretrained("{source}"{option})'


def _causal_lm(auto_class, source, option, prompt, config):
    return [f"from transformers import {auto_class}, AutoTokenizer"], [
        _tokenizer(source, option),
        _model(auto_class, source, option),
        f'inputs = tokenizer("{prompt}", return_tensors="pt")',
        "output = model.generate(**inputs, max_new_tokens=200, do_sample=True, temperature=0.8)",
        "print(tokenizer.decode(output[0], skip_special_tokens=True))",
    ]


def _seq2seq_lm(auto_class, source, option, prompt, config):
    return [f"from transformers import {auto_class}, AutoTokenizer"], [
        _tokenizer(source, option),
        _model(auto_class, source, option),
        f'inputs = tokenizer("{prompt}", return_tensors="pt")',
        "output = model.generate(**inputs, max_new_tokens=60, num_beams=4)",
        "print(tokenizer.decode(output[0], skip_special_tokens=True))",
    ]


def _image_classification(auto_class, source, option, prompt, config):
    if config.get("input_size"):
        return ["import torch", f"from transformers import {auto_class}"], [
            _model(auto_class, source, option),
            f"points = torch.rand(4, {config['input_size']})",
            "print(model(pixel_values=points).logits)",
        ]
    size = config.get("image_size", 28)
    return ["from PIL import Image", "from transformers import pipeline"], [
        f'image = Image.new("L", ({size}, {size}))  # or your own: Image.open("digit.png")',
        f'classify = pipeline("image-classification", model="{source}"{option})',
        "print(classify(image))",
    ]


def _with_pipeline(task: str, text: str):
    def make(auto_class, source, option, prompt, config):
        return ["from transformers import pipeline"], [
            f'use = pipeline("{task}", model="{source}"{option})',
            f'print(use("{text}"))',
        ]

    return make


def _question_answering(auto_class, source, option, prompt, config):
    return ["from transformers import pipeline"], [
        f'answer = pipeline("question-answering", model="{source}"{option})',
        'context = "Wren sold a red ball there, and told nobody. On Sunday, Otto went to the mill."',
        'print(answer(question="What did Wren sell?", context=context, top_k=3))',
    ]


def _fill_mask(auto_class, source, option, prompt, config):
    return ["from transformers import pipeline"], [
        f'fill = pipeline("fill-mask", model="{source}"{option})',
        'print(fill(f"The tea was {fill.tokenizer.mask_token}."))',
    ]


def _series(auto_class, source, option, prompt, config):
    longest = max(config.get("lags_sequence") or [1])
    return ["import torch", f"from transformers import {auto_class}"], [
        _model(auto_class, source, option),
        f"values = torch.linspace(100, 200, {longest + 12}).unsqueeze(0)",
        "print(model.forecast(values, horizon=12))",
    ]


def _features(auto_class, source, option, prompt, config):
    return [f"from transformers import {auto_class}"], [
        _model(auto_class, source, option),
        "print(model.config)",
    ]


_USES = {
    "CausalLM": _causal_lm,
    "Seq2SeqLM": _seq2seq_lm,
    "ImageClassification": _image_classification,
    "MaskedLM": _fill_mask,
    "QuestionAnswering": _question_answering,
    "SequenceClassification": _with_pipeline("text-classification", _TEXT),
    "TokenClassification": _with_pipeline("token-classification", _TEXT),
    "TimeSeriesPrediction": _series,
}
