"""Interactions against plain loops; readers, their refusals, the cache; the command line on good and bad
folders.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.data.files import picture
from tests.helpers import transrec
from transrec_core.base.errors import UserError
from transrec_core.data.catalog import decode_images
from transrec_core.data.interactions import Interactions, leave_one_out
from transrec_core.data.raw import title_years
from transrec_core.data.readers import read_folder
from transrec_core.data.tables import read_recbole, read_table

REAL = Path(os.environ.get("TRANSREC_DATA") or Path(__file__).parents[3] / "shared" / "data")
needs_games = pytest.mark.skipif(
    not (REAL / "amazon_games").is_dir(), reason="the real data set amazon_games is not here"
)

histories = st.lists(st.lists(st.integers(1, 9), max_size=8), min_size=1, max_size=12)


@given(histories, st.integers(1, 6))
def test_views_equal_plain_lists(lists, n):
    inter = Interactions.from_lists(lists, 9)
    back = lambda x: [x.user(u).tolist() for u in range(len(x))]  # noqa: E731
    assert back(inter) == lists
    assert back(inter.truncate(n)) == [x[-n:] for x in lists]
    assert back(inter.drop_last(n)) == [x[:-n] for x in lists]
    kept, users = inter.min_length(n)
    assert back(kept) == [x for x in lists if len(x) >= n] and users.tolist() == [
        u for u, x in enumerate(lists) if len(x) >= n
    ]
    assert inter.counts().tolist() == [sum(x.count(i) for x in lists) for i in range(10)]
    order = np.random.default_rng(0).permutation(len(lists))
    assert back(inter.select(order)) == [lists[u] for u in order]
    padded = inter.padded(order, n)
    width = max((len(x[-n:]) for x in lists), default=0)
    assert padded.tolist() == [lists[u][-n:] + [0] * (width - len(lists[u][-n:])) for u in order]


def test_leave_one_out_takes_the_last_two_and_counts_the_dropped():
    split, dropped = leave_one_out(Interactions.from_lists([[1, 2, 3, 4], [5, 6], [7, 8, 9]], 9))
    assert dropped == 1
    assert (
        split.train.user(0).tolist() == [1, 2]
        and split.valid_target.tolist() == [3, 8]
        and split.test_target.tolist() == [4, 9]
    )
    assert split.test_history.user(1).tolist() == [7, 8]


def test_subsamples_are_nested_and_fingerprints_tell_content_apart():
    inter = Interactions.from_lists([[u + 1] * 3 for u in range(100)], 100)
    small, large = (set(inter.subsample(f, 0).items.tolist()) for f in (0.1, 0.3))
    assert len(small) == 10 and len(large) == 30 and small < large
    assert (
        inter.subsample(0.1, 0).fingerprint()
        == inter.subsample(0.1, 0).fingerprint()
        != inter.subsample(0.1, 1).fingerprint()
    )


def write(
    folder: Path, items: str | bytes = "a\tA title\nb\tB\nc\t\n", users: str | bytes = "u\ta b\nv\tb c c\n"
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("items.tsv", items), ("users.tsv", users)):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def bomb(path: Path, side: int) -> None:
    """A valid PNG header that promises a gigantic picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "change",
    [lambda s: s, lambda s: s.replace("\n", "\r\n"), lambda s: "\ufeff" + s, lambda s: s.rstrip("\n")],
)
def test_a_folder_is_read_whatever_its_line_ends(tmp_path, change):
    raw = read_folder(write(tmp_path, change("a\tA title\nb\tB\nc\t\n"), change("u\ta b\nv\tb c c\n")))
    assert raw.item_ids == ["", "a", "b", "c"] and raw.titles == ["", "A title", "B", ""]
    assert [raw.interactions.user(u).tolist() for u in (0, 1)] == [[1, 2], [2, 3, 3]]
    report = raw.report()
    assert (report.users, report.items, report.interactions, report.repeats) == (2, 3, 5, 1)
    assert (
        report.length_min,
        report.length_max,
        report.items_without_title,
        report.items_without_picture,
    ) == (2, 3, 1, None)


def test_filters_renumber_and_keep_what_they_should(tmp_path):
    raw = read_folder(write(tmp_path, users="u\ta b c\nv\tb c c\nw\tb\n"))
    kept = raw.min_item_users(2)
    assert kept.item_ids == ["", "b", "c"] and kept.titles == ["", "B", ""]
    assert [kept.interactions.user(u).tolist() for u in range(3)] == [[1, 2], [1, 2, 2], [1]]
    assert title_years(["", "Heat (1995)", "2001", "Up (2009) "]).tolist() == [0, 1995, 0, 2009]


def test_cold_last_items_are_counted(tmp_path):
    """a is last for u only; b is last for v, but in w's training part."""
    raw = read_folder(write(tmp_path, users="u\tb c c a\nv\tc c c b\nw\tb c c c\n"))
    assert raw.report().last_items_nowhere_else == 1


BAD_FOLDERS = {
    "no folder": (lambda p: None, "no such folder"),
    "empty folder": (lambda p: p.mkdir(), "items.tsv: not found"),
    "no users": (lambda p: (write(p), (p / "users.tsv").unlink()), "users.tsv: not found"),
    "empty file": (lambda p: write(p, users=""), "users.tsv: is empty"),
    "short line": (lambda p: write(p, users="u\ta b\nv\n"), "users.tsv, line 2: short line"),
    "not UTF-8": (
        lambda p: write(p, items=b"a\tA\nb\tB\xe9\nc\tC\n"),
        "items.tsv, line 2: byte 0xe9 is not UTF-8",
    ),
    "unknown item": (
        lambda p: write(p, users="u\ta b\nv\tb z\n"),
        "users.tsv, line 2: item 'z' is not in items.tsv",
    ),
    "item twice": (
        lambda p: write(p, items="a\tA\nb\tB\na\tC\n"),
        "items.tsv, line 3: item 'a' is there already (line 1)",
    ),
    "user twice": (
        lambda p: write(p, users="u\ta b\nu\tb c\n"),
        "users.tsv, line 2: user 'u' is there already (line 1)",
    ),
    "item line without TAB": (lambda p: write(p, items="a\tA\nb\nc\tC\n"), "items.tsv, line 2: short line"),
    "not UTF-8 after a BOM": (
        lambda p: write(p, items=b"\xef\xbb\xbfa\tA\nb\tB\xe9\n"),
        "items.tsv, line 2: byte 0xe9 is not UTF-8",
    ),
    "history without user": (lambda p: write(p, users="u\ta\n\tb\n"), "users.tsv, line 2: short line"),
    "only a TAB": (lambda p: write(p, users="u\ta\n\t\n"), "users.tsv, line 2: short line"),
    "item without id": (lambda p: write(p, items="a\tA\n\tB\n"), "items.tsv, line 2"),
    "path as id": (
        lambda p: (write(p, "../a\tA\nb\tB\n", "u\tb b\n"), (p / "images").mkdir()),
        "line 1: id '../a' is not fit for a file name",
    ),
    "truncated picture": (
        lambda p: (picture(write(p) / "images" / "a.jpg"), os.truncate(p / "images" / "a.jpg", 700)),
        "a.jpg: truncated",
    ),
    "no picture": (
        lambda p: (picture(write(p) / "images" / "a.jpg"), (p / "images" / "a.jpg").write_text("hello")),
        "a.jpg: not a readable JPEG",
    ),
    "PNG without end": (
        lambda p: (picture(write(p) / "images" / "a.png"), os.truncate(p / "images" / "a.png", 1800)),
        "a.png: truncated",
    ),
    "picture of another format": (
        lambda p: (
            picture(write(p) / "images" / "a.gif"),
            os.replace(p / "images" / "a.gif", p / "images" / "a.jpg"),
        ),
        "a.jpg: not a readable",
    ),
    "picture bomb": (lambda p: bomb(write(p) / "images" / "a.png", 60_000), "a.png"),
    "large picture": (lambda p: bomb(write(p) / "images" / "a.png", 9_000), "a.png: 9000 x 9000 pixels"),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_bad_folders_end_with_status_2_and_one_line(case, tmp_path, capsys, monkeypatch):
    from transrec_core.base.console import run
    from transrec_core.cli.data import app

    make, message = BAD_FOLDERS[case]
    make(tmp_path / "folder")
    monkeypatch.setattr(sys, "argv", ["data", "check", str(tmp_path / "folder")])
    with pytest.raises(SystemExit) as end:
        run(app)
    error = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and len(error) == 1 and error[0].startswith("error:") and message in error[0]


@pytest.mark.slow
@needs_games
def test_amazon_games_is_read_exactly_and_quickly():
    began = time.perf_counter()
    done = transrec("data", "check", str(REAL / "amazon_games"), "--json", cwd=Path())
    facts = json.loads(done.stdout)
    assert (facts["users"], facts["items"], facts["interactions"]) == (50_546, 16_859, 440_264)
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
def test_tables_are_read_in_time_order_with_equal_times_in_file_order(tmp_path, ending):
    frame = pd.DataFrame(
        {
            "who": ["u", "v", "u", "u"],
            "what": ["a", "b", "b", "c"],
            "when": ["3", "1", "2", "2"],
            "more": ["", "x", "y", "z"],
        }
    )
    path = tmp_path / f"t{ending}"
    if ending == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, sep="," if ending == ".csv" else "\t", index=False)
    raw = read_table(path, "who", "what", "when")
    named = [[raw.item_ids[i] for i in raw.interactions.user(u)] for u in (0, 1)]
    assert named == [["b", "c", "a"], ["b"]]


def test_recbole_files_are_read(tmp_path):
    (tmp_path / "x.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\nu\ta\t2.5\nu\tb\t1.5\n")
    (tmp_path / "x.item").write_text("item_id:token\ttitle:token_seq\na\tOne two\nb\tThree\n")
    raw = read_recbole(tmp_path / "x.inter", tmp_path / "x.item")
    assert raw.titles == ["", "One two", "Three"] and raw.interactions.items.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user_id,item_id\nu,a\n", "line 1: no column 'timestamp'"),
        ("user_id,item_id,timestamp\nu,a,1\nu,b\n", "line 3: 2 columns"),
        ("user_id,item_id,timestamp\nu,a,soon\n", "line 2: 'soon'"),
        ("user_id,item_id,timestamp\nu,,1\n", "line 2: column 'item_id' is empty"),
        ("user_id,item_id,timestamp\n", "has no rows"),
        ("", "is empty"),
        (None, "not found"),
    ],
)
def test_bad_tables_are_named(tmp_path, content, message):
    path = tmp_path / "t.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError) as error:
        read_table(path)
    assert message in str(error.value) and "t.csv" in str(error.value) and "\n" not in str(error.value)


def test_convert_writes_a_folder_that_reads_the_same(tmp_path):
    (tmp_path / "t.csv").write_text(
        "user_id,item_id,timestamp\nu,a,1\nu,b,2\nv,b,2020-01-01\n".replace("2020-01-01", "3")
    )
    arguments = ("data", "convert", "t.csv", "out")
    assert transrec(*arguments, cwd=tmp_path).returncode == 0
    raw, direct = read_folder(tmp_path / "out"), read_table(tmp_path / "t.csv")
    assert (
        raw.item_ids == direct.item_ids
        and raw.interactions.fingerprint() == direct.interactions.fingerprint()
    )
    again = transrec(*arguments, cwd=tmp_path)
    assert again.returncode == 2 and "exists already" in again.stderr


def test_pictures_are_cut_to_the_middle(tmp_path):
    wide = np.zeros((10, 30, 3), dtype=np.uint8)
    wide[:, 10:20] = 255
    Image.fromarray(wide).save(tmp_path / "a.png")
    catalog = decode_images([None, tmp_path / "a.png"], 10, tmp_path / "cache")
    assert (catalog.pixels[1] == 255).all() and (catalog.pixels[0] == 0).all()
