"""What the item encoder reads for the items of a batch, in the cheapest form that gives the same vectors.

:class:`PooledStates`   backbone fixed            pooled states of all items, computed once
:class:`LayerStates`    n bottom layers frozen    token states after layer n, computed once; a step starts
                                                  above them
:class:`Content`        otherwise                 the content itself, titles of like length together

:func:`item_inputs` chooses. Whether kept states stand for the whole forward pass is tried on a few items
before they are used; if they don't, the content is read, and the note says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transrec_core.data.catalog import Catalog
from transrec_core.data.parts import Parts, length_groups
from transrec_core.models.item_encoder import ItemEncoder
from transrec_core.models.transrec import TransRec
from transrec_core.training.artefacts import cached_states
from transrec_core.training.spec import Cache
from transrec_core.training.trial import evaluating, why_not

BLOCK = 512  # items at a time where all are encoded


class Content:
    """The content itself, titles of like length together.

    Args:
        model: with ``requires_grad`` set on what is to train.
        catalog: content of the items.
        note: see below.

    Attributes:
        note: one line on what is kept and how large it is, or why it is not; None if there is nothing to
            keep.
    """

    def __init__(self, model: TransRec, catalog: Catalog, note: str | None = None) -> None:
        self.model, self.catalog, self.note = model, catalog, note
        self.device = next(model.parameters()).device
        self.lengths: np.ndarray | None = getattr(catalog, "lengths", None)

    def __call__(self, items: Tensor, parts: int = 1) -> Mapping[str, Any] | Parts:
        """Inputs of the item encoder.

        Args:
            items: item numbers [k], on the CPU.
            parts: in so many parts at least, if that is more than one.

        Returns:
            What :meth:`TransRec.encode_items` reads, on the model's device.
        """
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

    def catalogue(self) -> Tensor:
        """Vectors of all items [items + 1, d], row 0 zero, by the model as it is now, in evaluation mode."""
        return self.model.catalogue(self.catalog, BLOCK)

    def _part(self, items: Tensor) -> dict[str, Any]:
        return {key: to_device(value, self.device) for key, value in self.catalog.batch(items).items()}

    def _overhead(self) -> float:
        # What one more call of the backbone costs, in tokens; roughly as measured, and nothing but speed
        # depends on it.
        if self.device.type != "cpu":
            return 8192.0
        config: Any = self.model.item_encoder.backbone.config  # type: ignore[union-attr]
        return 32 + 600 * (32 / config.hidden_size) ** 2


class LayerStates(Content):
    """Token or patch states after the bottom layers that can't change; a step starts above them.

    Args:
        model: with ``requires_grad`` set on what is to train.
        catalog: content of the items.
        cache: precision of the states, "fp32" or "fp16".

    Attributes:
        below: how many layers are frozen.
        states: [tokens or patches of all items, H] on the CPU, item after item, once :meth:`keep` was called.
        bytes: that they take.
    """

    states: Tensor

    def __init__(self, model: TransRec, catalog: Catalog, cache: Cache) -> None:
        super().__init__(model, catalog)
        self.cache, self.below = cache, model.frozen_layers()
        self.dtype = torch.float16 if cache == "fp16" else torch.float32
        if self.lengths is not None:
            counts = self.lengths[1:]
        else:
            counts = np.full(catalog.n_items, self._states_of(torch.tensor([1])).shape[1])
        self.counts = torch.from_numpy(np.concatenate([[0], counts]))  # of each item; item 0 has none
        self.starts = torch.from_numpy(np.concatenate([[0, 0], np.cumsum(counts)]))
        self.bytes = int(self.starts[-1]) * _config(model).hidden_size * self.dtype.itemsize

    def keep(self, folder: Path | None) -> None:
        """Computes the states, or reads what was computed before.

        Args:
            folder: where they are kept for all runs that share it; None keeps them in memory.
        """
        facts = f"{_facts(self.model, self.catalog)} after {self.below} {self.cache}"
        weights = self.model.backbone_parameters()
        self.states = cached_states(folder, weights, facts, int(self.starts[-1]), self._blocks)

    def catalogue(self) -> Tensor:
        """Vectors of all items, as :meth:`Content.catalogue` gives them."""
        return _vectors(self)

    def _blocks(self) -> Iterable[Tensor]:
        for items in torch.arange(1, self.catalog.n_items + 1).split(BLOCK):
            yield self._states_of(items).flatten(0, -2).to(self.dtype)

    @torch.no_grad()
    def _states_of(self, items: Tensor) -> Tensor:
        # [k, T, H] of pictures; of titles without their padding [tokens, H].
        encoder, features = self.model.item_encoder, super()._part(items)
        assert isinstance(encoder, ItemEncoder)
        with evaluating(self.model):
            states = encoder.states_after(self.below, features)
        mask = features.get("attention_mask")
        return states if mask is None else states[mask.bool()]

    def _part(self, items: Tensor) -> dict[str, Any]:
        counts = self.counts[items]
        column = torch.arange(int(counts.max()))
        inside = column < counts[:, None]
        rows = torch.where(inside, self.starts[items][:, None] + column, 0)
        part = {"states": to_device(self.states[rows].float(), self.device), "below": self.below}
        if self.lengths is not None:
            part["attention_mask"] = to_device(inside.long(), self.device)
        return part


class PooledStates:
    """Pooled states of a backbone that can't change; a step is the head and the user encoder.

    Args:
        model: with ``requires_grad`` set on what is to train.
        catalog: content of the items.
        cache: is not asked for here: pooled states are always in single precision.

    Attributes:
        pooled: [items + 1, H], or of every layer [items + 1, layers + 1, H], on the model's device, once
            :meth:`keep` was called.
        bytes: that they take.
        note: as for :class:`Content`.
    """

    pooled: Tensor

    def __init__(self, model: TransRec, catalog: Catalog, cache: Cache) -> None:
        self.model, self.catalog = model, catalog
        self.note: str | None = None
        self.device = next(model.parameters()).device
        self.every_layer = model.reads_every_layer("item")
        config = _config(model)
        width = config.hidden_size * (config.num_hidden_layers + 1 if self.every_layer else 1)
        self.bytes = (catalog.n_items + 1) * width * torch.float32.itemsize

    def keep(self, folder: Path | None) -> None:
        """Computes the states, or reads what was computed before.

        Args:
            folder: where they are kept for all runs that share it; None keeps them in memory.
        """
        facts = f"{_facts(self.model, self.catalog)} pooled {self.every_layer}"
        weights, rows = self.model.backbone_parameters(), self.catalog.n_items + 1
        states = cached_states(
            folder, weights, facts, rows, lambda: [self.model.pooled_catalogue(self.catalog)]
        )
        self.pooled = states.to(self.device)

    def __call__(self, items: Tensor, parts: int = 1) -> Mapping[str, Any]:
        """Inputs of the item encoder, in one part whatever ``parts`` says: there is no memory to save.

        Args:
            items: item numbers [k], on the CPU.
            parts: as for :class:`Content`.
        """
        return {"pooled": self.pooled[to_device(items, self.device)]}

    def catalogue(self) -> Tensor:
        """Vectors of all items, as :meth:`Content.catalogue` gives them."""
        return _vectors(self)


ItemInputs = Content | LayerStates | PooledStates


def item_inputs(
    model: TransRec,
    catalog: Catalog,
    folder: Path | None = None,
    cache: Cache = "fp32",
    limit_gb: float = 8.0,
) -> ItemInputs:
    """The cheapest way to read items that gives the vectors of a whole forward pass.

    Args:
        model: with ``requires_grad`` set on what is to train.
        catalog: content of the items.
        folder: where states of frozen layers are kept for all runs that share it; None keeps them in memory.
        cache: precision of the states, or "off". Pooled states are always in single precision.
        limit_gb: states that would take more than this are not kept.
    """
    if cache == "off" or not isinstance(model.item_encoder, ItemEncoder):
        return Content(model, catalog)
    kind: type[PooledStates | LayerStates]
    if model.backbone_is_fixed():
        kind = PooledStates
        what = "pooled states" + (" of all layers" if model.reads_every_layer("item") else "")
    elif below := model.frozen_layers():
        kind = LayerStates
        what = f"states after the {below} bottom layers of {_config(model).num_hidden_layers}"
    else:
        return Content(model, catalog)
    problem = why_not(kind, model, catalog, cache)
    if problem is not None:
        return Content(model, catalog, f"{what} are not kept: {problem}")
    inputs = kind(model, catalog, cache)
    volume = f"{what} of {catalog.n_items:,} items ({inputs.bytes / 1e6:,.1f} MB)"
    if inputs.bytes > limit_gb * 1e9:
        return Content(model, catalog, f"{volume} are not kept: more than training.cache_gb = {limit_gb:g}")
    inputs.keep(folder)
    inputs.note = f"{volume} computed once"
    return inputs


@torch.no_grad()
def _vectors(inputs: LayerStates | PooledStates) -> Tensor:
    # Of all items [items + 1, d], row 0 zero.
    with evaluating(inputs.model):
        vectors = [
            inputs.model.encode_items(inputs(items)).float()
            for items in torch.arange(1, inputs.catalog.n_items + 1).split(BLOCK)
        ]
    return torch.cat([torch.zeros_like(vectors[0][:1]), *vectors])


def _config(model: TransRec) -> Any:
    return model.item_encoder.backbone.config  # type: ignore[union-attr]


def _facts(model: TransRec, catalog: Catalog) -> str:
    # What states depend on besides the weights.
    config = json.dumps(_config(model).to_dict(), sort_keys=True, default=str)
    return f"{catalog.fingerprint()} {model.spec.pooling} {config}"


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device; a GPU is not waited for."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
