"""Data at the edges: k-cores against plain loops, folders laid out oddly, tables with quotes and holes,
cache entries that must not be mixed up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import BertTokenizer

from tests.data.files import named
from transrec_core.base.errors import UserError
from transrec_core.data import cache
from transrec_core.data.batching import Batcher
from transrec_core.data.catalog import decode_images, tokenize_titles
from transrec_core.data.interactions import Interactions
from transrec_core.data.raw import RawDomain
from transrec_core.data.readers import read_folder

histories = st.lists(st.lists(st.integers(1, 6), max_size=6), max_size=8)


def core_by_loops(lists: list[list[str]], min_user: int, min_item: int) -> list[list[str]]:
    while True:
        kept = [x for x in lists if len(x) >= min_user]
        good = {i for x in kept for i in x if sum(i in y for y in kept) >= min_item}
        kept = [[i for i in x if i in good] for x in kept]
        if kept == lists:
            return kept
        lists = kept


@given(histories, st.integers(1, 3), st.integers(1, 3))
def test_a_k_core_is_what_plain_loops_find(lists, min_user, min_item):
    ids = ["", *"abcdef"]
    raw = RawDomain("x", ids, None, None, Interactions.from_lists(lists, 6))
    core = raw.k_core(min_user, min_item)
    assert named(core) == core_by_loops([[ids[i] for i in x] for x in lists], min_user, min_item)
    assert set(core.item_ids[1:]) == {i for x in named(core) for i in x}
    assert core.report().users == len(core.interactions)


def test_the_last_item_of_a_user_is_never_a_neighbours():
    inter = Interactions.from_lists([[1, 2, 3], [4]], 9)
    assert inter.last(1).tolist() == [3, 4]
    with pytest.raises(ValueError, match="fewer than 2"):
        inter.last(2)


def test_no_users_are_no_trouble():
    inter = Interactions.from_lists([], 3)
    assert (
        inter.padded([], 5).shape == (0, 0)
        and len(inter.select([])) == 0
        and inter.counts().tolist() == [0, 0, 0, 0]
    )


IDS = ["a", "7", "B00X", "é", "商品", "🎬"]


def folder_of(path: Path, lines: list[bytes]) -> RawDomain:
    (path / "items.tsv").write_text("".join(f"{i}\t{i} title\n" for i in IDS), encoding="utf-8")
    (path / "users.tsv").write_bytes(b"".join(lines))
    return read_folder(path)


@st.composite
def laid_out(draw) -> tuple[list[list[int]], list[bytes], list[int]]:
    """Histories, the lines of a file that holds them in some odd layout, and the number of each user's
    line.
    """
    lists = draw(
        st.lists(st.lists(st.integers(1, len(IDS)), min_size=1, max_size=8), min_size=1, max_size=12)
    )
    lines, numbers = [], []
    for u, history in enumerate(lists):
        lines += draw(st.lists(st.sampled_from(["\n", "  \n", "\r\n"]), max_size=2))
        gaps = draw(
            st.lists(st.sampled_from([" ", "   ", "\t", " \r"]), min_size=len(history), max_size=len(history))
        )
        lines.append(
            f"u{u}\t"
            + "".join(IDS[i - 1] + gap for i, gap in zip(history, gaps, strict=True))
            + draw(st.sampled_from(["\n", "\r\n"]))
        )
        numbers.append(len(lines))
    if draw(st.booleans()):
        lines[-1] = lines[-1].rstrip("\r\n")
    if draw(st.booleans()):
        lines[0] = "\ufeff" + lines[0]
    return lists, [line.encode() for line in lines], numbers


@given(laid_out())
def test_a_folder_holds_what_was_written_however_it_is_laid_out(layout):
    lists, lines, _ = layout
    with tempfile.TemporaryDirectory() as folder:
        inter = folder_of(Path(folder), lines).interactions
    assert [inter.user(u).tolist() for u in range(len(inter))] == lists
    assert (inter.items.dtype, inter.offsets.dtype, inter.n_items) == (np.int32, np.int64, len(IDS))


FAULTS = {
    "item 'zzz' is not in items.tsv": lambda user: user + b"\ta zzz a\n",
    "short line 'u": lambda user: user + b"\t\r\n",
    "is there already": lambda user: user + b"\ta\n" + user + b"\ta\n",
    "byte 0xe9 is not UTF-8": lambda user: user + b"\ta \xe9 a\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@given(layout=laid_out(), data=st.data())
def test_a_fault_between_sound_lines_is_named_by_its_own(fault, layout, data):
    lists, lines, numbers = layout
    u = data.draw(st.integers(0, len(lists) - 1))
    number = numbers[u] + (fault == "is there already")  # the second of the two lines
    lines[numbers[u] - 1] = (
        b"\xef\xbb\xbf" if lines[numbers[u] - 1].startswith(b"\xef\xbb\xbf") else b""
    ) + FAULTS[fault](f"u{u}".encode())
    with tempfile.TemporaryDirectory() as folder, pytest.raises(UserError) as error:
        folder_of(Path(folder), lines)
    assert f"users.tsv, line {number}: " in str(error.value) and fault in str(error.value)


def test_reading_keeps_no_string_for_each_interaction(tmp_path):
    """A Python string and its place in a list take some 60 bytes; what remains is the file's text, twice,
    and the numbers.
    """
    users, length = 2000, 100
    lines = [f"u{u}\t{' '.join(['B00X'] * length)}\n".encode() for u in range(users)]
    folder_of(tmp_path, lines)
    tracemalloc.start()
    read_folder(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * users * length


def test_a_batch_follows_from_its_step_whatever_was_drawn_before():
    train = Interactions.from_lists([[u % 9 + 1, u % 7 + 1, u % 5 + 1] for u in range(50)], 9)
    used = Batcher(train, "sasrec", "bce", 8, 5, 3)
    for step in (0, 1, 40, 5, 6, 7, 0):  # six steps are an epoch
        ours, fresh = used.batch(step), Batcher(train, "sasrec", "bce", 8, 5, 3).batch(step)
        assert all(
            ours_part is None or ours_part.equal(vars(fresh)[name]) for name, ours_part in vars(ours).items()
        )
        order = np.random.default_rng([3, 0, step // 6]).permutation(50)[step % 6 * 8 :][:8]
        assert ours.items[ours.inputs[:, 0]].tolist() == [u % 9 + 1 for u in order]


def bert(**settings) -> BertTokenizer:
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] Heat heat".split()
    return BertTokenizer(vocab={w: i for i, w in enumerate(words)}, **settings)


def test_tokenizers_with_one_vocabulary_and_other_settings_share_no_cache_entry(tmp_path):
    for lower, token in ((False, 5), (True, 6), (False, 5)):
        assert tokenize_titles(["", "Heat"], bert(do_lower_case=lower), 8, tmp_path).tokens[1].tolist() == [
            2,
            token,
            3,
        ]
    assert sum(p.is_dir() for p in tmp_path.iterdir()) == 2


def test_a_tokenizer_used_before_finds_its_entry_again(tmp_path):
    """Calling a tokenizer changes its state (truncation, padding), which is no part of what it is."""
    tokenizer = bert()
    for _ in range(2):
        tokenize_titles(["", "Heat heat"], tokenizer, 8, tmp_path)
        tokenizer(["Heat"], truncation=True, max_length=3, padding="max_length")
    assert sum(p.is_dir() for p in tmp_path.iterdir()) == 1


def test_titles_are_padded_on_the_right_whatever_the_tokenizer_prefers(tmp_path):
    catalog = tokenize_titles(
        ["", "Heat heat Heat", "heat"], bert(padding_side="left", do_lower_case=True), 8, tmp_path
    )
    assert catalog.tokens.tolist() == [
        [2, 3, 0, 0, 0],
        [2, 6, 6, 6, 3],
        [2, 6, 3, 0, 0],
    ] and catalog.lengths.tolist() == [2, 5, 3]


def test_a_tokenizer_without_padding_is_refused(tmp_path):
    tokenizer = bert()
    tokenizer.pad_token = None
    with pytest.raises(UserError, match="no padding token"):
        tokenize_titles(["", "Heat"], tokenizer, 8, tmp_path)


def test_pictures_of_equal_name_size_and_time_share_no_cache_entry(tmp_path):
    found = []
    for folder, colour in (("one", 0), ("two", 255)):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "1.png"
        Image.fromarray(np.full((16, 16, 3), colour, np.uint8)).save(path, compress_level=0)
        os.utime(path, (1e9, 1e9))
        found.append(
            (path.stat().st_size, int(decode_images([None, path], 8, tmp_path / "cache").pixels[1].max()))
        )
    assert found[0][0] == found[1][0] and [colour for _, colour in found] == [0, 255]


def test_an_item_without_picture_is_named(tmp_path):
    with pytest.raises(UserError, match="item number 1 has no picture"):
        decode_images([None, None], 8, tmp_path)


@pytest.mark.parametrize("content", ["{}", "[]", "null", "", '{"x": 3}', '{"y": "0"}'])
def test_a_cache_entry_without_sound_checksums_is_rebuilt(tmp_path, capsys, content):
    make = lambda: {"x": np.arange(3)}  # noqa: E731
    cache.cached("key", make, tmp_path)
    (tmp_path / "key" / "checksums.json").write_text(content)
    assert cache.cached("key", make, tmp_path)["x"].tolist() == [0, 1, 2]
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(json.loads((tmp_path / "key" / "checksums.json").read_text())) == ["x"]


def test_a_full_disk_costs_the_entry_and_not_the_work(tmp_path, capsys, monkeypatch):
    calls = []

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_write", full)
    assert cache.cached("key", lambda: calls.append(1) or {"x": np.arange(3)}, tmp_path)["x"].sum() == 3
    assert len(calls) == 1 and "No space left" in capsys.readouterr().err


def test_the_data_commands_run_as_a_module_and_say_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "transrec_core.cli.data", "check", str(tmp_path / "none")],
        capture_output=True,
        text=True,
    )
    assert (
        done.returncode == 2
        and done.stdout == ""
        and done.stderr.startswith("error:")
        and done.stderr.count("\n") == 1
    )
