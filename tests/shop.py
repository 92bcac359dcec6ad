"""A small shop for tests of the front door: people who like one kind of thing, titles that say the kind, and
an encoder with a tokenizer of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import BertConfig, BertModel, BertTokenizer

KINDS = 12
WORDS = [f"kind{n}" for n in range(KINDS)] + [f"word{n}" for n in range(40)]


def frames(users: int = 300, items: int = 120, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Interactions (user, item, timestamp; in no order) and items (item, title)."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(items) % KINDS
    titles = [f"kind{kind} {' '.join(rng.choice(WORDS[KINDS:], 2))}" for kind in kinds]
    catalogue = pd.DataFrame({"item": [f"B{n:03d}" for n in range(1, items + 1)], "title": titles})
    rows = []
    for user in range(users):
        liked = rng.permutation(np.flatnonzero(kinds == user % KINDS))
        others = rng.permutation(items)[:2]
        for place, item in enumerate([*others, *liked[: rng.integers(4, 8)]]):
            rows.append((f"U{user}", catalogue["item"][item], 1_700_000_000 + 60 * place + user))
    table = pd.DataFrame(rows, columns=["user", "item", "timestamp"])
    return table.sample(frac=1, random_state=seed).reset_index(drop=True), catalogue


def save_encoder(folder: Path, width: int = 32, positions: int = 16) -> str:
    """A BERT of two layers with random weights, and its tokenizer; returns the folder's name."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    BertTokenizer(vocab={word: n for n, word in enumerate(vocabulary)}).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=positions,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return str(folder)
