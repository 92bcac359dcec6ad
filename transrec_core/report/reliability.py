"""What ``make reliability`` wrote: studies that were killed, and whether the intervals hold what they say."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

UNEQUAL = "not equal to an uninterrupted one"
COVERAGE = "coverage of 95 % intervals (%)"
FAMILIES = "families with a false worse or better (%)"
FALSE_COMPARABLE = "false comparable (%)"


@dataclass(frozen=True)
class Survival:
    """What became of a study that was killed again and again.

    Attributes:
        command: that made it.
        seconds: that it took.
        runs: of the study.
        caption: the command and what it ran on.
        rows: a row for each way to die.
    """

    command: str
    seconds: float
    runs: int
    caption: str
    rows: pd.DataFrame = field(repr=False)

    @property
    def kills(self) -> int:
        """How often a process was killed."""
        return int(self.rows.loc[self.rows["what"].str.startswith("SIGKILL"), "times"].sum())

    @property
    def lost(self) -> int:
        """Records that were lost."""
        return int(self.rows["records lost"].sum())

    @property
    def half_written(self) -> int:
        """Records that were half-written."""
        return int(self.rows["half-written"].sum())

    @property
    def completed(self) -> int:
        """Studies that came to their end."""
        return int(self.rows["studies completed"].sum())

    @property
    def unequal(self) -> int:
        """Of these, those with records that differ from an uninterrupted one's."""
        return int(self.rows[UNEQUAL].sum())

    def table(self) -> pd.DataFrame:
        """The rows, with blanks where nothing was counted."""
        rows = self.rows.assign(
            times=self.rows["times"].where(~self.rows["what"].str.startswith("the studies"))
        )
        rows = rows.rename(columns={UNEQUAL: f"studies {UNEQUAL}"}).astype(object).fillna("")
        return rows.map(lambda value: int(value) if isinstance(value, float) else value)


def read_survival(path: Path) -> Survival:
    """Reads what ``benchmarks/survival.py`` wrote."""
    facts = json.loads(path.read_text(encoding="utf-8"))
    environment = facts["environment"]
    caption = (
        f"{facts['command']}; {facts['cores']} cores, {environment['cpu']}, "
        f"torch {environment['versions']['torch']}"
    )
    rows = pd.DataFrame(facts["rows"])
    return Survival(facts["command"], facts["seconds"], facts["runs of the study"], caption, rows)


@dataclass(frozen=True)
class Calibration:
    """How often the statistics are wrong where the truth is known.

    Attributes:
        command: that made it.
        seconds: that it took.
        repeats: simulated studies for each row.
        users: in each.
        caption: the command and the margin.
        rows: a row for each setting.
    """

    command: str
    seconds: float
    repeats: int
    users: int
    caption: str
    rows: pd.DataFrame = field(repr=False)

    def table(self) -> pd.DataFrame:
        """The rows, rounded."""
        return self.rows.round(1)

    def sentence(self) -> str:
        """What the rows come to."""
        rows = self.rows
        outside = rows[(rows[COVERAGE] < 93) | (rows[COVERAGE] > 97)]
        five = rows[rows["seeds"] == 5]
        two, rest = (rows.loc[rows["seeds"].eq(2) == is_two, FAMILIES].max() for is_two in (True, False))
        false = int((rows[FALSE_COMPARABLE] > 5).sum())
        text = (
            f"Coverage ranges from {rows[COVERAGE].min():.1f} to {rows[COVERAGE].max():.1f} %; with five "
            f"seeds, as in the recorded study, from {five[COVERAGE].min():.1f} to "
            f"{five[COVERAGE].max():.1f} %. Rows outside 93 to 97 %: {len(outside)} of {len(rows)}. Rows "
            f"with more than 5 % false *comparable*: {false}. Families with a false verdict: {two:.1f} % at "
            f"most with two seeds, {rest:.1f} % with any other number."
        )
        if two > 7:
            text += (
                " Two seeds say too little about their own spread for the strict levels that a family needs: "
                "verdicts in tables with two seeds come too easily, which is one more reason why the "
                "recorded runs have five."
            )
        return text


def read_calibration(path: Path) -> Calibration:
    """Reads what ``benchmarks/calibration.py`` wrote."""
    facts = json.loads(path.read_text(encoding="utf-8"))
    caption = f"{facts['command']}; margin {facts['margin (points)']:.2f} points"
    rows = pd.DataFrame(facts["rows"])
    return Calibration(facts["command"], facts["seconds"], facts["repeats"], facts["users"], caption, rows)
