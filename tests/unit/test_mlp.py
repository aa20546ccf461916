"""The small network: compiled loops against plain torch, and the split first layer."""

import numba
import pytest
import torch

from core.base.errors import ConfigError
from core.nn import mlp_kernels as kernels
from core.nn.mlp import Mlp, run_reference

SHAPES = [
    (1, 1, 1),
    (5, 7, 3),
    (16, 32, 32, 8),
    (41, 64, 64, 3),
    (3, 17, 9, 30, 2),
    (128, 128, 128),
]


def network(widths, seed=0, **settings):
    return Mlp(widths, torch.Generator().manual_seed(seed), **settings)


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("widths", SHAPES)
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 500])
def test_values_and_gradients_equal_plain_torch(widths, count):
    mlp = network(widths)
    inputs, upstream = normal(count, widths[0]).requires_grad_(), normal(count, widths[-1], seed=2)
    outputs = mlp(inputs)
    outputs.backward(upstream)

    exact_inputs = inputs.detach().double().requires_grad_()
    exact_weights = [weight.detach().double().requires_grad_() for weight in mlp.weights]
    expected = run_reference(exact_inputs, exact_weights)
    expected.backward(upstream.double())

    # float32 sums of up to 500 products of size about one
    close = {"atol": 2e-4, "rtol": 1e-4}
    torch.testing.assert_close(outputs.double(), expected, **close)
    torch.testing.assert_close(inputs.grad.double(), exact_inputs.grad, **close)
    for weight, exact in zip(mlp.weights, exact_weights, strict=True):
        torch.testing.assert_close(weight.grad.double(), exact.grad, **close)


def test_the_reference_gradient_equals_finite_differences():
    inputs = normal(6, 4).double().requires_grad_()
    weights = [
        weight.detach().double().requires_grad_() for weight in network((4, 5, 5, 2)).weights
    ]
    assert torch.autograd.gradcheck(lambda x, *w: run_reference(x, w), (inputs, *weights))


@pytest.mark.parametrize(("features", "beside"), [(1, 4), (16, 9), (3, 1), (18, 9)])
@pytest.mark.parametrize("count", [0, 1, 100])
def test_inputs_in_two_tensors_equal_one(features, beside, count):
    extra = normal(count, beside, seed=3)
    results = []
    for is_split in (True, False):
        mlp = network((features + beside, 12, 5))
        inputs = normal(count, features).requires_grad_()
        outputs = mlp(inputs, extra) if is_split else mlp(torch.cat((inputs, extra), dim=1))
        outputs.square().sum().backward()
        results.append((outputs, inputs.grad, *(weight.grad for weight in mlp.weights)))
    for split, whole in zip(*results, strict=True):
        torch.testing.assert_close(split, whole)


def test_extra_inputs_receive_a_gradient_when_they_ask_for_it():
    extra = normal(5, 3).requires_grad_()
    network((7, 8, 2))(normal(5, 4), extra).sum().backward()
    assert extra.grad.abs().sum() > 0


def test_weights_alone_can_be_trained():
    mlp = network((4, 8, 2))
    mlp(normal(10, 4)).sum().backward()
    assert all(weight.grad is not None for weight in mlp.weights)


def test_inputs_that_are_no_contiguous_block_are_read_correctly():
    mlp = network((4, 8, 2))
    inputs = normal(4, 100).T
    torch.testing.assert_close(mlp(inputs), mlp(inputs.contiguous()))


def test_gradients_do_not_depend_on_the_number_of_threads():
    gradients = []
    before = numba.get_num_threads()
    for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
        numba.set_num_threads(threads)
        mlp = network((16, 32, 32, 8))
        (mlp(normal(5000, 16)) ** 2).sum().backward()
        gradients.append([weight.grad for weight in mlp.weights])
    numba.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*gradients, strict=True))


@pytest.mark.parametrize("count", [0, 1, 130])
def test_a_split_first_layer_gives_the_same_outputs(count):
    mlp = network((25, 32, 32, 3))
    features, directions = normal(count, 16), normal(count, 9, seed=2)
    with torch.no_grad():
        whole = mlp(torch.cat((features, directions), dim=1))
        split = mlp.finish(mlp.partial(features), directions)
        exact = mlp.double()
        slow = exact.finish(exact.partial(features.double()), directions.double())
    torch.testing.assert_close(split, whole, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(slow.float(), whole, atol=1e-5, rtol=1e-5)


def test_weights_stay_within_the_glorot_bound_and_follow_their_generator():
    one, two = network((16, 32, 8)), network((16, 32, 8))
    bound = (6 / (16 + 32)) ** 0.5
    assert 0.9 * bound < one.weights[0].abs().max() <= bound
    assert torch.equal(one.weights[0], two.weights[0])


def test_an_output_scale_of_zero_starts_at_zero():
    mlp = network((16, 32, 8), output_scale=0.0)
    assert not mlp(normal(5, 16)).any()


@pytest.mark.parametrize("widths", [(4, 2), (4, 0, 2), (4, 129, 2)])
def test_impossible_widths_are_refused(widths):
    with pytest.raises(ConfigError, match="1 to 128 wide"):
        Mlp(widths)


def test_inputs_of_the_wrong_width_are_refused():
    with pytest.raises(ValueError, match=r"inputs: expected shape \[5, 4\], got \[5, 3\]"):
        network((4, 8, 2))(normal(5, 3))


def test_warming_up_names_every_kernel():
    assert list(kernels.warm_up()) == ["network", "network gradient"]
