"""Several processes that train one model together, each on photographs of its own.

`torchrun` starts them and says who is who; each is a rank. Every rank holds the whole model. What
a step adds up over ranks comes back bit for bit the same on each, and everything after it is
computed from the same numbers, so the models stay the same without ever being sent.

Alone, which is the usual case, every method returns at once and nothing is imported.
torch.distributed carries the numbers: NCCL those on GPUs, gloo those on the CPU. A rank that ends or
does not answer makes the others stop with a RunError instead of waiting.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from core.base.errors import ConfigError, RunError

if TYPE_CHECKING:
    import torch

PATIENCE_S = 600.0  # a checkpoint or a slow picture may take minutes; a dead process shows at once
POLL_S = 0.2

Result = TypeVar("Result")


class Ranks:
    """The place of this process among those that train together."""

    def __init__(self, rank: int = 0, world: int = 1, store: Any = None) -> None:
        self.rank, self.world = rank, world
        self._store = store
        self._waits = 0

    @property
    def is_alone(self) -> bool:
        """Whether no other process takes part."""
        return self.world == 1

    @property
    def is_first(self) -> bool:
        """Whether this process speaks and writes for all of them."""
        return self.rank == 0

    def add(self, tensors: Sequence[torch.Tensor]) -> None:
        """Add tensors up over all ranks, in place; all float32 and on one device."""
        if self.is_alone or not tensors:
            return
        import torch
        import torch.distributed as dist

        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])  # one message instead of many
        with self._answered():
            dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def highest(self, tensor: torch.Tensor) -> None:
        """Take the highest over all ranks, element by element, in place."""
        if not self.is_alone:
            import torch.distributed as dist

            with self._answered():
                dist.all_reduce(tensor, dist.ReduceOp.MAX)

    def any(self, is_so: bool) -> bool:
        """Tell whether it is so on any rank."""
        if self.is_alone:
            return is_so
        import torch

        flag = torch.tensor([int(is_so)], dtype=torch.int32)
        self.highest(flag)
        return bool(flag.item())

    def like_first(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the tensor of rank 0, which has the same shape everywhere."""
        if not self.is_alone:
            import torch.distributed as dist

            tensor = tensor.contiguous()
            with self._answered():
                dist.broadcast(tensor, 0)
        return tensor

    def told(self, value: Any) -> Any:
        """Return rank 0's value on every rank."""
        if self.is_alone:
            return value
        import torch
        import torch.distributed as dist

        box = [value if self.is_first else None]
        with self._answered():
            dist.broadcast_object_list(box, 0, device=torch.device("cpu"))
        return box[0]

    def gathered(self, value: Any) -> list[Any]:
        """Return every rank's value, in the order of ranks."""
        if self.is_alone:
            return [value]
        import torch.distributed as dist

        found: list[Any] = [None] * self.world
        with self._answered():
            dist.all_gather_object(found, value)
        return found

    def check_same(self, tensors: Mapping[str, torch.Tensor], when: str) -> None:
        """Raise a RunError on every rank unless all of them hold the same bits."""
        if self.is_alone:
            return
        import torch

        sums = torch.stack([_fingerprint(tensor).cpu() for tensor in tensors.values()])
        extremes = torch.stack((sums, -sums))
        self.highest(extremes)
        different = (extremes[0] != -extremes[1]).tolist()
        names = [name for name, is_so in zip(tensors, different, strict=True) if is_so]
        if names:
            raise RunError(
                f"The {self.world} ranks no longer hold the same model {when} ({', '.join(names)} "
                "differ). Start them with the same program, packages, photographs and kind of "
                "processor or GPU; go on from the last good checkpoint with --resume."
            )

    def after_first(self, work: Callable[[], Result]) -> Result:
        """Do the work on rank 0, then on the others, who wait for it however long it takes.

        What the first one leaves in a cache on disk, the others find there.
        """
        if self.is_alone:
            return work()
        key = f"after first {self._waits}"
        self._waits += 1
        if self.is_first:
            try:
                result = work()
            except BaseException:
                self._store.set(key, "failed")
                raise
            self._store.set(key, "done")
            return result
        with self._answered():
            while not self._store.check([key]):
                time.sleep(POLL_S)  # a loop, so that Ctrl-C is heard
            outcome = self._store.get(key)
        if outcome != b"done":
            raise RunError(f"Rank {self.rank} ends because rank 0 has failed: see its message.")
        return work()

    def use_device(self, device: str) -> None:
        """Take the GPU that belongs to this rank, where the training uses GPUs."""
        if self.is_alone or device != "cuda":
            return
        import torch

        local = int(os.environ.get("LOCAL_RANK", self.rank))
        if local >= torch.cuda.device_count():
            raise ConfigError(
                f"Rank {self.rank} needs a GPU of its own and this machine has "
                f"{torch.cuda.device_count()}. Start at most as many processes "
                "(torchrun --nproc-per-node)."
            )
        torch.cuda.set_device(local)

    def leave(self) -> None:
        """End the connection; afterwards this process is alone."""
        global _joined
        if not self.is_alone:
            import torch.distributed as dist

            dist.destroy_process_group()
        _joined = ALONE

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Turn what torch.distributed raises when a rank is gone into a sentence."""
        try:
            yield
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else "no reason"
            raise RunError(
                f"Rank {self.rank} of {self.world} ends: another rank has ended or has given no "
                f"answer ({reason}). Look at its messages, then go on with --resume."
            ) from error


ALONE = Ranks()
_joined = ALONE


def joined() -> Ranks:
    """Return the ranks this process trains with."""
    return _joined


def join(patience_s: float = PATIENCE_S) -> Ranks:
    """Meet the other processes that `torchrun` started, or stay alone without it."""
    global _joined
    names = ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT")
    world, rank, host, port = (os.environ.get(name, "") for name in names)
    if world in ("", "0", "1") or not (rank and host and port):
        return ALONE
    import torch
    import torch.distributed as dist

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        store, number, total = next(iter(dist.rendezvous("env://", timeout=timedelta(seconds=60))))
        dist.init_process_group(
            backend,
            store=dist.PrefixStore("hyrf", store),
            rank=number,
            world_size=total,
            timeout=timedelta(seconds=patience_s),
        )
    except (RuntimeError, ValueError) as error:
        raise RunError(
            f"Rank {rank} could not meet the other {world} ranks at {host}:{port} ({error}). "
            "Start all of them with torchrun."
        ) from None
    _joined = Ranks(number, total, dist.PrefixStore("hyrf-first", store))
    return _joined


def _fingerprint(tensor: torch.Tensor) -> torch.Tensor:
    """Return one int64 of a float32 tensor's bits and the places of its rows."""
    import torch

    width = tensor.shape[-1] if tensor.dim() > 1 else 1
    bits = tensor.detach().contiguous().view(torch.int32).reshape(-1, width)
    rows = bits.sum(dim=1, dtype=torch.int64)  # [R]
    places = torch.arange(1, len(rows) + 1, device=rows.device)
    return (rows * places).sum() + len(rows)
