"""The attention panel's pictures and words: queries outlined, regions averaged, boards about square."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from app import actions, attention_maps, attention_pictures
from app.attention import Attention
from app.attention_choices import Choices
from app.palette import DARK
from app.panels import attention as panel
from app.panels.widgets import Choice, Picture, Row
from app.store import Store
from core.base.events import EventQueue
from core.engine.looking import Look, Wish
from core.nn.attention import AttentionLayer
from core.study import Attended

GRID = (4, 6)
LINE = np.array(DARK["action"][:3])


def attending(grid=GRID, heads=2) -> AttentionLayer:
    made = torch.Generator().manual_seed(3)
    tokens = grid[0] * grid[1]
    q, k, v = (torch.randn(heads, tokens, 5, generator=made) for _ in range(3))
    return AttentionLayer("block 1", q=q, k=k, v=v, grid=grid)


def cam(name: str) -> AttentionLayer:
    given = torch.rand(1, 1, 6, generator=torch.Generator().manual_seed(4))
    return AttentionLayer(name, kind="gradcam", given=given, grid=(1, 1), key_grid=(2, 3))


def looked(*layers: AttentionLayer, picture: np.ndarray | None = None) -> Look:
    outputs = np.array([0.1, 0.9])
    attended = Attended(None, picture=picture, names=("three", "five"))
    return Look(7, Wish(), layers, outputs, outputs, attended)


def watching(look: Look) -> tuple[Attention, Store]:
    """The panel's state with one look taken in."""
    store, waiting = Store(), [look]
    looks = SimpleNamespace(take=lambda: waiting.pop() if waiting else None)
    trainer = SimpleNamespace(looker=SimpleNamespace(looks=looks))
    training = SimpleNamespace(trainer=trainer, post=lambda command: None)
    attention = Attention(store, training, EventQueue())
    attention.enter(can=True)
    attention.do(actions.WatchAttention(True))
    attention.tick()
    return attention, store


def test_a_dragged_rectangle_is_the_mean_of_its_queries():
    attention, store = watching(looked(attending(), picture=np.zeros((8, 12))))
    # from row 4, column 4 back to row 2, column 2: corners in any order
    attention.do(actions.PointAt("sample", 0.55, 0.9, "area", 0.3, 0.4))
    expected = tuple(row * 6 + column for row in (1, 2, 3) for column in (1, 2, 3))
    assert attention.choices.region == expected
    assert "mean of 9 queries" in store.get("attention.words")
    found = attention_maps.mapped(attention.seen, attention.choices).values
    rows = attending().weights(torch.tensor(expected))
    assert found == pytest.approx(rows.mean(dim=(0, 1)).double().numpy(), abs=1e-6)
    attention.do(actions.PointAt("sample", 0.05, 0.05))
    assert attention.choices.region == ()


def test_a_region_has_one_line_around_it_and_none_between_its_queries():
    choices = Choices(query=7, region=(7, 8, 13, 14))
    picture = attention_pictures.sample_picture(
        looked(attending(), picture=np.zeros((8, 12))), attending(), choices
    )
    is_line = (picture == LINE).all(axis=-1)
    cell = picture.shape[0] // GRID[0]
    assert is_line[cell, cell : 3 * cell].all()  # the upper edge
    assert is_line[cell : 3 * cell, 3 * cell - 1].all()  # the right edge
    assert not is_line[2 * cell - 2 : 2 * cell + 2, 2 * cell - 2 : 2 * cell + 2].any()
    assert not is_line[:cell].any()


def test_a_region_of_very_many_queries_is_sampled_and_says_so():
    layer = attending((20, 20), heads=1)
    choices = Choices(region=tuple(range(400)))
    found = attention_maps.mapped(looked(layer), choices)
    assert "mean of 400 queries, 256 of them" in found.words
    everything = layer.weights(torch.arange(400)).mean(dim=(0, 1)).numpy()
    assert np.corrcoef(found.values, everything)[0, 1] > 0.9


def test_a_query_that_is_no_part_of_a_picture_is_not_drawn_as_an_empty_square():
    layer = AttentionLayer("pooling", given=torch.full((2, 1, 6), 1 / 6), grid=(1, 1))
    _, store = watching(looked(layer))
    assert store.get("attention.sample_picture") is None
    shown = [part for row in rows(store) for part in row.children if isinstance(part, Picture)]
    assert [part.key for part in shown] == ["attention.map_picture", "attention.board_picture"]


def test_a_single_map_needs_no_board():
    _, store = watching(looked(attending(heads=1), picture=np.zeros((8, 12))))
    shown = [part for row in rows(store) for part in row.children if isinstance(part, Picture)]
    assert [part.key for part in shown] == ["attention.sample_picture", "attention.map_picture"]


def test_grad_cam_says_what_it_is_and_offers_only_what_there_is_to_choose():
    _, store = watching(looked(cam("block 1"), cam("block 2"), picture=np.zeros((8, 12))))
    words = store.get("attention.words")
    assert words.startswith("Grad-CAM: ")
    assert "Y is five" in words
    assert "block 2;" in words  # the last layer is shown first
    assert "query" not in words
    assert "head" not in words.lower()
    offered = [part.label for row in rows(store) for part in row.children]
    choices = {
        part.label for row in rows(store) for part in row.children if isinstance(part, Choice)
    }
    assert choices == {"Layer", "Colours"}
    assert "Query" not in offered
    assert not (store.get("attention.sample_picture") == LINE).all(axis=-1).any()


def test_colours_are_explained_beside_the_map():
    attention, store = watching(looked(attending(), picture=np.zeros((8, 12))))
    low, high = (float(word) for word in store.get("attention.legend").split()[::3][:2])
    found = attention_maps.mapped(attention.seen, attention.choices).values
    assert low == pytest.approx(found.min(), rel=0.01)
    assert high == pytest.approx(found.max(), rel=0.01)
    attention.do(actions.ChooseAttention("second", 3))
    assert "(blue)" in store.get("attention.legend")


@pytest.mark.parametrize(
    ("count", "heads", "across"), [(9, 1, 3), (20, 4, 4), (48, 12, 12), (2, 8, 8), (4, 2, 2)]
)
def test_a_board_is_about_square_and_keeps_the_heads_of_a_layer_together(count, heads, across):
    assert attention_pictures.board_across(count, heads) == across
    maps = [np.full((2, 2), float(at)) for at in range(count)]
    board = attention_pictures.board_picture(maps, heads, "map")
    last = attention_pictures.board_index(
        board.shape[:2],
        ((count - 1) % across + 0.5) / across,
        ((count - 1) // across + 0.5) / -(-count // across),
        across,
    )
    assert last == count - 1


def rows(store: Store) -> list[Row]:
    return [child for child in panel.panel(store).children if isinstance(child, Row)]
