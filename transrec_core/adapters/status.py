"""What adapters a model has, and what each of them does: a table to look at, and to ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

CHANGES_NO_RESULT = True  # it only looks

_HEADER = ("name", "method", "active", "merged", "trained", "parameters", "device", "dtype", "sites")


@dataclass(frozen=True)
class AdapterStatus:
    """One adapter of a model.

    Attributes:
        name: what it was added as.
        method: of its configuration, e.g. "lora".
        active: whether it acts in a forward pass, beside the base weights.
        merged: whether it is folded into the base weights, and acts through them.
        trained: whether its parameters are open for training.
        parameters: how many numbers it has, with its copies of head, LayerNorms and embeddings.
        device: where they are, e.g. "cuda:0" (several: with commas).
        dtype: of what type, e.g. "float32".
        sites: how many modules it acts on, by encoder.
    """

    name: str
    method: str
    active: bool
    merged: bool
    trained: bool
    parameters: int
    device: str
    dtype: str
    sites: dict[str, int]

    @classmethod
    def of(
        cls, name: str, method: str, group: nn.Module, encoders: Iterable[str], active: bool, merged: bool
    ) -> AdapterStatus:
        """The status of one adapter.

        Args:
            name: of the adapter.
            method: of its configuration.
            group: its modules.
            encoders: the encoder of each site that it acts on.
            active: whether it acts.
            merged: whether it is merged.
        """
        parameters = list(group.parameters())
        return cls(
            name,
            method,
            active,
            merged,
            all(p.requires_grad for p in parameters),
            sum(p.numel() for p in parameters),
            ", ".join(sorted({str(p.device) for p in parameters})),
            ", ".join(sorted({str(p.dtype).removeprefix("torch.") for p in parameters})),
            dict(Counter(encoders)),
        )

    def _cells(self) -> tuple[str, ...]:
        yes = {True: "yes", False: "no"}
        sites = ", ".join(f"{encoder} {count}" for encoder, count in self.sites.items())
        flags = (yes[self.active], yes[self.merged], yes[self.trained])
        return (self.name, self.method, *flags, f"{self.parameters:,}", self.device, self.dtype, sites)


class AdapterTable(tuple[AdapterStatus, ...]):
    """The status of all adapters of a model, in the order in which they were added; its ``repr`` is a
    table.
    """

    def __repr__(self) -> str:
        if not self:
            return "no adapters"
        rows = [_HEADER, *(status._cells() for status in self)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )
