"""One layer's attention on one sample: queries and keys are kept, weights computed when looked at.

    q        [H, Q, d]    queries and
    k        [H, K, d]    keys as they are multiplied: projected, rotated, normalised, through a feature map
    v        [H, K, e]    values
    made     [H, Q, e]    what the module itself computed, heads apart, before its output projection
    weights  [H, n, K]    of n queries, 0 where a key is not visible (`visible` tells these apart)

A module's forward takes `trace: Trace | None`; while training it is None and the module does what is
fastest. With a trace it hands over what it multiplied and goes on with what it gets back:

    if trace is not None:
        found = trace.attended(found, q=q, k=k, v=v, name="block 2", grid=(h, w), project=self.out.weight)

`attended` gives `found` back unchanged, or recomputed where somebody mutes a head, forces a gate,
hides keys or sets beta. `AttentionLayer.output()` must equal `made`; tests/contract holds every study to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Literal

import torch

Kind = Literal["softmax", "gated", "linear", "axial", "cross", "hopfield", "gradcam"]
Rows = (
    torch.Tensor | Callable[[torch.Tensor], torch.Tensor]
)  # [H|1, Q|1, K], or these of queries [n]
Grid = tuple[int, int]

DENSE = 1024  # tokens up to which whole maps are made
CHUNK = 256  # queries at a time
TENSORS = ("q", "k", "v", "made", "scale", "bias", "keep", "position", "gate", "given", "project")


@dataclass(frozen=True, eq=False)
class AttentionLayer:
    """What one layer attends with. Grids are row-major (rows, columns), without the prefix tokens.

    kind      linear: weights are q k over their sum; gated: a mix of content and position; gradcam: `given`
    scale     factor of q k, a number or one a head ([H]); beta of Hopfield layers; None is 1 / sqrt(d)
    bias      added to the scaled products before the softmax
    keep      bool, which keys a query sees; `axis` and `is_causal` say the same without an array
    position  logits of a softmax over places; gate [H] is its share: (1 - gate) content + gate position
    given     weights that are not made of q and k, such as a gate's or Grad-CAM's
    project   [out, H * e], the weight of the output projection
    prefix    class or register tokens before the grid, among queries as well as keys
    """

    name: str
    kind: Kind = "softmax"
    q: torch.Tensor | None = None
    k: torch.Tensor | None = None
    v: torch.Tensor | None = None
    made: torch.Tensor | None = None
    scale: torch.Tensor | float | None = None
    bias: Rows | None = None
    keep: Rows | None = None
    axis: Literal["", "row", "column"] = ""
    is_causal: bool = False
    position: Rows | None = None
    gate: torch.Tensor | None = None
    given: Rows | None = None
    epsilon: float = 0.0  # in the denominator of linear weights
    project: torch.Tensor | None = None
    grid: Grid | None = None  # of the queries; None: a list
    key_grid: Grid | None = None  # None: as the queries', if there are as many keys
    prefix: int = 0
    key_prefix: int | None = None  # None: as the queries'
    heads: tuple[str, ...] = ()  # names of the heads, if they have some
    queries: tuple[str, ...] = ()  # names of the queries and
    keys: tuple[str, ...] = ()  # of the keys: words, rows of a table, classes
    is_derived: bool = False  # made of other layers: to be looked at, no step of the model's own
    gradient: torch.Tensor | None = None  # [H, Q, K] of the chosen output, where asked for
    parts: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)  # kept results

    # ---- sizes -------------------------------------------------------------------------

    @cached_property
    def _shape(self) -> tuple[int, int, int]:
        if self.q is not None and self.k is not None:
            return self.q.shape[0], self.q.shape[1], self.k.shape[1]
        assert isinstance(self.given, torch.Tensor), (
            f"{self.name}: neither q and k nor given weights"
        )
        heads, queries, keys = self.given.shape
        return heads, queries, keys

    @property
    def num_heads(self) -> int:
        """Heads."""
        return self._shape[0]

    @property
    def num_queries(self) -> int:
        """Queries, prefix tokens among them."""
        return self._shape[1]

    @property
    def num_keys(self) -> int:
        """Keys, prefix tokens among them."""
        return self._shape[2]

    @property
    def query_shape(self) -> Grid:
        """Rows and columns of the queries; a list is one row."""
        return self.grid or (1, self.num_queries - self.prefix)

    @property
    def prefix_keys(self) -> int:
        """Keys before the grid."""
        if self.key_prefix is not None:
            return self.key_prefix
        return self.prefix if self.num_keys > self.prefix else 0

    @property
    def key_shape(self) -> Grid:
        """Rows and columns of the keys; a list is one row."""
        if self.key_grid is not None:
            return self.key_grid
        count = self.num_keys - self.prefix_keys
        rows, columns = self.query_shape
        return (rows, columns) if rows * columns == count else (1, count)

    def head_name(self, head: int) -> str:
        """Return what to call a head."""
        return self.heads[head] if head < len(self.heads) else f"head {head + 1}"

    # ---- weights -----------------------------------------------------------------------

    def visible(self, rows: torch.Tensor) -> torch.Tensor | None:
        """Return which keys the queries [n] see, [H|1, n, K]; None for all."""
        seen = None if self.keep is None else _rows(self.keep, rows).bool()
        if self.axis or self.is_causal:
            line = self._line(rows)
            seen = line if seen is None else seen & line
        return seen

    def _line(self, rows: torch.Tensor) -> torch.Tensor:
        """Return who shares the query's row or column and, where causal, comes no later."""
        keys = torch.arange(self.num_keys, device=rows.device)[None]
        ours = rows[:, None]
        columns = self.query_shape[1]
        if self.axis == "row":
            seen = keys // columns == ours // columns
        elif self.axis == "column":
            seen = keys % columns == ours % columns
        else:
            seen = torch.ones_like(keys == ours)
        return (seen & (keys <= ours) if self.is_causal else seen)[None]  # [1, n, K]

    def logits(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the content's scaled products with bias, before the softmax, [H, n, K]."""
        assert self.q is not None
        assert self.k is not None
        products = self.q[:, rows].float() @ self.k.float().transpose(-1, -2)
        if self.kind == "linear":
            return products
        products = products * _by_head(self.scale, self.q.shape[-1], products)
        return products if self.bias is None else products + _rows(self.bias, rows)

    def weights(self, rows: torch.Tensor | None = None) -> torch.Tensor:
        """Return the weights of the queries `rows` [n], or of all, [H, n, K] float32."""
        rows = torch.arange(self.num_queries) if rows is None else rows
        rows = rows.to(self._device)
        if self.given is not None:
            given = _rows(self.given, rows).float().expand(self.num_heads, -1, -1)
            seen = self.visible(rows)
            return given if seen is None else given * seen
        if self.kind == "gated":
            return self.mixed(self.content(rows), self.places(rows))
        return self.content(rows)

    def content(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the weights by content alone, [H, n, K]."""
        products, seen = self.logits(rows), self.visible(rows)
        if self.kind != "linear":
            return _softmax(products, seen)
        products = products if seen is None else products * seen
        return products / (products.sum(dim=-1, keepdim=True) + self.epsilon)

    def places(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the weights by position alone, [H, n, K]."""
        assert self.position is not None
        return _softmax(_rows(self.position, rows).float(), self.visible(rows))

    def mixed(self, content: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Return what a gate makes of both (ConViT, eq. 7); rows sum to one."""
        gate = _by_head(self.gate, 1, content)
        mix = (1 - gate) * content + gate * places
        return mix / mix.sum(dim=-1, keepdim=True)

    def column(self, key: int) -> torch.Tensor:
        """Return what each query gives to one key, [H, Q]: who looks here."""
        return torch.cat([self.weights(rows)[..., key] for rows in self._chunks()], dim=1)

    def output(self) -> torch.Tensor:
        """Return weights times values, [H, Q, e]: what the module must have made."""
        assert self.v is not None
        values = self.v.float()
        return torch.cat([self.weights(rows) @ values for rows in self._chunks()], dim=1)

    @property
    def _device(self) -> torch.device:
        return next(one for one in (self.q, self.given) if isinstance(one, torch.Tensor)).device

    def _chunks(self) -> tuple[torch.Tensor, ...]:
        return torch.arange(self.num_queries).split(CHUNK)

    # ---- copies ------------------------------------------------------------------------

    @property
    def num_bytes(self) -> int:
        """Memory the arrays take."""
        found = (getattr(self, name) for name in TENSORS)
        return sum(one.nbytes for one in found if isinstance(one, torch.Tensor))

    @property
    def is_small(self) -> bool:
        """Whether whole maps may be made."""
        return max(self.num_queries, self.num_keys) <= DENSE

    def copied(self) -> AttentionLayer:
        """Return copies of every array in main memory, apart from the graph and from the module."""
        own: dict[str, torch.Tensor] = {
            # functions may look at the module: their rows are taken now, unless these are too many
            name: value(torch.arange(self.num_queries, device=self._device)).detach().cpu()
            for name in ("bias", "keep", "position", "given")
            if self.is_small
            and callable(value := getattr(self, name))
            and not torch.is_tensor(value)
        }
        own |= {
            name: value.detach().to("cpu", copy=True)
            for name in (*TENSORS, "gradient")
            if isinstance(value := getattr(self, name), torch.Tensor)
        }
        return replace(self, **own, parts={})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Changes:
    """What somebody tries out. `layer` names the one it is done to; empty for all of them."""

    layer: str = ""
    muted: tuple[int, ...] = ()  # heads
    gate: float | None = None
    beta: float | None = None  # takes the place of `scale`
    hidden: tuple[int, ...] = ()  # keys, prefix tokens counted

    @property
    def is_empty(self) -> bool:
        """Whether everything stays as it is."""
        return not self.muted and not self.hidden and self.gate is None and self.beta is None

    def touches(self, layer: AttentionLayer) -> bool:
        """Whether a layer is meant."""
        return not self.is_empty and self.layer in ("", layer.name)

    def applied(self, layer: AttentionLayer) -> AttentionLayer:
        """Return the layer with gate, beta and hidden keys as asked for; `muted` is the output's."""
        parts: dict[str, object] = {}
        if self.gate is not None and layer.gate is not None:
            parts["gate"] = torch.full_like(layer.gate, self.gate)
        if self.beta is not None and layer.kind not in ("linear", "gradcam"):
            parts["scale"] = self.beta
        if self.hidden:
            parts["keep"] = self._keep(layer)
        return replace(layer, **parts, parts={})  # type: ignore[arg-type]

    def shown(self, layer: AttentionLayer) -> torch.Tensor:
        """Return one for each head and zero for a muted one, [H, 1, 1]."""
        heads = torch.ones(layer.num_heads, 1, 1)
        heads[[head for head in self.muted if head < layer.num_heads]] = 0
        return heads

    def _keep(self, layer: AttentionLayer) -> Callable[[torch.Tensor], torch.Tensor]:
        shown = torch.ones(layer.num_keys, dtype=torch.bool)
        shown[[key for key in self.hidden if 0 <= key < layer.num_keys]] = False
        earlier = layer.keep

        def keep(rows: torch.Tensor) -> torch.Tensor:
            own = shown.to(rows.device).expand(1, len(rows), -1)
            return own if earlier is None else own & _rows(earlier, rows).bool()

        return keep


class Trace:
    """Collects the attention of one forward of one sample, and lets it be changed.

    `wants_gradients` computes weights densely so that outputs can be differentiated by them.
    """

    def __init__(self, changes: Changes | None = None, *, wants_gradients: bool = False) -> None:
        self.changes, self.wants_gradients = changes or Changes(), wants_gradients
        self.layers: list[AttentionLayer] = []
        self.dense: dict[str, torch.Tensor] = {}  # weights in the graph, by layer
        self.maps: dict[str, torch.Tensor] = {}  # feature maps in the graph, [C, h, w]

    def attended(self, made: torch.Tensor, *, name: str, **parts: object) -> torch.Tensor:
        """Take one layer's q, k, v and `made`, each [1, H, N, .]; return what to go on with.

        Other fields of `AttentionLayer` go by their names, without the leading axis of samples.
        """
        known = {one.name for one in fields(AttentionLayer)}
        assert parts.keys() <= known, f"{name}: no such fields: {sorted(parts.keys() - known)}"
        assert made.shape[:-3] == (1,), f"{name}: one sample at a time, {made.shape}"
        for part in ("q", "k", "v"):
            value = parts.get(part)
            parts[part] = value[0] if isinstance(value, torch.Tensor) else None
        layer = AttentionLayer(name=name, made=made[0], **parts)  # type: ignore[arg-type]
        assert name not in {one.name for one in self.layers}, f"two layers are called {name}"
        is_changed = self.changes.touches(layer) and layer.v is not None
        if is_changed:
            layer = self.changes.applied(layer)
        if layer.v is not None and self.wants_gradients and layer.is_small:
            self.dense[name] = layer.weights()
            made = (self.dense[name] @ layer.v.float())[None].to(made.dtype)
        elif is_changed:
            made = layer.output()[None].to(made.dtype)
        if is_changed:
            made = made * self.changes.shown(layer).to(made)
        self.layers.append(layer.copied())
        return made

    def derived(self, layer: AttentionLayer) -> None:
        """Add weights that follow from layers seen before, such as two steps in turn."""
        self.layers.append(replace(layer, is_derived=True).copied())

    def features(self, values: torch.Tensor, *, name: str) -> torch.Tensor:
        """Take feature maps [1, C, h, w] for Grad-CAM, where nothing attends; return them."""
        assert values.shape[:-3] == (1,), f"{name}: one sample, {values.shape}"
        if self.wants_gradients and not values.requires_grad:
            values = values.detach().requires_grad_()
        self.maps[name] = values
        return values


def _rows(given: Rows, rows: torch.Tensor) -> torch.Tensor:
    """Return [H|1, n, K] of the queries [n]."""
    if not isinstance(given, torch.Tensor):
        return given(rows)
    return given.expand(-1, len(rows), -1) if given.shape[-2] == 1 else given[..., rows, :]


def _by_head(value: torch.Tensor | float | None, width: int, like: torch.Tensor) -> torch.Tensor:
    value = 1 / math.sqrt(width) if value is None else value
    return torch.as_tensor(value, dtype=torch.float32, device=like.device).reshape(-1, 1, 1)


def _softmax(logits: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
    """Return rows that sum to one over what is seen, and zeros where nothing is."""
    if seen is None:
        return torch.softmax(logits, dim=-1)
    weights = torch.softmax(logits.masked_fill(~seen, -torch.inf), dim=-1)
    return torch.where(seen.any(dim=-1, keepdim=True), weights, 0.0)
