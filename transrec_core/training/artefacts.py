"""Things that several runs share and that are computed once: source models, and states of frozen layers.

Whoever asks first computes, under a lock that dies with its process; everybody else waits and then reads.
Processes that ``accelerate launch`` started together count as one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from filelock import FileLock
from torch import Tensor


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Within the block no other process, or group of processes started together, is in a block of the same
    path.

    Args:
        path: of what is made in the block; the lock lies beside it.
    """
    state = PartialState()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{path}.lock")
    if state.is_main_process:
        lock.acquire()
    try:
        state.wait_for_everyone()
        yield
        state.wait_for_everyone()  # not after an error: the others may never come
    finally:
        lock.release()


def cached_states(
    folder: Path | None,
    parts: Iterable[Tensor],
    facts: str,
    rows: int,
    blocks: Callable[[], Iterable[Tensor]],
) -> Tensor:
    """States of layers that stay as they are, computed once for a folder, written block by block and read
    through a memory map.

    Args:
        folder: where they are kept; None keeps them in memory.
        parts: the weights they depend on.
        facts: all else they depend on.
        rows: how many there are.
        blocks: yields them, [n, ...] each.

    Returns:
        [rows, ...] on the CPU. The file is never changed by what is done to the tensor.
    """
    if folder is None:
        return torch.cat(list(blocks())).cpu()
    digest = hashlib.sha256(facts.encode())
    for part in parts:
        digest.update(part.detach().cpu().contiguous().numpy().tobytes())
    path = folder / f"{digest.hexdigest()[:16]}.npy"
    with exclusive(path):
        if PartialState().is_main_process and not path.exists():
            for leftover in folder.glob(f".{path.name}.*.tmp"):  # of a process that was killed while it wrote
                leftover.unlink()
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            try:
                _write(temporary, rows, blocks())
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
        PartialState().wait_for_everyone()
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))


def _write(path: Path, rows: int, blocks: Iterable[Tensor]) -> None:
    written, array = 0, None
    for block in blocks:
        part = block.cpu().numpy()
        if array is None:
            array = np.lib.format.open_memmap(
                path, mode="w+", dtype=part.dtype, shape=(rows, *part.shape[1:])
            )
        array[written : written + len(part)] = part
        written += len(part)
    assert array is not None and written == rows
    array.flush()
