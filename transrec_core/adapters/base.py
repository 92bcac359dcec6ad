"""What every adapter method shares: its configuration, the registry, and how it is attached to a model.

A pretrained module is never replaced. An adapter is a small module of its own, kept in ``model.adapters[name]``, and
a forward hook on the pretrained module hands it the module's input ``x`` and output ``y``; what the adapter returns takes
the place of ``y``. So the state dict of the backbone is the same with and without adapters, disabling one is leaving a
name out of a tuple, and several can live on one backbone. A new method is one file with an :class:`Adapter` subclass,
decorated with :func:`register`, and its import in ``transrec_core/adapters/__init__.py``.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.errors import UserError


class StrictModel(BaseModel):
    """A configuration that refuses unknown keys and names the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _no_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    near = difflib.get_close_matches(str(key), list(cls.model_fields), n=1, cutoff=0.0)
                    raise ValueError(f"unknown key '{key}' in {cls.__name__}; did you mean '{near[0]}'?")
        return data


class AdapterConfig(StrictModel):
    """Which adapter, and where it goes. Placement is configuration, not code.

    Attributes:
        method: a registered method, e.g. "houlsby", "pfeiffer", "lora".
        encoders: encoders that get adapters.
        layers: "all", a list of layer indices counted from the bottom (negative: from the top), or "top-K".
        position: sublayers that get a bottleneck adapter; None means the method's own choice.
        targets: projections that get a low-rank update (LoRA).
        item_size: bottleneck width or rank in the item encoder. user_size: the same in the user encoder.
        activation: non-linearity of a bottleneck.
        init: distribution of the first map of an adapter (the last one starts at zero, so that nothing changes at start).
        alpha: scale of a low-rank update is alpha / rank; None means a scale of 1.
        dropout: dropout on the input of an adapter, while training.
        train_layernorm: also train a copy of the LayerNorms of the adapted layers.
        train_head: also train a copy of the projection from the backbone to the item vector.
    """

    method: str = "houlsby"
    encoders: Literal["item", "user", "both"] = "both"
    layers: Literal["all"] | list[int] | str = "all"
    position: Literal["attention", "ffn", "both"] | None = None
    targets: tuple[Literal["query", "key", "value"], ...] = ("query", "value")
    item_size: int = Field(64, ge=1)
    user_size: int = Field(16, ge=1)
    activation: Literal["gelu", "relu", "tanh"] = "gelu"
    init: Literal["kaiming", "normal"] = "kaiming"
    alpha: float | None = Field(None, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    train_layernorm: bool = False
    train_head: bool = True

    @field_validator("method")
    @classmethod
    def _known_method(cls, value: str) -> str:
        try:
            method(value)
        except UserError as error:
            raise ValueError(str(error)) from None  # pydantic adds the field's name
        return value

    @field_validator("layers")
    @classmethod
    def _readable_layers(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "all" and not re.fullmatch(r"top-[1-9]\d*", value):
            raise ValueError(f"layers is 'all', a list of indices or 'top-K' (e.g. 'top-2'), not '{value}'")
        return value

    def size(self, encoder: str) -> int:
        """Bottleneck width or rank in ``encoder`` ("item" or "user")."""
        return self.item_size if encoder == "item" else self.user_size

    def chosen_layers(self, n_layers: int) -> set[int]:
        """Indices of the layers to adapt in an encoder of ``n_layers`` layers.

        Raises:
            UserError: if a listed layer does not exist.
        """
        if self.layers == "all":
            return set(range(n_layers))
        if isinstance(self.layers, str):
            return set(range(max(0, n_layers - int(self.layers[4:])), n_layers))
        wrong = [i for i in self.layers if not -n_layers <= i < n_layers]
        if wrong:
            raise UserError(f"adapter layer {wrong[0]} does not exist: the encoder has layers 0 to {n_layers - 1}")
        return {i % n_layers for i in self.layers}


class Adapter(nn.Module):
    """One adapter at one site: ``forward(x, y)`` with the pretrained module's input and output, shape [..., size].

    Subclasses say where they go (:meth:`roles`) and how they are built (:meth:`build`); a linear one also says how it
    folds into the pretrained weight (:meth:`merge_into`).
    """

    method: ClassVar[str] = ""

    @classmethod
    def roles(cls, config: AdapterConfig) -> tuple[str, ...]:
        """Roles of the modules that this method adapts."""
        raise NotImplementedError

    @classmethod
    def build(cls, site: Site, config: AdapterConfig) -> Self:
        """The adapter for one site."""
        raise NotImplementedError

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError

    def merge_into(self, module: nn.Module) -> None:
        """Folds this adapter into the pretrained module, in place.

        Raises:
            UserError: if the method is not linear in its input and so has no such form.
        """
        raise UserError(f"a {type(self).__name__} is not linear in its input and can't be merged; use set_adapter instead")


class Replica(Adapter):
    """A trained copy of a small pretrained module (the head, a LayerNorm): its output takes the module's place.

    The original stays as it was, so that each adapter has its own head and the base can always be had back.
    Parameters: those of the module.
    """

    @classmethod
    def build(cls, site: Site, config: AdapterConfig) -> Self:
        replica = cls()
        replica.module = copy.deepcopy(site.module)
        return replica

    module: nn.Module

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        out: Tensor = self.module(x)
        return out

    def merge_into(self, module: nn.Module) -> None:
        with torch.no_grad():
            for base, trained in zip(module.parameters(), self.module.parameters(), strict=True):
                base.copy_(trained)


METHODS: dict[str, type[Adapter]] = {}


def register(name: str) -> Callable[[type[Adapter]], type[Adapter]]:
    """Class decorator: makes an adapter known under ``name``."""

    def keep(cls: type[Adapter]) -> type[Adapter]:
        cls.method = name
        METHODS[name] = cls
        return cls

    return keep


def method(name: str) -> type[Adapter]:
    """The adapter class registered as ``name``.

    Raises:
        UserError: if there is none; names the nearest.
    """
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1, cutoff=0.0)
        raise UserError(f"unknown adapter method '{name}'; did you mean '{near[0]}'? (known: {', '.join(METHODS)})")
    return METHODS[name]


def build_adapter(sites: list[Site], config: AdapterConfig) -> dict[str, Adapter]:
    """Adapters of one configuration for the sites of a model: {site path: adapter}.

    Raises:
        UserError: if the configuration reaches no module at all.
    """
    cls = method(config.method)
    built: dict[str, Adapter] = {}
    for encoder in ("item", "user"):
        if config.encoders not in (encoder, "both"):
            continue
        here = [s for s in sites if s.encoder == encoder and s.layer >= 0]
        layers = config.chosen_layers(1 + max(s.layer for s in here)) if here else set()
        for site in here:
            if site.layer in layers and site.role in cls.roles(config):
                built[site.path] = cls.build(site, config)
            elif site.layer in layers and site.role == "norm" and config.train_layernorm:
                built[site.path] = Replica.build(site, config)
    if not built:
        raise UserError(f"adapter {config.method} reaches no layer (encoders={config.encoders}, layers={config.layers})")
    if config.train_head:
        for site in sites:
            if site.role == "head":
                built[site.path] = Replica.build(site, config)
    return built
