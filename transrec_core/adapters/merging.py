"""Merging: a linear adapter folded into the base weights, and the base brought back, bit for bit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import Adapter

CHANGES_NO_RESULT = True  # runs never merge


def fold(adapters: Iterable[tuple[Site, nn.Module]]) -> dict[nn.Parameter, Tensor]:
    """Folds adapters into the modules at their sites.

    Args:
        adapters: (site, adapter) pairs.

    Returns:
        The base's own values of what may have changed, for :func:`restore`.

    Raises:
        UserError: if one of them is not linear; the base is then as it was.
    """
    pairs = list(adapters)
    touched = [module for site, _ in pairs for module in (site.module, site.feeds) if module is not None]
    kept = {p: p.detach().clone() for module in touched for p in module.parameters()}
    try:
        for site, adapter in pairs:
            cast(Adapter, adapter).merge_into(site)
    except Exception:
        restore(kept)
        raise
    return kept


def restore(kept: Mapping[nn.Parameter, Tensor]) -> None:
    """Gives parameters their kept values back.

    Args:
        kept: what :func:`fold` returned.
    """
    with torch.no_grad():
        for parameter, value in kept.items():
            parameter.copy_(value)
