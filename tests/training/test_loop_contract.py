"""The contract of `Loop`, kept by every way to train: a killed training continues bit for bit, Ctrl-C
leaves a checkpoint, a loss that is not finite names the setting to lower, no step is in the history twice.
"""

import json
import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hf_llmpath import LLMPathGPTConfig, LLMPathWord2VecConfig, LLMPathWord2VecModel
from hf_llmpath.data.batches.token_file import TokenBlocks
from hf_llmpath.data.images import load_images
from hf_llmpath.data.points import make_points
from hf_llmpath.errors import UserError
from hf_llmpath.models.configuration_mlp import LLMPathMLPConfig
from hf_llmpath.models.modeling_mlp import LLMPathMLPForImageClassification
from hf_llmpath.runs import Job, NoProgress
from hf_llmpath.scratch import Adam, BatchNorm, BinaryCrossEntropy, Dense, Dropout, Network, ReLU
from hf_llmpath.stages.s12_embeddings import word_corpus
from hf_llmpath.stages.s12_embeddings.glove import GloVeRecipe, count_cooccurrences, train_glove
from hf_llmpath.stages.s12_embeddings.word2vec import Word2VecRecipe, Word2VecTraining
from hf_llmpath.stages.s12_embeddings.word_corpus import Vocabulary, WordCorpus
from hf_llmpath.training.checkpoints import last_checkpoint
from hf_llmpath.training.loop import Loop
from hf_llmpath.training.numpy_loop import Examples, fit_numpy
from hf_llmpath.training.recipe import EpochRecipe, Recipe
from hf_llmpath.training.recipes.gpt import fit_with_accelerate, new_model
from hf_llmpath.training.recipes.image_classifier import ImageRegularizers, train_image_classifier
from hf_llmpath.training.trainer import fit
from tests.support.small import (
    VOCAB,
    KillAt,
    Killed,
    documents,
    model_of,
    same,
    stream,
    tokens_of,
    weights_of,
)

Weights = dict[str, torch.Tensor]
Train = Callable[[Job, float | None], Weights]  # with a learning rate of its own if none is given


def by_trainer(job: Job, rate: float | None, recurrent: bool = True, **choices: Any) -> Weights:
    model = model_of("lstm", dropout=0.3, num_hidden_layers=2)
    recipe = Recipe(20, 4, rate or 0.01, carry_state=recurrent, **{"warmup": 0.0} | choices)
    fit(model, stream() if recurrent else documents(), recipe, job, 0)
    return weights_of(model)


def by_trainer_on_documents(job: Job, rate: float | None) -> Weights:
    return by_trainer(job, rate, recurrent=False)


GPT = {"vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def decoder(job: Job, rate: float | None, train: Callable[..., list[float]], **choices: Any) -> Weights:
    """By Muon, with dropout, each batch in two pieces."""
    model = new_model(LLMPathGPTConfig(**GPT, dropout=0.2), seed=0)
    blocks = TokenBlocks(tokens_of(2000), 12, 8, 20, seed=0)
    recipe = Recipe(20, 8, rate or 0.02, decay=0.5, warmup=0.1, accumulation=2, adam_learning_rate=5e-3)
    losses = train(model, blocks, recipe, job, 0)
    assert len(losses) == 20
    return weights_of(model)


def by_accelerate(job: Job, rate: float | None) -> Weights:
    return decoder(job, rate, fit_with_accelerate)


def by_lightning(job: Job, rate: float | None) -> Weights:
    from hf_llmpath.stages.s15_scaling.lightning_loop import fit_with_lightning

    return decoder(job, rate, fit_with_lightning)


def noisy(pixel_values: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return pixel_values + 0.1 * torch.randn(pixel_values.shape, generator=generator)


def by_images(job: Job, rate: float | None) -> Weights:
    """With evaluations between epochs, whose best weights are kept, and images that are changed."""
    digits = load_images("digits")
    train, held_out = digits.train.part(np.arange(150)), digits.held_out.part(np.arange(70))
    torch.manual_seed(0)
    sizes = {"image_size": 8, "hidden_sizes": [24], "num_labels": 10}
    model = LLMPathMLPForImageClassification(
        LLMPathMLPConfig(**sizes, dropout=0.3, normalization="batch", hidden_act="linear" if rate else "relu")
    )
    epochs = EpochRecipe(5, 32, rate or 3e-3)
    recipe = epochs.recipe(150, evaluations=5, keep_best=True, schedule="constant")

    def scores(logits, labels):
        return {"loss": torch.nn.functional.cross_entropy(logits, labels).item()}

    train_image_classifier(model, train, held_out, recipe, job, 3, scores, ImageRegularizers(noisy))
    return weights_of(model)


def by_numpy(job: Job, rate: float | None) -> Weights:
    """A network with all kinds of state: running statistics, and a generator of its own."""
    points, rng = make_points("moons", 40, 0.1, 0), np.random.default_rng(0)
    layers = [
        Dense(2, 8, rng),
        BatchNorm(8),
        ReLU(),
        Dropout(0.2, np.random.default_rng(5)),
        Dense(8, 1, rng),
    ]
    network = Network(layers)
    examples, optimizer = Examples(points.x, points.targets), Adam(network, rate or 0.01)
    result = fit_numpy(network, examples, BinaryCrossEntropy(), optimizer, job, 4, 8, seed=3)
    result.require_finite(rate or 0.01)
    return {name: torch.from_numpy(value.copy()) for name, value in network.state_dict().items()}


def policy_by(method: str, job: Job, rate: float | None) -> Weights:
    from hf_llmpath.stages.s16_rlhf.policy_loop import PolicyRecipe, PolicyTask
    from hf_llmpath.stages.s16_rlhf.ppo import train_ppo
    from hf_llmpath.stages.s16_rlhf.reinforce import train_reinforce
    from tests.stages.s16_rlhf.policies import END, PAD, tiny_policy

    def reward(rollout: Any) -> torch.Tensor:
        return torch.tensor([float(reply.count(3)) for reply in rollout.replies()])

    recipe = PolicyRecipe(Recipe(20, 8, rate or 0.01), group=2, target_kl=1.0, max_new_tokens=5)
    policy, task = tiny_policy(7), PolicyTask(tiny_policy(7), reward, [[2], [4]], PAD, END)
    {"ppo": train_ppo, "reinforce": train_reinforce}[method](policy, task, recipe, job, 0)
    return weights_of(policy)


def by_ppo(job: Job, rate: float | None) -> Weights:
    return policy_by("ppo", job, rate)


def by_reinforce(job: Job, rate: float | None) -> Weights:
    return policy_by("reinforce", job, rate)


def by_trl(job: Job, rate: float | None) -> Weights:
    from hf_llmpath.stages.s16_rlhf.trl_trainers import fine_tune_on_chats
    from tests.stages.s16_rlhf.test_trl_trainers import CHATS, TOKENIZER, policy

    model = policy()
    fine_tune_on_chats(model, TOKENIZER, CHATS, Recipe(20, 4, rate or 0.01), job, 0)
    return weights_of(model)


def words_in(folder: Path) -> WordCorpus:
    """Ten texts, each a piece of its own."""
    random = np.random.default_rng(0)
    rows = [" ".join(random.choice(list("abcdefgh"), 399)) for _ in range(10)]
    return WordCorpus.write(rows, Vocabulary.of(rows, 1), folder / "words.bin", window=2)


def by_word2vec(job: Job, rate: float | None) -> Weights:
    corpus = words_in(job.folder)
    torch.manual_seed(0)
    sizes = {"vocab_size": len(corpus.vocabulary), "hidden_size": 8}
    model = LLMPathWord2VecModel(LLMPathWord2VecConfig(**sizes, objective="skipgram"))
    optimizer = "sgd" if rate else "adagrad"  # whose steps have no limit
    choices = {"batch_blocks": 8, "subsample": None, "saves": 4}
    recipe = Word2VecRecipe(2, learning_rate=rate or 0.3, optimizer=optimizer, **choices)
    Word2VecTraining(model, corpus, recipe, 0).run(job)
    return weights_of(model)


def by_glove(job: Job, rate: float | None) -> Weights:
    corpus = words_in(job.folder)
    torch.manual_seed(0)
    sizes = {"vocab_size": len(corpus.vocabulary), "hidden_size": 8}
    model = LLMPathWord2VecModel(LLMPathWord2VecConfig(**sizes, objective="glove"))
    recipe = GloVeRecipe(epochs=4, batch_size=13, learning_rate=rate or 0.1)
    train_glove(model, count_cooccurrences(corpus, 2), recipe, job, 0)
    return weights_of(model)


WAYS = [by_trainer, by_trainer_on_documents, by_accelerate, by_lightning, by_images, by_numpy]
WAYS += [by_ppo, by_reinforce, by_trl, by_word2vec, by_glove]
LIGHTNING = pytest.mark.skipif(not find_spec("lightning"), reason="an extra")
every_way = pytest.mark.parametrize(
    "train",
    [
        pytest.param(way, id=way.__name__[3:], marks=[LIGHTNING] if way is by_lightning else [])
        for way in WAYS
    ],
)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(word_corpus, "_PIECE", 400)


def job_in(folder: Path, progress: NoProgress | None = None) -> Job:
    folder.mkdir(exist_ok=True)
    return Job(folder, "training", progress)


def steps_in(folder: Path) -> list[int]:
    """The steps of the lines with a loss."""
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [row["step"] for row in rows if "loss" in row]


def untimed_history(folder: Path) -> list[dict[str, Any]]:
    """The history without times, and without what the Trainers count from the last start only."""
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    timed = ("per_second", "time", "flos", "num_tokens")
    return [
        {name: value for name, value in row.items() if not any(word in name for word in timed)}
        for row in rows
        if "train_runtime" not in row
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The weights and the folder of an uninterrupted training, trained once for each way."""
    results: dict[str, tuple[Weights, Path]] = {}

    def get(train: Train) -> tuple[Weights, Path]:
        if train.__name__ not in results:
            folder = tmp_path_factory.mktemp(train.__name__)
            results[train.__name__] = train(job_in(folder), None), folder
        return results[train.__name__]

    return get


@pytest.mark.slow
@every_way
@pytest.mark.parametrize("step", [2, 13])
def test_a_killed_training_continues_bit_for_bit(whole, tmp_path, train, step):
    weights, folder = whole(train)
    with pytest.raises(Killed):
        train(job_in(tmp_path, KillAt(step)), None)
    assert (last_checkpoint(tmp_path) is None) == (step == 2)
    assert same(train(job_in(tmp_path), None), weights)
    assert untimed_history(tmp_path) == untimed_history(folder)


@every_way
def test_no_step_is_in_the_history_twice(whole, train):
    steps = steps_in(whole(train)[1])
    assert len(steps) == len(set(steps)) and steps == sorted(steps)


class InterruptAt(NoProgress):
    """Ctrl-C during a step."""

    def __init__(self, step: int):
        self.at = step

    def update(self, step: int, **values: float) -> None:
        if step == self.at:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)


@pytest.mark.slow
@every_way
def test_ctrl_c_leaves_a_checkpoint(whole, tmp_path, train):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(job_in(tmp_path, InterruptAt(7)), None)
    assert signal.getsignal(signal.SIGINT) is before
    # The NumPy engine finishes its epoch of five steps.
    assert last_checkpoint(tmp_path).name == ("checkpoint-10" if train is by_numpy else "checkpoint-7")
    assert same(train(job_in(tmp_path), None), whole(train)[0])


@every_way
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_training_that_diverges_names_the_setting_to_lower(tmp_path, train):
    # Muon's matrices move by the rate alone; to overflow in the forward pass, they need a higher one.
    rate, lower = (1e38, "3e+37") if train in (by_accelerate, by_lightning) else (1e37, "3e+36")
    with pytest.raises(UserError) as error:
        train(job_in(tmp_path), rate)
    message = r"is not finite at step \d+; try a lower learning rate, for example --set learning_rate="
    assert re.search(message + re.escape(lower), str(error.value))


@pytest.mark.slow
@pytest.mark.parametrize("train", [by_trainer, by_accelerate])
def test_a_stop_in_the_last_step_is_a_stop(whole, tmp_path, train):
    with pytest.raises(KeyboardInterrupt):
        train(job_in(tmp_path, InterruptAt(20)), None)
    assert last_checkpoint(tmp_path).name == "checkpoint-20"
    assert same(train(job_in(tmp_path), None), whole(train)[0])


def test_a_line_that_was_cut_off_is_dropped(tmp_path):
    with Loop(job_in(tmp_path), 4, ("rate", 1.0), save_every=1) as loop:
        loop.after_step(1.0, save=lambda folder: None)
        loop.after_step(1.0, save=lambda folder: None)
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    with Loop(job_in(tmp_path), 4, ("rate", 1.0)) as loop:
        assert loop.step == 2
        loop.after_step(1.0)
    assert steps_in(tmp_path) == [1, 2, 3]


def test_progress_has_loss_and_speed(tmp_path):
    seen = []

    class Watch(NoProgress):
        @contextmanager
        def task(self, name, total):
            seen.append((name, total))
            yield self

        def update(self, step, **values):
            seen.append((step, values["loss"]))
            assert values["tokens_per_second"] > 0

    with Loop(job_in(tmp_path, Watch()), 2, ("rate", 1.0)) as loop:
        for _ in range(2):
            loop.after_step(torch.tensor(0.5), tokens=10)
    assert seen == [("training", 2), (1, 0.5), (2, 0.5)]
