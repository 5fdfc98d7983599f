"""Our optimizers against torch.optim: the same weights after every one of 200 steps, in float64."""

import copy

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from hf_llmpath.training import optimizers
from tests.support.small import VOCAB, model_of, same, weights_of

STEPS = 200
# Ours, torch's, and the arguments that make them the same rule.
CASES = [
    pytest.param("SGD", {}, "SGD", {}, id="sgd"),
    pytest.param("SGD", {"weight_decay": 0.1}, "SGD", {"weight_decay": 0.1}, id="sgd-decay"),
    pytest.param("Momentum", {}, "SGD", {"momentum": 0.9}, id="momentum"),
    pytest.param(
        "Momentum",
        {"momentum": 0.8, "weight_decay": 0.1},
        "SGD",
        {"momentum": 0.8, "weight_decay": 0.1},
        id="momentum-decay",
    ),
    pytest.param("Momentum", {"nesterov": True}, "SGD", {"momentum": 0.9, "nesterov": True}, id="nesterov"),
    pytest.param(
        "Momentum",
        {"nesterov": True, "weight_decay": 0.1},
        "SGD",
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        id="nesterov-decay",
    ),
    pytest.param("RMSprop", {}, "RMSprop", {}, id="rmsprop"),
    pytest.param(
        "RMSprop",
        {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1},
        "RMSprop",
        {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1},
        id="rmsprop-decay",
    ),
    pytest.param("Adam", {}, "Adam", {}, id="adam"),
    pytest.param(
        "Adam",
        {"betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.1},
        "Adam",
        {"betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.1},
        id="adam-decay",
    ),
    pytest.param("AdamW", {}, "AdamW", {}, id="adamw"),
    pytest.param("AdamW", {"weight_decay": 0.5}, "AdamW", {"weight_decay": 0.5}, id="adamw-decay"),
]


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3)).double()


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = STEPS, first: int = 0
) -> list[torch.Tensor]:
    """Trains on the random mini-batches from step `first` on; returns the weights after every step."""
    path = []
    for step in range(first, first + steps):
        random = torch.Generator().manual_seed(step)
        x = torch.randn(8, 6, generator=random, dtype=torch.float64)
        y = torch.randint(0, 3, (8,), generator=random)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        path.append(nn.utils.parameters_to_vector(model.parameters()).detach().clone())
    return path


@pytest.mark.parametrize("ours, arguments, reference, reference_arguments", CASES)
def test_equals_torch_for_200_steps(ours, arguments, reference, reference_arguments):
    model, copied = network(), network()
    path = train(model, getattr(optimizers, ours)(model.parameters(), lr=0.02, **arguments))
    expected = train(
        copied, getattr(torch.optim, reference)(copied.parameters(), lr=0.02, **reference_arguments)
    )
    assert len(path) == STEPS and (path[0] - path[-1]).abs().max() > 0.01
    for step, (one, other) in enumerate(zip(path, expected, strict=True), start=1):
        assert (one - other).abs().max() <= 1e-10, step


def test_defaults_are_those_of_torch():
    for name in ("RMSprop", "Adam", "AdamW"):
        ours = getattr(optimizers, name)([torch.zeros(1)]).defaults
        reference = getattr(torch.optim, name)([torch.zeros(1)]).defaults
        assert ours.items() <= reference.items()


@pytest.mark.parametrize("name", ["SGD", "Momentum", "RMSprop", "Adam", "AdamW"])
def test_parameters_without_a_gradient_and_groups_are_treated_as_in_torch(name):
    """One layer is frozen every third step, and the other has its own rate: t counts per parameter."""
    reference = torch.optim.SGD if name in ("SGD", "Momentum") else getattr(torch.optim, name)
    extra = {"momentum": 0.9} if name == "Momentum" else {}
    model, copied = network(), network()
    found = []
    for net, cls, options in ((model, getattr(optimizers, name), {}), (copied, reference, extra)):
        groups = [
            {"params": net[0].parameters(), "lr": 0.05},
            {"params": net[2].parameters(), "weight_decay": 0.1},
        ]
        optimizer = cls(groups, lr=0.01, **options)
        for step in range(60):
            net[2].requires_grad_(step % 3 != 2)
            optimizer.zero_grad()
            net(torch.ones(4, 6, dtype=torch.float64)).square().mean().backward()
            optimizer.step()
        found.append(nn.utils.parameters_to_vector(net.parameters()))
    assert (found[0] - found[1]).abs().max() <= 1e-10


@pytest.mark.parametrize("name", ["SGD", "Momentum", "RMSprop", "Adam", "AdamW"])
def test_state_dict_goes_on_where_it_was_saved(name, tmp_path):
    cls = getattr(optimizers, name)
    model = network()
    optimizer = cls(model.parameters(), lr=0.02)
    train(model, optimizer, 10)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "saved.pt")
    whole = train(model, optimizer, 10, first=10)

    saved = torch.load(tmp_path / "saved.pt", weights_only=True)
    again = network(seed=1)
    again.load_state_dict(saved["model"])
    fresh = cls(again.parameters(), lr=1.0)  # the rate comes from the state
    fresh.load_state_dict(saved["optimizer"])
    assert all(map(torch.equal, train(again, fresh, 10, first=10), whole))


@pytest.mark.parametrize("name", ["SGD", "Momentum", "RMSprop", "Adam", "AdamW"])
def test_gradients_are_left_alone(name):
    model = network()
    optimizer = getattr(optimizers, name)(model.parameters(), lr=0.02, weight_decay=0.3)
    model(torch.ones(4, 6, dtype=torch.float64)).square().mean().backward()
    before = [parameter.grad.clone() for parameter in model.parameters()]
    optimizer.step()
    assert all(map(torch.equal, before, [parameter.grad for parameter in model.parameters()]))


def test_the_closure_is_called_with_gradients_on():
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = optimizers.SGD([weight], lr=0.1)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert weight.item() == pytest.approx(2.0 - 0.1 * 4.0)


def test_decoupled_decay_differs_from_decay_in_the_gradient():
    """A weight with a large gradient decays by (1 - lr * decay) in AdamW, and hardly more than without
    decay in Adam.
    """
    moved = {}
    for name, decay in (("Adam", 0.0), ("Adam", 0.5), ("AdamW", 0.5)):
        weight = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
        weight.grad = torch.tensor([1000.0], dtype=torch.float64)
        getattr(optimizers, name)([weight], lr=0.01, weight_decay=decay).step()
        moved[name, decay] = weight.item()
    assert moved["Adam", 0.5] == pytest.approx(moved["Adam", 0.0], abs=1e-9)
    assert moved["AdamW", 0.5] == pytest.approx(moved["Adam", 0.0] - 0.01 * 0.5, abs=1e-9)


@pytest.mark.parametrize(
    "name, arguments, words",
    [
        ("SGD", {"lr": -1}, "lr is -1; it must be 0 or more"),
        ("SGD", {"lr": float("nan")}, "lr is nan; it must be 0 or more and finite"),
        ("Adam", {"lr": float("inf")}, "lr is inf"),
        ("Momentum", {"lr": 0.1, "momentum": 1.0}, "momentum is 1.0; it must be from 0 to below 1"),
        ("RMSprop", {"alpha": -0.1}, "alpha is -0.1"),
        ("Adam", {"betas": (0.9, 1.0)}, "beta2 is 1.0"),
        ("AdamW", {"weight_decay": -0.1}, "weight_decay is -0.1"),
    ],
)
def test_values_out_of_range_are_refused(name, arguments, words):
    with pytest.raises(ValueError, match="must be") as error:
        getattr(optimizers, name)([torch.zeros(1)], **arguments)
    assert words in str(error.value)


def test_sparse_gradients_are_refused():
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(ValueError, match="sparse"):
        optimizers.Adam(table.parameters()).step()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, arguments, reference, reference_arguments",
    [
        ("AdamW", {"lr": 1e-2, "weight_decay": 0.1}, "AdamW", {"lr": 1e-2, "weight_decay": 0.1}),
        (
            "Momentum",
            {"lr": 1e-2, "nesterov": True, "weight_decay": 0.1},
            "SGD",
            {"lr": 1e-2, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        ),
    ],
)
def test_the_trainer_uses_ours_and_resumes_with_it(name, arguments, reference, reference_arguments, tmp_path):
    """Trainer with our class = Trainer with torch's; a run resumed from a checkpoint = one that was left
    alone.
    """
    start = model_of().double()
    ours = getattr(optimizers, name), arguments
    whole = fit(copy.deepcopy(start), ours, tmp_path / "ours")
    expected = fit(
        copy.deepcopy(start), (getattr(torch.optim, reference), reference_arguments), tmp_path / "reference"
    )
    assert not same(weights_of(whole), weights_of(start))
    for key, value in weights_of(whole).items():
        assert (value - weights_of(expected)[key]).abs().max() <= 1e-10, key
    checkpoint = tmp_path / "ours" / "checkpoint-5"
    resumed = fit(copy.deepcopy(start), ours, tmp_path / "resumed", resume_from_checkpoint=str(checkpoint))
    assert same(weights_of(resumed), weights_of(whole))


def fit(model: nn.Module, optimizer: tuple, folder, resume_from_checkpoint: str | None = None) -> nn.Module:
    """Ten steps of transformers' Trainer, with its falling rate."""
    random = torch.Generator().manual_seed(0)
    rows = torch.randint(3, VOCAB, (40, 8), generator=random)
    arguments = TrainingArguments(
        str(folder),
        max_steps=10,
        per_device_train_batch_size=4,
        save_steps=5,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=[{"input_ids": row, "labels": row} for row in rows],
        optimizer_cls_and_kwargs=optimizer,
    )
    trainer.train(resume_from_checkpoint=resume_from_checkpoint)
    assert type(trainer.optimizer.optimizer) is optimizer[0]
    return model
