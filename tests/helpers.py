"""What tests of several rooms share: the command line, a small run's fields, records compared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transrec_core.base.errors import UserError
from transrec_core.world.encoders import encoder_path

#: The command in a process of its own.
TRANSREC = (sys.executable, "-m", "transrec_core.cli")
STEPS = {"steps": 8, "min_steps": 0, "eval_every": 2, "batch_size": 16}


def environment(**more: str) -> dict[str, str]:
    """The environment of a process that a test starts: one thread."""
    return os.environ | {"OMP_NUM_THREADS": "1"} | more


def transrec(*arguments: str, cwd: Path, **options) -> subprocess.CompletedProcess:
    """A ``transrec`` command in a process of its own."""
    return subprocess.run(
        [*TRANSREC, *arguments], cwd=cwd, capture_output=True, text=True, env=environment(), **options
    )


def command(*arguments: str, monkeypatch, capsys) -> tuple[int, str, list[str]]:
    """Exit status, output and lines of errors of a ``transrec`` command in this process."""
    from transrec_core.cli.main import main

    monkeypatch.setattr(sys, "argv", ["transrec", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    streams = capsys.readouterr()
    return int(end.value.code or 0), streams.out, streams.err.splitlines()


def fields(strategy: str = "full", **more) -> dict:
    """A short run's specification on the folders "a" and "b" of the fixture ``folders``."""
    data = {"modality": "image", "image_size": 32}
    spec = {
        "source": {"data": {"folder": "a", **data}, "training": STEPS},
        "target": {"folder": "b", **data},
        "encoder": "fresh-vit",
        "strategy": strategy,
        "model": {"dim": 16, "max_len": 8},
        "training": STEPS,
    }
    return spec | more


def same(a, b) -> bool:
    """Whether two records agree in all that does not depend on the clock."""
    free = {"sha256", "seconds", "train_seconds", "seconds_per_step", "peak_memory_mb", "finished", "commit"}
    left, right = ({k: v for k, v in r.facts.items() if k not in free} for r in (a, b))
    return left == right and (a.ranks == b.ranks).all()


def has_minilm() -> bool:
    """Whether the optional MiniLM weights are installed."""
    try:
        encoder_path("minilm", "text")
    except UserError:
        return False
    return True


def write_folders(
    root: Path, items: int = 30, users: int = 40, longest: int = 9, own_ids: bool = False, ending: str = "jpg"
) -> Path:
    """Two small dataset folders with titles and pictures, "a" and "b"; ``own_ids``: no id stands in both."""
    for name, seed in (("a", 0), ("b", 1)):
        rng = np.random.default_rng(seed)
        (root / name / "images").mkdir(parents=True)
        ids = [f"{name if own_ids else 'i'}{n}" for n in range(items)]
        (root / name / "items.tsv").write_text("".join(f"{i}\ttitle {i}\n" for i in ids))
        lines = [" ".join(rng.permutation(ids)[: rng.integers(5, longest + 1)]) for _ in range(users)]
        (root / name / "users.tsv").write_text("".join(f"u{n}\t{line}\n" for n, line in enumerate(lines)))
        for item in ids:
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / "images" / f"{item}.{ending}")
    return root
