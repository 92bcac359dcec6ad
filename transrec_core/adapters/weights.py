"""Weights in safetensors files: no pickle, written in one step."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transrec_core.base.files import atomic_path


def save_tensors(
    path: str | Path, tensors: Mapping[str, Any], metadata: dict[str, str] | None = None
) -> None:
    """Writes tensors as safetensors in one step.

    Args:
        path: of the file.
        tensors: by name, on any device.
        metadata: texts to put in the file's header.

    Raises:
        OSError: if the file can't be written, for example on a full disk.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        try:
            save_file(
                {name: value.detach().contiguous().cpu() for name, value in tensors.items()},
                temporary,
                metadata,
            )
        except SafetensorError as error:  # it wraps the system's error in its own
            raise OSError(errno.EIO, f"can't write weights ({error})", str(path)) from None
