"""The models and the data that costs are measured on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from transrec_core.adapters import AdapterConfig
from transrec_core.data.catalog import TextCatalog
from transrec_core.data.domain import Domain
from transrec_core.data.interactions import Interactions
from transrec_core.data.loading import DataSpec
from transrec_core.models import ModelSpec, TransRec, fresh_backbone
from transrec_core.training.spec import TrainSpec
from transrec_core.training.trainer import Trainer
from transrec_core.world.encoders import encoder_path
from transrec_core.world.loading import load_domain

WORDS = 30522


def bert(width: int, layers: int, seed: int = 0, attention: str = "sdpa", dim: int = 64) -> TransRec:
    """A TransRec around a BERT with random weights and no dropout, so that both sides of a pair compute
    the same.
    """
    backbone = fresh_backbone(
        {
            "model_type": "bert",
            "vocab_size": WORDS,
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": width // 64 or 1,
            "intermediate_size": 4 * width,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        },
        seed,
    )
    backbone.set_attn_implementation(attention)  # type: ignore[operator]
    return TransRec.from_backbone(backbone, ModelSpec(dim=dim, max_len=20, dropout=0.0, pooling="mean"), seed)


def instruments(data_root: Path | None) -> Domain:
    """amazon_instruments as the paper's settings would have it (users with 5 items, titles of 30 tokens),
    or something of its size.
    """
    if data_root is not None:
        tokenizer = AutoTokenizer.from_pretrained(encoder_path("minilm", "text"))
        return load_domain(DataSpec(folder="amazon_instruments", last=23), data_root, tokenizer)
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.normal(20, 8, 20_619).round(), 4, 30).astype(np.int32)
    tokens = np.where(
        np.arange(30) < lengths[:, None], rng.integers(1000, WORDS, (len(lengths), 30)), 0
    ).astype(np.int32)
    sizes = 5 + rng.geometric(1 / 3.4, 10_000)
    histories = Interactions(
        (20_618 * rng.random(sizes.sum()) ** 2).astype(np.int32) + 1,
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        20_618,
    )
    return Domain("synthetic", TextCatalog(tokens, lengths), histories)


def small(domain: Domain, users: int = 2000) -> Domain:
    """The same with fewer users and the items that they had: enough for a few steps."""
    some = domain.interactions.select(np.arange(users))
    kept = np.unique(some.items)
    number = np.zeros(some.n_items + 1, dtype=np.int32)
    number[kept] = np.arange(1, len(kept) + 1)
    catalog: Any = domain.catalog
    rows = np.concatenate([[0], kept])
    return Domain(
        domain.name,
        TextCatalog(catalog.tokens[rows], catalog.lengths[rows]),
        Interactions(number[some.items], some.offsets, len(kept)),
    )


def trainer(
    domain: Domain, width: int, layers: int, adapter: dict[str, Any] | None = None, **options: Any
) -> Trainer:
    """Of a fresh model that is fully fine-tuned, or has an adapter."""
    model = bert(width, layers)
    if adapter:
        model.add_adapter("a", AdapterConfig(**adapter))
        model.train_adapter("a")
    return Trainer(model, domain, TrainSpec(loss="batch", batch_size=32, **options))
