"""What comparisons say in words."""

from __future__ import annotations

from tests.report.made_up import CELL, band, exact, runs_of
from transrec_core.evaluation.statistics import Crossing
from transrec_core.report.comparisons import FULL, Contender, compare, pareto
from transrec_core.report.estimates import Estimate
from transrec_core.report.hypotheses import Notes
from transrec_core.report.sentences import (
    best_lines,
    control_lines,
    crossing_line,
    factor_lines,
    front_lines,
    group_line,
    missing_sentence,
    note_lines,
    open_lines,
    step_cost_line,
    step_size_line,
    verdict_lines,
)
from transrec_core.report.stepcosts import StepCost
from transrec_core.report.variants import BASE_POINT
from transrec_core.study.profile import Cell, Variant

TITLE = "Informative titles, SASRec objective"
RUNS = runs_of(
    full=exact("full", band(0, 30), trainable_parameters=1000),
    houlsby=exact("houlsby", band(0, 25), trainable_parameters=100),
    head=exact("head", band(0, 10), trainable_parameters=2),
    scratch=exact("scratch", band(0, 28), trainable_parameters=1000),
    popularity=exact("popularity", band(0, 10), seeds=1),
)


def test_verdicts_in_words():
    (line,) = verdict_lines({CELL: compare(RUNS)})
    assert line.startswith(f"- *{TITLE}*: Houlsby is **worse** (-5.0 points [-")
    assert "10 % of the trained parameters); head only is **worse**" in line
    assert "0.2 % of the trained parameters). Source interactions are worth +2.0 points [+" in line
    (line,) = control_lines({CELL: compare(RUNS)})
    assert line.startswith("- *Informative titles*, against full fine-tuning: popularity is **worse** (-20.0")
    (line,) = control_lines({CELL: compare({FULL: RUNS[FULL]})})
    assert line.endswith("no control is recorded.")


def test_what_is_missing_is_named():
    assert missing_sentence({CELL: []}) == "All that was planned is recorded."
    variant = Variant("lora", (("size", "4/2"),))
    text = missing_sentence({CELL: [variant]})
    assert text.startswith("Planned and not recorded, or damaged: informative titles") and "size=4/2." in text


def test_changes_are_sorted_by_their_verdicts():
    change = Variant("houlsby", (("position", "ffn"),))
    compared = compare({**RUNS, change: exact("houlsby", band(0, 15))}, BASE_POINT, [change])
    assert factor_lines(compared) == [
        "- Better than the base point: none.",
        "- Comparable to it: none.",
        "- Worse: position: behind feed-forward only (-10.0).",
        "- Can't be told: none.",
    ]
    few = {FULL: exact("full", band(0, 30, 500)), BASE_POINT: exact("houlsby", band(3, 30, 500))}
    (line,) = open_lines(compare(few), CELL)
    assert line.startswith("- informative titles, Houlsby: +0.0 points, ") and "0.9 would matter" in line


def test_crossings_are_certain_seen_or_neither():
    assert crossing_line("x", Crossing(0.3, 0.2, 0.5, 1.0, True)) == "- *x*: at 30 % of the users [20, 50]."
    assert "none seen (a change of sign in 4 %" in crossing_line("x", Crossing(0.3, 0.2, 0.5, 0.04, True))
    for share, certain in ((1.0, False), (0.5, True)):
        assert "undecided" in crossing_line("x", Crossing(0.3, 0.2, 0.5, share, certain))


def test_the_best_group_in_words():
    def group(*methods: str, behind: str) -> list[Contender]:
        near, far = Estimate(0.0, -0.01, 0.01), Estimate(-0.05, -0.06, -0.04)
        return [*(Contender(m, near, True) for m in methods), Contender(behind, far, False)]

    other = Cell(modality="image", methods=("full",))
    groups = {CELL: group("lora", "houlsby", behind="side"), other: group("houlsby", behind="lora")}
    first, second, shared = best_lines(groups)
    assert first.startswith(f"- *{TITLE}*: **LoRA** has the highest mean; not to be told from it: Houlsby. ")
    assert first.endswith(
        "side network (-5.0 points [-6.0, -4.0]), the last side network (-5.0 [-6.0, -4.0])."
    )
    assert "not to be told from it: none." in second
    assert shared == "- In the best group of every cell: Houlsby."
    front = pareto(compare(RUNS))
    assert front_lines({CELL: front}) == [f"- *{TITLE}*: head only → Houlsby → full fine-tuning."]
    line = group_line(CELL, groups[CELL], front)
    assert "best one: LoRA, Houlsby. Worth their parameters: head only, Houlsby, full" in line


def test_what_a_step_costs_in_words():
    costs = {"full": 2.0, "lora": 1.0, "side": 0.5, "houlsby": 1.4, "head": 0.1}
    line = step_cost_line(CELL, {m: StepCost(s, 1.0, 1) for m, s in costs.items()})
    assert "cheapest side network (0.25), dearest Houlsby (0.70), median of the adapters 0.50." in line
    del costs["lora"]
    line = step_cost_line(CELL, {m: StepCost(s, 1.0, 1) for m, s in costs.items()})
    assert "median of the adapters 0.47" in line or "median of the adapters 0.48" in line


def test_what_is_to_be_noticed():
    lines = note_lines(Notes(above=(), below=("head",), late=("full",), flat=()))
    assert "none, so that nothing can be ranked here." in lines[0] and lines[1].endswith("head only.")
    assert not any("ranked" in line for line in note_lines(Notes(("full",), (), (), ())))


def test_neighbours_of_a_chosen_step_size():
    line = step_size_line(CELL, "houlsby")
    assert line.startswith(f"- *{TITLE}*: chosen 0.0") and "step size 0.0" in line and line.endswith(" %.")
