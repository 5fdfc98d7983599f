"""`import hf_llmpath` is cheap, and the Auto classes know the models in any order of imports."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import hf_llmpath.models.model_table

CHECK = """
config = AutoConfig.for_model("llmpath-rnn", vocab_size=5, hidden_size=4)
assert type(config).__name__ == "LLMPathRNNConfig", type(config)
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForTimeSeriesPrediction
for auto, name in ((AutoModel, "LLMPathRNNModel"), (AutoModelForCausalLM, "LLMPathRNNForCausalLM"),
                   (AutoModelForTimeSeriesPrediction, "LLMPathRNNForTimeSeriesPrediction")):
    assert type(auto.from_config(config)).__name__ == name
assert config.auto_map["AutoModelForCausalLM"] == "modeling_rnn.LLMPathRNNForCausalLM"
mlp = AutoConfig.for_model("llmpath-mlp", input_size=2)
assert type(AutoModel.from_config(mlp)).__name__ == "LLMPathMLPModel"
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING
assert IMAGE_PROCESSOR_MAPPING[type(mlp)]["pil"].__name__ == "LLMPathMLPImageProcessor"
assert AutoModelForCausalLM._model_mapping[type(config)].__module__ == "hf_llmpath.models.modeling_rnn"
"""
ORDERS = {
    "package first": "import hf_llmpath\nfrom transformers import AutoConfig",
    "transformers first": "import transformers\nimport hf_llmpath\nfrom transformers import AutoConfig",
    "auto config first": "from transformers import AutoConfig\nimport hf_llmpath",
    "auto models first": "from transformers import AutoModelForCausalLM, AutoConfig\nimport hf_llmpath",
    "config class first": "from hf_llmpath import LLMPathRNNConfig\nfrom transformers import AutoConfig",
    "model class first": "from hf_llmpath import LLMPathRNNForCausalLM\nfrom transformers import AutoConfig",
    "modeling module first": "import hf_llmpath.models.modeling_rnn\nfrom transformers import AutoConfig",
    "block that models share first": (
        "import hf_llmpath.models.layers_recurrence\nfrom transformers import AutoConfig"
    ),
    "processor class first": (
        "from hf_llmpath import LLMPathMLPImageProcessor\nfrom transformers import AutoConfig"
    ),
    "auto processor first": "from transformers import AutoImageProcessor, AutoConfig\nimport hf_llmpath",
    "pipelines first": "import hf_llmpath\nfrom transformers import pipeline, AutoConfig",
    "layers of transformers first": (
        "import hf_llmpath, transformers.modeling_layers\nfrom transformers import AutoConfig"
    ),
    "config module, then auto models": (
        "import hf_llmpath.models.configuration_rnn\nfrom transformers import AutoModel, AutoConfig"
    ),
}

ORDERS |= {
    f"{path.stem} first": f"import hf_llmpath.models.{path.stem}\nfrom transformers import AutoConfig"
    for path in sorted(Path(hf_llmpath.models.model_table.__file__).parent.glob("[!_]*.py"))
}
# What takes most of the time to import, and knows nothing of transformers, is imported once; each order of
# imports is then tried in a fork of that process.
FORKS = """
import json, os, sys, traceback
import scipy.optimize, torch._dynamo, torch.distributed.fsdp, torch.distributed.tensor
assert not {"transformers", "hf_llmpath"} & set(sys.modules)
errors = {}
for name, code in json.loads(sys.stdin.read()).items():
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            exec(code, {})
        except BaseException:
            os.write(writing, traceback.format_exc()[-4000:].encode())
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        error = pipe.read()
    _, status = os.waitpid(child, 0)
    errors[name] = error or (f"the process ended with status {status}" if status else "")
print(json.dumps(errors))
"""


def run(code, text=None):
    return subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, text=True)


@pytest.fixture(scope="module")
def errors():
    """What went wrong in each order of imports, if anything."""
    result = run(FORKS, json.dumps({name: imports + CHECK for name, imports in ORDERS.items()}))
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_auto_classes_know_the_models(errors, order):
    assert not errors[order], errors[order]


def test_import_is_cheap():
    code = """
import sys, time
began = time.process_time()  # of the processor, which other work on the machine does not lengthen
import hf_llmpath
seconds = time.process_time() - began
heavy = [name for name in ("torch", "transformers", "numpy", "gradio", "datasets") if name in sys.modules]
print(seconds, *heavy)
"""
    found = [run(code) for _ in range(3)]
    assert all(result.returncode == 0 for result in found), found[0].stderr
    seconds, *heavy = min((result.stdout.split() for result in found), key=lambda words: float(words[0]))
    assert not heavy
    assert float(seconds) < 0.3


def test_public_names():
    import hf_llmpath

    for name in hf_llmpath.__all__:
        assert getattr(hf_llmpath, name) is not None
        assert name in dir(hf_llmpath)
    with pytest.raises(AttributeError, match="no attribute 'LLMPathRRN'"):
        _ = hf_llmpath.LLMPathRRN
