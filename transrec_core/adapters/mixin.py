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
from typing import Any, cast

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import Adapter, AdapterConfig, build_adapter
from transrec_core.errors import UserError
from transrec_core.files import atomic_write, save_tensors

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"


class AdapterMixin:
    """Adapters by name on the modules of a host. The host sets up ``_init_adapters()`` once in its constructor."""

    adapters: nn.ModuleDict  # {adapter name: {site path with "/" for ".": Adapter}}
    active_adapters: tuple[str, ...]
    adapter_configs: dict[str, AdapterConfig]

    def _init_adapters(self) -> None:
        self.adapters = nn.ModuleDict()
        self.active_adapters = ()
        self.adapter_configs = {}
        self._hooked: set[str] = set()
        self._unmerged: dict[str, Tensor] = {}

    def sites(self) -> list[Site]:
        """Every module that an adapter can act on."""
        raise NotImplementedError

    def add_adapter(self, name: str, config: AdapterConfig) -> None:
        """Adds an adapter and makes it the active one. It changes no output until trained, and trains nothing by itself.

        Raises:
            UserError: if the name is taken or not fit for a folder, or the configuration reaches no module.
        """
        if name in self.adapters:
            raise UserError(f"there is an adapter '{name}' already; delete_adapter it first or choose another name")
        if not name or any(c in name for c in "./\\ "):
            raise UserError(f"adapter name '{name}' is not fit for a folder: no dots, slashes or spaces")
        sites = self.sites()
        built = build_adapter(sites, config)
        for site in sites:
            if site.path in built:
                weight = next(site.module.parameters())
                built[site.path].to(device=weight.device, dtype=weight.dtype)
                if site.path not in self._hooked:
                    site.module.register_forward_hook(partial(self._apply_adapters, site.path))
                    self._hooked.add(site.path)
        self.adapters[name] = nn.ModuleDict({_key(path): adapter for path, adapter in built.items()})
        self.adapter_configs[name] = config
        self.set_adapter(name)

    def _apply_adapters(self, path: str, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        key = _key(path)
        for name in self.active_adapters:
            group = cast(nn.ModuleDict, self.adapters[name])
            if key in group:
                output = group[key](args[0], output)
        return output

    def set_adapter(self, names: str | Iterable[str]) -> None:
        """Makes these adapters, and no other, act; several act one after the other.

        Raises:
            UserError: if there is no such adapter.
        """
        names = (names,) if isinstance(names, str) else tuple(names)
        for name in names:
            if name not in self.adapters:
                raise UserError(f"no adapter '{name}' (there are: {', '.join(self.adapters) or 'none'})")
        self.active_adapters = names

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
        self.set_adapter([*(n for n in self.active_adapters if n != name)])
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
        """Folds a linear adapter into the base weights and disables it; :meth:`unmerge_adapter` brings the base back.

        Raises:
            UserError: if there is no such adapter, it is not linear, or one is merged already.
        """
        self.set_adapter(name)
        if self._unmerged:
            raise UserError("an adapter is merged already; unmerge_adapter() first")
        group = cast(nn.ModuleDict, self.adapters[name])
        sites = [s for s in self.sites() if _key(s.path) in group]
        kept = {f"{s.path}.{k}": p.detach().clone() for s in sites for k, p in s.module.named_parameters()}
        try:
            for site in sites:
                cast(Adapter, group[_key(site.path)]).merge_into(site.module)
        except UserError:
            self._restore(kept)
            raise
        self._unmerged = kept
        self.disable_adapters()

    def unmerge_adapter(self) -> None:
        """Restores the base weights, bit for bit, after :meth:`merge_adapter`."""
        self._restore(self._unmerged)
        self._unmerged = {}

    def _restore(self, kept: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for path, value in kept.items():
                cast(nn.Module, self).get_parameter(path).copy_(value)

    def save_adapter(self, folder: str | Path, name: str) -> None:
        """Writes one adapter: ``adapter_model.safetensors`` and ``adapter_config.json``.

        Raises:
            UserError: if there is no such adapter.
        """
        if name not in self.adapters:
            raise UserError(f"no adapter '{name}' (there are: {', '.join(self.adapters) or 'none'})")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {k.replace("/", "."): v for k, v in self.adapters[name].state_dict().items()}
        save_tensors(folder / WEIGHTS_FILE, tensors)
        atomic_write(folder / CONFIG_FILE, self.adapter_configs[name].model_dump_json(indent=2) + "\n")

    def load_adapter(self, folder: str | Path, name: str) -> None:
        """Adds the adapter saved in ``folder`` under ``name`` and activates it.

        Raises:
            UserError: if a file is missing or damaged, or the adapter does not fit this model. The model is then unchanged.
        """
        folder = Path(folder)
        for file in (CONFIG_FILE, WEIGHTS_FILE):
            if not (folder / file).is_file():
                raise UserError(f"{folder / file}: not found; {folder} is no adapter folder (save_adapter writes one)")
        try:
            config = AdapterConfig.model_validate(json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")))
            tensors = load_file(folder / WEIGHTS_FILE)
        except (ValidationError, ValueError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{folder}: damaged adapter ({reason}); save or download it again") from None
        before = self.active_adapters
        self.add_adapter(name, config)
        own = self.adapters[name].state_dict()
        given = {key: tensors.get(key.replace("/", ".")) for key in own}
        wrong = [k for k, v in given.items() if v is None or v.shape != own[k].shape]
        extra = set(tensors) - {k.replace("/", ".") for k in own}
        if wrong or extra:
            self.delete_adapter(name)
            self.set_adapter(before)
            first = (wrong or sorted(extra))[0].replace("/", ".")
            raise UserError(f"{folder}: adapter does not fit this model at '{first}'; load it on the model it was made for")
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
