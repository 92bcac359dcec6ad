"""What a profile is made of: cells (which comparison), factors (what is varied in one), questions, and pairs
of real data sets.

A *cell* is one comparison: where the data come from, a modality, an objective, and the methods compared
there. A *factor* is one thing that is varied in a cell (where an adapter sits, how much data there is), each
of its levels a few changes of the specification.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from transrec_core.base.config import StrictModel
from transrec_core.base.errors import UserError
from transrec_core.study.step_sizes import grids, packaged_table, tuned


class Factor(StrictModel):
    """One thing that is varied.

    Attributes:
        methods: what it is varied for.
        levels: by name, changes ``{"adapter.position": "ffn"}`` of the specification. The value "=seed"
            stands for the run's seed; the key ``tuning`` names the entry of :attr:`Profile.tunings` whose
            step sizes are used. The level that the cell has anyway is not listed.
    """

    methods: tuple[str, ...] = Field(min_length=1)
    levels: dict[str, dict[str, Any]] = Field(min_length=1)


class Pair(StrictModel):
    """A source and a target data set on disk.

    Attributes:
        spec: fields of :class:`RunSpec`, laid over those that all runs share.
        grids: step sizes to choose from, by method, all of one length.
        by_method: fields that some methods have besides, e.g. a step size that is not tuned.
        controls: in place of the profile's.
    """

    spec: dict[str, Any]
    grids: dict[str, tuple[float, ...]]
    by_method: dict[str, dict[str, Any]] = {}
    controls: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _equal_budgets(self) -> Pair:
        if len({len(grid) for grid in self.grids.values()}) != 1:
            raise ValueError("every method gets the same number of step sizes (grids)")
        return self


class Cell(StrictModel):
    """One comparison, on the embedded world or on a pair of real data sets.

    Attributes:
        pair: a name in :attr:`Profile.pairs`; None is the embedded world.
        titles: of the embedded world.
        methods: compared with each other.
        vary: names of factors (:attr:`Profile.factors`), varied one at a time.
        cross: groups of factors that are varied together, all combinations of their levels.
    """

    pair: str | None = None
    modality: Literal["text", "image"]
    titles: Literal["informative", "vague"] = "informative"
    objective: Literal["sasrec", "cpc"] = "sasrec"
    methods: tuple[str, ...]
    vary: tuple[str, ...] = ()
    cross: tuple[tuple[str, ...], ...] = ()

    @property
    def name(self) -> str:
        """Key of the cell in files: pair, modality, titles, objective."""
        where = (
            [self.pair, self.modality]
            if self.pair
            else [self.modality, *([self.titles] if self.modality == "text" else [])]
        )
        return "-".join([*where, self.objective])

    @property
    def content(self) -> str:
        """What tells the items apart, in words."""
        if self.pair is None:
            return f"{self.titles} titles" if self.modality == "text" else "pictures"
        words = {"text": "titles", "image": "pictures"}[self.modality]
        place, _, kind = self.pair.partition("-")
        return f"{place}{f' ({kind} encoder)' if kind not in ('', words) else ''}, {words}"

    @property
    def title(self) -> str:
        """The cell in words, for headings."""
        return f"{self.content}, {self.objective.upper() if self.objective == 'cpc' else 'SASRec'} objective"


class Variant(NamedTuple):
    """A method with some factors at other levels than the cell's own; with none of them, the method
    itself.
    """

    method: str
    levels: tuple[tuple[str, str], ...] = ()  # (factor, level)

    def label(self) -> str:
        """The variant in one line."""
        return " ".join([self.method, *(f"{factor}={level}" for factor, level in self.levels)])


class Question(StrictModel):
    """What a research question compares.

    Attributes:
        seeds: of the adaptation.
        cells: in the order of worth.
    """

    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]


class Profile(StrictModel):
    """How big a study is.

    Attributes:
        controls: methods that every cell gets besides its own (one run each if nothing in them is random).
        base: fields of :class:`RunSpec` that all runs share.
        overrides: fields by modality, laid over the base.
        questions: by name ("rq1").
        pairs: real data sets, by name.
        factors: what can be varied, by name.
        step_sizes: name of the file of chosen step sizes, see :mod:`transrec_core.study.step_sizes`.
        own_step_sizes: that of a study of one's own, which comes before it.
        tunings: by name, the changes under which further step sizes are chosen.
    """

    controls: tuple[str, ...]
    base: dict[str, Any]
    overrides: dict[str, dict[str, Any]] = {}
    pairs: dict[str, Pair] = {}
    factors: dict[str, Factor] = {}
    step_sizes: str = "step_sizes"
    own_step_sizes: Path | None = None
    tunings: dict[str, dict[str, Any]] = {}
    questions: dict[str, Question]

    @model_validator(mode="after")
    def _only_known_names(self) -> Profile:
        for name, question in self.questions.items():
            for cell in question.cells:
                if cell.pair is not None and cell.pair not in self.pairs:
                    known = ", ".join(self.pairs)
                    raise ValueError(f"question {name}: no pair '{cell.pair}' (there are: {known})")
                for factor in (*cell.vary, *itertools.chain(*cell.cross)):
                    if factor not in self.factors:
                        known = ", ".join(self.factors)
                        raise ValueError(
                            f"question {name}, cell {cell.name}: no factor '{factor}' (there are: {known})"
                        )
        for name, varied in self.factors.items():
            for level, changes in varied.levels.items():
                tuning = changes.get("tuning")
                if tuning is not None and tuning not in self.tunings:
                    known = ", ".join(self.tunings)
                    raise ValueError(
                        f"factor {name}, level {level}: no tuning '{tuning}' (there are: {known})"
                    )
        return self

    def controls_of(self, cell: Cell) -> tuple[str, ...]:
        """The controls that a cell gets; only the embedded world has an oracle."""
        if cell.pair is None:
            return self.controls
        chosen = self.pairs[cell.pair].controls
        return chosen if chosen is not None else tuple(name for name in self.controls if name != "oracle")

    def grid_of(self, cell: Cell) -> dict[str, tuple[float, ...]]:
        """The step sizes that each method chooses from in a cell."""
        return self.pairs[cell.pair].grids if cell.pair else grids()

    @property
    def step_size_tables(self) -> tuple[Path, ...]:
        """Files of chosen step sizes; what is tuned goes into the first."""
        packaged = packaged_table(self.step_sizes)
        return (packaged,) if self.own_step_sizes is None else (self.own_step_sizes, packaged)

    def step_size(self, cell: Cell, method: str, tuning: str | None = None) -> float:
        """The chosen step size of a method in a cell.

        Args:
            cell: one of this profile's.
            method: the method's name.
            tuning: a name in :attr:`tunings`.

        Raises:
            Untuned: if it was never tuned.
        """
        return tuned(self.step_size_tables, cell.name, method, tuning)

    def question(self, name: str, shift: int = 0) -> Question:
        """A question.

        Args:
            name: what it is called.
            shift: is added to its seeds.

        Raises:
            UserError: if the profile does not ask it.
        """
        if name not in self.questions:
            raise UserError(f"this profile has no question '{name}' (it has: {', '.join(self.questions)})")
        question = self.questions[name]
        return question.model_copy(update={"seeds": tuple(seed + shift for seed in question.seeds)})
