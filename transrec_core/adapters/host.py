"""A model that has adapters: which there are, and what acts at each call."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, cast

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import Adapter
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.hooks import install
from transrec_core.adapters.status import AdapterStatus, AdapterTable
from transrec_core.base.errors import UserError


class AdapterHost:
    """What an ``nn.Module`` needs to have adapters; it calls ``_init_adapters()`` once in its constructor.

    Attributes:
        adapters: {adapter name: {site path with "/" for ".": Adapter}}.
        adapter_configs: configurations by adapter name.
        active_adapters: names of those that act, in their order.
        combine: how several act together, "stack" or "average".
        merged_adapter: name of the one that is folded into the base weights; None if none is.
    """

    adapters: nn.ModuleDict
    adapter_configs: dict[str, AdapterConfig]
    active_adapters: tuple[str, ...]
    combine: Literal["stack", "average"]
    merged_adapter: str | None

    def _init_adapters(self) -> None:
        self.adapters = nn.ModuleDict()
        self.adapter_configs = {}
        self.active_adapters, self.combine = (), "stack"
        self.merged_adapter = None
        self._unmerged: dict[nn.Parameter, Tensor] = {}
        self._adapter_hooks: dict[str, list[RemovableHandle]] = {}

    def sites(self) -> list[Site]:
        """Every module that an adapter can act on."""
        raise NotImplementedError

    @property
    def _module(self) -> nn.Module:
        return cast(nn.Module, self)

    def _group(self, name: str) -> nn.ModuleDict:
        if name not in self.adapters:
            raise UserError(f"no adapter '{name}' (there are: {', '.join(self.adapters) or 'none'})")
        return cast(nn.ModuleDict, self.adapters[name])

    def _install(self, site: Site) -> None:
        if site.path not in self._adapter_hooks:
            apply, acting = partial(self._apply_adapters, site.path), partial(self._acting, site.path)
            self._adapter_hooks[site.path] = install(site, apply, acting)

    # What the active adapters have at a site, in their order; None where one has nothing.
    def _at(self, path: str) -> list[Adapter | None]:
        groups = [self._group(name) for name in self.active_adapters]
        return [cast(Adapter, group[key_of(path)]) if key_of(path) in group else None for group in groups]

    def _acting(self, path: str) -> list[Adapter]:
        return [adapter for adapter in self._at(path) if adapter is not None]

    def _apply_adapters(self, path: str, x: Any, y: Any) -> Any:
        adapters = self._at(path)
        if self.combine == "average" and any(adapters):
            return sum(y if adapter is None else adapter(x, y) for adapter in adapters) / len(adapters)
        for adapter in adapters:
            y = y if adapter is None else adapter(x, y)
        return y

    def acts_on(self, *prefixes: str) -> bool:
        """Whether an active adapter acts on a module whose path starts with one of ``prefixes``.

        Args:
            prefixes: of paths from the model's root.
        """
        keys = tuple(key_of(prefix) for prefix in prefixes)
        return any(key.startswith(keys) for name in self.active_adapters for key in self._group(name))

    def require_unmerged(self, action: str) -> None:
        """Refuses what would go wrong on weights that an adapter is merged into.

        Args:
            action: what is about to be done, for the message.

        Raises:
            UserError: if an adapter is merged.
        """
        if self.merged_adapter is not None:
            raise UserError(
                f"{action}: adapter '{self.merged_adapter}' is merged into the base; unmerge_adapter() first"
            )

    def adapter_status(self) -> AdapterTable:
        """Which adapters there are, and of each whether it acts, is merged and trains, and what it takes.

        Returns:
            An :class:`~transrec_core.adapters.status.AdapterStatus` for each; printed, it is a table.
        """
        encoders = {key_of(site.path): site.encoder for site in self.sites()} if self.adapters else {}
        return AdapterTable(
            AdapterStatus.of(
                name,
                self.adapter_configs[name].method,
                self._group(name),
                [encoders[key] for key in self._group(name) if key in encoders],
                name in self.active_adapters,
                name == self.merged_adapter,
            )
            for name in self.adapters
        )

    def trainable_parameters(self) -> tuple[int, int]:
        """Numbers of trainable and of all parameters, adapters included."""
        parameters = list(self._module.parameters())
        return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)

    def print_trainable_parameters(self) -> None:
        """Prints one line: trainable, all, and the share."""
        trained, total = self.trainable_parameters()
        print(f"trainable parameters: {trained:,} of {total:,} ({100 * trained / total:.2f} %)")


def key_of(path: str) -> str:
    """The path of a site as a key of ``nn.ModuleDict``, which allows no dots.

    Args:
        path: from the model's root.
    """
    return path.replace(".", "/")
