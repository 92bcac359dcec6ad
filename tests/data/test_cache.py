"""Titles and pictures are made into arrays once, whatever happens to the cache."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from tests.data.files import picture
from transrec_core.data.catalog import decode_images, tokenize_titles


class Tokenizer:
    """The little of a Hugging Face tokenizer that is used; counts its calls."""

    pad_token_id, calls = 0, 0

    def get_vocab(self):
        return {"x": 1}

    def __call__(self, texts, **options):
        Tokenizer.calls += 1
        rows = [[1, *map(len, t.split()), 2][: options["max_length"]] for t in texts]
        width = max(map(len, rows))
        ids = np.array([r + [0] * (width - len(r)) for r in rows])
        return {"input_ids": ids, "attention_mask": (ids > 0).astype(int)}


def test_titles_are_tokenised_once_and_a_damaged_cache_is_rebuilt(tmp_path, capsys):
    titles = ["", "one two", "three"]
    Tokenizer.calls = 0
    first = tokenize_titles(titles, Tokenizer(), 8, tmp_path)
    second = tokenize_titles(titles, Tokenizer(), 8, tmp_path)
    assert Tokenizer.calls == 1 and first.fingerprint() == second.fingerprint()
    tokenize_titles(["", "other"], Tokenizer(), 8, tmp_path)
    tokenize_titles(titles, Tokenizer(), 3, tmp_path)
    assert Tokenizer.calls == 3  # other titles and other settings are other entries
    for damage in (
        lambda p: os.truncate(p, 90),
        lambda p: p.write_bytes(p.read_bytes()[:-1] + b"\xff"),
        Path.unlink,
    ):
        damage(next(tmp_path.glob("titles-*/tokens.npy")))
        for entry in tmp_path.glob("titles-*"):
            if entry.is_dir() and not (entry / "checksums.json").exists():
                raise AssertionError(entry)
        calls = Tokenizer.calls
        for wanted in (titles, ["", "other"], titles):
            tokenize_titles(
                wanted, Tokenizer(), 3 if wanted is titles and Tokenizer.calls == calls else 8, tmp_path
            )
        assert tokenize_titles(titles, Tokenizer(), 8, tmp_path).fingerprint() == first.fingerprint()
        assert Tokenizer.calls > calls
    assert "damaged" in capsys.readouterr().err


def test_an_unusable_cache_folder_is_no_obstacle(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    catalog = tokenize_titles(["", "one"], Tokenizer(), 8, tmp_path / "file" / "cache")
    assert catalog.n_items == 1 and "going on without it" in capsys.readouterr().err


def _decode(folder: str, queue) -> None:
    paths = [None, *sorted(Path(folder, "images").iterdir())]
    queue.put(decode_images(paths, 16, Path(folder) / "cache").fingerprint())


@pytest.mark.slow
def test_two_processes_may_build_one_cache_entry_at_once(tmp_path):
    for n in range(20):
        picture(tmp_path / "images" / f"{n}.jpg")
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=_decode, args=(str(tmp_path), queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    found = {queue.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(found) == 1
    left = [p.name for p in (tmp_path / "cache").iterdir() if p.name.startswith(".")]
    assert not left
