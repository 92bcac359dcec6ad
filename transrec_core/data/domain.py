"""A domain: a catalogue, and who had what of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from transrec_core.data.catalog import Catalog
from transrec_core.data.interactions import Interactions, Split, leave_one_out


@dataclass
class Domain:
    """What a model is trained and tested on.

    Attributes:
        name: for tables.
        catalog: content of the items.
        interactions: histories (users under the minimum length are out already).
        item_ids: the items' own ids (index 0 unused).
        extra: further test users, never trained on; their last item is a test case.
        sample: users that training and validation see, ascending; None means all. Everybody is tested all the
            same.
        truth: latent factors of the embedded world, for drawings and the oracle; nothing trains on them.
    """

    name: str
    catalog: Catalog
    interactions: Interactions
    item_ids: list[str] | None = None
    extra: Interactions | None = None
    sample: np.ndarray | None = None
    truth: dict[str, np.ndarray] | None = field(default=None, repr=False)

    @cached_property
    def split(self) -> Split:
        """Leave-one-out split of the interactions, training and validation restricted to the sampled
        users.
        """
        split = leave_one_out(self.interactions)[0]
        return split if self.sample is None else split.restricted(self.sample)

    @cached_property
    def _fingerprint(self) -> str:
        parts: list[Any] = [self.catalog.fingerprint(), self.interactions.fingerprint()]
        parts += [self.extra.fingerprint()] if self.extra is not None else []
        parts += [hashlib.sha256(self.sample.tobytes()).hexdigest()] if self.sample is not None else []
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def fingerprint(self) -> str:
        """SHA-256 over content and interactions."""
        return self._fingerprint
