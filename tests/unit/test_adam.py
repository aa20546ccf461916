"""Adam on rows: equal to torch where everything is updated, silent elsewhere, and through densification."""

import pytest
import torch

from core.base.errors import RunError
from core.nn import adam_kernels as kernels
from core.nn.adam import RowAdam
from core.nn.hashgrid import HashGrid, HashGridConfig

DTYPES = [torch.float32, torch.float64]  # compiled loops, torch operations


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def parameters(count, dtype=torch.float32):
    return {"means": normal(count, 3, seed=1, dtype=dtype), "opacity": normal(count, dtype=dtype)}


RATES = {"means": 1e-2, "opacity": 5e-2}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", ["everything", "rows", "marks"])
def test_updating_every_row_equals_dense_adam(dtype, how):
    count = 50
    ours, dense = parameters(count, dtype), parameters(count, dtype)
    optimizer = RowAdam(ours, RATES)
    leaves = {name: param.requires_grad_() for name, param in dense.items()}
    torch_adam = torch.optim.Adam(
        [{"params": [leaf], "lr": RATES[name]} for name, leaf in leaves.items()], eps=1e-15
    )
    for step in range(20):
        grads = {name: normal(*param.shape, seed=step, dtype=dtype) for name, param in ours.items()}
        for name, leaf in leaves.items():
            leaf.grad = grads[name].clone()
        torch_adam.step()
        if how == "everything":
            optimizer.step(grads)
        elif how == "rows":
            order = torch.randperm(count, generator=torch.Generator().manual_seed(step))
            optimizer.step({name: grad[order] for name, grad in grads.items()}, order)
        else:
            marks = {name: torch.ones(count, dtype=torch.uint8) for name in grads}
            optimizer.step_marked(grads, marks)
    for name, leaf in leaves.items():
        torch.testing.assert_close(ours[name], leaf.detach(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_that_were_not_seen_keep_their_value_and_moments(dtype):
    params = parameters(6, dtype)
    optimizer = RowAdam(params, RATES)
    optimizer.step({name: torch.ones_like(param) for name, param in params.items()})
    before, state = {name: param.clone() for name, param in params.items()}, optimizer.state()
    seen = torch.tensor([4, 1])
    grads = {"means": normal(2, 3, dtype=dtype), "opacity": normal(2, dtype=dtype)}
    optimizer.step(grads, seen)
    others = [0, 2, 3, 5]
    for name, param in params.items():
        assert torch.equal(param[others], before[name][others])
        assert (param[seen] != before[name][seen]).all()
        assert torch.equal(optimizer.first[name][others], state[f"{name}.first"][others])


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_first_step_moves_by_the_rate_against_the_gradient(dtype):
    param = torch.zeros(3, dtype=dtype)
    optimizer = RowAdam({"opacity": param}, {"opacity": 0.5})
    optimizer.step({"opacity": torch.tensor([2.0, -1e-3, 0.0], dtype=dtype)})
    torch.testing.assert_close(param, torch.tensor([-0.5, 0.5, 0.0], dtype=dtype))


def test_a_rate_changed_between_steps_is_used_by_the_next():
    param = torch.zeros(1)
    optimizer = RowAdam({"opacity": param}, {"opacity": 0.5})
    optimizer.rates["opacity"] = 0.0
    optimizer.step({"opacity": torch.ones(1)})
    assert param.item() == 0.0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("features", [2, 3])
def test_a_hash_grid_is_updated_and_cleared_where_it_was_touched(dtype, features):
    config = HashGridConfig(
        levels=3, features=features, log2_table=9, base_resolution=4, max_resolution=20
    )
    generator = torch.Generator().manual_seed(0)
    grid, dense = HashGrid(config, generator).to(dtype), HashGrid(config).to(dtype)
    dense.load_state_dict(grid.state_dict())
    optimizer = RowAdam({"table": grid.table}, {"table": 1e-2})
    torch_adam = torch.optim.Adam([dense.table], lr=1e-2, eps=1e-15)
    u = normal(40, 3, dtype=dtype).sigmoid()
    for _ in range(3):
        (grid(u) - 1).square().sum().backward()
        optimizer.step_marked({"table": grid.gradient()}, {"table": grid.touched()})
        torch_adam.zero_grad()
        (dense(u) - 1).square().sum().backward()
        torch_adam.step()
        assert not grid.gradient().any()
        assert not grid.touched().any()
    # the same rows are touched in every step, so lazy and dense updates agree
    torch.testing.assert_close(grid.table, dense.table, atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_rows_change_nothing(dtype):
    params = parameters(4, dtype)
    before = {name: param.clone() for name, param in params.items()}
    optimizer = RowAdam(params, RATES)
    nothing = torch.zeros(0, dtype=torch.int64)
    optimizer.step({"means": torch.zeros(0, 3, dtype=dtype)}, nothing)
    optimizer.step_marked(
        {"means": torch.ones(4, 3, dtype=dtype)}, {"means": torch.zeros(4, dtype=torch.uint8)}
    )
    assert all(torch.equal(param, before[name]) for name, param in params.items())


def test_an_optimizer_of_no_gaussians_can_step():
    optimizer = RowAdam(parameters(0), RATES)
    optimizer.step({"means": torch.zeros(0, 3), "opacity": torch.zeros(0)})


def test_moments_follow_pruning_and_new_gaussians():
    params = parameters(5)
    optimizer = RowAdam(params, RATES)
    optimizer.step({name: normal(*param.shape) for name, param in params.items()})
    moments = optimizer.state()["means.first"]
    optimizer.keep(torch.tensor([3, 0]))
    optimizer.append(2)
    params = {
        name: torch.cat((param[[3, 0]], param.new_zeros(2, *param.shape[1:])))
        for name, param in params.items()
    }
    optimizer.bind(params)
    torch.testing.assert_close(optimizer.first["means"][:2], moments[[3, 0]])
    assert not optimizer.first["means"][2:].any()
    optimizer.step({"means": torch.ones(1, 3)}, torch.tensor([2]))
    assert params["means"][2].abs().min() > 0


def test_a_mask_keeps_rows_too():
    optimizer = RowAdam(parameters(4), RATES)
    optimizer.keep(torch.tensor([True, False, True, False]))
    assert optimizer.first["means"].shape == (2, 3)


def test_resetting_one_parameter_leaves_the_others():
    params = parameters(3)
    optimizer = RowAdam(params, RATES)
    optimizer.step({name: torch.ones_like(param) for name, param in params.items()})
    optimizer.reset("opacity")
    assert not optimizer.first["opacity"].any()
    assert optimizer.first["means"].any()
    params["opacity"].zero_()
    optimizer.step({"opacity": torch.ones(3)})
    torch.testing.assert_close(params["opacity"], torch.full((3,), -RATES["opacity"]))


def test_moved_gaussians_start_without_momentum():
    params = parameters(4)
    optimizer = RowAdam(params, RATES)
    optimizer.step({name: torch.ones_like(param) for name, param in params.items()})
    optimizer.forget(torch.tensor([1, 3]))
    for moments in (optimizer.first, optimizer.second):
        assert not moments["means"][[1, 3]].any()
        assert (moments["means"][[0, 2]] > 0).all()


def test_a_reloaded_optimizer_continues_exactly():
    params = parameters(5)
    optimizer = RowAdam(params, RATES)
    grads = {name: normal(*param.shape) for name, param in params.items()}
    optimizer.step(grads)
    copies = {name: param.clone() for name, param in params.items()}
    resumed = RowAdam(copies, RATES)
    resumed.load(optimizer.state())
    optimizer.step(grads)
    resumed.step(grads)
    assert all(torch.equal(params[name], copies[name]) for name in params)


def test_a_state_of_other_sizes_is_refused_and_changes_nothing():
    optimizer = RowAdam(parameters(5), RATES)
    with pytest.raises(
        RunError, match=r"'means' needs moments of shape \(5, 3\), found shape \(4, 3\)"
    ):
        optimizer.load(RowAdam(parameters(4), RATES).state())
    assert optimizer.first["means"].shape == (5, 3)


def test_parameters_that_do_not_fit_the_moments_are_refused():
    optimizer = RowAdam(parameters(5), RATES)
    with pytest.raises(ValueError, match=r"is \(4, 3\), its moments are \(5, 3\)"):
        optimizer.bind(parameters(4))


def test_gradients_of_another_number_of_rows_are_refused():
    optimizer = RowAdam(parameters(5), RATES)
    with pytest.raises(ValueError, match=r"means: gradient is \(3, 3\) for 2 rows of \(5, 3\)"):
        optimizer.step({"means": torch.zeros(3, 3)}, torch.tensor([0, 1]))


def test_rows_may_be_given_as_a_mask():
    by_rows, by_mask = parameters(4), parameters(4)
    grads = {"means": normal(2, 3)}
    RowAdam(by_rows, RATES).step(grads, torch.tensor([1, 3]))
    RowAdam(by_mask, RATES).step(grads, torch.tensor([False, True, False, True]))
    assert torch.equal(by_rows["means"], by_mask["means"])


@pytest.mark.parametrize("row", [-1, 5])
def test_rows_outside_the_parameter_are_refused(row):
    optimizer = RowAdam(parameters(5), RATES)
    with pytest.raises(IndexError, match="of 5"):
        optimizer.step({"means": torch.zeros(1, 3)}, torch.tensor([row]))


def test_warming_up_names_every_kernel():
    names = ["optimizer of rows", "optimizer", "optimizer of marked rows"]
    assert list(kernels.warm_up()) == names
