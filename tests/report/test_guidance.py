"""The rule that makes the book's advice, by hand: of the best and all that are comparable to it, the one that
trains the fewest parameters.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.report.made_up import CELL, band, exact, runs_of
from transrec_core.report.comparisons import FULL, compare
from transrec_core.report.curves import Axis
from transrec_core.report.evidence import gather
from transrec_core.report.guidance import by_users, choice, effects, from_real_data, within
from transrec_core.report.variants import BASE_POINT
from transrec_core.study.profile import Variant

#: One of a thousand users.
RARE = np.arange(2000) % 1000 == 99
SHARE = Axis.of_shares("target share", ("10 %",), last=1.0)


def option(method: str, hits: np.ndarray, trained: int | None, seeds: int = 3):
    facts = {} if trained is None else {"trainable_parameters": trained}
    return exact(method, hits, seeds, **facts)


def test_of_the_comparable_the_one_with_the_fewest_parameters_is_used():
    chosen = choice(
        {
            "full": option("full", band(0, 30) | RARE, 1000),
            "houlsby": option("houlsby", band(1, 30), 100),  # comparable: two of a hundred users differ
            "head": option("head", band(0, 20), 10),  # cheaper and worse
            "lora": option("lora", band(1, 30), 200),  # comparable and dearer than Houlsby
        }
    )
    assert (chosen.use, chosen.best, chosen.undecided) == ("houlsby", "full", ())
    assert chosen.quality.mean == pytest.approx(0.30, abs=1e-5) and chosen.quality.seeds == 3


def test_the_cheapest_may_be_the_best_itself():
    options = {
        "full": option("full", band(1, 30), 1000),
        "houlsby": option("houlsby", band(0, 31), 100),
        "lora": option("lora", band(0, 31), 200),
    }
    assert (choice(options).best, choice(options).use) == ("houlsby", "houlsby")


def test_what_cannot_be_told_from_the_best_is_named_and_not_chosen():
    """As many users are lost as gained, but there are too few of them to show that this does not matter."""
    chosen = choice(
        {
            "full": option("full", band(0, 30, 1000), 1000),
            "houlsby": option("houlsby", band(4, 30, 1000), 100),
            "head": option("head", band(0, 10, 1000), 10),
        }
    )
    assert (chosen.use, chosen.undecided) == ("full", ("houlsby",))


@pytest.mark.slow
def test_the_best_has_the_highest_mean_whatever_its_place():
    options = {
        "head": option("head", band(0, 20), 10),
        "full": option("full", band(0, 30), 1000),
        "scratch": option("scratch", band(0, 25), 1000),
    }
    for order in (options, dict(reversed(options.items()))):
        assert (choice(order).best, choice(order).use) == ("full", "full")


@pytest.mark.slow
def test_ties_go_to_the_best_and_then_to_the_first():
    same = band(0, 30)
    tied = {m: option(m, same, 100) for m in ("lora", "houlsby", "pfeiffer")}
    assert choice(tied).use == choice(tied).best == "lora"
    behind = {
        "full": option("full", band(0, 30), 1000),
        "pfeiffer": option("pfeiffer", band(1, 30), 100),
        "houlsby": option("houlsby", band(1, 30), 100),
    }
    assert choice(behind).use == "pfeiffer"
    equal_costs = {
        "houlsby": option("houlsby", band(1, 30), 100),
        "lora": option("lora", band(0, 30) | RARE, 100),
    }
    assert choice(equal_costs).use == choice(equal_costs).best == "lora"


def test_a_single_option_is_used():
    chosen = choice({"full": option("full", band(0, 30), 1000, seeds=1)})
    assert (chosen.use, chosen.best, chosen.undecided) == ("full", "full", ())
    assert chosen.quality.seeds == 1


def test_a_control_that_says_nothing_of_parameters_trains_none():
    options = {
        "full": option("full", band(0, 30), 1000),
        "frozen": option("frozen", band(1, 30), None, seeds=1),
    }
    assert choice(options).use == "frozen"
    options["frozen"] = option("frozen", band(0, 20), None, seeds=1)
    assert choice(options).use == "full"


def test_the_options_are_one_family():
    """A difference that is shown alone need not be shown among many: the corrected tests leave it open."""
    place = np.arange(2000) % 200
    shaky = (place < 57) | (place >= 197)  # three of the sixty that are hit otherwise, and three others
    pair = {"full": option("full", place < 60, 1000), "lora": option("lora", shaky, 10)}
    many = pair | {f"worse {n}": option("head", place < 30, 5) for n in range(14)}
    assert (choice(pair).use, choice(pair).undecided) == ("lora", ())
    assert (choice(many).use, choice(many).undecided) == ("full", ("lora",))


def test_advice_by_users_has_a_line_for_each_share_with_a_choice():
    few = (("target share", "10 %"),)
    runs = {
        FULL: option("full", band(0, 30), 1000),
        Variant("head"): option("head", band(0, 20), 10),
        Variant("frozen"): option("frozen", band(0, 15), 0, seeds=1),
        Variant("full", few): option("full", band(0, 12), 1000),
        Variant("head", few): option("head", band(0, 14), 10),
    }
    advice = by_users(runs, CELL, SHARE, 1800, ("full", "head", "lora"))
    assert [a.given for a in advice] == ["180 users, informative titles", "1,800 users, informative titles"]
    assert [a.choice.use for a in advice] == ["frozen", "full"]  # the source model is the same at each share
    alone = {v: r for v, r in runs.items() if v.method != "head"}
    assert by_users(alone, CELL, SHARE, 1800, ("full", "head", "lora")) == []


def test_advice_within_a_budget_chooses_among_what_keeps_it():
    runs = runs_of(full=option("full", band(0, 30), 1000), lora=option("lora", band(0, 20), 10))
    advice = within(runs, CELL, {"full": 2.0, "lora": 0.9}, (1.0, 0.5, 0.1), "time")
    assert [a.choice.use for a in advice] == ["full", "lora"]
    assert advice[1].given == "at most 0.5 of full fine-tuning's time, informative titles"
    assert advice[1].where.startswith("embedded; its step takes 0.45 of full fine-tuning's time")


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "lines"), [({1, 2}, 0), ({1, 2, 3}, 1)])
def test_real_data_advise_once_enough_seeds_are_there(seeds, lines, real, recorded):
    evidence = gather(real, recorded("rq1-instruments", seeds))
    advice = from_real_data(evidence, Axis.of_shares("target share", ("10 %", "30 %"), last=1.0))
    assert len(advice) == lines
    for entry in advice:
        assert entry.given == "3,000 users, instruments, titles" and entry.where == "real"
        assert entry.choice.use in ("full", "houlsby")


def test_changes_are_sorted_by_what_they_bring():
    def changed(level: str, hits: np.ndarray, trained: int):
        return {Variant("houlsby", (("size", level),)): option("houlsby", hits, trained)}

    runs = {FULL: option("full", band(0, 30), 1000), BASE_POINT: option("houlsby", band(0, 30), 100)}
    runs |= changed("1/1", band(1, 30), 10) | changed("4/2", band(0, 25), 20)
    runs |= changed("64/32", band(0, 35), 400) | changed("16/8", band(1, 30), 100)
    sorted_ = effects(compare(runs, BASE_POINT, [v for v in runs if v.levels]))
    levels = {
        kind: [c.variant.levels[0][1] for c in getattr(sorted_, kind)]
        for kind in ("cheaper", "better", "worse")
    }
    assert levels == {"cheaper": ["1/1"], "better": ["64/32"], "worse": ["4/2"]}
    assert sorted_.base.variant == BASE_POINT
