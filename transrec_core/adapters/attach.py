"""Adapters on a module that is no TransRec: a Hugging Face encoder, or a recommender of one's own around one.

    host = attach(bert, AdapterConfig(method="lora", rank=8))
    host = attach(recommender, "houlsby", encoders={"item": "backbone"}, train=True)

The module is called as ever; adapters act inside it by hooks and live in the host, so the module's state dict
stays as it was. Every method works. Those that read all layers of an encoder act on what it returns:
K-Adapter on its last states, a side network on the state of each token, before whatever the module pools (in
a TransRec it acts after pooling, which is the same where the first token's state is taken). There is no head
to train a copy of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from torch import nn
from transformers import PreTrainedModel

from transrec_core.adapters.anatomy import Site, encoder_sites
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.hooks import has_host
from transrec_core.adapters.mixin import AdapterMixin
from transrec_core.base.errors import UserError

Place = str | nn.Module


class Attached(nn.Module, AdapterMixin):
    """A module and its adapters; :func:`attach` makes it. Calling it calls the module.

    ``to``, ``train`` and ``parameters`` go through to both. Move the host rather than the module, so that
    adapters come along; they take the module's mode (training or evaluation) by themselves.

    Args:
        module: what is adapted.
        encoders: (role, path from the module's root, encoder) of each encoder.

    Attributes:
        module: as given.
    """

    card_usage: ClassVar[str] = (
        "    host = transrec_core.attach(MODULE, encoders=...)  # as when it was trained\n"
        '    host.load_adapter(FOLDER, "{name}")'
    )

    def __init__(self, module: nn.Module, encoders: list[tuple[str, str, PreTrainedModel]]) -> None:
        super().__init__()
        self.module = module
        self._encoders = [(role, path) for role, path, _ in encoders]
        self.training = module.training
        self._init_adapters()
        # In one order for all adapters, whichever comes first: last states, then what reads each token's.
        for site in self.sites():
            if site.role in ("states", "readout"):
                self._install(site)

    def sites(self) -> list[Site]:
        """Every module of the encoders that an adapter can act on, by its path from the module's root."""
        sites = []
        for role, path in self._encoders:
            encoder = self.module.get_submodule(path)
            config: Any = encoder.config
            width = getattr(config, "hidden_size", 0)
            inner = encoder_sites(encoder, config.model_type, path, role, width)
            ends = [
                Site(f"{path}.{end}", encoder, end, role, width, inner[0].n_layers, root=encoder)
                for end in ("states", "readout")
            ]
            sites += [replace(site, path=site.path.lstrip(".")) for site in inner + ends]
        return sites

    def _apply_adapters(self, path: str, x: Any, y: Any) -> Any:
        if self.adapters.training != self.module.training:
            self.adapters.train(self.module.training)
        return super()._apply_adapters(path, x, y)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the module."""
        return self.module(*args, **kwargs)

    def detach(self) -> nn.Module:
        """Takes all hooks out again and forgets the adapters.

        Returns:
            The module, as it was before.

        Raises:
            UserError: if an adapter is merged.
        """
        self.disable_adapters()
        for site in self.sites():
            for handle in self._adapter_hooks.pop(site.path, []):
                handle.remove()
            if site.role == "attend":
                vars(site.module).pop("extend_keys", None)
        self._encoders = []
        self._init_adapters()
        return self.module


def attach(
    module: nn.Module,
    config: AdapterConfig | dict[str, Any] | str | None = None,
    encoders: Mapping[str, Place | list[Place]] | None = None,
    name: str = "default",
    train: bool = False,
) -> Attached:
    """Gives any module with Hugging Face encoders in it adapters, in place.

    Args:
        module: an encoder, or a module of one's own that calls some in its ``forward``.
        config: of the first adapter, as for ``add_adapter``; None adds none yet.
        encoders: {"item": ..., "user": ...}, where each is an encoder in ``module`` (or a list of some), as
            attribute path or by itself. What a configuration says of the item or user encoder is for these.
            None means that ``module`` is the item encoder.
        name: of the first adapter.
        train: freeze everything but that adapter, and say so.

    Returns:
        The host, with the methods ``add_adapter``, ``train_adapter``, ``set_adapter``, ``save_adapter`` ...

    Raises:
        UserError: if an encoder isn't in the module, is of an unknown family or has a host already, or the
            configuration is refused.
    """
    if isinstance(module, AdapterMixin):
        raise UserError(f"a {type(module).__name__} has adapters by itself: call its add_adapter")
    if encoders is None and not isinstance(module, PreTrainedModel):
        inside = [f"'{path}'" for path, part in module.named_modules() if isinstance(part, PreTrainedModel)]
        raise UserError(
            f"{type(module).__name__} is no Hugging Face encoder: name one in it, e.g. encoders={{'item': "
            f"{inside[0] if inside else 'PATH'}}} (there are: {', '.join(inside) or 'none'})"
        )
    chosen = _chosen(module, {"item": module} if encoders is None else encoders)
    host = Attached(module, chosen)
    if config is not None:
        try:
            host.add_adapter(name, config, train)
        except UserError:
            host.detach()
            raise
    return host


def _chosen(
    module: nn.Module, encoders: Mapping[str, Place | list[Place]]
) -> list[tuple[str, str, PreTrainedModel]]:
    chosen: list[tuple[str, str, PreTrainedModel]] = []
    for role, places in encoders.items():
        if role not in ("item", "user"):
            raise UserError(f"encoders: '{role}' is neither 'item' nor 'user'; each takes one or a list")
        for place in places if isinstance(places, list | tuple) else [places]:
            path, encoder = _encoder(module, place)
            if has_host(encoder) or any(encoder is other for _, _, other in chosen):
                raise UserError(
                    f"encoder '{path}' has a host with adapters already: use that one, or detach() it first"
                )
            chosen.append((role, path, encoder))
    if not chosen:
        raise UserError("encoders names no encoder; give e.g. encoders={'item': 'backbone'}")
    return chosen


def _encoder(module: nn.Module, place: Place) -> tuple[str, PreTrainedModel]:
    paths = dict(module.named_modules())
    given = paths.get(place) if isinstance(place, str) else place
    if not any(given is part for part in paths.values()):
        inside = [path for path, part in paths.items() if isinstance(part, PreTrainedModel)]
        what = f"'{place}'" if isinstance(place, str) else f"a {type(place).__name__}"
        raise UserError(
            f"encoders: {what} is no part of this {type(module).__name__} (encoders in it: "
            f"{', '.join(inside) or 'none'})"
        )
    if not isinstance(given, PreTrainedModel):
        raise UserError(f"encoders: '{place}' is a {type(given).__name__} and no Hugging Face encoder")
    encoder = given.base_model  # without a head for classification or pretraining
    return next((path, encoder) for path, part in paths.items() if part is encoder)
