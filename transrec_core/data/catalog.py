"""An item's raw content by item number: titles as tokens, pictures as bytes."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from transrec_core.base.errors import UserError
from transrec_core.base.files import sha256_of
from transrec_core.data.cache import cached
from transrec_core.data.pictures import read_picture


class Catalog(Protocol):
    """Content of items 1..n_items; item 0 is padding and has some valid content, so that no batch fails.

    Attributes:
        modality: "text", "image" or "id".
    """

    modality: str

    @property
    def n_items(self) -> int:
        """How many items there are, padding not counted."""
        ...

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
        tokens: int32 [n_items + 1, L], padded on the right with ``pad_id``.
        lengths: int32 [n_items + 1].
        pad_id: token of the padding.
        titles: as text, if known.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    pad_id: int = 0
    titles: list[str] | None = field(default=None, repr=False)
    modality = "text"

    @property
    def n_items(self) -> int:
        """How many items there are, padding not counted."""
        return len(self.tokens) - 1

    @cached_property
    def _tensors(self) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.tokens.astype(np.int64)), torch.from_numpy(self.lengths.astype(np.int64))

    def batch(self, items: Tensor) -> dict[str, Tensor]:
        """``input_ids`` and ``attention_mask`` [k, longest title among them], int64."""
        tokens, lengths = self._tensors
        asked = lengths[items]
        longest = int(asked.max()) if len(asked) else 0
        mask = torch.arange(longest) < asked[:, None]
        return {"input_ids": tokens[items, :longest], "attention_mask": mask.long()}

    @cached_property
    def _fingerprint(self) -> str:
        return _digest(self.tokens, self.lengths)

    def fingerprint(self) -> str:
        """SHA-256 of the content."""
        return self._fingerprint


@dataclass(frozen=True)
class ImageCatalog:
    """Pictures as bytes, turned into numbers (pixel / 255 - mean) / std when needed.

    Attributes:
        pixels: uint8 [n_items + 1, 3, H, W].
        mean: of a pixel, on a scale from 0 to 1.
        std: standard deviation, on that scale.
    """

    pixels: np.ndarray
    mean: float = 0.5
    std: float = 0.5
    modality = "image"

    @property
    def n_items(self) -> int:
        """How many items there are, padding not counted."""
        return len(self.pixels) - 1

    def batch(self, items: Tensor) -> dict[str, Tensor]:
        """``pixel_values`` float32 [k, 3, H, W]."""
        pixels = torch.from_numpy(self.pixels[items.numpy()]).float()
        return {"pixel_values": pixels.div_(255).sub_(self.mean).div_(self.std)}

    @cached_property
    def _fingerprint(self) -> str:
        return _digest(self.pixels)

    def fingerprint(self) -> str:
        """SHA-256 of the content."""
        return self._fingerprint


@dataclass(frozen=True)
class IdCatalog:
    """No content: the item's number itself, for the item-ID baseline.

    Attributes:
        n_items: size of the catalogue.
    """

    n_items: int
    modality = "id"

    def batch(self, items: Tensor) -> dict[str, Tensor]:
        """``ids`` [k]."""
        return {"ids": items}

    def fingerprint(self) -> str:
        """SHA-256 of the content."""
        return _digest(np.array([self.n_items]))


def tokenize_titles(
    titles: list[str], tokenizer: Any, max_tokens: int, cache: Path | None = None
) -> TextCatalog:
    """Titles tokenised once; later calls read the cache.

    Args:
        titles: one an item; index 0 is not used.
        tokenizer: a Hugging Face tokenizer.
        max_tokens: longer titles are cut, special tokens included in the count.
        cache: folder of the cache; None is the default one.

    Raises:
        UserError: if the tokenizer can't pad.
    """
    identity = [_identity(tokenizer), max_tokens, titles[1:]]
    key = "titles-" + hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]
    arrays = cached(key, lambda: tokenized(titles, tokenizer, max_tokens), cache)
    return TextCatalog(arrays["tokens"], arrays["lengths"], int(tokenizer.pad_token_id), titles)


def tokenized(titles: list[str], tokenizer: Any, max_tokens: int) -> dict[str, np.ndarray]:
    """Titles (index 0 unused) -> "tokens" int32 [items + 1, L] and "lengths" int32 [items + 1].

    Args:
        titles: as texts.
        tokenizer: a Hugging Face tokenizer.
        max_tokens: longer titles are cut, special tokens included in the count.

    Raises:
        UserError: if the tokenizer can't pad.
    """
    if tokenizer.pad_token_id is None:
        raise UserError(
            f"{type(tokenizer).__name__} has no padding token; choose a BERT- or RoBERTa-like text encoder"
        )
    encoded = tokenizer(
        ["", *titles[1:]],
        truncation=True,
        max_length=max_tokens,
        padding=True,
        padding_side="right",
        return_tensors="np",
    )
    lengths = encoded["attention_mask"].sum(1)
    return {"tokens": encoded["input_ids"].astype(np.int32), "lengths": lengths.astype(np.int32)}


def _identity(tokenizer: Any) -> list[Any]:
    """What decides a title's tokens: class, vocabulary and settings. Two tokenizers may share a vocabulary
    and differ in case folding.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        settings = json.loads(backend.to_str())
        for last_call in ("truncation", "padding"):  # they follow the latest call, not the tokenizer
            settings.pop(last_call, None)
    else:
        plain = getattr(tokenizer, "init_kwargs", {}).items()
        settings = {
            k: v
            for k, v in plain
            if isinstance(v, bool | int | float | str) and not k.endswith(("_file", "_path"))
        }
    vocabulary = sorted(tokenizer.get_vocab().items())
    return [
        type(tokenizer).__name__,
        getattr(tokenizer, "truncation_side", "right"),
        vocabulary,
        json.dumps(settings, sort_keys=True),
    ]


def _content(path: Path) -> str:
    """SHA-256 of a picture file; name, size and time are not enough, archives give every file the same
    time.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        way_out = "replace it, or remove it to leave the item without picture"
        raise UserError(f"{path}: can't be read ({error.strerror}); {way_out}") from None


def decode_images(paths: list[Path | None], size: int, cache: Path | None = None) -> ImageCatalog:
    """Pictures decoded once to bytes; later calls read the cache. Every item must have one.

    Args:
        paths: one an item; index 0 is not used.
        size: pixels a side.
        cache: folder of the cache; None is the default one.

    Raises:
        UserError: if an item has no picture or one that can't be read; names it.
    """
    files = [path for path in paths[1:] if path is not None]
    if len(files) < len(paths) - 1:
        number = paths.index(None, 1)
        raise UserError(f"item number {number} has no picture; drop items without one first (keep_items)")
    with ThreadPoolExecutor(2) as pool:
        contents = list(pool.map(_content, files))
    key = "pictures-" + hashlib.sha256(json.dumps([size, contents]).encode()).hexdigest()[:32]

    def make() -> dict[str, np.ndarray]:
        with ThreadPoolExecutor(2) as pool:
            jobs = pool.map(lambda path: read_picture(path, size), files)
            bar = {"desc": "pictures", "unit": "file", "leave": False, "mininterval": 1, "disable": None}
            pictures = list(tqdm(jobs, total=len(files), **bar))
        return {"pixels": np.stack([np.zeros((3, size, size), np.uint8), *pictures])}

    return ImageCatalog(cached(key, make, cache)["pixels"])
