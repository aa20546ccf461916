"""Gaussians from logits and fields in one compiled pass: the same numbers as the plain composition."""

import numpy as np
import pytest
import torch

from core.radiance.decode import is_compiled
from core.radiance.fields import FieldsConfig, HybridFields, Space
from core.radiance.hybrid import Decoder, HybridConfig
from core.radiance.merge import ScaleMerge

CENTER = np.array([0.1, -0.2, -2.0])
OUTPUTS = ("quats", "scales", "opacities", "colors")


def decoder(**changes) -> Decoder:
    fields = {
        "levels": 3,
        "log2_table": 10,
        "base_resolution": 4,
        "max_resolution": 40,
        "hidden": 16,
    }
    merge = changes.pop("scale_merge", ScaleMerge.SUM)
    colored = changes.pop("has_explicit_color", True)
    config = HybridConfig(
        fields=FieldsConfig(**(fields | changes)), scale_merge=merge, has_explicit_color=colored
    )
    generator = torch.Generator().manual_seed(1)
    made = HybridFields(config.fields, generator)
    for grid in made.grids().values():  # as if trained: offsets that matter
        grid.table.data.normal_(0, 0.5, generator=generator)
    return Decoder(config, made, Space(-np.ones(3), np.ones(3), np.zeros(3), 100.0))


def leaves(count: int) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(2)
    return {
        "means": torch.randn(
            count, 3, generator=draw
        ),  # a third of them outside the contracted ball
        "color_logits": torch.randn(count, 3, generator=draw),
        "scale_logits": torch.randn(count, generator=draw) * 3,
        "opacity_logits": torch.randn(count, generator=draw) * 6,
    }


def values_and_gradients(made: Decoder, count: int, decode: str) -> dict[str, torch.Tensor]:
    given = {name: values.requires_grad_(True) for name, values in leaves(count).items()}
    for parameter in made.fields.parameters():
        parameter.grad = None
    splats = getattr(made, decode)(given, CENTER)
    found = {name: getattr(splats, name) for name in OUTPUTS}
    draw = torch.Generator().manual_seed(3)
    torch.stack(
        [(one * torch.randn(one.shape, generator=draw)).sum() for one in found.values()]
    ).sum().backward()
    found |= {f"d {name}": leaf.grad for name, leaf in given.items() if leaf.grad is not None}
    found |= {f"d {name}": one.grad.clone() for name, one in made.fields.named_parameters()}
    for name, grid in made.fields.grids().items():
        found[f"touched {name}"] = grid.touched().clone().float()
    return {name: values.detach() for name, values in found.items()}


@pytest.mark.parametrize("count", [1, 64, 200])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"scale_merge": ScaleMerge.PRODUCT},
        {"has_explicit_color": False},
        {"levels": 2, "log2_table": 8, "max_resolution": 16},  # one level hashed in one grid alone
        {"levels": 5, "hidden": 24, "layers": 1},
        {"layers": 3},
    ],
)
def test_one_pass_gives_the_values_and_gradients_of_the_pieces(changes, count):
    made = decoder(**dict(changes))
    assert is_compiled(made.fields, torch.zeros(1, 3))
    wanted = values_and_gradients(made, count, "composed")
    found = values_and_gradients(made, count, "splats")
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        # float32 sums of up to 200 terms in another order
        scale = max(1.0, float(values.abs().max()))
        torch.testing.assert_close(
            found[name],
            values,
            atol=3e-6 * scale,
            rtol=1e-5,
            msg=lambda text, n=name: f"{n}: {text}",
        )


def test_the_number_of_threads_changes_no_digit():
    import numba

    made, before = decoder(), numba.get_num_threads()
    try:
        found = []
        for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
            numba.set_num_threads(threads)
            found.append(values_and_gradients(made, 300, "splats"))
    finally:
        numba.set_num_threads(before)
    for name, values in found[0].items():
        assert torch.equal(values, found[1][name]), name


def test_a_point_that_is_not_a_number_stays_inside_the_tables():
    made, given = decoder(), leaves(70)
    given["means"][5] = torch.nan
    given["means"][6] = torch.inf
    splats = made.splats(given, CENTER)
    assert torch.isfinite(splats.scales[:5]).all()
    assert torch.isfinite(splats.scales[7:]).all()


def test_no_gaussians_give_no_gaussians():
    made = decoder()
    given = {name: values[:0].requires_grad_(True) for name, values in leaves(3).items()}
    splats = made.splats(given, CENTER)
    splats.colors.sum().backward()
    assert len(splats) == 0
    assert given["color_logits"].grad.shape == (0, 3)


def test_a_shared_grid_takes_the_pieces():
    assert not is_compiled(decoder(is_shared=True).fields, torch.zeros(1, 3))
