"""Small files for tests of readers, and what was read in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from transrec_core.data.raw import RawDomain


def picture(path: Path, size: tuple[int, int] = (20, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def named(raw: RawDomain) -> list[list[str]]:
    return [[raw.item_ids[i] for i in raw.interactions.user(u)] for u in range(len(raw.interactions))]
