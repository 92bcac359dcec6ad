"""From a line of a specification to a domain: the embedded world, or a dataset folder."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

from transrec_core.base.errors import UserError
from transrec_core.data.catalog import IdCatalog
from transrec_core.data.domain import Domain
from transrec_core.data.loading import DataSpec, load_folder, sampled
from transrec_core.world.config import WorldConfig
from transrec_core.world.made import World, make_world


@functools.lru_cache(maxsize=8)
def world(titles: str, modality: str) -> World:
    """The embedded world, made once per process."""
    return make_world(WorldConfig(informativeness=titles), modality)  # type: ignore[arg-type]


@functools.lru_cache(maxsize=4)
def load_domain(spec: DataSpec, data_root: Path = Path(), tokenizer: Any = None) -> Domain:
    """The domain that a specification describes.

    Args:
        spec: see :class:`DataSpec`.
        data_root: where relative folders start.
        tokenizer: of the text encoder (folders only).

    Raises:
        UserError: if the folder or the embedded part does not exist, or the filters leave nothing.
    """
    if spec.is_world:
        part = spec.folder.partition(":")[2]
        if part not in ("source", "target"):
            raise UserError(f"the embedded world has 'world:source' and 'world:target', not '{spec.folder}'")
        domain: Domain = getattr(world(spec.titles, "text" if spec.modality == "id" else spec.modality), part)
        if spec.modality == "id":
            domain = replace(domain, catalog=IdCatalog(domain.catalog.n_items), truth=None)
        return sampled(domain, spec)
    return load_folder(spec, data_root, tokenizer)
