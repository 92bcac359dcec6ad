"""Do kept states stand for the whole forward pass? They are tried on a few items before they are used.

An encoder may do something besides the modules that its anatomy names: normalise between its embeddings and
its layers, say. A step that starts from kept states would leave that out, or do it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from transrec_core.data.catalog import Catalog
from transrec_core.models.transrec import TransRec
from transrec_core.training.spec import Cache

SAMPLE = 8  # items


class Kept(Protocol):
    """Inputs of the item encoder that are computed once (``inputs.py``)."""

    def keep(self, folder: Path | None) -> None:
        """Computes what is kept, or reads it from the folder."""

    def catalogue(self) -> Tensor:
        """Vectors of all items [items + 1, d]."""
        ...


def why_not(
    kind: Callable[[TransRec, Catalog, Cache], Kept], model: TransRec, catalog: Catalog, cache: Cache
) -> str | None:
    """Why states can't be kept; draws no random number and leaves the model as it is.

    Args:
        kind: a class of kept states.
        model: with ``requires_grad`` set on what is to train.
        catalog: content of the items.
        cache: precision of the states.

    Returns:
        One line; None if a few items get the vectors of a whole forward pass, within the precision of the
        states and of the model.
    """
    sample = Sample(catalog)
    whole = model.catalogue(sample)
    try:
        with evaluating(model):  # also after an error
            inputs = kind(model, sample, cache)
            inputs.keep(None)
            vectors = inputs.catalogue()
    except Exception as error:  # whatever an encoder that is not built that way may raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return f"the encoder can't go on from them ({reason})"
    dtypes = (next(model.parameters()).dtype, torch.float16 if cache == "fp16" else torch.float32)
    tolerance = max(torch.finfo(dtype).eps for dtype in dtypes) ** 0.5  # half of the digits
    difference, scale = float((vectors - whole).abs().max()), float(whole.abs().max())
    if difference <= tolerance * scale:
        return None
    return (
        f"item vectors made from them differ from those of a whole forward pass (by {difference:.2g}, "
        f"the largest entry is {scale:.2g}); the encoder does something that its anatomy does not name"
    )


class Sample:
    """A few items of a catalogue as a catalogue, the shortest and the longest title among them."""

    def __init__(self, catalog: Catalog) -> None:
        lengths: np.ndarray | None = getattr(catalog, "lengths", None)
        n_items = catalog.n_items
        order = np.arange(n_items) if lengths is None else np.argsort(lengths[1:], kind="stable")
        chosen = order[np.linspace(0, n_items - 1, min(SAMPLE, n_items)).round().astype(int)]
        self.numbers = np.concatenate([[0], 1 + chosen])
        self.lengths = None if lengths is None else lengths[self.numbers]
        self.catalog, self.modality = catalog, catalog.modality

    @property
    def n_items(self) -> int:
        """How many items the sample has."""
        return len(self.numbers) - 1

    def batch(self, items: Tensor) -> dict[str, Tensor]:
        """Content of items [k], by their numbers in the sample."""
        return self.catalog.batch(torch.from_numpy(self.numbers)[items])

    def fingerprint(self) -> str:
        """Of the whole catalogue, and which items were chosen."""
        return f"{self.catalog.fingerprint()} {self.numbers.tolist()}"


@contextmanager
def evaluating(model: TransRec) -> Iterator[None]:
    """Within the block the model is in evaluation mode; afterwards, in that which it was in."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
