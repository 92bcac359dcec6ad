"""What every adapter method shares: its configuration, the registry, and how it is built.

A pretrained module is never replaced. An adapter is a small module of its own, kept in ``model.adapters[name]``, and a hook on
the pretrained module hands it an input ``x`` and an output ``y``; what the adapter returns takes the place of ``y``. What ``x`` and
``y`` are follows from the role of the site:

    role                              x                                 y
    attention, ffn                    input of the sublayer             its output, before the residual sum
    query, key, value, expand,
    hidden, norm, table, head         input of the module               its output
    attend                            None                              (keys, values, mask) of the attention
    embeddings                        None                              embedded tokens or patches [k, T, H]
    states                            Trace of all layers               last states [k, T, H]
    readout                           pooled states of all layers       pooled last state [k, H]

So the state dict of the backbone is the same with and without adapters, disabling one is leaving a name out of a tuple, and
several can live on one backbone. A new method is one file with an :class:`Adapter` subclass, decorated with :func:`register`, and
its import in ``transrec_core/adapters/__init__.py``.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple, Self

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

    A method may have defaults of its own (``Adapter.defaults``, e.g. K-Adapter's layers); they stand in for fields that are left out.

    Attributes:
        method: a registered method, e.g. "houlsby", "pfeiffer", "lora".
        encoders: encoders that get adapters.
        layers: "all", a list of layer indices counted from the bottom (negative: from the top), or "top-K".
        position: sublayers that get a bottleneck adapter; None means the method's own choice.
        form: a bottleneck reads what its sublayer computed ("serial") or what the sublayer read ("parallel").
        targets: projections that get a low-rank update (LoRA, DoRA, rsLoRA).
        item_size: bottleneck width, rank or number of prompt tokens in the item encoder. user_size: the same in the user encoder.
        activation: non-linearity of a bottleneck.
        init: distribution of the first map of an adapter (the last one starts at zero, so that nothing changes at start).
        alpha: scale of a low-rank update is alpha / rank (rsLoRA: alpha / sqrt(rank)); None means alpha = rank.
        scale: factor on a bottleneck's correction.
        phm_dim: number n of terms in Compacter's sum of Kronecker products.
        dropout: dropout on the input of an adapter, while training.
        train_layernorm: also train a copy of the LayerNorms of the adapted layers.
        train_head: also train a copy of the projection from the backbone to the item vector.
        train_embeddings: also train a copy of what turns words (or patches) into the item encoder's first states.
    """

    method: str = "houlsby"
    encoders: Literal["item", "user", "both"] = "both"
    layers: Literal["all"] | list[int] | str = "all"
    position: Literal["attention", "ffn", "both"] | None = None
    form: Literal["serial", "parallel"] = "serial"
    targets: tuple[Literal["query", "key", "value"], ...] = ("query", "value")
    item_size: int = Field(64, ge=1)
    user_size: int = Field(16, ge=1)
    activation: Literal["gelu", "relu", "tanh"] = "gelu"
    init: Literal["kaiming", "normal"] = "kaiming"
    alpha: float | None = Field(None, gt=0)
    scale: float = Field(1.0, gt=0)
    phm_dim: int = Field(4, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    train_layernorm: bool = False
    train_head: bool = True
    train_embeddings: bool = False

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_method(cls, data: Any) -> Any:
        if isinstance(data, dict):
            chosen = data.get("method", cls.model_fields["method"].default)
            if chosen in METHODS:
                return {**METHODS[chosen].defaults, **data}
        return data

    @field_validator("method")
    @classmethod
    def _known_method(cls, value: str) -> str:
        try:
            method(value)
        except UserError as error:
            raise ValueError(str(error)) from None  # pydantic adds the field's name
        return value

    @model_validator(mode="after")
    def _no_field_without_effect(self) -> AdapterConfig:
        uses = METHODS[self.method].uses
        for field in ("position", "form", "targets", "alpha", "scale", "phm_dim"):
            if field not in uses and getattr(self, field) != type(self).model_fields[field].default:
                raise ValueError(f"{self.method} has no '{field}': leave it out (it can set: {', '.join(uses) or 'sizes and layers'})")
        if self.train_embeddings and self.encoders == "user":
            raise ValueError("train_embeddings opens the item encoder's embeddings: not with encoders 'user'")
        return self

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


class Trace(NamedTuple):
    """What passed through an encoder.

    Attributes:
        states: output of the embeddings and of each layer, [k, T, H] each.
        last: output of the encoder [k, T, H] (for a ViT, after its last norm).
        mask: 1 for a token, 0 for padding [k, T]; None if there is no padding.
        causal: whether position t may read positions <= t only.
    """

    states: tuple[Tensor, ...]
    last: Tensor
    mask: Tensor | None
    causal: bool


class Adapter(nn.Module):
    """One adapter at one site: ``forward(x, y)``, see the top of this file for what they are.

    Subclasses say where they go (:meth:`roles`) and how they are built (:meth:`build`); a linear one also says how it
    folds into the pretrained weight (:meth:`merge_into`).

    Attributes:
        defaults: configuration values that stand in for those left out.
        uses: which of position, form, targets, alpha, scale and phm_dim the method reads.
        averages: whether outputs of several such adapters can be averaged.
    """

    method: ClassVar[str] = ""
    defaults: ClassVar[dict[str, Any]] = {}
    uses: ClassVar[tuple[str, ...]] = ()
    averages: ClassVar[bool] = True

    @classmethod
    def roles(cls, config: AdapterConfig) -> tuple[str, ...]:
        """Roles of the modules that this method adapts."""
        raise NotImplementedError

    @classmethod
    def build(cls, site: Site, config: AdapterConfig) -> Self | None:
        """The adapter for one site, or None where there is nothing to adapt."""
        raise NotImplementedError

    @classmethod
    def build_shared(cls, config: AdapterConfig) -> nn.Module | None:
        """Parameters that all sites have in common; each adapter gets them by :meth:`share`."""
        return None

    def share(self, shared: nn.Module) -> None:
        """Takes note of what :meth:`build_shared` made, without owning it."""
        self._shared = (shared,)  # in a tuple, so that it is not registered as a part of this module

    def forward(self, x: Any, y: Any) -> Any:
        raise NotImplementedError

    def merge_into(self, site: Site) -> None:
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
        hooks = (site.module._forward_hooks, site.module._forward_pre_hooks)
        replica.module = copy.deepcopy(site.module, {id(found): type(found)() for found in hooks})  # its weights, not its hooks
        return replica

    module: nn.Module

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        out: Tensor = self.module(x)
        return out

    def merge_into(self, site: Site) -> None:
        with torch.no_grad():
            for base, trained in zip(site.module.parameters(), self.module.parameters(), strict=True):
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


#: Key of what all adapters of one name have in common.
SHARED = "shared"


def build_adapter(sites: list[Site], config: AdapterConfig) -> dict[str, nn.Module]:
    """Adapters of one configuration for the sites of a model: {site path: adapter}, and {"shared": module} if they share one.

    Raises:
        UserError: if the configuration reaches no module at all.
    """
    cls = method(config.method)
    shared = cls.build_shared(config)
    built: dict[str, nn.Module] = {}
    for site in sites:
        if config.encoders not in (site.encoder, "both"):
            continue
        if site.layer >= 0 and site.layer not in config.chosen_layers(site.n_layers):
            continue
        adapter: Adapter | None = None
        if (site.role == "norm" and config.train_layernorm) or (site.role == "table" and config.train_embeddings):
            adapter = Replica.build(site, config)
        elif site.role in cls.roles(config):
            adapter = cls.build(site, config)
        if adapter is not None:
            if shared is not None:
                adapter.share(shared)
            built[site.path] = adapter
    if not built:
        raise UserError(f"adapter {config.method} reaches no layer (encoders={config.encoders}, layers={config.layers})")
    if config.train_embeddings and not any(site.role == "table" for site in sites):
        raise UserError("train_embeddings: the anatomy of this encoder names no 'table'; add it in transrec_core/adapters/anatomy.py")
    if config.train_head:
        built |= {site.path: Replica.build(site, config) for site in sites if site.role == "head"}
    return built | ({SHARED: shared} if shared is not None else {})
