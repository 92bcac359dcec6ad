"""Things that several runs share and that are computed once: source models, and states of a fixed backbone.

Whoever asks first computes, under a lock that dies with its process; everybody else waits and then reads. Processes that
``accelerate launch`` started together count as one.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from filelock import FileLock
from torch import Tensor

from transrec_core.files import atomic_write


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Within the block no other process, or group of processes started together, is in a block of the same path."""
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


def cached_states(folder: Path | None, parts: Sequence[Tensor], facts: str, compute: Callable[[], Tensor]) -> Tensor:
    """States of a fixed backbone, computed once for a folder.

    Args:
        folder: where they are kept; None computes them. parts: the weights they depend on. facts: all else they depend on.

    Returns:
        float32, on the CPU if they were read.
    """
    if folder is None:
        return compute()
    digest = hashlib.sha256(facts.encode())
    for part in parts:
        digest.update(part.detach().cpu().contiguous().numpy().tobytes())
    path = folder / f"{digest.hexdigest()[:16]}.npy"
    with exclusive(path):
        if not path.exists():
            buffer = io.BytesIO()
            np.save(buffer, compute().cpu().numpy(), allow_pickle=False)
            if PartialState().is_main_process:
                atomic_write(path, buffer.getvalue())
    return torch.from_numpy(np.load(path, allow_pickle=False))
