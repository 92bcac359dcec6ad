"""Cold targets: test items that occur in nobody's training part, so that only their content can tell
anything.
"""

from __future__ import annotations

import base64
import zlib

import numpy as np

from transrec_core.data.domain import Domain
from transrec_core.evaluation.ranking import parts, test_cases


def cold_targets(domain: Domain) -> np.ndarray:
    """Whether the target of each test case is in nobody's training part, bool [cases]."""
    seen = domain.split.train.counts() > 0
    return np.concatenate([~seen[test_cases(domain, part)[1]] for part in parts(domain, "all")])


def packed_bits(flags: np.ndarray) -> str:
    """Booleans as a short text."""
    return base64.b85encode(zlib.compress(np.packbits(flags).tobytes(), 9)).decode()


def unpacked_bits(text: str, count: int) -> np.ndarray:
    """What :func:`packed_bits` packed, bool [count]."""
    return np.unpackbits(
        np.frombuffer(zlib.decompress(base64.b85decode(text)), np.uint8), count=count
    ).astype(bool)
