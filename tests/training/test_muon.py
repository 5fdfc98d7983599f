"""Muon: orthogonal up to the iteration's bounds, equal to torch.optim.Muon, and one optimizer for a whole
model.
"""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hf_llmpath import LLMPathGPTConfig, LLMPathGPTForCausalLM
from hf_llmpath.training.muon import Muon, muon_groups, orthogonalized
from hf_llmpath.training.optimizers import AdamW
from tests.support.small import same, weights_of
from tests.training.test_optimizers import fit

STEPS = 200


def gpt(seed: int = 0, **changes) -> LLMPathGPTForCausalLM:
    torch.manual_seed(seed)
    sizes = {"vocab_size": 11, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    return LLMPathGPTForCausalLM(LLMPathGPTConfig(**sizes | changes))


def network(seed: int = 0) -> nn.Module:
    """Wide, square and tall matrices, and no biases: all of it is Muon's."""
    torch.manual_seed(seed)
    layers = [nn.Linear(6, 16, bias=False), nn.Tanh(), nn.Linear(16, 16, bias=False), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(16, 3, bias=False)).double()


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = STEPS, first: int = 0
) -> list[torch.Tensor]:
    """The weights after each step on random mini-batches, those of steps `first`, `first + 1`, ..."""
    path = []
    for step in range(first, first + steps):
        random = torch.Generator().manual_seed(step)
        x = torch.randn(8, 6, generator=random, dtype=torch.float64)
        y = torch.randint(0, 3, (8,), generator=random)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        path.append(nn.utils.parameters_to_vector(model.parameters()).detach().clone())
    return path


@pytest.mark.parametrize("shape", [(24, 24), (16, 64), (64, 16), (3, 8, 20)])
def test_singular_vectors_stay_and_singular_values_come_near_one(shape):
    torch.manual_seed(0)
    matrices = torch.randn(shape, dtype=torch.float64)
    u, s, vh = torch.linalg.svd(matrices, full_matrices=False)
    s = s.clamp(min=0.02 * s.flatten(0, -2).norm() if s.dim() > 1 else 0.02 * s.norm())
    matrices = u * s.unsqueeze(-2) @ vh
    found = orthogonalized(matrices)
    inside = u.mT @ found @ vh.mT  # diagonal if the singular vectors are the same
    values = inside.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(inside, torch.diag_embed(values), rtol=0, atol=1e-10)
    assert values.min() > 0.68 and values.max() < 1.14
    assert (found - u @ vh).abs().max() < 0.32


def test_with_the_coefficients_of_newton_and_schulz_it_converges_to_u_vt():
    """(15, -10, 3) / 8 has 1 as its fixed point: there the iteration ends in the polar factor itself."""
    torch.manual_seed(0)
    matrix = torch.randn(12, 20, dtype=torch.float64)
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalized(matrix, steps=30, coefficients=(15 / 8, -10 / 8, 3 / 8))
    torch.testing.assert_close(found, u @ vh, rtol=0, atol=1e-10)


def test_a_matrix_of_zeros_stays_one():
    assert torch.equal(orthogonalized(torch.zeros(4, 6)), torch.zeros(4, 6))


@pytest.mark.parametrize(
    "options", [{}, {"nesterov": False}, {"momentum": 0.8, "weight_decay": 0.3}, {"ns_steps": 3}], ids=str
)
def test_equals_torch_for_200_steps(options, monkeypatch):
    """torch rounds the iteration to 16 bits; with that rounding taken out, its own code works in float64
    as ours does.
    """
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    model, copied = network(), network()
    path = train(model, Muon(model.parameters(), lr=0.02, **options))
    options = {"weight_decay": 0.0} | options
    expected = train(copied, torch.optim.Muon(copied.parameters(), lr=0.02, **options))
    assert len(path) == STEPS and (path[0] - path[-1]).abs().max() > 0.1
    for step, (one, other) in enumerate(zip(path, expected, strict=True), start=1):
        assert (one - other).abs().max() <= 1e-10, step


def test_in_16_bits_it_is_as_near_to_the_exact_step_as_torch_is():
    """There the two round differently (one matrix, or several side by side), so each is held against
    float64. Of full rank: a singular value of zero would be made of rounding alone, in either."""

    def step(cls, gradient, **options) -> torch.Tensor:
        weight = nn.Parameter(torch.zeros_like(gradient))
        weight.grad = gradient
        cls([weight], lr=1.0, weight_decay=0.0, **options).step()
        return weight.detach().double()

    def error(found, exact) -> float:
        return ((found - exact).norm() / exact.norm()).item()

    for shape in ((16, 16), (12, 40), (40, 12)):
        gradients = torch.randn((10, *shape), generator=torch.Generator().manual_seed(0))
        ours, theirs = [], []
        for gradient in gradients:
            exact = step(Muon, gradient.double())
            ours.append(error(step(Muon, gradient, ns_dtype=torch.bfloat16), exact))
            theirs.append(error(step(torch.optim.Muon, gradient), exact))
        assert 0 < sum(ours) <= 1.25 * sum(theirs)


def test_the_groups_are_hidden_matrices_and_the_rest():
    model = gpt()
    matrices, rest = muon_groups(model, lr=0.02, adam_lr=0.003, weight_decay=0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert sorted(names[id(p)] for p in matrices["params"]) == sorted(
        n for n in names.values() if "proj" in n
    )
    assert {names[id(p)] for p in rest["params"]} == {
        n for n in names.values() if "norm" in n or "embed" in n
    }
    assert (matrices["lr"], rest["lr"], matrices["weight_decay"], rest["weight_decay"]) == (
        0.02,
        0.003,
        0.1,
        0.0,
    )
    untied = gpt(tie_word_embeddings=False)
    head = untied.lm_head.weight
    assert any(p is head for p in muon_groups(untied)[1]["params"])
    untied.model.requires_grad_(False)
    assert [len(group["params"]) for group in muon_groups(untied)] == [1]


def test_the_rest_is_moved_by_adamw_exactly():
    model, copied = gpt().double(), gpt().double()
    ids = torch.randint(0, 11, (4, 9), generator=torch.Generator().manual_seed(1))
    ours = Muon(muon_groups(model, lr=0.0, adam_lr=0.01))  # matrices stand still
    rest = muon_groups(copied)[1]["params"]
    reference = AdamW(rest, lr=0.01, betas=(0.9, 0.95), weight_decay=0.0)
    for _ in range(20):
        for net, optimizer in ((model, ours), (copied, reference)):
            net.zero_grad()
            net(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
    assert same(weights_of(model), weights_of(copied))
    assert not same(weights_of(model), weights_of(gpt().double()))


def test_state_dict_goes_on_where_it_was_saved(tmp_path):
    model = network()
    groups = lambda net: [  # noqa: E731
        {"params": [net[0].weight, net[2].weight]},
        {"params": [net[4].weight], "use_muon": False, "lr": 1e-3},
    ]
    optimizer = Muon(groups(model), lr=0.02)
    train(model, optimizer, 10)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "saved.pt")
    whole = train(model, optimizer, 10, first=10)
    saved = torch.load(tmp_path / "saved.pt", weights_only=True)
    again = network(seed=1)
    again.load_state_dict(saved["model"])
    fresh = Muon(groups(again), lr=1.0, momentum=0.1)  # rate and momentum come from the state
    fresh.load_state_dict(saved["optimizer"])
    assert all(map(torch.equal, train(again, fresh, 10, first=10), whole))


def test_gradients_are_left_alone():
    model = network()
    optimizer = Muon(model.parameters(), weight_decay=0.3)
    model(torch.ones(4, 6, dtype=torch.float64)).square().mean().backward()
    before = [parameter.grad.clone() for parameter in model.parameters()]
    optimizer.step()
    assert all(map(torch.equal, before, [parameter.grad for parameter in model.parameters()]))


@pytest.mark.slow
def test_the_trainer_uses_it_and_resumes_with_it(tmp_path):
    """The Trainer's run = the same steps by hand is the Trainer's own promise; here: it takes Muon and
    resumes exactly.
    """
    start = gpt().double()

    def trained(name: str, **options) -> dict[str, torch.Tensor]:
        model = copy.deepcopy(start)
        return weights_of(fit(model, (Muon, {"params": muon_groups(model)}), tmp_path / name, **options))

    whole = trained("whole")
    resumed = trained("resumed", resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-5"))
    assert not same(whole, weights_of(start))
    assert same(whole, resumed)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"momentum": 1.0}, "momentum is 1.0; it must be from 0 to below 1"),
        ({"lr": -1}, "lr is -1; it must be 0 or more"),
        ({"ns_steps": 0}, "ns_steps is 0; it must be 1 or more"),
    ],
)
def test_values_out_of_range_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        Muon([torch.zeros(2, 2)], **arguments)


def test_what_is_no_matrix_is_refused():
    with pytest.raises(ValueError, match=r"one of its parameters is \(3,\): give it use_muon=False"):
        Muon([torch.zeros(3)])
