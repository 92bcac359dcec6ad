"""What a model recommends to one user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import overload

from transrec_core.data.ids import Id

CHANGES_NO_RESULT = True


@dataclass(frozen=True, repr=False)
class Recommendations(Sequence[tuple[Id, float]]):
    """Items for one user, best first: a sequence of pairs (id, score).

    Attributes:
        ids: the items' ids.
        scores: u . v of user and item vector; comparable for one user only.
        titles: the items' titles, if the model knows them.
    """

    ids: list[Id]
    scores: list[float]
    titles: list[str] | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, place: int) -> tuple[Id, float]: ...

    @overload
    def __getitem__(self, place: slice) -> list[tuple[Id, float]]: ...

    def __getitem__(self, place: int | slice) -> tuple[Id, float] | list[tuple[Id, float]]:
        return list(zip(self.ids, self.scores, strict=True))[place]

    def __repr__(self) -> str:
        first = ", ".join(f"{value} ({score:.3f})" for value, score in self[:5])
        return f"<{len(self)} recommendations: {first}{', ...' if len(self) > 5 else ''}>"

    def __str__(self) -> str:
        width = max((len(str(value)) for value in self.ids), default=0)
        titles = self.titles or [""] * len(self)
        rows = zip(self.ids, self.scores, titles, strict=True)
        return "\n".join(
            f"{rank:>3}  {value!s:<{width}}  {score:8.3f}  {title}".rstrip()
            for rank, (value, score, title) in enumerate(rows, 1)
        )
