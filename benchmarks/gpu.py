"""What a GPU makes of it: `python -m benchmarks.gpu --out results/benchmarks/gpu.json` on a machine that has
one.

For bert-base (random weights, titles of 30 tokens, batches of 512 distinct items), bf16: tokens a second,
peak memory, and the share of the card's bf16 matrix rate that a step reaches, for full fine-tuning and every
adapter; the same with torch.compile for full fine-tuning; and how often a step makes the processor wait. The
matrix rate is measured in the same run, on a product of two 8192 x 8192 matrices; the work of a step is
counted, not estimated (`torch.utils.flop_counter`). `--tiny` runs the same code on a small model, also
without a GPU, to see that it works.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.base.files import atomic_write
from transrec_core.data.catalog import TextCatalog
from transrec_core.data.domain import Domain
from transrec_core.data.interactions import Interactions
from transrec_core.models import ModelSpec, TransRec, fresh_backbone
from transrec_core.study.provenance import environment
from transrec_core.training.costs import peak_bytes, standing_bytes
from transrec_core.training.spec import TrainSpec
from transrec_core.training.trainer import Trainer

TOKENS, WORDS = 30, 30522
GOAL = 0.35


def wait() -> None:
    """Waits for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(function: Callable[[], Any], repeats: int) -> float:
    """Median seconds of a call, work on the GPU included; the first three calls are not counted."""
    times = []
    for number in range(repeats + 3):
        wait()
        began = time.perf_counter()
        function()
        wait()
        if number >= 3:
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def matrix_rate(device: torch.device, size: int) -> float:
    """Operations a second of a product of two bf16 matrices."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / seconds(lambda: a @ b, 10)


def domain(items: int) -> Domain:
    """Users whose batches of 64 name about 512 distinct items, each a title of 30 tokens."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(1000, WORDS, (items + 1, TOKENS)).astype(np.int32)
    histories = Interactions.from_lists([rng.permutation(items)[:11] + 1 for _ in range(2000)], items)
    return Domain("synthetic", TextCatalog(tokens, np.full(items + 1, TOKENS, dtype=np.int32)), histories)


def model(method: str, device: torch.device, tiny: bool) -> TransRec:
    """bert-base (or something tiny) with everything open, or with one adapter."""
    width, layers = (64, 2) if tiny else (768, 12)
    backbone = fresh_backbone(
        {
            "model_type": "bert",
            "vocab_size": WORDS,
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": width // 64,
            "intermediate_size": 4 * width,
        },
        0,
    )
    network = TransRec.from_backbone(backbone, ModelSpec(), 0)
    if method != "full":
        network.add_adapter("a", AdapterConfig(method=method))
        network.train_adapter("a")
    return network.to(device)


def waits(function: Callable[[], Any]) -> int | None:
    """How often a call makes the processor wait for the GPU; None without one."""
    if not torch.cuda.is_available():
        return None
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(w.message) for w in caught)


def measure(
    method: str, compiled: bool, device: torch.device, rate: float, tiny: bool, repeats: int
) -> dict[str, Any]:
    """One line of the table."""
    network = model(method, device, tiny)
    if compiled:
        network.item_encoder.backbone.compile()  # type: ignore[union-attr]
    spec = TrainSpec(batch_size=64, precision="bf16", loss="batch")
    trainer = Trainer(network, domain(300 if tiny else 20_000), spec)
    trainer.step()
    with FlopCounterMode(display=False) as counter:
        if not compiled:
            trainer.step()
    time_of_step = seconds(trainer.step, repeats)
    items = statistics.mean(len(trainer.batcher.batch(n).items) for n in range(10))
    return {
        "method": method + (", torch.compile" if compiled else ""),
        "seconds": time_of_step,
        "items": items,
        "tokens a second": items * TOKENS / time_of_step,
        "peak GB": (peak_bytes(trainer.step) + standing_bytes(network)) / 1e9,
        "operations": counter.get_total_flops() or None,
        "share of matrix rate": counter.get_total_flops() / time_of_step / rate or None,
        "waits in a step": waits(trainer.step),
    }


def main() -> None:
    """Prints the table, and writes it with ``--out``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tiny", action="store_true", help="a small model, to see that this runs")
    parser.add_argument("--methods", nargs="*", default=["full", *METHODS])
    arguments = parser.parse_args()
    if not torch.cuda.is_available() and not arguments.tiny:
        sys.exit("no GPU here; --tiny runs the same code on a small model without one")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU"
    rate = matrix_rate(device, 256 if arguments.tiny else 8192)
    print(
        f"{name}, torch {torch.__version__}: {rate / 1e12:.1f} T operations a second in bf16 matrix products"
    )
    rows = []
    plan = [(method, False) for method in arguments.methods] + (
        [("full", True)] if device.type == "cuda" else []
    )
    for method, compiled in plan:
        row = measure(method, compiled, device, rate, arguments.tiny, 3 if arguments.tiny else 20)
        rows.append(row)
        share = row["share of matrix rate"]
        of_rate = "" if share is None else f"{100 * share:5.1f} % of the matrix rate"
        print(
            f"{row['method']:<22} {1000 * row['seconds']:9.1f} ms a step "
            f"{row['tokens a second']:12,.0f} tokens a second {row['peak GB']:7.2f} GB "
            f"{of_rate} waits: {row['waits in a step']}",
            flush=True,
        )
    if not arguments.tiny:
        reached = rows[0]["share of matrix rate"] >= GOAL
        print(
            f"full fine-tuning at {100 * GOAL:.0f} % of the matrix rate: {'reached' if reached else 'missed'}"
        )
    if arguments.out:
        facts = {
            "card": name,
            "machine": environment(),
            "matrix rate": rate,
            "goal": GOAL,
            "rows": rows,
            "rates": [{"device": f"{name}, bf16", "flops": rows[0]["operations"] / rows[0]["seconds"]}],
        }
        atomic_write(arguments.out, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
