"""Regularizers of an image classifier: the effect of each on a training, and small samples."""

import numpy as np
import pytest
import torch

from hf_llmpath.data.images import LabeledImages, load_images
from hf_llmpath.stages.s05_regularization.regularized import (
    Regularizers,
    measure,
    pre_activations,
    small_sample,
    with_switches,
    with_wrong_labels,
)
from hf_llmpath.training.recipe import EpochRecipe, adamw
from hf_llmpath.training.recipes.image_classifier import train_image_classifier


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


def scores(logits, labels):
    return {"loss": torch.nn.functional.cross_entropy(logits, labels).item()}


def trained(digits, run, chosen, epochs=60, **options):
    """A network that learned 60 images, a third of them with a wrong label."""
    sample = with_wrong_labels(small_sample(digits.train, 6, 0)[0], 1 / 3, 0)
    model = chosen.model(digits, (128,), 0)
    recipe = EpochRecipe(epochs, 20, 3e-3).recipe(len(sample), weight_decay=chosen.weight_decay, **options)
    job = run.job(f"{chosen}-{options}".replace("/", "")[:150])
    fit = train_image_classifier(
        model, sample, digits.held_out, recipe, job, 0, scores, chosen.in_training(sample)
    )
    return model, sample, fit


def test_small_samples_are_balanced_and_disjoint(digits):
    train, validation = small_sample(digits.train, 7, 3)
    for job in (train, validation):
        assert np.bincount(job.labels).tolist() == [7] * 10
    images = {image.tobytes() for image in train.pixels}
    assert not images & {image.tobytes() for image in validation.pixels}
    again, _ = small_sample(digits.train, 7, 3)
    assert np.array_equal(train.pixels, again.pixels)
    assert not np.array_equal(train.pixels, small_sample(digits.train, 7, 4)[0].pixels)
    with pytest.raises(ValueError, match="per_class"):
        small_sample(digits.train, 100, 0)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.55])
def test_wrong_labels_are_wrong_and_as_many_as_asked_for(digits, share):
    noisy = with_wrong_labels(digits.train, share, 1)
    wrong = noisy.labels != digits.train.labels
    assert wrong.sum() == round(share * len(digits.train))
    assert noisy.labels.min() >= 0 and noisy.labels.max() <= 9
    if share:
        assert len(np.unique((noisy.labels - digits.train.labels)[wrong] % 10)) == 9
    labels = np.repeat([2, 7], 50)
    odd = LabeledImages(np.zeros((100, 8, 8), np.uint8), labels, 0.0, 1.0)
    assert set(with_wrong_labels(odd, 0.3, 0).labels.tolist()) == {2, 7}


def test_few_images_are_memorized(digits, a_started_run):
    model, sample, _ = trained(digits, a_started_run, Regularizers())
    assert measure(model, sample)["error"] == 0  # wrong labels too
    assert measure(model, digits.held_out)["error"] > 0.2


def test_weight_decay_shrinks_matrices_alone(digits, a_started_run):
    model = Regularizers(normalization="batch").model(digits, (16,), 0)
    optimizer = adamw(model.parameters(), 0.1, 0.5)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, value in model.named_parameters():
        expected = before[name] * (1 - 0.1 * 0.5) if value.dim() == 2 else before[name]
        torch.testing.assert_close(value.detach(), expected)
    plain, _, _ = trained(digits, a_started_run, Regularizers(), epochs=30)
    decayed, _, _ = trained(digits, a_started_run, Regularizers(weight_decay=3.0), epochs=30)
    assert decayed.model.layers[0].linear.weight.norm() < 0.8 * plain.model.layers[0].linear.weight.norm()


def test_max_norm_holds_after_training_in_every_hidden_unit(digits, a_started_run):
    free, _, _ = trained(digits, a_started_run, Regularizers(), epochs=10)
    held, _, _ = trained(digits, a_started_run, Regularizers(max_norm=0.8), epochs=10)
    assert free.model.layers[0].linear.weight.norm(dim=1).max() > 1.2
    lengths = held.model.layers[0].linear.weight.norm(dim=1)
    assert lengths.max() <= 0.8 + 1e-6 and lengths.max() > 0.75
    assert held.classifier.weight.norm(dim=1).max() > 0.8  # the output layer is free


def test_augmentation_reaches_the_training_and_repeats(digits, a_started_run):
    first, sample, _ = trained(digits, a_started_run, Regularizers(augment=True), epochs=5)
    plain, _, _ = trained(digits, a_started_run, Regularizers(), epochs=5)
    assert not torch.equal(first.classifier.weight, plain.classifier.weight)
    distort = Regularizers(augment=True).augmentation(sample)
    corner = distort(sample[:]["pixel_values"], torch.Generator().manual_seed(0))[..., 0, 0]
    background = -sample.mean / sample.std
    assert (corner - background).abs().median() < 1e-5


def test_label_smoothing_is_that_of_torch(digits, a_started_run):
    """One step on one batch of all images, against the formula."""
    sample, _ = small_sample(digits.train, 6, 0)
    recipe = EpochRecipe(1, 60, 1e-3).recipe(60, schedule="constant")
    ours, twin = (Regularizers().model(digits, (16,), 0) for _ in range(2))
    job, smoothing = a_started_run.job("smoothing"), Regularizers(label_smoothing=0.3).in_training(sample)
    train_image_classifier(ours, sample, digits.held_out, recipe, job, 0, scores, smoothing)
    batch = sample[:]
    logs = twin(batch["pixel_values"]).logits.log_softmax(-1)
    target = 0.7 * torch.nn.functional.one_hot(batch["labels"], 10) + 0.3 / 10
    (-(target * logs).sum(1).mean()).backward()
    adamw(twin.parameters(), 1e-3, 0.0).step()
    for parameter, other in zip(ours.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter, other, rtol=0, atol=1e-6)


def test_early_stopping_keeps_the_best_weights(digits, a_started_run):
    model, _, fit = trained(
        digits, a_started_run, Regularizers(), epochs=60, evaluations=60, keep_best=True, patience=5
    )
    losses = [look["loss"] for look in fit.evaluations]
    assert len(losses) < 60 and losses.index(min(losses)) == fit.best == len(losses) - 6
    assert measure(model, digits.held_out)["loss"] == pytest.approx(min(losses), rel=1e-4)


def test_measure_counts_every_image_once_and_leaves_the_mode(digits):
    model = Regularizers(dropout=0.5).model(digits, (16,), 0).train()
    found = measure(model, digits.train)
    assert model.training
    logits = model.eval()(digits.train[:]["pixel_values"]).logits
    labels = digits.train[:]["labels"]
    assert found["error"] == (logits.argmax(1) != labels).double().mean().item()
    assert found["loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)


def test_pre_activations_are_what_the_normalization_reads_and_gives(digits):
    model = Regularizers(normalization="batch").model(digits, (16, 12), 0)
    images = digits.train[:50]["pixel_values"]
    (before, after), (second, _) = pre_activations(model, images)
    layer = model.model.layers[0]
    torch.testing.assert_close(before, layer.linear(images.flatten(1)))
    torch.testing.assert_close(after, layer.norm(before))
    torch.testing.assert_close(second, model.model.layers[1].linear(torch.relu(after)))


def test_switches_add_up():
    switches = {"a": {"dropout": 0.5}, "b": {"augment": True}, "c": {}}
    assert with_switches(["a", "c", "b"], switches) == Regularizers(dropout=0.5, augment=True)
    assert with_switches([], switches) == Regularizers()
