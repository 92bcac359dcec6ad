"""What the item encoder reads for the items of a batch, in the cheapest form that gives the same vectors.

backbone fixed            pooled states of all items, computed once
n bottom layers frozen    token states after layer n, computed once; a step starts above them
otherwise                 the content itself, titles of like length together
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transrec_core.data.catalog import Catalog, Parts, length_groups
from transrec_core.models.item_encoder import ItemEncoder
from transrec_core.models.transrec import TransRec
from transrec_core.training.artefacts import cached_states
from transrec_core.training.spec import Cache

BLOCK = 512  # items at a time where all are encoded


class ItemInputs:
    """Item numbers -> inputs of the item encoder.

    Args:
        model: with ``requires_grad`` set on what is to train.
        catalog: content of the items.
        folder: where states of frozen layers are kept for all runs that share it; None keeps them in memory.
        cache: precision of the states, or "off". Pooled states are always in single precision.
        limit_gb: states that would take more than this are not kept.

    Attributes:
        note: one line on what is kept and how large it is, or why it is not; None if there is nothing to
            keep.
    """

    def __init__(
        self,
        model: TransRec,
        catalog: Catalog,
        folder: Path | None = None,
        cache: Cache = "fp32",
        limit_gb: float = 8.0,
    ) -> None:
        self.model, self.catalog, self.folder = model, catalog, folder
        self.device = next(model.parameters()).device
        lengths: np.ndarray | None = getattr(catalog, "lengths", None)
        self.lengths = lengths
        self.note: str | None = None
        self.pooled: Tensor | None = None
        self.states: Tensor | None = None
        self.below = 0
        encoder = model.item_encoder
        if cache == "off" or not isinstance(encoder, ItemEncoder):
            return
        config: Any = encoder.backbone.config
        every = model.reads_every_layer("item")
        if model.backbone_is_fixed():
            width = config.hidden_size * (config.num_hidden_layers + 1 if every else 1)
            rows, size, what = (
                catalog.n_items + 1,
                4,
                "pooled states of all layers" if every else "pooled states",
            )
        elif model.frozen_layers():
            self.below = model.frozen_layers()
            self.tokens = int(self._states_of(torch.tensor([1])).shape[1]) if lengths is None else 0
            rows = int(lengths[1:].sum()) if lengths is not None else self.tokens * catalog.n_items
            width, size = config.hidden_size, 2 if cache == "fp16" else 4
            what = f"states after the {self.below} bottom layers of {config.num_hidden_layers}"
        else:
            return
        volume = f"{what} of {catalog.n_items:,} items ({rows * width * size / 1e6:,.1f} MB)"
        if rows * width * size > limit_gb * 1e9:
            self.note = f"{volume} are not kept: more than training.cache_gb = {limit_gb:g}"
            self.below = 0
            return
        self.note = f"{volume} computed once"
        facts = f"{catalog.fingerprint()} {model.spec.pooling} {json.dumps(config.to_dict(), sort_keys=True, default=str)}"
        weights = list(model.backbone_parameters())
        if not self.below:
            facts += f" pooled {every}"
            self.pooled = cached_states(
                folder, weights, facts, rows, lambda: [model.pooled_catalogue(catalog)]
            ).to(self.device)
            return
        self.states = cached_states(
            folder, weights, f"{facts} after {self.below} {cache}", rows, lambda: self._all_states(size)
        )
        steps = lengths[1:] if lengths is not None else np.full(catalog.n_items, self.tokens)
        self.starts = torch.from_numpy(np.concatenate([[0, 0], np.cumsum(steps)]))

    @torch.no_grad()
    def _states_of(self, items: Tensor) -> Tensor:
        assert isinstance(self.model.item_encoder, ItemEncoder)
        training = self.model.training
        self.model.eval()
        features = {k: v.to(self.device) for k, v in self.catalog.batch(items).items()}
        found = self.model.item_encoder.states_after(self.below, features)
        self.model.train(training)
        mask = features.get("attention_mask")
        return found if mask is None else found[mask.bool()]

    def _all_states(self, size: int) -> Iterable[Tensor]:
        for items in torch.arange(1, self.catalog.n_items + 1).split(BLOCK):
            yield self._states_of(items).flatten(0, -2).to(torch.float16 if size == 2 else torch.float32)

    def _part(self, items: Tensor) -> Mapping[str, Any]:
        if self.states is None:
            features: dict[str, Any] = dict(self.catalog.batch(items))
        elif self.lengths is None:
            rows = self.starts[items][:, None] + torch.arange(self.tokens)
            features = {"states": self.states[rows].float(), "below": self.below}
        else:
            own = torch.from_numpy(self.lengths)[items]
            column = torch.arange(int(own.max()))
            inside = column < own[:, None]
            rows = torch.where(inside, self.starts[items][:, None] + column, 0)
            features = {
                "states": self.states[rows].float(),
                "below": self.below,
                "attention_mask": inside.long(),
            }
        return {k: to_device(v, self.device) if isinstance(v, Tensor) else v for k, v in features.items()}

    def __call__(self, items: Tensor, parts: int = 1) -> Mapping[str, Any] | Parts:
        """Inputs for items [k] (numbers on the CPU), in ``parts`` parts at least if that is more than one."""
        if self.pooled is not None:
            return {"pooled": self.pooled[to_device(items, self.device)]}
        groups = [np.arange(len(items))]
        if self.lengths is not None:
            groups = length_groups(self.lengths[items.numpy()], self._overhead())
        while len(groups) < min(parts, len(items)):
            largest = max(range(len(groups)), key=lambda g: len(groups[g]))
            groups[largest : largest + 1] = np.array_split(groups[largest], 2)
        if len(groups) == 1:
            return self._part(items)
        order = torch.from_numpy(np.argsort(np.concatenate(groups), kind="stable"))
        return Parts(
            [self._part(items[torch.from_numpy(group)]) for group in groups], to_device(order, self.device)
        )

    def _overhead(self) -> float:
        # What one more call of the backbone costs, in tokens; roughly as measured, and nothing but speed
        # depends on it.
        if self.device.type != "cpu":
            return 8192.0
        config: Any = self.model.item_encoder.backbone.config  # type: ignore[union-attr]
        return 32 + 600 * (32 / config.hidden_size) ** 2

    @torch.no_grad()
    def catalogue(self) -> Tensor:
        """Vectors of all items [items + 1, d], row 0 zero, by the model as it is now, in evaluation mode."""
        if self.pooled is None and self.states is None:
            return self.model.catalogue(self.catalog, BLOCK)
        training = self.model.training
        self.model.eval()
        found = [
            self.model.encode_items(self(items)).float()
            for items in torch.arange(1, self.catalog.n_items + 1).split(BLOCK)
        ]
        self.model.train(training)
        return torch.cat([torch.zeros_like(found[0][:1]), *found])


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device; a GPU is not waited for."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
