"""Records that were run again."""

from __future__ import annotations

import numpy as np
import pytest

from tests.report.made_up import band, exact
from transrec_core.base.errors import UserError
from transrec_core.report.ledger import repeats_table
from transrec_core.report.repeats import add_repeat, read_repeats, repeated
from transrec_core.study.record import Record


@pytest.mark.parametrize("text", ["[", "{}", "[1]"])
def test_a_wrong_file_for_repetitions_is_named_and_kept(text, tmp_path):
    path = tmp_path / "notes.json"
    path.write_text(text)
    with pytest.raises(UserError, match="notes.json"):
        add_repeat(path, {"id": "x"})
    assert path.read_text() == text


def test_a_repetition_takes_the_place_of_an_older_one(tmp_path):
    path = tmp_path / "notes.json"
    facts = {"code": "abc", "cpu": "AVX2"}
    (record,) = exact("houlsby", band(0, 30), seeds=1, ranks_sha256="one", **facts)
    (same,) = exact("houlsby", band(0, 30), seeds=1, ranks_sha256="one", **facts)
    (other,) = exact("houlsby", band(0, 10), seeds=1, ranks_sha256="two", **facts)
    add_repeat(path, repeated(record, other))
    assert repeats_table(path).iloc[0]["agrees"] == "no"
    add_repeat(path, repeated(record, same))
    (row,) = repeats_table(path).to_dict("records")
    assert (row["agrees"], row["ranks of all test cases"]) == ("yes", "equal")
    assert row["what"].startswith("Houlsby, seed 1") and row["again (%)"] == "30.00"
    add_repeat(path, {"id": "another"})
    assert [entry["id"] for entry in read_repeats(path)] == ["houlsby1", "another"]
    assert read_repeats(tmp_path / "none.json") == [] and len(repeats_table(tmp_path / "none.json")) == 0


def test_a_figure_agrees_if_it_lies_in_the_recorded_interval():
    facts = {"code": "abc", "cpu": "AVX2", "ranks_sha256": "x"}
    (record,) = exact("full", band(0, 30), seeds=1, **facts)

    def again(share: float) -> Record:
        hits = np.arange(2000) < share * 2000
        return exact("full", hits, seeds=1, **facts)[0]

    half = 1.96 * (0.3 * 0.7 / 2000) ** 0.5
    assert repeated(record, again(0.3 + 0.8 * half))["agrees"]
    assert not repeated(record, again(0.3 + 1.2 * half))["agrees"]
