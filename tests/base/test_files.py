"""Files and folders are there whole or not at all."""

from __future__ import annotations

import pytest

from transrec_core.base.files import atomic_folder, atomic_write


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_a_folder_takes_the_place_of_the_old_one_whole(tmp_path):
    for content in ("one", "two"):
        with atomic_folder(tmp_path / "deep" / "made") as new:
            (new / f"{content}.txt").write_text(content)
            before = tmp_path / "deep" / "made"
            assert not before.exists() or names(before) == [
                "one.txt"
            ]  # the old one stays until the new one is whole
        assert names(tmp_path) == [*["deep", "made"], f"{content}.txt"]


def test_a_folder_that_fails_leaves_the_old_one_and_nothing_else(tmp_path):
    with atomic_folder(tmp_path / "made") as new:
        (new / "a").write_text("a")
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "made") as new:
        (new / "b").write_text("b")
        raise ZeroDivisionError
    assert names(tmp_path) == ["a", "made"]


def test_a_file_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    atomic_write(tmp_path / "f", "old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        atomic_write(tmp_path / "f", "new")
    assert (tmp_path / "f").read_text() == "old" and names(tmp_path) == ["f"]
