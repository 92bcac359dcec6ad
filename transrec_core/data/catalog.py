"""An item's raw content by item number: titles as tokens, pictures as bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Catalog(Protocol):
    """Content of items 1..n_items; item 0 is padding and has some valid content, so that no batch fails."""

    modality: str

    @property
    def n_items(self) -> int: ...

    def batch(self, items: Tensor) -> dict[str, Tensor]:
        """Content of items [k] as keyword arguments of the item encoder."""
        ...

    def fingerprint(self) -> str:
        """SHA-256 of the content."""
        ...


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class TextCatalog:
    """Titles as tokens.

    Attributes:
        tokens: int32 [n_items + 1, L], padded on the right with ``pad_id``. lengths: int32 [n_items + 1]. titles: as text, if known.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    pad_id: int = 0
    titles: list[str] | None = field(default=None, repr=False)
    modality = "text"

    @property
    def n_items(self) -> int:
        return len(self.tokens) - 1

    @cached_property
    def _tensors(self) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.tokens.astype(np.int64)), torch.from_numpy(self.lengths.astype(np.int64))

    def batch(self, items: Tensor) -> dict[str, Tensor]:
        """``input_ids`` and ``attention_mask`` [k, longest title among them], int64."""
        tokens, lengths = self._tensors
        own = lengths[items]
        longest = int(own.max()) if len(own) else 0
        mask = torch.arange(longest) < own[:, None]
        return {"input_ids": tokens[items, :longest], "attention_mask": mask.long()}

    @cached_property
    def _fingerprint(self) -> str:
        return _digest(self.tokens, self.lengths)

    def fingerprint(self) -> str:
        return self._fingerprint


@dataclass(frozen=True)
class ImageCatalog:
    """Pictures as bytes: uint8 [n_items + 1, 3, H, W], turned into numbers (pixel / 255 - mean) / std when needed."""

    pixels: np.ndarray
    mean: float = 0.5
    std: float = 0.5
    modality = "image"

    @property
    def n_items(self) -> int:
        return len(self.pixels) - 1

    def batch(self, items: Tensor) -> dict[str, Tensor]:
        """``pixel_values`` float32 [k, 3, H, W]."""
        pixels = torch.from_numpy(self.pixels[items.numpy()]).float()
        return {"pixel_values": pixels.div_(255).sub_(self.mean).div_(self.std)}

    @cached_property
    def _fingerprint(self) -> str:
        return _digest(self.pixels)

    def fingerprint(self) -> str:
        return self._fingerprint


@dataclass(frozen=True)
class IdCatalog:
    """No content: the item's number itself, for the item-ID baseline."""

    n_items: int
    modality = "id"

    def batch(self, items: Tensor) -> dict[str, Tensor]:
        """``ids`` [k]."""
        return {"ids": items}

    def fingerprint(self) -> str:
        return _digest(np.array([self.n_items]))
