"""The Triton kernels of hash grid and networks against plain torch, on whatever can run them.

Collected only by the child processes of `test_triton_fields.py`: with TRITON_INTERPRET=1, which must
be set before Triton is imported, the kernels run on the CPU; without it on the CUDA device.
"""

import os
from itertools import pairwise

import numpy as np
import pytest
import torch

from core.nn import hashgrid, mlp, triton_hashgrid, triton_mlp, triton_probe
from core.nn.hashgrid import HashGrid, HashGridConfig, encode_reference
from core.nn.mlp import Mlp, run_reference

IS_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if IS_INTERPRETED else "cuda")
SHAPES = [  # widths, and how many of the inputs come in a second tensor
    ((16, 16, 4), 0),
    ((41, 64, 64, 3), 9),
    ((5, 7, 3, 9, 11, 2), 2),
    ((64, 64, 64, 64, 64, 64), 0),  # the widest and deepest in float32
]
HALF_SHAPES = [*SHAPES[:-1], ((128, 128, 128, 128, 128, 128), 0)]


@pytest.fixture(name="dispatched")
def _dispatched(monkeypatch):
    """Let float32 modules on the device take the Triton kernels, where that is the CPU too."""
    if IS_INTERPRETED:
        monkeypatch.setattr(triton_probe, "is_usable", lambda *_: True)
        for module in (hashgrid, mlp):
            monkeypatch.setattr(module, "_is_compiled", lambda *_: False)
    else:
        assert triton_probe.probe(DEVICE) is None


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def points(count):
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(1)).to(DEVICE)


def grid(**settings):
    values = {"levels": 4, "log2_table": 9, "base_resolution": 4, "max_resolution": 50} | settings
    made = HashGrid(HashGridConfig(**values)).to(DEVICE)
    made.table.data.copy_(random(*made.table.shape))
    return made


def scatter(made, u, upstream):
    gradient = torch.zeros_like(made.table, requires_grad=False)
    touched = torch.zeros(gradient.shape[:2], dtype=torch.uint8, device=DEVICE)
    triton_hashgrid.encode_backward(u, upstream, made.layout, gradient, touched)
    return gradient, touched


def expected_scatter(made, u, upstream):
    """Return gradient and marks as plain torch makes them, in the precision of the arguments."""
    table = made.table.detach().clone().requires_grad_()
    encode_reference(table, u, made.layout).backward(upstream)
    marks = torch.zeros(table.shape[:2], dtype=torch.uint8, device=DEVICE)
    for level, settings in enumerate(zip(*made.layout, strict=True)):
        marks[level][hashgrid._corners(u, *settings)[0]] = 1
    return table.grad, marks


@pytest.mark.parametrize(
    ("count", "settings"),
    [
        (0, {}),
        (1, {"levels": 2}),
        (270, {"levels": 3}),  # more than one block
        (40, {"levels": 1}),
        (40, {"levels": 2, "features": 1}),
        (40, {"levels": 2, "features": 3}),  # no power of two
        (270, {"levels": 2, "log2_table": 6, "max_resolution": 16384}),  # 64 rows: all collide
    ],
)
def test_encoding_and_its_gradient_equal_plain_torch(count, settings):
    made, u = grid(**settings), points(count)
    upstream = random(count, made.config.width, seed=2)
    encoded = triton_hashgrid.encode(u, made.table, made.layout)
    # the same cells and weights; only the eight products are summed in another order
    torch.testing.assert_close(
        encoded, encode_reference(made.table.detach(), u, made.layout), atol=3e-6, rtol=0
    )
    gradient, marks = scatter(made, u, upstream)
    expected_gradient, expected_marks = expected_scatter(made, u, upstream)
    # up to 2160 numbers of size one are summed in a row, in any order
    torch.testing.assert_close(gradient, expected_gradient, atol=1e-4, rtol=0)
    assert torch.equal(marks, expected_marks)


def test_faces_edges_and_corners_of_the_cube_use_the_rows_of_plain_torch():
    made = grid()
    just_below = float(np.nextafter(np.float32(1), np.float32(0)))
    ends = torch.tensor([0.0, 0.5, just_below, 1.0], device=DEVICE)
    u = torch.cartesian_prod(ends, ends, ends)
    upstream = random(len(u), made.config.width)
    encoded = triton_hashgrid.encode(u, made.table, made.layout)
    torch.testing.assert_close(
        encoded, encode_reference(made.table.detach(), u, made.layout), atol=3e-6, rtol=0
    )
    expected_gradient, expected_marks = expected_scatter(made, u, upstream)
    gradient, marks = scatter(made, u, upstream)
    torch.testing.assert_close(gradient, expected_gradient, atol=1e-4, rtol=0)
    assert torch.equal(marks, expected_marks)


def test_points_that_are_no_numbers_stay_inside_the_table():
    made = grid(levels=3)
    u = torch.tensor([[float("nan")] * 3, [-5.0, 7.0, 1e30], [0.5] * 3], device=DEVICE)
    around = torch.full((made.table.numel() + 2000,), 7.0, device=DEVICE)
    inside = around[1000:-1000].view(made.table.shape)
    inside.zero_()
    upstream = torch.ones(3, made.config.width, device=DEVICE)
    touched = torch.zeros(made.table.shape[:2], dtype=torch.uint8, device=DEVICE)
    triton_hashgrid.encode_backward(u, upstream, made.layout, inside, touched)
    assert (around[:1000] == 7).all()
    assert (around[-1000:] == 7).all()
    encoded = triton_hashgrid.encode(u, made.table, made.layout)
    expected = encode_reference(made.table.detach(), u[2:], made.layout)[0]
    torch.testing.assert_close(encoded[2], expected, atol=3e-6, rtol=0)
    assert encoded[0].isnan().all()


def test_a_table_read_in_half_precision_is_only_rounded():
    made, u = grid(), points(50)
    encoded = triton_hashgrid.encode(u, made.table, made.layout, is_half=True)
    rounded = encode_reference(made.table.detach().half().float(), u, made.layout)
    torch.testing.assert_close(encoded, rounded, atol=3e-6, rtol=0)


def split(widths, num_extra, count):
    """Return weights, all inputs, and the inputs in two tensors, the first channel by channel."""
    weights = [
        (random(num_in, num_out, seed=layer) / num_in**0.5).requires_grad_()
        for layer, (num_in, num_out) in enumerate(pairwise(widths))
    ]
    inputs = random(count, widths[0], seed=9).requires_grad_()
    features = inputs.detach()[:, : widths[0] - num_extra].t().contiguous().t()
    return weights, inputs, features, inputs.detach()[:, widths[0] - num_extra :]


def run_rounded(inputs, weights):
    """Run the network as float16 operands do: every factor rounded, sums in float32."""
    values = inputs
    for weight in weights[:-1]:
        values = torch.relu(values.half().float() @ weight.half().float())
    return values.half().float() @ weights[-1].half().float()


def assert_close_to_largest(actual, expected, tolerance):
    assert actual.shape == expected.shape
    if expected.numel() and expected.any():
        assert float((actual - expected).abs().max() / expected.abs().max()) < tolerance
    else:
        assert torch.equal(actual, expected)


@pytest.mark.parametrize("count", [0, 1, 150])
@pytest.mark.parametrize(("widths", "num_extra"), SHAPES, ids=lambda value: str(value))
def test_network_and_its_gradients_equal_plain_torch(widths, num_extra, count):
    weights, inputs, features, extra = split(widths, num_extra, count)
    upstream = random(count, widths[-1], seed=8)
    expected = run_reference(inputs, weights)
    gradients = torch.autograd.grad(expected, (inputs, *weights), upstream)
    outputs = triton_mlp.run(features, extra, None, weights)
    pulled, sums = triton_mlp.pull_back(features, extra, weights, upstream, True)
    # float32 sums of up to 64 products through five layers; on a GPU three TF32 products each
    tolerance = 5e-6 if IS_INTERPRETED else 1e-4
    assert_close_to_largest(outputs, expected.detach(), tolerance)
    assert_close_to_largest(pulled, gradients[0][:, : features.shape[1]], tolerance)
    for mine, gradient in zip(sums, gradients[1:], strict=True):
        assert_close_to_largest(mine, gradient, tolerance)


@pytest.mark.parametrize(("widths", "num_extra"), HALF_SHAPES, ids=lambda value: str(value))
def test_in_half_precision_only_the_factors_are_rounded(widths, num_extra):
    weights, inputs, features, extra = split(widths, num_extra, 150)
    upstream = random(150, widths[-1], seed=8)
    expected = run_rounded(inputs, weights)
    gradients = torch.autograd.grad(expected, (inputs, *weights), upstream)
    outputs = triton_mlp.run(features, extra, None, weights, is_half=True)
    pulled, sums = triton_mlp.pull_back(features, extra, weights, upstream, True, is_half=True)
    # a hidden value that rounds up here and down there differs by 2^-11 of itself; gradients are
    # rounded at places of their own
    assert_close_to_largest(outputs, expected.detach(), 1e-3)
    assert_close_to_largest(pulled, gradients[0][:, : features.shape[1]], 4e-3)
    for mine, gradient in zip(sums, gradients[1:], strict=True):
        assert_close_to_largest(mine, gradient, 4e-3)


def test_gradients_too_small_for_half_precision_keep_their_accuracy():
    weights, _, features, extra = split((16, 16, 16, 4), 0, 70)
    upstream = random(70, 4, seed=8)
    large = triton_mlp.pull_back(features, extra, weights, upstream, True, is_half=True)
    small = triton_mlp.pull_back(features, extra, weights, upstream * 2**-40, True, is_half=True)
    assert torch.equal(small[0], large[0] * 2**-40)
    for mine, gradient in zip(small[1], large[1], strict=True):
        assert torch.equal(mine, gradient * 2**-40)


@pytest.mark.usefixtures("dispatched")
def test_a_field_trains_through_the_kernels_as_through_plain_torch():
    made, network = grid(), Mlp((17, 24, 3)).to(DEVICE)
    u, directions = points(40), random(40, 9)
    losses = (network(made(u), directions) ** 2).sum()
    losses.backward()
    table = made.table.detach().clone().requires_grad_()
    weights = [weight.detach().clone().requires_grad_() for weight in network.weights]
    inputs = torch.cat((encode_reference(table, u, made.layout), directions), dim=1)
    (run_reference(inputs, weights) ** 2).sum().backward()
    assert_close_to_largest(made.table.grad, table.grad, 1e-4)
    assert made.table.grad is made.gradient()
    assert torch.equal(made.touched().bool(), (table.grad != 0).any(-1))
    for mine, weight in zip(network.weights, weights, strict=True):
        assert_close_to_largest(mine.grad, weight.grad, 1e-4)


@pytest.mark.usefixtures("dispatched")
def test_a_sum_as_loss_has_a_gradient_that_is_one_number_everywhere():
    made, u = grid(levels=2), points(20)
    made(u).sum().backward()
    expected, _ = expected_scatter(made, u, torch.ones(20, made.config.width, device=DEVICE))
    torch.testing.assert_close(made.table.grad, expected, atol=1e-5, rtol=0)


@pytest.mark.usefixtures("dispatched")
def test_a_first_layer_computed_beforehand_gives_the_same_colours():
    network = Mlp((17, 24, 24, 3)).to(DEVICE)
    features, directions = random(30, 8), random(30, 9, seed=1)
    together = network(features, directions)
    apart = network.finish(network.partial(features), directions)
    assert_close_to_largest(apart, together.detach(), 1e-4)


@pytest.mark.usefixtures("dispatched")
def test_further_inputs_that_learn_receive_their_gradient():
    network = Mlp((17, 24, 3)).to(DEVICE)
    features, extra = random(30, 8), random(30, 9, seed=1).requires_grad_()
    network(features, extra).square().sum().backward()
    expected = extra.detach().clone().requires_grad_()
    inputs = torch.cat((features, expected), dim=1)
    run_reference(inputs, list(network.weights)).square().sum().backward()
    assert_close_to_largest(extra.grad, expected.grad, 1e-4)


@pytest.mark.usefixtures("dispatched")
@pytest.mark.parametrize("widths", [(4, 8, 8, 8, 8, 8, 2), (4, 100, 2), (100, 8, 2)])
def test_a_network_deeper_or_wider_than_the_kernels_takes_plain_torch(widths, monkeypatch):
    monkeypatch.setattr(triton_mlp, "run", None)
    network = Mlp(widths).to(DEVICE)
    inputs = random(10, widths[0])
    torch.testing.assert_close(network(inputs), run_reference(inputs, list(network.weights)))


@pytest.mark.parametrize("is_half", [False, True])
def test_the_trial_finds_nothing_wrong(is_half):
    assert triton_probe.trial(DEVICE, is_half) is None


def test_the_trial_tells_a_wrong_kernel(monkeypatch):
    right = triton_hashgrid.encode
    monkeypatch.setattr(triton_hashgrid, "encode", lambda *given: right(*given) + 0.1)
    assert "wrong hash grid values here (off by 0.0" in triton_probe.trial(DEVICE)


def test_the_trial_tells_a_wrong_gradient(monkeypatch):
    right = triton_mlp.pull_back

    def wrong(*given):
        pulled, sums = right(*given)
        return pulled, [total * 1.01 for total in sums]

    monkeypatch.setattr(triton_mlp, "pull_back", wrong)
    assert "wrong network weight gradients" in triton_probe.trial(DEVICE)


def test_the_trial_tells_a_compiler_that_fails(monkeypatch):
    def fail(*_):
        raise RuntimeError("no such architecture\nat line 5")

    monkeypatch.setattr(triton_hashgrid, "encode", fail)
    reason = triton_probe.trial(DEVICE)
    assert reason == "Triton does not run here (RuntimeError: no such architecture)"
