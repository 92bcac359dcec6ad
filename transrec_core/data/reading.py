"""How content becomes numbers, as an object that a domain hands to its model: new items are then read in
the same way, in another process as well.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from transrec_core.base.errors import UserError
from transrec_core.base.files import atomic_write
from transrec_core.data.catalog import (
    Catalog,
    ImageCatalog,
    TextCatalog,
    decode_images,
    tokenize_titles,
    tokenized,
)
from transrec_core.data.pictures import read_picture

CHANGES_NO_RESULT = True

READING_FILE, TOKENIZER_FOLDER = "reading.json", "tokenizer"


class Reader(Protocol):
    """Titles or picture files -> a catalogue.

    Attributes:
        modality: "text" or "image".
    """

    modality: str

    def catalog(self, contents: Sequence[Any], cache: bool = False) -> Catalog:
        """Contents of items 1, 2, ... -> a catalogue."""
        ...

    def save(self, folder: Path) -> None:
        """Writes what reading needs into a folder."""
        ...


@dataclass(frozen=True)
class TitleReader:
    """Titles -> tokens.

    Attributes:
        tokenizer: a Hugging Face tokenizer.
        max_tokens: longer titles are cut, special tokens included in the count.
    """

    tokenizer: Any
    max_tokens: int = 30
    modality = "text"

    @classmethod
    def of(cls, tokenizer: Any, max_tokens: int = 30) -> TitleReader:
        """From a tokenizer, or from where it is.

        Args:
            tokenizer: a folder, a hub name, or a tokenizer.
            max_tokens: see the class.

        Raises:
            UserError: if there is none, or ``max_tokens`` is less than 3.
        """
        if max_tokens < 3:
            raise UserError(f"max_tokens={max_tokens}: 3 are the least, two of which are special tokens")
        if isinstance(tokenizer, str | Path):
            tokenizer = load_tokenizer(str(tokenizer))
        if not callable(tokenizer) or not hasattr(tokenizer, "pad_token_id"):
            raise UserError(
                f"tokenizer: of type {type(tokenizer).__name__}; give a folder, a hub name or a tokenizer"
            )
        return cls(tokenizer, max_tokens)

    def catalog(self, contents: Sequence[str], cache: bool = False) -> TextCatalog:
        """Titles of items 1, 2, ... -> their tokens.

        Args:
            contents: one title an item.
            cache: whether tokens are kept on disk for the next time.
        """
        titles = ["", *contents]
        if cache:
            return tokenize_titles(titles, self.tokenizer, self.max_tokens)
        arrays = tokenized(titles, self.tokenizer, self.max_tokens)
        return TextCatalog(arrays["tokens"], arrays["lengths"], int(self.tokenizer.pad_token_id), titles)

    def save(self, folder: Path) -> None:
        """Writes what reading needs: ``reading.json`` and the tokenizer's files."""
        self.tokenizer.save_pretrained(folder / TOKENIZER_FOLDER)
        _write(folder, {"modality": "text", "max_tokens": self.max_tokens})


@dataclass(frozen=True)
class PictureReader:
    """Picture files -> pixels.

    Attributes:
        size: the shorter side is scaled to so many pixels and the middle cut out, square.
    """

    size: int = 64
    modality = "image"

    def catalog(self, contents: Sequence[str | Path], cache: bool = False) -> ImageCatalog:
        """Pictures of items 1, 2, ... -> their pixels.

        Args:
            contents: one file an item.
            cache: whether pixels are kept on disk for the next time.
        """
        paths = [Path(content) for content in contents]
        if cache:
            return decode_images([None, *paths], self.size)
        padding = np.zeros((3, self.size, self.size), np.uint8)
        return ImageCatalog(np.stack([padding, *(read_picture(path, self.size) for path in paths)]))

    def save(self, folder: Path) -> None:
        """Writes what reading needs: ``reading.json``."""
        _write(folder, {"modality": "image", "size": self.size})


def load_tokenizer(place: str) -> Any:
    """A tokenizer from a folder or the hub.

    Raises:
        UserError: if there is none.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(place)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"no tokenizer at '{place}': {str(error).splitlines()[0]}") from None
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # made up from config.json alone: knows no word
        raise UserError(
            f"no tokenizer at '{place}': it has no vocabulary; save the encoder's tokenizer there"
        )
    return tokenizer


def reader_beside(encoder: str, config: Any) -> Reader | None:
    """How a Hugging Face encoder's own files say that content is read; None if they have no tokenizer.

    Args:
        encoder: its folder or hub name.
        config: its configuration.
    """
    if hasattr(config, "image_size"):
        size = config.image_size
        return PictureReader(size if isinstance(size, int) else int(size[0]))
    try:
        return TitleReader(load_tokenizer(encoder))
    except UserError:
        return None


def load_reader(folder: Path) -> Reader | None:
    """What :meth:`Reader.save` wrote into a folder, or None.

    Raises:
        UserError: if it is damaged.
    """
    path = folder / READING_FILE
    if not path.is_file():
        return None
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields["modality"] == "image":
            return PictureReader(int(fields["size"]))
        return TitleReader(load_tokenizer(str(folder / TOKENIZER_FOLDER)), int(fields["max_tokens"]))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged ({str(error).splitlines()[0]}); save the model again") from None


def _write(folder: Path, fields: dict[str, Any]) -> None:
    atomic_write(folder / READING_FILE, json.dumps(fields, indent=2) + "\n")
