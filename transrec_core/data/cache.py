"""A cache of arrays that is believed only if its checksums are right, written in one step, safe with
several processes.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock

from transrec_core.base.files import atomic_folder, sha256_of

Arrays = dict[str, np.ndarray]


def default_cache() -> Path:
    """``$TRANSREC_CACHE``, else ``~/.cache/transrec``."""
    return Path(os.environ.get("TRANSREC_CACHE") or Path.home() / ".cache" / "transrec")


def cached(key: str, make: Callable[[], Arrays], folder: Path | None = None) -> Arrays:
    """The arrays stored under ``key``, or those that ``make`` returns, which are then stored.

    A damaged entry is rebuilt with one line on standard error. If the folder can't be written, the arrays are
    made and not stored.

    Args:
        key: name of the entry; it has to name all that the arrays depend on.
        make: makes the arrays, by name.
        folder: of the cache; None is :func:`default_cache`.

    Returns:
        The arrays by name.
    """
    folder = folder or default_cache()
    place = folder / key
    lock = FileLock(folder / f"{key}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        _unusable(folder, error)
        return make()
    try:
        arrays = _stored(place)
        if arrays is None:
            arrays = make()
            try:
                _write(place, arrays)
            except OSError as error:  # a full disk costs the entry, not the work
                _unusable(folder, error)
        return arrays
    finally:
        lock.release()


def _unusable(folder: Path, error: OSError) -> None:
    print(f"cache {folder} can't be used ({error.strerror or error}); going on without it", file=sys.stderr)


def _stored(place: Path) -> Arrays | None:
    """The entry if it is there and sound; a damaged one is removed."""
    if not place.exists():
        return None
    try:
        return _read(place)
    except (OSError, ValueError) as error:
        print(f"cache entry {place.name} is damaged ({error}); building it again", file=sys.stderr)
        shutil.rmtree(place, ignore_errors=True)
        return None


def _write(place: Path, arrays: Arrays) -> None:
    with atomic_folder(place) as new:
        for name, array in arrays.items():
            np.save(new / f"{name}.npy", array, allow_pickle=False)
        sums = {name: sha256_of(new / f"{name}.npy") for name in arrays}
        (new / "checksums.json").write_text(json.dumps(sums), encoding="utf-8")


def _read(place: Path) -> Arrays:
    sums = json.loads((place / "checksums.json").read_text(encoding="utf-8"))
    if not isinstance(sums, dict) or not sums:
        raise ValueError("no checksums")
    for name, expected in sums.items():
        if sha256_of(place / f"{name}.npy") != expected:
            raise ValueError(f"checksum of {name}")
    return {name: np.load(place / f"{name}.npy", allow_pickle=False) for name in sums}
