"""What every adapter method shares: its interface, and what it is handed.

A pretrained module is never replaced. An adapter is a small module of its own, kept in
``model.adapters[name]``, and a hook on the pretrained module hands it an input ``x`` and an output ``y``;
what the adapter returns takes the place of ``y``. What ``x`` and ``y`` are follows from the role of the site:

    role                              x                                 y
    attention, ffn                    input of the sublayer             its output, before the residual sum
    query, key, value, expand,
    hidden, norm, table, head         input of the module               its output
    attend                            None                              (keys, values, mask) of the attention
    embeddings                        None                              embedded tokens or patches [k, T, H]
    states                            Trace of all layers               last states [k, T, H]
    readout                           pooled states of all layers       pooled last state [k, H]

So the state dict of the backbone is the same with and without adapters, disabling one is leaving a name out
of a tuple, and several can live on one backbone. A new method is one file in ``methods/`` with an
:class:`Adapter` subclass, decorated with :func:`transrec_core.adapters.registry.register`.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.drawing import Drawing, layer_picture
from transrec_core.base.errors import UserError

#: Step sizes to choose from: for adapters made of matrices, and for those made of vectors, which take larger
#: ones.
MATRICES = (5e-3, 1e-2, 2e-2, 4e-2)
VECTORS = (1e-2, 2e-2, 4e-2, 8e-2)


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

    All that is known of a method stands in its class: what it can be set to, where it goes (:meth:`roles`),
    how it is built (:meth:`build`), how many parameters that takes (:meth:`count`), what it is called, and
    its picture. A linear one also says how it folds into the pretrained weight (:meth:`merge_into`).
    ``config`` is an object of its ``Config``.

    Attributes:
        Config: its settings; the default of ``method`` there is the name that it is registered under.
        title: what tables and figures call it; by default its name.
        family: what it is akin to, see :data:`transrec_core.adapters.registry.FAMILIES`.
        year: when it was published, for the order within a family.
        references: the papers, e.g. "arXiv:1902.00751".
        grid: peak step sizes that ``transrec tune`` chooses from in the embedded world, four as for every
            method.
        merges: whether it is linear and can be folded into the base.
        identity_at_start: whether a fresh one changes no output.
        averages: whether outputs of several such adapters can be averaged.
    """

    Config: ClassVar[type[AdapterConfig]] = AdapterConfig
    method: ClassVar[str] = ""
    title: ClassVar[str] = ""
    family: ClassVar[str] = "other"
    year: ClassVar[int] = 0
    references: ClassVar[tuple[str, ...]] = ()
    grid: ClassVar[tuple[float, ...]] = MATRICES
    merges: ClassVar[bool] = False
    identity_at_start: ClassVar[bool] = True
    averages: ClassVar[bool] = True

    @classmethod
    def roles(cls, config: Any) -> tuple[str, ...]:
        """Roles of the modules that this method adapts."""
        raise NotImplementedError

    @classmethod
    def build(cls, site: Site, config: Any) -> Self | None:
        """The adapter for one site, or None where there is nothing to adapt."""
        raise NotImplementedError

    @classmethod
    def count(cls, config: Any, width: int, inner: int, size: int, layers: int) -> int:
        """Parameters in one encoder by the formula of the paper, without copies of head, norms and
        embeddings.

        Args:
            config: the method's own settings.
            width: size d of the encoder's states.
            inner: size f inside its feed-forward sublayers.
            size: bottleneck size, rank or number of tokens m there.
            layers: how many layers are adapted.
        """
        raise NotImplementedError

    @classmethod
    def count_shared(cls, config: Any) -> int:
        """Parameters of what :meth:`build_shared` makes, once for the whole model."""
        return 0

    @classmethod
    def picture(cls) -> Drawing:
        """A drawing of the method; by default a layer with a box behind each sublayer that it acts on."""
        return layer_picture(
            f"A {cls.title or cls.method} adapter", cls.roles(cls.Config()), cls.title or cls.method
        )

    @classmethod
    def build_shared(cls, config: Any) -> nn.Module | None:
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
        raise UserError(
            f"a {type(self).__name__} is not linear in its input and can't be merged; use set_adapter instead"
        )


class Replica(Adapter):
    """A trained copy of a small pretrained module (the head, a LayerNorm): its output takes the module's
    place.

    The original stays as it was, so that each adapter has its own head and the base can always be had back.
    Parameters: those of the module.
    """

    @classmethod
    def build(cls, site: Site, config: AdapterConfig) -> Self:
        replica = cls()
        hooks = (site.module._forward_hooks, site.module._forward_pre_hooks)
        replica.module = copy.deepcopy(
            site.module, {id(kept): type(kept)() for kept in hooks}
        )  # its weights, not its hooks
        return replica

    module: nn.Module

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        out: Tensor = self.module(x)
        return out

    def merge_into(self, site: Site) -> None:
        with torch.no_grad():
            for base, trained in zip(site.module.parameters(), self.module.parameters(), strict=True):
                base.copy_(trained)
