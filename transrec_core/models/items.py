"""The items that a model recommends: their ids and their content, kept with the model."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from transrec_core.adapters.weights import save_tensors
from transrec_core.base.errors import UserError
from transrec_core.data.catalog import Catalog, IdCatalog, ImageCatalog, TextCatalog
from transrec_core.data.ids import Id, id_text, numbered
from transrec_core.models.item_encoder import ItemEncoder

CHANGES_NO_RESULT = True

ITEMS_FILE = "items.safetensors"
#: So many ids are looked at for the one that was meant.
LOOKED_AT = 50_000


@dataclass(frozen=True)
class KnownItems:
    """A catalogue with the ids of its items.

    Attributes:
        ids: index 0 unused.
        catalog: their content.
    """

    ids: Sequence[Id]
    catalog: Catalog

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return numbered(self.ids[1:])

    def __contains__(self, item: object) -> bool:
        return id_text(item) in self._numbers

    def numbers(self, history: Iterable[Id], skip_unknown: bool = False) -> np.ndarray:
        """Item numbers of a history, int64.

        Args:
            history: ids.
            skip_unknown: leave ids out that are not in the catalogue.

        Raises:
            UserError: if one is not in the catalogue; names the nearest that is.
        """
        numbers = []
        for item in history:
            number = self._numbers.get(id_text(item))
            if number is not None:
                numbers.append(number)
            elif not skip_unknown:
                raise UserError(self._unknown(id_text(item)))
        return np.array(numbers, dtype=np.int64)

    def _unknown(self, item: str) -> str:
        some = [id_text(known) for known in self.ids[1 : 1 + LOOKED_AT]]
        near = difflib.get_close_matches(item, some, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "add_items makes the model know new ones"
        return f"item '{item}' is not among the {len(self.ids) - 1:,} that the model knows; {hint}"

    def extended(self, ids: Sequence[Id], catalog: Catalog) -> KnownItems:
        """With further items behind these.

        Args:
            ids: theirs, without the unused one.
            catalog: their content, of the same kind.

        Raises:
            UserError: if one is known already.
        """
        twice = next((value for value in ids if value in self), None)
        if twice is not None:
            raise UserError(f"item {twice!r} is known already; leave it out")
        old: Any = self.catalog
        if isinstance(catalog, TextCatalog):
            width = max(old.tokens.shape[1], catalog.tokens.shape[1])
            tokens = [
                np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=old.pad_id)
                for rows in (old.tokens, catalog.tokens[1:])
            ]
            lengths = np.concatenate([old.lengths, catalog.lengths[1:]])
            titles = [*old.titles, *catalog.titles[1:]] if old.titles and catalog.titles else None
            together: Catalog = TextCatalog(np.concatenate(tokens), lengths, old.pad_id, titles)
        else:
            assert isinstance(catalog, ImageCatalog)
            together = ImageCatalog(np.concatenate([old.pixels, catalog.pixels[1:]]), old.mean, old.std)
        return KnownItems([*self.ids, *ids], together)

    def save(self, folder: Path) -> None:
        """Writes ``items.safetensors``: ids (and titles) as JSON in bytes, tokens or pixels as they are."""
        tensors, facts = {"ids": _bytes(list(self.ids))}, dict[str, Any]()
        catalog = self.catalog
        if isinstance(catalog, TextCatalog):
            tensors |= {
                "tokens": torch.from_numpy(catalog.tokens),
                "lengths": torch.from_numpy(catalog.lengths),
            }
            tensors |= {"titles": _bytes(catalog.titles)} if catalog.titles is not None else {}
            facts = {"pad_id": catalog.pad_id}
        elif isinstance(catalog, ImageCatalog):
            tensors |= {"pixels": torch.from_numpy(catalog.pixels)}
            facts = {"mean": catalog.mean, "std": catalog.std}
        metadata = {"format": "transrec items 1", "modality": catalog.modality, "facts": json.dumps(facts)}
        save_tensors(folder / ITEMS_FILE, tensors, metadata)

    @classmethod
    def load(cls, folder: Path) -> KnownItems | None:
        """What :meth:`save` wrote, or None.

        Raises:
            UserError: if the file is damaged.
        """
        path = folder / ITEMS_FILE
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="np") as file:
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                metadata = file.metadata()
            ids, facts = json.loads(arrays["ids"].tobytes()), json.loads(metadata["facts"])
            catalog: Catalog
            if metadata["modality"] == "text":
                titles = json.loads(arrays["titles"].tobytes()) if "titles" in arrays else None
                catalog = TextCatalog(arrays["tokens"], arrays["lengths"], facts["pad_id"], titles)
            elif metadata["modality"] == "image":
                catalog = ImageCatalog(arrays["pixels"], **facts)
            else:
                catalog = IdCatalog(len(ids) - 1)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{path}: damaged ({reason}); save the model again") from None
        if catalog.n_items != len(ids) - 1:
            raise UserError(f"{path}: damaged ({len(ids) - 1} ids of {catalog.n_items} items); save it again")
        return cls(ids, catalog)


def _bytes(value: Any) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(value, ensure_ascii=False).encode()), dtype=torch.uint8)


def check_readable(encoder: nn.Module, catalog: Catalog) -> None:
    """Whether an item encoder can read a catalogue, told before anything is computed.

    Args:
        encoder: of the items.
        catalog: what it is to read.

    Raises:
        UserError: if it reads something else, another vocabulary, shorter titles, or another picture size.
    """
    if not isinstance(encoder, ItemEncoder):
        n_items = encoder.embedding.num_embeddings - 1  # type: ignore[union-attr,operator]
        if n_items != catalog.n_items:
            raise UserError(
                f"the model has vectors of {n_items:,} item ids and the domain {catalog.n_items:,} items: an "
                "item-ID model stays with the items that it was made for"
            )
        return
    config: Any = encoder.backbone.config
    modality = "image" if hasattr(config, "image_size") else "text"
    if catalog.modality != modality:
        raise UserError(
            f"the encoder ({config.model_type}) reads {modality}, the domain's items are {catalog.modality}"
        )
    if isinstance(catalog, TextCatalog):
        words, longest = int(catalog.tokens.max(initial=0)), int(catalog.lengths.max(initial=0))
        if words >= config.vocab_size:
            raise UserError(
                f"token {words} is not in the encoder's vocabulary of {config.vocab_size:,}: the titles were "
                "tokenized for another encoder"
            )
        positions = getattr(config, "max_position_embeddings", longest)
        if longest > positions:
            raise UserError(f"max_tokens={longest}: the encoder reads {positions} at most")
    elif isinstance(catalog, ImageCatalog) and catalog.pixels.shape[-1] != config.image_size:
        try:  # some encoders read pictures of any size
            device = next(encoder.parameters()).device
            with torch.no_grad():
                encoder.backbone(catalog.batch(torch.tensor([0]))["pixel_values"].to(device))
        except (ValueError, RuntimeError):
            raise UserError(
                f"image_size={catalog.pixels.shape[-1]}: the encoder reads pictures of "
                f"{config.image_size} pixels"
            ) from None
