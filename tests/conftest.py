"""Fixtures that tests of several rooms share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> Path:
    """Two small dataset folders with titles and pictures: "a" (source) and "b" (target)."""
    root = tmp_path_factory.mktemp("folders")
    for name, seed in (("a", 0), ("b", 1)):
        rng = np.random.default_rng(seed)
        (root / name / "images").mkdir(parents=True)
        items = [f"i{n}" for n in range(30)]
        (root / name / "items.tsv").write_text("".join(f"{i}\ttitle {i}\n" for i in items))
        users = [" ".join(rng.permutation(items)[: rng.integers(5, 10)]) for _ in range(40)]
        (root / name / "users.tsv").write_text("".join(f"u{n}\t{line}\n" for n, line in enumerate(users)))
        for item in items:
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / "images" / f"{item}.jpg")
    return root


@pytest.fixture(scope="session")
def encoder(tmp_path_factory) -> Path:
    """A very small BERT with random weights and a tokenizer, in a folder."""
    from transformers import BertConfig, BertModel, BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "title", *(f"i{n}" for n in range(30))]
    folder = tmp_path_factory.mktemp("encoder") / "tiny-bert"
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=32, **sizes)).save_pretrained(folder)
    BertTokenizer(vocab={word: n for n, word in enumerate(words)}).save_pretrained(folder)
    return folder
