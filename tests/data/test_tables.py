"""Long tables and RecBole's files, odd ones too."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.data.files import named
from transrec_core.base.errors import UserError
from transrec_core.data.raw import RawDomain
from transrec_core.data.tables import read_recbole, read_table

HEADER = "user_id,item_id,timestamp\n"


def table(folder: Path, content: str, name: str = "t.csv") -> RawDomain:
    (folder / name).write_text(content)
    return read_table(folder / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + '"u",a,1\nu,b,2,3\n', "line 3: 4 columns"),
        (HEADER + '"u",a,1\nu,b\n', "line 3: 2 columns"),
        (HEADER + '"u,a,1\nu,b,2\n', "line 2: quotes that don't match"),
        (HEADER + 'u,"a\nx",1\nu,b,soon\n', "line 4: 'soon'"),
        (HEADER + 'u,a,1\nu,b,"so\non"\n', "line 3: 'so on'"),
        (HEADER + "u,a,inf\n", "line 2: 'inf'"),
        (HEADER + "u,a,2020-01-31\nu,b,7\n", "line 3: '7'"),
        (HEADER + "u,a,31/01/2020\n", "line 2: '31/01/2020'"),
        ("user_id,item_id,item_id,timestamp\nu,a,b,1\n", "column 'item_id' is there more than once"),
    ],
)
def test_bad_tables_are_named_by_the_line_in_the_file(tmp_path, content, message):
    with pytest.raises(UserError) as error:
        table(tmp_path, content)
    assert message in str(error.value) and "t.csv" in str(error.value) and "\n" not in str(error.value)


def test_quotes_and_odd_names_are_read(tmp_path):
    raw = table(tmp_path, HEADER + '"None","a, b",2\nnan,c,1\nNone,c,1\n', "T.CSV")
    assert named(raw) == [["c", "a, b"], ["c"]]
    assert named(table(tmp_path, HEADER + "u,a,2020-02-01\nu,b,2020-01-01T10:00\n")) == [["b", "a"]]


def test_one_column_can_not_serve_two_purposes(tmp_path):
    (tmp_path / "t.csv").write_text(HEADER + "u,a,1\n")
    with pytest.raises(UserError, match="different column"):
        read_table(tmp_path / "t.csv", user="item_id")


def test_holes_in_parquet_are_refused_in_ids_and_empty_in_titles(tmp_path):
    pd.DataFrame({"user_id": ["u", None], "item_id": ["a", "b"], "timestamp": [1, 2]}).to_parquet(
        tmp_path / "t.parquet"
    )
    with pytest.raises(UserError, match="row 2: column 'user_id' is empty"):
        read_table(tmp_path / "t.parquet")
    pd.DataFrame({"item_id": ["a", "b"], "title": ["A", None]}).to_parquet(tmp_path / "titles.parquet")
    (tmp_path / "t.csv").write_text(HEADER + "u,a,1\nu,b,2\n")
    assert read_table(tmp_path / "t.csv", titles=tmp_path / "titles.parquet").titles == ["", "A", ""]


def test_recbole_columns_can_be_named_and_errors_name_the_original(tmp_path):
    (tmp_path / "x.inter").write_text("who:token\tasin:token\twhen:float\nu\ta\t1\nu\tb\t2\n")
    (tmp_path / "x.item").write_text("asin:token\tname:token_seq\na\tOne\n")
    raw = read_recbole(tmp_path / "x.inter", None, "title", "who", "asin", "when")
    assert named(raw) == [["a", "b"]]
    with pytest.raises(UserError, match=r"x\.inter, line 3: item 'b' is not in .*x\.item"):
        read_recbole(tmp_path / "x.inter", tmp_path / "x.item", "name", "who", "asin", "when")
    with pytest.raises(
        UserError, match=r"x\.inter, line 1: no column 'user_id' \(there are: who, asin, when\)"
    ):
        read_recbole(tmp_path / "x.inter")
