"""The Hopfield network and its layers against what the paper proves, and its pitfalls."""

import math

import pytest
import torch
from torch import nn

from core.nn.attention import Changes, Trace
from core.studies.memory.hopfield import network
from core.studies.memory.hopfield.bags import BagConfig, BagModel, hidden_width
from core.studies.memory.hopfield.layers import (
    Hopfield,
    HopfieldLayer,
    HopfieldPooling,
    LayerOptions,
)

ATTENTION = LayerOptions(heads=2, head_width=4, out_width=6)
STATIC = LayerOptions(
    heads=1, head_width=8, has_norms=False, is_static=True, has_out_projection=False, beta=8.0
)


def patterns(count, width, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def test_one_update_is_scaled_dot_product_attention():
    stored, states = patterns(9, 8), patterns(5, 8, 1)
    for beta in (0.1, 1.0, 4.0):
        expected = nn.functional.scaled_dot_product_attention(states, stored, stored, scale=beta)
        torch.testing.assert_close(
            network.updated(states, stored, beta), expected, rtol=0, atol=1e-6
        )


@pytest.mark.parametrize("beta", [0.05, 0.5, 5.0])
def test_the_energy_falls_at_every_update_and_stays_in_its_bounds(beta):
    stored, states = patterns(20, 6).double(), patterns(30, 6, 1).double()
    most = 2 * stored.square().sum(dim=-1).max()
    states = states / states.norm(dim=-1, keepdim=True)
    before = network.energies(states, stored, beta)
    for _ in range(8):
        states = network.updated(states, stored, beta)
        energy = network.energies(states, stored, beta)
        assert (energy <= before + 1e-12).all()
        assert (energy >= -1e-12).all()
        assert (energy <= most).all()
        before = energy


def test_the_update_lowers_the_energy_because_it_is_its_gradient_step():
    stored, state = patterns(7, 5).double(), patterns(1, 5, 1).double().requires_grad_(True)
    (gradient,) = torch.autograd.grad(network.energies(state, stored, 0.7).sum(), state)
    expected = state.detach() - gradient
    torch.testing.assert_close(network.updated(state.detach(), stored, 0.7), expected)


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_stored_patterns_in_chunks_give_the_same_even_for_large_exponents(chunk):
    stored, states = 30 * patterns(17, 8).double(), 30 * patterns(4, 8, 1).double()
    expected = network.updated(states, stored, 2.0)
    found = network.updated_in_chunks(states, stored, 2.0, chunk)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_the_jacobian_is_that_of_the_update():
    stored, state = patterns(6, 4).double(), patterns(1, 4, 1)[0].double()
    expected = torch.autograd.functional.jacobian(
        lambda one: network.updated(one[None], stored, 0.5)[0], state
    )
    torch.testing.assert_close(network.jacobian(state, stored, 0.5), expected)


def test_effective_patterns_and_keys_count_what_the_weights_hold():
    rows = torch.tensor([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.45, 0.05, 0]])
    torch.testing.assert_close(network.retrieved(rows)[:2], torch.tensor([1.0, 4.0]))
    assert network.keys_for(rows, 0.9).tolist() == [1, 4, 2]


def test_the_classical_network_keeps_a_few_patterns_and_a_unit_without_input():
    rng = torch.Generator().manual_seed(0)
    bits = torch.randint(0, 2, (3, 64), generator=rng).float() * 2 - 1
    weights = network.hebbian(bits)
    assert torch.equal(network.settled(bits, weights), bits)
    assert torch.equal(network.settled(bits, torch.zeros(64, 64)), bits)
    assert (weights.diagonal() == 0).all()


def test_brightness_hides_the_pattern_unless_pictures_are_centred():
    pictures = 0.8 + 0.05 * patterns(30, 400)
    bright = network.associations(pictures, pictures, 0.01).argmax(dim=-1)
    centred = network.normalised(pictures)
    own = network.associations(centred, centred, 0.25).argmax(dim=-1)
    assert (bright == torch.arange(30)).float().mean() < 0.5
    assert torch.equal(own, torch.arange(30))


def test_padding_has_no_weight_and_no_effect():
    layer, stored = Hopfield(6, 6, ATTENTION), patterns(2 * 5, 6).reshape(2, 5, 6)
    keep = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)
    found = layer(stored[:, :2], stored, keep)
    assert (layer.weights(stored[:, :2], stored, keep)[0, :, :, 3:] == 0).all()
    other = stored.clone()
    other[0, 3:] = 99
    torch.testing.assert_close(layer(stored[:, :2], other, keep), found)


def test_the_order_of_the_stored_patterns_moves_the_weights_and_not_the_result():
    layer, stored = Hopfield(6, 6, ATTENTION), patterns(7, 6)[None]
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    states, shuffled = stored[:, :3], stored[:, order]
    torch.testing.assert_close(layer(states, stored), layer(states, shuffled))
    first, second = layer.weights(states, stored), layer.weights(states, shuffled)
    torch.testing.assert_close(first[..., order], second)


def test_what_the_trace_holds_gives_the_layers_own_result():
    layer, stored, trace = Hopfield(6, 6, ATTENTION), patterns(7, 6)[None], Trace()
    result = layer(stored[:, :3], stored, trace=trace)
    found = trace.layers[0].output()  # [H, L, d]
    torch.testing.assert_close(
        layer.out(found.transpose(0, 1).flatten(1))[None], result, rtol=0, atol=1e-5
    )


def test_a_muted_head_and_a_hidden_pattern_change_the_result():
    layer, stored = Hopfield(6, 6, ATTENTION), patterns(7, 6)[None]
    states = stored[:, :3]
    muted = layer(states, stored, trace=Trace(Changes(muted=tuple(range(ATTENTION.heads)))))
    torch.testing.assert_close(muted, layer.out.bias.expand_as(muted))
    hidden = layer(states, stored, trace=Trace(Changes(hidden=(5, 6))))
    keep = torch.tensor([[True] * 5 + [False] * 2])
    torch.testing.assert_close(hidden, layer(states, stored, keep), rtol=0, atol=1e-5)


def test_static_patterns_recall_where_projections_give_noise():
    stored = network.normalised(patterns(12, 8))[None]
    asked = stored + 0.1 * patterns(12, 8, 5)
    recalled = Hopfield(8, 8, STATIC)(asked, stored)
    assert torch.cdist(recalled, stored)[0].argmin(dim=-1).tolist() == list(range(12))
    assert (recalled - stored).abs().max() < 0.05
    projected = Hopfield(8, 8, LayerOptions(heads=1, head_width=8, out_width=8))(asked, stored)
    assert (projected - stored).abs().mean() > 0.3


def test_every_head_has_a_beta_of_its_own_and_stops_by_itself():
    options = LayerOptions(heads=2, head_width=4, beta=(0.01, 50.0), updates=None)
    layer = Hopfield(6, 6, options)
    weights = layer.weights(patterns(3, 6)[None], patterns(9, 6, 1)[None])
    spread = network.retrieved(weights).mean(dim=(0, 2))
    assert spread[0] > 8.5
    assert spread[1] < 2.5


def test_without_further_updates_the_layer_is_attention_with_beta_of_the_width():
    layer, trace = Hopfield(6, 6, ATTENTION), Trace()
    layer(patterns(3, 6)[None], patterns(9, 6, 1)[None], trace=trace)
    seen = trace.layers[0]
    expected = nn.functional.scaled_dot_product_attention(seen.q, seen.k, seen.v)
    torch.testing.assert_close(seen.made, expected, rtol=0, atol=1e-6)
    assert layer.beta[0] == pytest.approx(1 / math.sqrt(4))


def test_pooling_gives_one_row_a_query_and_lookup_one_a_state():
    stored = patterns(2 * 5, 6).reshape(2, 5, 6)
    assert HopfieldPooling(6, ATTENTION, queries=3)(stored).shape == (2, 3, 6)
    assert HopfieldLayer(6, ATTENTION, quantity=11)(stored).shape == (2, 5, 6)


@pytest.mark.parametrize("pooling", ["mean_pooling", "max_pooling", "attention_pooling"])
def test_every_pooling_has_about_as_many_parameters(pooling):
    config = BagConfig()
    sizes = [
        sum(one.numel() for one in BagModel(config, kind, hidden_width(config, kind)).parameters())
        for kind in ("pooling", pooling)
    ]
    assert abs(sizes[1] / sizes[0] - 1) < 0.02  # one hidden unit is one percent
