"""Ids of users and items from a table to a folder and through filters; filters that leave nobody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers import command
from transrec_core.base.errors import UserError
from transrec_core.data.interactions import Interactions
from transrec_core.data.loading import DataSpec, filtered, load_folder
from transrec_core.data.raw import RawDomain
from transrec_core.data.readers import read_folder, write_folder
from transrec_core.data.tables import read_table

HEADER = "user_id,item_id,timestamp\n"


def histories(raw: RawDomain) -> dict[str, list[str]]:
    """Item ids by user id."""
    assert raw.user_ids is not None and len(raw.user_ids) == len(raw.interactions)
    return {u: [raw.item_ids[i] for i in raw.interactions.user(n)] for n, u in enumerate(raw.user_ids)}


def test_convert_keeps_the_ids_of_users_and_items(tmp_path, monkeypatch, capsys):
    (tmp_path / "t.csv").write_text(HEADER + "Ann B,x,3\nbob,y,2\nAnn B,y,1\n007,x,1\n")
    arguments = ("data", "convert", str(tmp_path / "t.csv"), str(tmp_path / "out"))
    status, output, _ = command(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    wanted = {"Ann B": ["y", "x"], "bob": ["y"], "007": ["x"]}
    assert status == 0 and "note" not in output
    assert histories(read_table(tmp_path / "t.csv")) == wanted == histories(read_folder(tmp_path / "out"))
    assert (tmp_path / "out" / "users.tsv").read_text() == "Ann B\ty x\nbob\ty\n007\tx\n"


def test_blanks_at_the_edges_of_ids_are_left_out_and_said(tmp_path, monkeypatch, capsys):
    (tmp_path / "t.csv").write_text(HEADER + "u,a,1\nu ,b,2\nv, a,3\nv,c ,4\n")
    (tmp_path / "titles.csv").write_text("item_id,title\na,A\nb ,B\nc,C\n")
    arguments = ("data", "convert", str(tmp_path / "t.csv"), str(tmp_path / "out"))
    arguments += ("--titles", str(tmp_path / "titles.csv"))
    status, output, _ = command(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    notes = [line for line in output.splitlines() if line.startswith("note: ")]
    assert status == 0 and histories(read_folder(tmp_path / "out")) == {"u": ["a", "b"], "v": ["a", "c"]}
    assert len(notes) == 3 and "1 cells of 'user_id' left out (first line 3)" in notes[0]
    assert "2 cells of 'item_id' left out (first line 4)" in notes[1]
    assert "titles.csv: blanks at the edges of 1 cells of 'item_id'" in notes[2]


def test_filters_carry_user_ids_along():
    lists = [[1, 2, 3], [2], [1, 1, 3], [3, 2]]
    raw = RawDomain("x", ["", "a", "b", "c"], None, None, Interactions.from_lists(lists, 3), list("pqrs"))
    assert histories(raw.keep_users(np.array([3, 0]))) == {"s": ["c", "b"], "p": ["a", "b", "c"]}
    assert histories(raw.min_length(3)) == {"p": ["a", "b", "c"], "r": ["a", "a", "c"]}
    without_a = raw.keep_items(np.array([True, False, True, True]))
    assert histories(without_a) == {"p": ["b", "c"], "q": ["b"], "r": ["c"], "s": ["c", "b"]}
    assert histories(raw.k_core(2, 2)) == {"p": ["a", "b", "c"], "r": ["a", "a", "c"], "s": ["c", "b"]}
    assert histories(filtered(raw, DataSpec(folder="x", modality="id", min_user=3, half=0))) == {
        "p": ["a", "b", "c"],
        "r": ["a", "a", "c"],
    }


def test_ids_are_no_part_of_what_a_domain_is(tmp_path):
    """Fingerprints stand in records that were made before users had ids."""
    for folder, prefix in (("one", "u"), ("two", "somebody ")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "items.tsv").write_text("".join(f"i{n}\n" for n in range(9)))
        users = [" ".join(f"i{(u * k + k) % 9}" for k in range(1, 7)) for u in range(8)]
        lines = "".join(f"{prefix}{u}\t{line}\n" for u, line in enumerate(users))
        (tmp_path / folder / "users.tsv").write_text(lines)
        domain = load_folder(DataSpec(folder=folder, modality="id"), tmp_path)
        assert domain.fingerprint()[:16] == FINGERPRINT


#: As the code before user ids gave it.
FINGERPRINT = "40bcd46cad0dd14f"


@pytest.mark.parametrize(
    ("items", "users", "message"),
    [
        (["a b"], ["u"], "item id 'a b' has white space in it"),
        (["a"], ["u\tv"], "user id 'u v' is empty, or has a TAB"),
        (["a"], [" u"], "blank at its edge"),
        (["a"], [""], "user id '' is empty"),
        (["a"], ["u\nv"], "line end"),
        (["a"], ["u", "v", "u"], "2 users have the id 'u'"),
    ],
)
def test_ids_that_would_not_be_read_again_are_not_written(items, users, message, tmp_path):
    interactions = Interactions.from_lists([[1]] * len(users), 1)
    with pytest.raises(UserError, match="x: ") as error:
        write_folder(RawDomain("x", ["", *items], None, None, interactions, users), tmp_path / "out")
    assert message in str(error.value) and not (tmp_path / "out").exists()


def test_a_user_with_a_blank_at_the_edge_of_its_id_is_refused(tmp_path):
    (tmp_path / "items.tsv").write_text("a\n")
    (tmp_path / "users.tsv").write_text("u\ta\nu \ta\n")
    with pytest.raises(UserError, match="users.tsv, line 2: user 'u' has a blank at the edge of its id"):
        read_folder(tmp_path)


FEW = {
    "min_user": ({"min_user": 9}, "no user has 9 interactions; lower min_user"),
    "min_item": ({"min_item": 100}, "'items of at least 100 users' leaves none"),
    "years": (
        {"modality": "text", "years": (1900, 1910)},
        "'items with content, years 1900 to 1910' leaves none of 6 users with 5 interactions",
    ),
    "last": ({"last": 3}, "'the last 3 of each user' leaves none of 6 users"),
    "half": ({"half": 1, "min_user": 6}, "'half 1 of the users' leaves none of 1 users"),
}


@pytest.mark.parametrize("field", FEW)
def test_the_filter_that_leaves_nobody_is_named(field, tmp_path):
    filters, message = FEW[field]
    spec = DataSpec(**{"folder": "f", "modality": "id", **filters})
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "items.tsv").write_text("".join(f"i{n}\tFilm {n} (199{n})\n" for n in range(8)))
    users = [" ".join(f"i{(u + k) % 8}" for k in range(6 if u == 0 else 5)) for u in range(6)]
    (tmp_path / "f" / "users.tsv").write_text("".join(f"u{u}\t{line}\n" for u, line in enumerate(users)))
    with pytest.raises(UserError) as error:
        load_folder(spec, Path(tmp_path))
    assert message in str(error.value) and "\n" not in str(error.value)
