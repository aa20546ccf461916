"""A study's state as bytes and back, exactly: safetensors for arrays, JSON for the rest, no code.

    state    nested dicts, lists and tuples of tensors, numpy arrays, None, bool, int, float, str
    payload  one safetensors file; its metadata hold the nesting as JSON

Where JSON has no word for something, a dictionary with one key says it:

    {"$tensor": name}  {"$array": name}  {"$tuple": [...]}  {"$int": "0x..."}
    {"$pairs": [[key, value], ...]}      a dictionary whose keys are not plain text

Floats survive because Python writes the shortest text that reads back to the same number.

Writing takes no copy of the state: tensors go out one by one as they lie in memory, since a state
may be most of what a machine can hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors

from core.base.errors import RunError

EXACT_INT_BITS = 64  # longer ones are written in base 16, which has no length limit in Python


DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def pack(
    state: dict[str, Any], header: dict[str, Any], write: Callable[[bytes | memoryview], Any]
) -> None:
    """Write the state and a small JSON header, piece by piece, as one safetensors payload."""
    tensors: dict[str, torch.Tensor] = {}
    tree = _encode(state, tensors, "state")
    text = json.dumps({"header": header, "state": tree}, separators=(",", ":"))
    entries: dict[str, Any] = {"__metadata__": {"content": text}}
    # the widest numbers first, so that every tensor lies where its kind of number may
    order = sorted(tensors, key=lambda name: -tensors[name].element_size())
    end = 0
    for name in order:
        tensor = tensors[name]
        start, end = end, end + tensor.numel() * tensor.element_size()
        shape, offsets = list(tensor.shape), [start, end]
        entries[name] = {"dtype": DTYPES[tensor.dtype], "shape": shape, "data_offsets": offsets}
    head = json.dumps(entries, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    write(len(head).to_bytes(8, "little"))
    write(head)
    for name in order:
        flat = tensors.pop(name).detach().cpu().contiguous().reshape(-1)
        write(memoryview(flat.view(torch.uint8).numpy()))


def unpack(payload: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (state, header); raise ValueError when the payload is not what `pack` wrote."""
    try:
        tensors = load_tensors(payload)
        content = json.loads(_metadata(payload)["content"])
        return _decode(content["state"], tensors), content["header"]
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"unreadable content ({error})") from None


def _metadata(payload: bytes) -> dict[str, str]:
    length = int.from_bytes(payload[:8], "little")
    return json.loads(payload[8 : 8 + length])["__metadata__"]


def _encode(value: Any, tensors: dict[str, torch.Tensor], where: str) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, torch.Tensor):
        if value.dtype not in DTYPES:
            raise RunError(f"A checkpoint cannot hold {where}: a tensor of {value.dtype}.")
        return {"$tensor": _store(value, tensors)}
    if isinstance(value, np.ndarray):
        return {"$array": _store(_from_numpy(value, where), tensors)}
    if isinstance(value, int):
        return {"$int": hex(value)} if value.bit_length() > EXACT_INT_BITS else int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, dict):
        return _encode_dict(value, tensors, where)
    if isinstance(value, (list, tuple)):
        items = [_encode(item, tensors, f"{where}[{i}]") for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    raise RunError(
        f"A checkpoint cannot hold {where}: {type(value).__name__}. "
        "State may contain tensors, numpy arrays, numbers, text, lists and dictionaries only."
    )


def _encode_dict(values: dict[Any, Any], tensors: dict[str, torch.Tensor], where: str) -> Any:
    if all(isinstance(key, str) and not key.startswith("$") for key in values):
        return {key: _encode(item, tensors, f"{where}.{key}") for key, item in values.items()}
    return {
        "$pairs": [
            [_encode(key, tensors, where), _encode(item, tensors, f"{where}.{key}")]
            for key, item in values.items()
        ]
    }


def _store(tensor: torch.Tensor, tensors: dict[str, torch.Tensor]) -> str:
    name = f"{len(tensors):05d}"
    tensors[name] = tensor
    return name


def _from_numpy(array: np.ndarray, where: str) -> torch.Tensor:
    try:
        return torch.from_numpy(np.array(array, order="C", dtype=array.dtype.newbyteorder("=")))
    except TypeError:
        raise RunError(
            f"A checkpoint cannot hold {where}: an array of {array.dtype}. Convert it to numbers."
        ) from None


def _decode(tree: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(tree, list):
        return [_decode(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        ((key, value),) = tree.items()
        if key == "$tensor":
            return tensors[value]
        if key == "$array":
            return tensors[value].numpy()
        if key == "$tuple":
            return tuple(_decode(item, tensors) for item in value)
        if key == "$int":
            return int(value, 16)
        if key == "$pairs":
            return {_decode(name, tensors): _decode(item, tensors) for name, item in value}
    return {key: _decode(item, tensors) for key, item in tree.items()}
