"""A training that diverges says which of the stage's settings to lower, and to what."""

import pytest

from hf_llmpath.errors import UserError
from hf_llmpath.stages.runner import run_stage
from tests.support.small import tiny_settings

pytestmark = pytest.mark.slow

RATES = [
    ("deep-networks", "deep.learning_rate"),
    ("deep-networks", "numpy.learning_rate"),
    ("lstm-gru", "rnn_learning_rate"),
    ("transformer", "reading.learning_rate"),
    ("pretraining", "fine_tuning.learning_rate"),
    ("fine-tuning", "fine_tuning.learning_rate"),
    ("fine-tuning", "clipping_learning_rate"),
    ("inference", "teacher.learning_rate"),
    ("inference", "student.learning_rate"),
    ("rlhf", "sft.adam_learning_rate"),
    ("rlhf", "reward.adam_learning_rate"),
    ("rlhf", "learning_rate"),
    ("rlhf", "dpo.learning_rate"),
    ("rlhf", "single_learning_rate"),
    ("architectures", "fine_tuning.learning_rate"),
]
# The method whose rate it is, where the preset has another one.
METHODS = {"dpo.learning_rate": ("dpo",), "single_learning_rate": ("rloo",)}


@pytest.mark.parametrize(("slug", "rate"), RATES)
def test_the_rate_that_was_too_high_is_named(slug, rate, tiny_text, tmp_path):
    settings = tiny_settings(slug, tiny_text) | {rate: 1e37}
    if rate in METHODS:
        settings["methods"] = METHODS[rate]
    with pytest.raises(
        UserError, match=rf"not finite.*; try a lower learning rate, for example --set {rate}=3e\+36"
    ):
        run_stage(slug, output_dir=tmp_path, overrides=settings)
