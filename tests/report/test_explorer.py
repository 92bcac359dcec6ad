"""The scatter over all settings, and the table of all runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.made_up import CELL, band, exact, runs_of
from transrec_core.report import overview
from transrec_core.report.explorer import explorer, explorer_frames
from transrec_core.study.profile import Variant

FACTS = {"trainable_parameters": 100, "train_seconds": 2.0, "peak_memory_mb": 5.0, "best_step": 50}


def test_every_trained_setting_is_a_point():
    small = Variant("houlsby", (("size", "4/2"),))
    runs = {
        **runs_of(full=exact("full", band(0, 30), **FACTS), popularity=exact("popularity", band(0, 10), 1)),
        small: exact("houlsby", band(0, 20), **FACTS),
    }
    frames = explorer_frames({"rq3": {CELL: runs}, "rq4": {CELL: {}}})
    ((title, frame),) = frames.items()
    assert title == "RQ3: informative titles, SASRec"
    assert list(frame["name"]) == ["full fine-tuning", "Houlsby, size: 4/2"]
    assert list(frame["HR@10 (%)"]) == pytest.approx([30, 20]) and list(frame["seeds"]) == [3, 3]
    figure = explorer(frames)
    (trace,) = figure.data
    assert list(trace.x) == [100, 100] and "Houlsby, size: 4/2" in trace.text[1]
    names = [button.args[1]["xaxis.title.text"] for button in figure.layout.updatemenus[0].buttons]
    assert set(names) <= set(frame.columns)


@pytest.mark.slow
def test_all_runs_know_where_they_belong():
    frame, damaged, other_code = overview.all_runs({"recorded": Path("results/study")})
    assert damaged.empty and 0 <= other_code <= len(frame) and (frame["question"] != "").all()
    assert set(frame["method"]) >= {"full fine-tuning", "Houlsby", "popularity"}
    assert frame["repeat"].str.startswith("transrec repeat ").all()
