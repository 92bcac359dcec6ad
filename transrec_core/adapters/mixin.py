"""The methods that give a model its adapters: add, train, set, disable, delete, merge, save, load.

The names are those that users of PEFT libraries will try. A host model only has to say where its sites are
(:meth:`AdapterHost.sites`). What acts at each call is in ``host.py``, what folders hold in ``files.py``, what
merging does to weights in ``merging.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from transrec_core.adapters.build import as_config, build_adapter
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.files import SavedAdapter, base_hash, read_adapter, write_adapter
from transrec_core.adapters.host import AdapterHost, key_of
from transrec_core.adapters.merging import fold, restore
from transrec_core.adapters.registry import method
from transrec_core.base.errors import UserError


class AdapterMixin(AdapterHost):
    """Adapters by name on the modules of a host."""

    #: How the model card of an adapter folder says that it is loaded.
    card_usage: ClassVar[str] = (
        '    model = TransRec.from_pretrained(BASE)\n    model.load_adapter(FOLDER, "{name}")'
    )

    def add_adapter(
        self, name: str, config: AdapterConfig | dict[str, Any] | str, train: bool = False
    ) -> None:
        """Adds an adapter and makes it the active one. It changes no output until trained.

        Args:
            name: what to call it, also the name of a folder to save it in.
            config: a configuration, a dictionary of its fields, or the name of a method with its defaults.
            train: freeze everything else, open exactly its parameters and print a line that says so.

        Raises:
            UserError: if the name is taken or not fit, the configuration is none or reaches no module, or an
                adapter is merged.
        """
        self.require_unmerged("add_adapter")
        _check_name(name)
        if name in self.adapters:
            raise UserError(
                f"there is an adapter '{name}' already; delete_adapter it first or choose another name"
            )
        config = as_config(config)
        sites = self.sites()
        built = build_adapter(sites, config)
        for site in sites:
            if site.path in built:
                self._install(site)
        weight = next(self._module.parameters())
        group = {key_of(path): adapter.to(weight.device, weight.dtype) for path, adapter in built.items()}
        self.adapters[name] = nn.ModuleDict(group).train(self.adapters.training)
        self.adapter_configs[name] = config
        self.set_adapter(name)
        if train:
            self.train_adapter(name)
            trained, total = self.trainable_parameters()
            print(
                f"adapter '{name}': {trained:,} of {total:,} parameters train "
                f"({100 * trained / total:.2f} %), the rest is frozen"
            )

    def train_adapter(self, name: str) -> None:
        """Activates an adapter, freezes everything else and opens exactly its parameters.

        Args:
            name: of the adapter.

        Raises:
            UserError: if there is no such adapter, or one is merged.
        """
        self.set_adapter(name)
        self._module.requires_grad_(False)
        self.adapters[name].requires_grad_(True)

    def set_adapter(self, names: str | Iterable[str], combine: Literal["stack", "average"] = "stack") -> None:
        """Makes these adapters, and no other, act.

        Args:
            names: one name, or several.
            combine: several act one after the other, each on what the one before made ("stack"), or all on
                the same output, of which the mean is taken ("average"; an adapter that has nothing at a
                module counts with the unchanged output).

        Raises:
            UserError: if there is no such adapter, a soft prompt is to be averaged, or an adapter is merged.
        """
        self.require_unmerged("set_adapter")
        names = (names,) if isinstance(names, str) else tuple(names)
        for name in names:
            self._group(name)
            averages = method(self.adapter_configs[name].method).averages
            if combine == "average" and len(names) > 1 and not averages:
                raise UserError(
                    f"adapter '{name}' is a soft prompt: it adds to a sequence, so there is no mean to take; "
                    "stack it"
                )
        if combine not in ("stack", "average"):
            raise UserError(f"combine is 'stack' or 'average', not '{combine}'")
        self.active_adapters, self.combine = names, combine

    def disable_adapters(self) -> None:
        """No adapter acts: the model is its base again.

        Raises:
            UserError: if an adapter is merged.
        """
        self.require_unmerged("disable_adapters")
        self.active_adapters = ()

    @contextmanager
    def adapters_disabled(self) -> Iterator[None]:
        """Within the block no adapter acts.

        Raises:
            UserError: if an adapter is merged.
        """
        before = self.active_adapters
        self.disable_adapters()
        try:
            yield
        finally:
            self.active_adapters = before

    def delete_adapter(self, name: str) -> None:
        """Removes an adapter; the base is untouched, and the others that act go on.

        Args:
            name: of the adapter.

        Raises:
            UserError: if there is no such adapter, or one is merged.
        """
        self.require_unmerged("delete_adapter")
        self._group(name)
        self.active_adapters = tuple(other for other in self.active_adapters if other != name)
        del self.adapters[name], self.adapter_configs[name]

    def merge_adapter(self, name: str) -> None:
        """Folds a linear adapter into the base weights, so that it costs nothing; :meth:`unmerge_adapter`
        brings the base back.

        One adapter can be merged at a time. Until it is unmerged, what would act on the changed weights, or
        take them for the base, is refused.

        Args:
            name: of the adapter.

        Raises:
            UserError: if there is no such adapter, it is not linear, one is merged already, or several are
                active.
        """
        self.require_unmerged("merge_adapter")
        group = self._group(name)
        if len(self.active_adapters) > 1:
            raise UserError(
                f"adapters {', '.join(self.active_adapters)} act together and one can be merged: "
                f"set_adapter('{name}') first"
            )
        self._unmerged = fold((s, group[key_of(s.path)]) for s in self.sites() if key_of(s.path) in group)
        self.merged_adapter, self.active_adapters = name, ()

    def unmerge_adapter(self) -> None:
        """Restores the base weights, bit for bit, after :meth:`merge_adapter`; no adapter acts then."""
        restore(self._unmerged)
        self._unmerged, self.merged_adapter = {}, None

    def base_hash(self) -> str:
        """The content of the base, everything but adapters, as 64 hex digits (see
        :func:`transrec_core.adapters.files.base_hash`); a merged adapter doesn't change it.
        """
        state = self._module.state_dict(keep_vars=True)
        return base_hash(
            self._unmerged.get(value, value)
            for key, value in state.items()
            if not key.startswith("adapters.")
        )

    def save_adapter(self, folder: str | Path, name: str) -> None:
        """Writes one adapter: ``transrec_adapter.safetensors``, ``transrec_adapter.json`` and a model card
        ``README.md``.

        The folder can go to a hub by ``huggingface_hub.upload_folder``; nothing here uses the network.

        Args:
            folder: where to.
            name: of the adapter.

        Raises:
            UserError: if there is no such adapter.
        """
        tensors = {key.replace("/", "."): value for key, value in self._group(name).state_dict().items()}
        saved = SavedAdapter(self.adapter_configs[name], tensors, self.base_hash())
        write_adapter(folder, name, saved, self.card_usage.format(name=name))

    def load_adapter(self, folder: str | Path, name: str, check_base: bool = True) -> None:
        """Adds the adapter saved in ``folder`` under ``name`` and activates it.

        Args:
            folder: what :meth:`save_adapter` wrote.
            name: what to call it here.
            check_base: refuse an adapter that was trained on a base with other weights.

        Raises:
            UserError: if a file is missing or damaged, or the adapter does not fit this model or its weights.
                The model is then unchanged.
        """
        self.require_unmerged("load_adapter")
        saved = read_adapter(folder)
        if check_base and saved.base is not None:
            self._check_base(folder, saved.base)
        before, combine = self.active_adapters, self.combine
        self.add_adapter(name, saved.config)
        state = self._group(name).state_dict()
        ours = {key.replace("/", "."): key for key in state}
        wrong = [key for key in saved.tensors if key not in ours]
        wrong += [key for key in ours if _shape(saved.tensors.get(key)) != state[ours[key]].shape]
        if wrong:
            self.delete_adapter(name)
            self.set_adapter(before, combine)
            raise UserError(
                f"{folder}: adapter does not fit this model at '{wrong[0]}'; load it on the model it was "
                "made for"
            )
        self.adapters[name].load_state_dict({ours[key]: value for key, value in saved.tensors.items()})

    def _check_base(self, folder: str | Path, trained_on: str) -> None:
        base = self.base_hash()
        if base != trained_on:
            raise UserError(
                f"{folder}: this adapter was trained on base {trained_on[:8]}, the model's is {base[:8]}; "
                "load it on its own base, or pass check_base=False"
            )


def _shape(tensor: Tensor | None) -> torch.Size | None:
    return None if tensor is None else tensor.shape


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise UserError(f"an adapter's name is a text, not {type(name).__name__}: add_adapter(name, config)")
    if not name or any(c in name for c in "./\\ "):
        raise UserError(f"adapter name '{name}' is not fit for a folder: no dots, slashes or spaces")
    if hasattr(nn.ModuleDict(), name):
        raise UserError(f"adapter name '{name}' is a word of PyTorch's own; choose another, e.g. '{name}_1'")
