"""The methods that give a model its adapters: add, train, set, disable, save, load, merge.

The names are those that users of PEFT libraries will try. A host model only has to say where its sites are
(:meth:`AdapterMixin.sites`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import Adapter
from transrec_core.adapters.build import build_adapter
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.hooks import install
from transrec_core.adapters.registry import method
from transrec_core.adapters.weights import save_tensors
from transrec_core.base.errors import UserError
from transrec_core.base.files import atomic_write

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"

_CARD = """---
library_name: transrec
tags: [adapter, recommendation, {method}]
---

# {name}

A *{method}* adapter for a TransRec (encoders: {encoders}), {count} parameters with its copy of the head.

    model = TransRec.from_pretrained(BASE)
    model.load_adapter(FOLDER, "{name}")
"""


class AdapterMixin:
    """Adapters by name on the modules of a host. The host sets up ``_init_adapters()`` once in its
    constructor.
    """

    adapters: nn.ModuleDict  # {adapter name: {site path with "/" for ".": Adapter}}
    active_adapters: tuple[str, ...]
    adapter_configs: dict[str, AdapterConfig]

    def _init_adapters(self) -> None:
        self.adapters = nn.ModuleDict()
        self.active_adapters = ()
        self.combine: Literal["stack", "average"] = "stack"
        self.adapter_configs = {}
        self._hooked: set[str] = set()
        self._unmerged: dict[nn.Parameter, Tensor] = {}

    def sites(self) -> list[Site]:
        """Every module that an adapter can act on."""
        raise NotImplementedError

    def add_adapter(self, name: str, config: AdapterConfig) -> None:
        """Adds an adapter and makes it the active one. It changes no output until trained, and trains nothing
        by itself.

        Raises:
            UserError: if the name is taken or not fit for a folder, or the configuration reaches no module.
        """
        if name in self.adapters:
            raise UserError(
                f"there is an adapter '{name}' already; delete_adapter it first or choose another name"
            )
        if not name or any(c in name for c in "./\\ "):
            raise UserError(f"adapter name '{name}' is not fit for a folder: no dots, slashes or spaces")
        sites = self.sites()
        built = build_adapter(sites, config)
        weight = next(cast(nn.Module, self).parameters())
        for site in sites:
            if site.path in built and site.path not in self._hooked:
                install(
                    site, partial(self._apply_adapters, site.path), partial(self._prompt_tokens, site.path)
                )
                self._hooked.add(site.path)
        self.adapters[name] = nn.ModuleDict(
            {_key(path): adapter.to(weight.device, weight.dtype) for path, adapter in built.items()}
        )
        self.adapter_configs[name] = config
        self.set_adapter(name)

    def _at(self, path: str) -> list[Adapter | None]:
        # What the active adapters have at a site, in their order; None where one has nothing.
        key = _key(path)
        groups = [cast(nn.ModuleDict, self.adapters[name]) for name in self.active_adapters]
        return [cast(Adapter, group[key]) if key in group else None for group in groups]

    def _apply_adapters(self, path: str, x: Any, y: Any) -> Any:
        acting = self._at(path)
        if self.combine == "average" and any(acting):
            return sum(y if adapter is None else adapter(x, y) for adapter in acting) / len(acting)
        for adapter in acting:
            y = y if adapter is None else adapter(x, y)
        return y

    def _prompt_tokens(self, path: str) -> int:
        return sum(cast(int, adapter.n_tokens) for adapter in self._at(path) if adapter is not None)

    def acts_on(self, *prefixes: str) -> bool:
        """Whether an active adapter acts on a module whose path starts with one of ``prefixes``."""
        keys = tuple(_key(prefix) for prefix in prefixes)
        return any(
            key.startswith(keys)
            for name in self.active_adapters
            for key in cast(nn.ModuleDict, self.adapters[name])
        )

    def set_adapter(self, names: str | Iterable[str], combine: Literal["stack", "average"] = "stack") -> None:
        """Makes these adapters, and no other, act.

        Args:
            names: one name, or several.
            combine: several act one after the other, each on what the one before made ("stack"), or all on
                the same output, of which the mean is taken ("average"; an adapter that has nothing at a
                module counts with the unchanged output).

        Raises:
            UserError: if there is no such adapter, or a soft prompt is to be averaged.
        """
        names = (names,) if isinstance(names, str) else tuple(names)
        for name in names:
            if name not in self.adapters:
                raise UserError(f"no adapter '{name}' (there are: {', '.join(self.adapters) or 'none'})")
            if (
                combine == "average"
                and len(names) > 1
                and not method(self.adapter_configs[name].method).averages
            ):
                raise UserError(
                    f"adapter '{name}' is a soft prompt: it adds to a sequence, so there is no mean to take; stack it"
                )
        if combine not in ("stack", "average"):
            raise UserError(f"combine is 'stack' or 'average', not '{combine}'")
        self.active_adapters, self.combine = names, combine

    def disable_adapters(self) -> None:
        """No adapter acts: the model is its base again."""
        self.active_adapters = ()

    @contextmanager
    def adapters_disabled(self) -> Any:
        """Within the block no adapter acts."""
        before, self.active_adapters = self.active_adapters, ()
        try:
            yield
        finally:
            self.active_adapters = before

    def delete_adapter(self, name: str) -> None:
        """Removes an adapter; the base is untouched.

        Raises:
            UserError: if there is no such adapter.
        """
        self.set_adapter([n for n in self.active_adapters if n != name], self.combine)
        if name not in self.adapters:
            raise UserError(f"no adapter '{name}' (there are: {', '.join(self.adapters) or 'none'})")
        del self.adapters[name], self.adapter_configs[name]

    def train_adapter(self, name: str) -> None:
        """Activates an adapter, freezes everything else and opens exactly its parameters.

        Raises:
            UserError: if there is no such adapter.
        """
        self.set_adapter(name)
        cast(nn.Module, self).requires_grad_(False)
        self.adapters[name].requires_grad_(True)

    def merge_adapter(self, name: str) -> None:
        """Folds a linear adapter into the base weights and disables it; :meth:`unmerge_adapter` brings the
        base back.

        Raises:
            UserError: if there is no such adapter, it is not linear, or one is merged already.
        """
        self.set_adapter(name)
        if self._unmerged:
            raise UserError("an adapter is merged already; unmerge_adapter() first")
        group = cast(nn.ModuleDict, self.adapters[name])
        sites = [s for s in self.sites() if _key(s.path) in group]
        touched = [m for s in sites for m in (s.module, s.feeds) if m is not None]
        kept = {p: p.detach().clone() for module in touched for p in module.parameters()}
        try:
            for site in sites:
                cast(Adapter, group[_key(site.path)]).merge_into(site)
        except UserError:
            self._restore(kept)
            raise
        self._unmerged = kept
        self.disable_adapters()

    def unmerge_adapter(self) -> None:
        """Restores the base weights, bit for bit, after :meth:`merge_adapter`."""
        self._restore(self._unmerged)
        self._unmerged = {}

    @staticmethod
    def _restore(kept: dict[nn.Parameter, Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in kept.items():
                parameter.copy_(value)

    def save_adapter(self, folder: str | Path, name: str) -> None:
        """Writes one adapter: ``adapter_model.safetensors``, ``adapter_config.json`` and a model card
        ``README.md``.

        The folder can go to a hub by ``huggingface_hub.upload_folder``; nothing here uses the network.

        Raises:
            UserError: if there is no such adapter.
        """
        if name not in self.adapters:
            raise UserError(f"no adapter '{name}' (there are: {', '.join(self.adapters) or 'none'})")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {k.replace("/", "."): v for k, v in self.adapters[name].state_dict().items()}
        save_tensors(folder / WEIGHTS_FILE, tensors)
        config = self.adapter_configs[name]
        atomic_write(folder / CONFIG_FILE, config.model_dump_json(indent=2) + "\n")
        count = sum(v.numel() for v in tensors.values())
        atomic_write(
            folder / "README.md",
            _CARD.format(method=config.method, name=name, count=f"{count:,}", encoders=config.encoders),
        )

    def load_adapter(self, folder: str | Path, name: str) -> None:
        """Adds the adapter saved in ``folder`` under ``name`` and activates it.

        Raises:
            UserError: if a file is missing or damaged, or the adapter does not fit this model. The model is
                then unchanged.
        """
        folder = Path(folder)
        for file in (CONFIG_FILE, WEIGHTS_FILE):
            if not (folder / file).is_file():
                raise UserError(
                    f"{folder / file}: not found; {folder} is no adapter folder (save_adapter writes one)"
                )
        try:
            config = AdapterConfig.model_validate(
                json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            )
            tensors = load_file(folder / WEIGHTS_FILE)
        except (ValidationError, ValueError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{folder}: damaged adapter ({reason}); save or download it again") from None
        before, combine = self.active_adapters, self.combine
        self.add_adapter(name, config)
        own = self.adapters[name].state_dict()
        given = {key: tensors.get(key.replace("/", ".")) for key in own}
        wrong = [k for k, v in given.items() if v is None or v.shape != own[k].shape]
        extra = set(tensors) - {k.replace("/", ".") for k in own}
        if wrong or extra:
            self.delete_adapter(name)
            self.set_adapter(before, combine)
            first = (wrong or sorted(extra))[0].replace("/", ".")
            raise UserError(
                f"{folder}: adapter does not fit this model at '{first}'; load it on the model it was made for"
            )
        self.adapters[name].load_state_dict(given)

    def trainable_parameters(self) -> tuple[int, int]:
        """Numbers of trainable and of all parameters, adapters included."""
        parameters = list(cast(nn.Module, self).parameters())
        return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)

    def print_trainable_parameters(self) -> None:
        """Prints one line: trainable, all, and the share."""
        trained, total = self.trainable_parameters()
        print(f"trainable parameters: {trained:,} of {total:,} ({100 * trained / total:.2f} %)")


def _key(path: str) -> str:
    # nn.ModuleDict allows no dots in its keys.
    return path.replace(".", "/")
