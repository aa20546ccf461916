"""Adam over a module's parameters."""

import copy

import pytest
import torch

from core.nn.module_adam import ModuleAdam


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_it_moves_parameters_as_torchs_own_does(decay):
    torch.manual_seed(0)
    own = torch.nn.Linear(5, 3)
    other = copy.deepcopy(own)
    first = ModuleAdam(own.parameters(), 0.01, decay=decay)
    second = torch.optim.AdamW(other.parameters(), lr=0.01, weight_decay=decay)
    for _ in range(20):
        x = torch.randn(7, 5)
        for module, optimizer in ((own, first), (other, second)):
            optimizer.zero_grad()
            module(x).square().sum().backward()
            optimizer.step()
    for one, expected in zip(own.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, expected, rtol=0, atol=1e-6)  # twenty roundings of 0.01


def test_a_parameter_that_is_not_used_stays():
    module = torch.nn.Linear(2, 2)
    before = module.bias.detach().clone()
    optimizer = ModuleAdam(module.parameters(), 0.1)
    (module.weight.sum()).backward()
    optimizer.step()
    assert torch.equal(module.bias, before)
