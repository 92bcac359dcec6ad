"""From histories in ids to recommendations in ids, and from titles to item vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from transrec_core.base.errors import UserError
from transrec_core.data.catalog import Catalog
from transrec_core.data.domain import Domain
from transrec_core.data.frames import Columns, read_items
from transrec_core.data.ids import Id
from transrec_core.data.interactions import Interactions
from transrec_core.data.reading import Reader
from transrec_core.models.items import KnownItems, check_readable
from transrec_core.models.recommendations import Recommendations
from transrec_core.models.roles import Roles
from transrec_core.models.spec import ModelSpec

if TYPE_CHECKING:
    import pandas as pd

CHANGES_NO_RESULT = True

#: Scores held at once, users x items.
SCORES_AT_ONCE = 1 << 20
#: Whole numbers as wide as a weight, by bytes: summed, they show any change of a bit.
_WHOLE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Recommender(Roles):
    """Recommending and encoding, for a host that encodes items and users."""

    spec: ModelSpec
    known: KnownItems | None
    reader: Reader | None
    _vectors: tuple[Any, Tensor] | None

    def catalogue(self, catalog: Catalog, block: int = 512) -> Tensor:
        """Vectors of all items [items + 1, d], row 0 zero."""
        raise NotImplementedError

    def user_vectors(self, histories: np.ndarray, vectors: Tensor) -> Tensor:
        """Padded histories [b, L] -> vectors of the users at their ends [b, d]."""
        raise NotImplementedError

    def remember(self, domain: Domain) -> None:
        """Makes the items of a domain those that the model recommends; ``fit`` does this.

        Args:
            domain: its items' ids (their numbers, where it has none) and content, and how new ones are read.

        Raises:
            UserError: if the model's encoder can't read them.
        """
        check_readable(self.item_encoder, domain.catalog)
        ids = domain.item_ids if domain.item_ids is not None else ["", *range(1, domain.catalog.n_items + 1)]
        self.known = KnownItems(ids, domain.catalog)
        self.reader = domain.reader or self.reader

    def add_items(
        self, items: pd.DataFrame, *, item: str = "item", title: str = "title", picture: str = "picture"
    ) -> None:
        """Adds new items to those that the model knows: they can stand in histories and be recommended.

        Nothing is trained: their vectors come from their content.

        Args:
            items: one row an item, as in ``Domain.from_frame``.
            item: column of the ids.
            title: column of the titles.
            picture: column of the pictures' paths.

        Raises:
            UserError: if an item is known already or has no title or picture, or the model can't read new
                ones.
        """
        known, reader = self._known(), self._reader()
        ids, contents = read_items(items, reader, Columns(item=item, title=title, picture=picture))
        catalog = reader.catalog(contents)
        check_readable(self.item_encoder, catalog)
        self.known = known.extended(ids, catalog)

    def item_vectors(self) -> Tensor:
        """Vectors of the items that the model knows [items + 1, d], row 0 zero.

        Computed once, and again when weights, active adapters or items have changed.
        """
        known = self._known()
        state = (known.catalog, self._weights_state())
        if self._vectors is None or self._vectors[0][0] is not state[0] or self._vectors[0][1] != state[1]:
            self._vectors = (state, self.catalogue(known.catalog))
        return self._vectors[1]

    def _weights_state(self) -> tuple[Any, ...]:
        """What item vectors depend on, besides the items: equal if nothing has changed.

        PyTorch counts changes of a tensor, but not those by a fused optimiser: what trains is summed as well,
        as integers, so that a changed bit changes the sum.
        """
        parts = []
        for name, parameter in self.named_parameters():
            if not name.startswith("user_encoder."):
                bits = parameter.detach().view(_WHOLE[parameter.element_size()])
                total = int(bits.sum(dtype=torch.int64)) if parameter.requires_grad else 0
                version = -1 if parameter.is_inference() else parameter._version
                parts.append((name, parameter.data_ptr(), str(parameter.device), version, total))
        return (self.active_adapters, self.combine, *parts)

    def recommend(
        self,
        histories: Sequence[Id] | Sequence[Sequence[Id]],
        k: int = 10,
        exclude_history: bool = True,
        skip_unknown: bool = False,
    ) -> Recommendations | list[Recommendations]:
        """The ``k`` items with the highest scores for one user, or for each of several.

        Users need not have been there in training.

        Args:
            histories: item ids, oldest first, of one user, or a list of such lists. Only the last ``max_len``
                are read; all are excluded.
            k: how many (fewer, if the catalogue has no more).
            exclude_history: leave out what the user had.
            skip_unknown: read histories without the items that the model does not know; a history of nothing
                else gets no recommendations.

        Returns:
            :class:`Recommendations` for one history, a list of them for a list of histories.

        Raises:
            UserError: if an item is unknown, a history is empty, or the model knows no items.
        """
        if isinstance(histories, str | bytes):
            raise UserError(f"a history is a list of item ids: [{histories!r}], not {histories!r}")
        several: list[Any] = list(histories)
        if several and not isinstance(several[0], str | int | float | np.generic):
            return list(self.recommend_each(several, k, exclude_history, skip_unknown))
        numbers = self._numbers(self._known(), several, skip_unknown)
        return self._best([numbers], k, exclude_history)[0]

    def recommend_each(
        self,
        histories: Iterable[Iterable[Id]],
        k: int = 10,
        exclude_history: bool = True,
        skip_unknown: bool = False,
    ) -> Iterator[Recommendations]:
        """:meth:`recommend` for any number of users: reads histories as it goes, in bounded memory.

        Args:
            histories: item ids of each user, oldest first.
            k: how many.
            exclude_history: leave out what the user had.
            skip_unknown: read histories without unknown items.

        Yields:
            recommendations of each user, in their order.

        Raises:
            UserError: if an item is unknown, a history is empty, or the model knows no items.
        """
        known = self._known()

        def numbers() -> Iterator[np.ndarray]:
            for n, history in enumerate(histories, 1):
                try:
                    yield self._numbers(known, history, skip_unknown)
                except UserError as error:
                    raise UserError(f"history {n}: {error}") from None

        waiting, users = numbers(), max(1, SCORES_AT_ONCE // len(known.ids))
        while block := list(islice(waiting, users)):
            yield from self._best(block, k, exclude_history)

    @staticmethod
    def _numbers(known: KnownItems, history: Iterable[Id], skip_unknown: bool) -> np.ndarray:
        if isinstance(history, str | bytes):
            raise UserError(f"a history is a list of item ids: [{history!r}], not {history!r}")
        numbers = known.numbers(history, skip_unknown)
        if not len(numbers) and not skip_unknown:
            raise UserError("a history is empty; a user needs one item at least")
        return numbers

    @torch.no_grad()
    def _best(self, block: Sequence[np.ndarray], k: int, exclude_history: bool) -> list[Recommendations]:
        if k < 1:
            raise UserError(f"k={k}: ask for one item at least")
        known, training = self._known(), self.training
        some = [n for n, numbers in enumerate(block) if len(numbers)]
        best = [Recommendations([], []) for _ in block]
        if not some:
            return best
        vectors = self.item_vectors()
        histories = Interactions.from_lists([block[n].tolist() for n in some], len(known.ids) - 1)
        users, longest = np.arange(len(some)), int(histories.lengths.max())
        self.eval()
        scores = self.user_vectors(histories.padded(users, self.spec.max_len), vectors) @ vectors.T
        self.train(training)
        if torch.isnan(scores.sum()):
            raise UserError(
                "scores are not numbers: training diverged; use a smaller step size (training.lr)"
            )
        scores[:, 0] = float("-inf")
        if exclude_history:
            scores.scatter_(
                1, torch.from_numpy(histories.padded(users, longest)).to(scores.device), float("-inf")
            )
        top, items = scores.topk(min(k, len(known.ids) - 1))
        titles = getattr(known.catalog, "titles", None)
        for n, row, numbers in zip(some, top.tolist(), items.tolist(), strict=True):
            chosen = [(i, score) for i, score in zip(numbers, row, strict=True) if score > float("-inf")]
            best[n] = Recommendations(
                [known.ids[i] for i, _ in chosen],
                [score for _, score in chosen],
                [titles[i] for i, _ in chosen] if titles else None,
            )
        return best

    def encode(self, contents: str | Path | Sequence[str | Path]) -> np.ndarray:
        """Vectors of items by their content, known or not.

        Args:
            contents: titles, or paths of pictures, as the model reads; one, or a list.

        Returns:
            float32 [k, d], or [d] for a single title or path.

        Raises:
            UserError: if one is empty or can't be read, or the model can't read new ones.
        """
        single = isinstance(contents, str | Path)
        several: list[Any] = [contents] if single else list(contents)  # type: ignore[arg-type]
        empty = next((n for n, content in enumerate(several, 1) if not str(content).strip()), None)
        if empty is not None:
            raise UserError(f"content {empty} of {len(several)} is empty: there is nothing to encode")
        if not several:
            return np.zeros((0, self.spec.dim), np.float32)
        catalog = self._reader().catalog(several)
        check_readable(self.item_encoder, catalog)
        vectors = self.catalogue(catalog)[1:].cpu().numpy()
        return vectors[0] if single else vectors

    def _known(self) -> KnownItems:
        if self.known is None:
            raise UserError("the model knows no items yet: fit() tells it, or model.remember(domain)")
        return self.known

    def _reader(self) -> Reader:
        if self.reader is None:
            raise UserError(
                "the model does not know how to read new items: no tokenizer came with its encoder; "
                "model.remember(domain) of a Domain.from_frame tells it"
            )
        return self.reader
