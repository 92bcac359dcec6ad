"""A study of one's own, as the book's page describes it, literally: from two folders to verdicts."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.helpers import command
from transrec_core.base.files import sha256_of
from transrec_core.study.grids import load_study, question_specs
from transrec_core.study.step_sizes import PROFILES, Untuned
from transrec_core.study.store import Store

PAGE = (Path(__file__).parents[2] / "book" / "own_study.md").read_text()
STUDY = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1]
COMMANDS = re.findall(r"^transrec ((?:tune|study|verdicts) .*)$", PAGE, re.MULTILINE)
BUDGET = ("steps: 300, min_steps: 300, eval_every: 100", "steps: 4, min_steps: 0, eval_every: 2")


def written(place: Path, *changes: tuple[str, str]) -> None:
    """The page's file, with much smaller budgets."""
    text = STUDY
    for old, new in (BUDGET, *changes):
        assert old in text
        text = text.replace(old, new)
    (place / "own.yaml").write_text(text)


def packaged() -> dict[str, str]:
    return {path.name: sha256_of(path) for path in PROFILES.iterdir()}


@pytest.mark.slow
def test_the_page_as_it_stands(folders, encoder, tmp_path, monkeypatch, capsys):
    for name, origin in (("games", folders / "a"), ("instruments", folders / "b"), ("encoder", encoder)):
        shutil.copytree(origin, tmp_path / name)
    written(tmp_path, ("seeds: [1, 2, 3]", "seeds: [1, 2]"), ("houlsby, lora, head", "houlsby"))
    monkeypatch.chdir(tmp_path)
    before = packaged()
    with pytest.raises(Untuned, match="full has no step size for shops-text-sasrec; `transrec tune` chooses"):
        question_specs(*load_study("own.yaml", "laptop"))
    output = {}
    for line in COMMANDS:
        status, output[line], errors = command(*line.split(), monkeypatch=monkeypatch, capsys=capsys)
        assert status == 0, errors
    assert packaged() == before  # nothing of the package's own was touched
    chosen = yaml.safe_load(Path("own.step_sizes.yaml").read_text())["shops-text-sasrec"]
    assert set(chosen) == {"full", "houlsby", "scratch", "item_id"}
    assert all(entry["chosen"] in entry["valid NDCG@10"] for entry in chosen.values())
    assert len(chosen["houlsby"]["valid NDCG@10"]) == 3
    plan = question_specs(*load_study("own.yaml", "laptop"))
    assert len(plan) == 4 * 2 + 3 and all(Store("runs").has(run_id) for run_id in plan)
    assert {spec.training.lr.adapter for _, v, spec in plan.values() if v.method == "houlsby"} == {
        chosen["houlsby"]["chosen"]
    }
    assert "11 runs, 11 to run" in output["study own.yaml --dry-run"]
    assert "11 runs, 11 recorded in runs, 0 failed" in output["study own.yaml"]
    table = output["verdicts own.yaml"]
    assert "Shops, titles" in table and "reference" in table and "not recorded" not in table
    assert all(name in table for name in ("Houlsby", "HR@10 (%)", "minus full", "verdict"))
    # A method that comes later: told, tuned alone, and its absence is output.
    written(tmp_path, ("seeds: [1, 2, 3]", "seeds: [1, 2]"), ("houlsby, lora, head", "houlsby, head"))
    status, _, errors = command("study", "own.yaml", monkeypatch=monkeypatch, capsys=capsys)
    assert status == 2 and "head has no step size" in errors[0] and len(errors) == 1
    _, table, _ = command("verdicts", "own.yaml", monkeypatch=monkeypatch, capsys=capsys)
    assert "not all seeds: head; `transrec study` runs them" in table and "Houlsby" in table
    command("tune", "own.yaml", monkeypatch=monkeypatch, capsys=capsys)
    again = yaml.safe_load(Path("own.step_sizes.yaml").read_text())["shops-text-sasrec"]
    assert again.pop("head")["chosen"] in (0.0003, 0.001, 0.003) and again == chosen


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("seeds: [1, 2, 3] ", "seeds: 1 ")], "own.yaml: seeds: should be a list, [a, b, c], not 1"),
        ([("methods: [full, houlsby, lora, head, scratch]", "methods: full")], "methods: should be a list"),
        ([("lora, head", "lorra, head")], "no method 'lorra'; did you mean 'lora'?"),
        ([("      encoder: encoder ", "      # ")], "encoder 'world' reads nothing but the embedded world"),
        ([("target: {folder: instruments,", "target: {")], "one is the embedded world; name two"),
        ([("      lora: [0.0003, 0.001, 0.003]\n", "")], "no step sizes to choose from for lora"),
        ([("      head: [0.0003, 0.001, 0.003]", "      head: [0.001]")], "same number of step sizes"),
        ([("encoder: encoder ", "encoder: ../bertsmal ")], "encoder '../bertsmal': no such folder"),
    ],
)
def test_a_mistake_is_one_line(changes, message, folders, encoder, tmp_path, monkeypatch, capsys):
    for name, origin in (("games", folders / "a"), ("instruments", folders / "b"), ("encoder", encoder)):
        (tmp_path / name).symlink_to(origin)
    written(tmp_path, *changes)
    monkeypatch.chdir(tmp_path)
    status, _, errors = command("tune", "own.yaml", "--workers", "1", monkeypatch=monkeypatch, capsys=capsys)
    lines = [line for line in errors if line.startswith("error")]
    assert status == 2 and len(lines) == 1 and message in lines[0], errors
    assert not Path("own.step_sizes.yaml").exists()
