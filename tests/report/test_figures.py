"""Figures hold what they are given, and nothing else."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest

from tests.report.made_up import CELL, band, exact, runs_of
from transrec_core.report.comparisons import adaptations, compare
from transrec_core.report.crossed import crossed_points
from transrec_core.report.curves import Axis, curve
from transrec_core.report.diagram import draw_model
from transrec_core.report.figures import plot_costs, plot_crossed, plot_curves, plot_forest, plot_pareto
from transrec_core.report.variants import BASE_POINT
from transrec_core.study.profile import Variant


def costly(method: str, share: int, trained: int):
    return exact(method, band(0, share), trainable_parameters=trained, train_seconds=trained / 100.0)


RUNS = runs_of(
    full=costly("full", 30, 1000),
    houlsby=costly("houlsby", 28, 100),
    lora=costly("lora", 20, 200),
    head=costly("head", 10, 10),
    popularity=exact("popularity", band(0, 12), seeds=1),
)
FFN = Variant("houlsby", (("position", "ffn"),))


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.mark.slow
def test_points_are_named_and_the_front_is_joined():
    figure = plot_pareto({"a cell": adaptations(compare(RUNS)), "again": adaptations(compare(RUNS))})
    axis, _ = figure.axes
    assert {text.get_text() for text in axis.texts} == {"full fine-tuning", "Houlsby", "LoRA", "head only"}
    bold = {text.get_text() for text in axis.texts if text.get_fontweight() == "bold"}
    assert bold == {"full fine-tuning", "Houlsby", "head only"}
    front = axis.lines[0].get_xydata()
    assert front[:, 0].tolist() == [10, 100, 1000] and front[:, 1] == pytest.approx([10, 28, 30])


def test_costs_show_controls_as_lines_and_methods_as_points():
    figure = plot_costs({CELL: compare(RUNS)})
    parameters, seconds = figure.axes
    assert parameters.get_xscale() == "log" and seconds.get_xlim()[0] == 0
    assert len(parameters.collections[0].get_offsets()) == 4  # popularity trains nothing
    assert [line.get_ydata()[0] for line in parameters.lines] == pytest.approx([12])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["full fine-tuning", "Houlsby", "LoRA", "head only", "oracle", "popularity"]


def test_a_forest_has_a_row_for_each_change():
    runs = {**RUNS, FFN: exact("houlsby", band(0, 20))}
    figure = plot_forest({"a cell": compare(runs, BASE_POINT, [FFN, Variant("head")])})
    (axis,) = figure.axes
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names == ["head only", "position: behind feed-forward only"]
    margin = axis.patches[0]
    assert margin.get_x() == pytest.approx(-0.9) and margin.get_width() == pytest.approx(1.8)


def test_crossed_and_curves():
    crossed = {BASE_POINT: costly("houlsby", 20, 1), FFN: costly("houlsby", 25, 1)}
    figure = plot_crossed(crossed_points(crossed), "a cell")
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["behind both", "behind feed-forward only"]
    axis = Axis.of_shares("target share", ("10 %",), last=1.0)
    runs = {**RUNS, Variant("full", (("target share", "10 %"),)): costly("full", 15, 1)}
    figure = plot_curves({"a cell": curve(runs, axis)}, "share", {"a cell": {"popularity": 0.12}})
    (drawn,) = figure.axes
    assert [label.get_text() for label in drawn.get_xticklabels()] == ["10", "100"]
    assert drawn.lines[0].get_ydata() == pytest.approx([15, 30])
    assert [text.get_text() for text in drawn.texts] == ["popularity"]


def test_the_model_is_drawn():
    texts = {text.get_text() for text in draw_model().axes[0].texts}
    assert {"attention", "adapter", "feed-forward"} <= texts
