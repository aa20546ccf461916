"""What the open study attends to: the sample and its query, a map, the board of heads, and what can be tried out."""

from __future__ import annotations

from app.actions import ChooseAttention, PointAt, SaveAttention, WatchAttention
from app.attention_choices import MAX, MEAN, METHODS, ORDERS, SCALES
from app.panels.widgets import (
    Choice,
    Group,
    Number,
    Path,
    Picture,
    Plot,
    Row,
    Slider,
    Table,
    Text,
    Toggle,
    Widget,
)
from app.store import Store

PICTURE, ACROSS = 300, 3


def panel(store: Store) -> Group:
    """Describe the attention of one held-out sample; nothing where the study attends nowhere."""
    if not store.get("attention.can", False):
        return Group("Attention", ())
    watch = Toggle(
        label="Look at the attention",
        key="attention.on",
        tooltip="Passes one held-out sample through the model about once a second; at most 5 % of the time",
        action=WatchAttention(),
    )
    if not store.get("attention.on", False):
        return Group("Attention", (watch,))
    if not store.get("attention.layers", ()):
        text = (
            "Nothing attends in this variant."
            if store.get("attention.samples", 0)
            else "Looking..."
        )
        return Group("Attention", (watch, Text(tint="secondary", text=text)))
    controls = (*_rows(_choices(store)), *_rows(_tries(store)))
    return Group("Attention", (watch, *_maps(store), *controls, *_records(store)))


def _rows(widgets: tuple[Widget, ...]) -> tuple[Row, ...]:
    """Put controls side by side, a few in a row."""
    starts = range(0, len(widgets), ACROSS)
    return tuple(Row(widgets[at : at + ACROSS], columns=ACROSS) for at in starts)


def _maps(store: Store) -> tuple[Widget | Row, ...]:
    is_cam = store.get("attention.kind") == "gradcam"
    sample = Picture(
        key="attention.sample_picture",
        tooltip="Click: the query. Drag: the mean of a region, Ctrl adds to it. Shift: compare with another. "
        "Right: who looks here",
        height=PICTURE,
        action=PointAt("sample"),
        follows=True,
    )
    if is_cam:
        tip = "The sample that is looked at"
        sample = Picture(key="attention.sample_picture", tooltip=tip, height=PICTURE)
    found = Picture(key="attention.map_picture", tooltip="Where it looks", height=PICTURE)
    board = Picture(
        key="attention.board_picture",
        tooltip="Every head of every layer for this query; click one to enlarge it",
        height=PICTURE,
        action=PointAt("board"),
    )
    method = "Grad-CAM" if is_cam else METHODS[store.get("attention.method", "row")][0]
    shown: tuple[tuple[str, Picture], ...] = (
        ("Sample" if is_cam else "Sample and query", sample),
        (f"{method}: {store.get('attention.legend', '')}", found),
        ("Every layer" if is_cam else "Every head, layer by layer", board),
    )
    if store.get("attention.sample_picture") is None:
        shown = shown[1:]
    if len(store.get("attention.layers", ())) == len(store.get("attention.heads", ())) == 1:
        shown = shown[:-1]  # the map itself is all there is
    captions = tuple(Text(tint="secondary", text=text) for text, _ in shown)
    pictures = tuple(picture for _, picture in shown)
    words: tuple[Widget, ...] = (
        Text(tint="secondary", text="What is shown.", key="attention.words"),
    )
    if count := int(store.get("attention.sinks", 0)):
        text = f"{count} keys take more than half of the weight of most queries (sinks)."
        words += (Text(tint="warning", text=text),)
    columns = len(shown)
    return (Row(captions, columns), Row(pictures, columns), *words)


def _choices(store: Store) -> tuple[Widget, ...]:
    layers, heads = store.get("attention.layers", ()), tuple(store.get("attention.heads", ()))
    methods = tuple(store.get("attention.methods", ("row",)))
    queries, samples = (
        int(store.get("attention.queries", 1)),
        int(store.get("attention.samples", 1)),
    )
    found: list[Widget] = []
    if samples > 1:
        found.append(_slider("Sample", "sample", samples - 1, "Held-out sample that is looked at"))
    if queries > 1:
        found.append(
            _slider("Query", "query", queries - 1, "Token whose row is shown; prefix first")
        )
    found += _sources(tuple(layers), heads, methods)
    found += [
        _choice(
            "Colours",
            "scale",
            tuple(SCALES),
            tuple(SCALES.values()),
            "What the brightest colour is",
        ),
        _slider(
            "Strongest share",
            "keep",
            1.0,
            "Show only the keys that hold so much of the weight",
            0.05,
        ),
        _slider("Opacity", "opacity", 1.0, "Of the map over the picture"),
    ]
    if store.get("attention.method") == "rollout" and len(layers) > 1:
        found.append(
            _slider("From layer", "first", len(layers) - 1, "Layer that the rollout starts at")
        )
    if store.get("attention.has_prefix", False):
        hides = _toggle(
            "Hide prefix and sink keys", "hides_sinks", "They often dwarf everything else"
        )
        found.append(hides)
    return tuple(found)


def _sources(
    layers: tuple[str, ...], heads: tuple[str, ...], methods: tuple[str, ...]
) -> list[Widget]:
    """Return the choices of layer, head and method, as far as there is something to choose."""
    found: list[Widget] = []
    if len(layers) > 1:
        places = tuple(range(len(layers)))
        found.append(_choice("Layer", "layer", places, layers, "Also by a click on the board"))
    if len(heads) > 1:
        values, names = (MEAN, MAX, *range(len(heads))), ("mean of all", "largest of all", *heads)
        tip = "One head, or all of them put together"
        found.append(_choice("Head", "head", values, names, tip))
        tip = "How the board is sorted, smallest first"
        found.append(_choice("Order of heads", "order", ORDERS, ORDERS, tip))
    if len(methods) > 1:
        names = tuple(METHODS[method][0] for method in methods)
        found.append(_choice("Show", "method", methods, names, "How the map is made"))
    return found


def _tries(store: Store) -> tuple[Widget, ...]:
    kind = store.get("attention.kind", "softmax")
    if kind == "gradcam":
        return (_control(),)
    head = int(store.get("attention.head", MEAN))
    heads = tuple(store.get("attention.heads", ()))
    name = heads[head] if 0 <= head < len(heads) else "all heads"
    found: list[Widget] = [
        _toggle(f"Mute {name} of this layer", "muted", "Their output becomes zero"),
        _toggle("Hide the query's own key", "hidden", "Nobody in this layer sees that token"),
    ]
    if kind != "linear":
        what = "Inverse temperature" if kind == "hopfield" else "Factor of the products"
        found.append(
            Number(
                label=f"{what} (0: the model's)",
                key="attention.beta",
                tooltip="Takes the place of the model's own in this layer",
                low=0.0,
                action=ChooseAttention("beta"),
            )
        )
    if kind == "gated":
        found.append(_slider("Gate", "gate", 1.0, "0: content alone, 1: position alone"))
    found.append(_control())
    names = tuple(store.get("attention.names", ()))
    if store.get("attention.method") == "relevance" and len(names) > 1:
        options = tuple(range(len(names)))
        found.append(_choice("Relevance for", "target", options, names, "Output that is explained"))
    return tuple(found)


def _control() -> Toggle:
    tip = "A control: a map that looks the same with meaningless weights explains nothing"
    return _toggle("Weights in random order", "shuffled", tip)


def _records(store: Store) -> tuple[Widget, ...]:
    steps = store.get("attention.past_steps", ())
    found: list[Widget] = []
    if len(steps) > 1:
        label = "Boards ago"
        found.append(
            _slider(label, "past", len(steps) - 1, "Go back to the board of earlier steps")
        )
    columns = ("Head", "Entropy", "Effective keys", "Keys to 90 %", "Distance", "Gate")
    measures: tuple[Widget, ...] = (
        Plot(label="Mean entropy by layer", key="attention.history", unit="nats"),
        Table(key="attention.statistics", columns=columns),
    )
    return (
        *found,
        *(() if store.get("attention.kind") == "gradcam" else measures),  # of weights alone
        Table(key="attention.outputs", columns=("Output", "Now", "Unchanged")),
        Path(
            label="Save as .png, .npz or .html",
            key="attention.file",
            tooltip="The pictures, the numbers, or a page that opens without a server",
            mode="save_file",
            suffixes=(".png", ".npz", ".html"),
            button="Save",
            action=SaveAttention(),
        ),
        Text(tint="secondary", text="Weights say what was mixed, not why the model decided."),
    )


def _slider(label: str, key: str, high: float, tooltip: str, low: float = 0.0) -> Slider:
    return Slider(
        label=label,
        key=f"attention.{key}",
        tooltip=tooltip,
        low=low,
        high=high,
        is_integer=isinstance(high, int),
        action=ChooseAttention(key),
    )


def _choice(
    label: str, key: str, options: tuple[object, ...], names: tuple[str, ...], tooltip: str
) -> Choice:
    return Choice(
        label=label,
        key=f"attention.{key}",
        tooltip=tooltip,
        options=options,
        names=tuple(name[:1].upper() + name[1:] for name in names),
        action=ChooseAttention(key),
    )


def _toggle(label: str, key: str, tooltip: str) -> Toggle:
    return Toggle(label=label, key=f"attention.{key}", tooltip=tooltip, action=ChooseAttention(key))
