"""Two ways of doing the same, timed in turns, and the table of such comparisons."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Times = list[tuple[float, float]]


@dataclass
class Row:
    """One line of the table.

    Attributes:
        part: of the benchmark.
        what: was compared.
        baseline: what it was compared with.
        unit: of both sides.
        before: the baseline's side.
        after: ours.
        ratio: median over the pairs.
        low: smallest ratio.
        high: largest.
        pairs: how many.
        goal: that was set for the ratio.
        note: what to know.
    """

    part: str
    what: str
    baseline: str
    unit: str
    before: float
    after: float
    ratio: float
    low: float
    high: float
    pairs: int
    goal: float
    note: str = ""

    @classmethod
    def once(
        cls,
        part: str,
        what: str,
        baseline: str,
        unit: str,
        before: float,
        after: float,
        goal: float,
        note: str,
    ) -> Row:
        """What was measured once on each side."""
        ratio = before / after
        return cls(part, what, baseline, unit, before, after, ratio, ratio, ratio, 1, goal, note)

    @property
    def reached(self) -> bool:
        return self.ratio >= self.goal


def turns(before: Callable[[], object], after: Callable[[], object], pairs: int) -> Times:
    """Seconds of both in turns."""
    times = []
    for _ in range(pairs):
        began = time.perf_counter()
        before()
        middle = time.perf_counter()
        after()
        times.append((middle - began, time.perf_counter() - middle))
    return times


def summary(times: Times) -> tuple[float, float, float, float, float]:
    """Median seconds of each side, and the median, smallest and largest of the pairs' ratios."""
    ratios = sorted(a / b for a, b in times)
    slow, fast = (statistics.median(t) for t in zip(*times, strict=True))
    return slow, fast, statistics.median(ratios), ratios[0], ratios[-1]


def side_by_side(
    before: Callable[[], object], after: Callable[[], object], pairs: int
) -> tuple[float, float, float, float, float]:
    """Both in turns, the first turn not counted: see :func:`summary`."""
    before(), after()
    return summary(turns(before, after, pairs))


def show(rows: list[Row]) -> None:
    """Prints the table."""
    print(
        f"{'what':<72} {'baseline':>20} {'before':>10} {'after':>10}      {'ratio':>7} "
        f"{'[least, most]':>16} {'goal':>6}"
    )
    for r in rows:
        spread = f"[{r.low:.1f}, {r.high:.1f}]" if r.pairs > 1 else ""
        print(
            f"{r.what:<72} {r.baseline:>20} {r.before:10.3f} {r.after:10.3f} {r.unit:<4} {r.ratio:7.1f} "
            f"{spread:>16} {r.goal:6.1f}  {'reached' if r.reached else 'MISSED'}\n    {r.note}",
            flush=True,
        )
