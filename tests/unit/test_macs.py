"""Multiply-adds of small modules, counted by hand."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from core.nn.macs import by_part, multiply_adds


class Calls(nn.Module):
    """Runs a function, so that a single operation can be counted."""

    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, *inputs):
        return self.call(*inputs)


def cost(call, *shapes):
    return sum(multiply_adds(Calls(call), *(torch.rand(shape) for shape in shapes)).values())


def test_a_linear_map_costs_inputs_times_outputs_for_every_row():
    assert multiply_adds(nn.Linear(5, 7), torch.rand(3, 5)) == {"": 3 * 5 * 7}


def test_a_depthwise_convolution_costs_nine_for_every_output():
    whole, depthwise = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
    picture = torch.rand(1, 8, 6, 5)
    assert multiply_adds(whole, picture)[""] == 6 * 5 * 8 * 8 * 9
    assert multiply_adds(depthwise, picture)[""] == 6 * 5 * 8 * 9
    assert multiply_adds(nn.ConvTranspose2d(8, 4, 2, stride=2), picture)[""] == 6 * 5 * 8 * 4 * 4


def test_products_without_a_module_are_counted_too():
    assert cost(lambda a, b: a @ b, (2, 3, 4), (2, 4, 5)) == 2 * 3 * 4 * 5
    assert cost(torch.bmm, (2, 3, 4), (2, 4, 5)) == 2 * 3 * 4 * 5
    assert cost(lambda a, b: a.matmul(b), (3, 4), (4,)) == 12
    assert cost(torch.baddbmm, (2, 3, 5), (2, 3, 4), (2, 4, 5)) == 2 * 3 * 4 * 5
    assert cost(lambda a, b: torch.einsum("bqd,bkd->bqk", a, b), (2, 3, 4), (2, 5, 4)) == 120
    assert cost(lambda a, b: torch.einsum("...d,dk", a, b), (2, 3, 4), (4, 5)) == 120
    attend = nn.functional.scaled_dot_product_attention
    assert cost(attend, (2, 6, 3, 4), (2, 6, 5, 4), (2, 6, 5, 8)) == 2 * 6 * 3 * 5 * (4 + 8)


def test_products_of_single_elements_and_activations_cost_nothing():
    assert cost(lambda a, b: torch.relu(a * b + a).softmax(-1), (3, 4), (3, 4)) == 0


def test_what_hides_its_products_is_refused_instead_of_counted_as_nothing():
    tokens = torch.rand(1, 4, 8)
    with pytest.raises(ValueError, match="multi_head_attention_forward"):
        multiply_adds(nn.MultiheadAttention(8, 2, batch_first=True), tokens, tokens, tokens)
    with pytest.raises(ValueError, match="order"):
        cost(lambda a, b, c: torch.einsum("ij,jk,kl", a, b, c), (2, 3), (3, 4), (4, 5))


def test_costs_stand_under_the_module_that_was_at_work():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Linear(3, 4))
    counts = multiply_adds(model, torch.rand(1, 2))
    assert counts == {"": 0, "0": 0, "0.0": 6, "0.1": 0, "1": 12}
    assert by_part(counts) == {"": 0, "0": 6, "1": 12}


def test_counting_leaves_a_module_as_it_was():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.Dropout(0.5)).train()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    multiply_adds(model, torch.full((2, 3, 4, 4), 0.5))
    assert torch.equal(torch.rand(1), expected)
    assert [part.training for part in model] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


CHILD = """
import sys, torch
from core.nn.macs import multiply_adds
multiply_adds(torch.nn.Conv2d(3, 4, 3), torch.rand(1, 3, 8, 8))
sys.exit("torch._dynamo" in sys.modules)
"""


def test_counting_loads_no_compiler():
    assert subprocess.run([sys.executable, "-c", CHILD], timeout=120).returncode == 0
