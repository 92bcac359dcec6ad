"""The recorded runs on real data: one seed, two pairs, each run resumable. `make record DATA=FOLDER` calls this.

    text      amazon_games -> amazon_instruments, MiniLM (first two layers), 5,000 source users
    pictures  ml1m films from 1990 on -> films before 1990, users split in halves, a small ViT from random weights

Budgets are what fits an hour on two cores, not what the models could use. Step sizes were set once and not tuned.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from transrec_core.grids import merged
from transrec_core.specs import RunSpec
from transrec_core.store import Store
from transrec_core.study import run

TRAINING = {"loss": "batch", "batch_size": 32, "eval_every": 50, "patience": 4, "min_steps": 150, "warmup": 20}
FULL = {"lr": {"encoder": 1e-4, "head": 1e-3, "user": 1e-3, "adapter": 1e-3}}
FULL_VIT = {"lr": {"encoder": 5e-4, "head": 1e-3, "user": 1e-3, "adapter": 2e-3}}

TEXT = {
    "source": {"data": {"folder": "amazon_games", "max_users": 5000, "min_item": 10, "last": 22, "max_tokens": 20},
               "training": TRAINING | FULL | {"steps": 300, "eval_every": 100}},
    "target": {"folder": "amazon_instruments", "min_item": 5, "last": 22, "max_tokens": 20},
    "encoder": "minilm",
    "model": {"pooling": "mean", "encoder_layers": 2},
    "training": TRAINING | FULL | {"steps": 250},
}  # fmt: skip
FILMS = {"folder": "ml1m", "modality": "image", "last": 22, "image_size": 64}
PICTURES = {
    "source": {"data": FILMS | {"years": [1990, 2100], "half": 0},
               "training": TRAINING | FULL_VIT | {"batch_size": 16, "steps": 800, "eval_every": 100}},
    "target": FILMS | {"years": [1900, 1989], "half": 1},
    "encoder": "fresh-vit",
    "model": {"pooling": "mean"},
    "training": TRAINING | FULL_VIT | {"batch_size": 16, "steps": 500},
}  # fmt: skip
STRATEGIES = [
    {"strategy": "popularity"},
    {"strategy": "item_id", "training": {"steps": 1000, "batch_size": 64, "lr": {"encoder": 3e-3, "user": 1e-3}}},
    {"strategy": "untrained"},
    {"strategy": "frozen"},
    {"strategy": "head", "training": {"steps": 600}},
    {"strategy": "adapter", "adapter": {"method": "houlsby"}},
    {"strategy": "full"},
    {"strategy": "scratch"},
]


def specs() -> list[RunSpec]:
    """All recorded runs, the cheap ones of each pair first."""
    return [RunSpec.model_validate(merged(pair, strategy)) for pair in (PICTURES, TEXT) for strategy in STRATEGIES]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--store", type=Path, default=Path("results/real"))
    arguments = parser.parse_args()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    for number, spec in enumerate(specs(), 1):
        record = run(spec, Store(arguments.store), arguments.data_root)
        print(f"{number}/{len(specs())} {record.id} {spec.target.modality} {spec.method}: HR@10 {100 * record.metrics['HR@10']:.2f} %", flush=True)
