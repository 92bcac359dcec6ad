"""Fixtures that tests of several rooms share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import write_folders


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> Path:
    """Two small dataset folders with titles and pictures: "a" (source) and "b" (target)."""
    return write_folders(tmp_path_factory.mktemp("folders"))


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
