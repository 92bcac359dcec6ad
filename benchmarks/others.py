"""This library beside others: the same model, data and start, measured in turns on one machine. `make
bench-others` calls this.

    python benchmarks/others.py [--pairs 5] [--out results/benchmarks/others.json]

    training step, LoRA       PEFT around the same BERT
    training step, Houlsby    AdapterHub's "double_seq_bn" around the same BERT
    full ranking              RecBole's SASRec, trainer and evaluator

Each turn is a process of its own with one thread, ours and theirs alternating. Before times are compared,
results are: losses of the first training steps, numbers of trained parameters, HR@10 and NDCG@10. A ratio
above 1 says that theirs takes longer.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from transrec_core.base.files import atomic_write
from transrec_core.study.executors import cores
from transrec_core.study.provenance import environment

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(__file__).with_suffix("")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


class NotMeasured(Exception):
    """A side could not be run; says why."""


@dataclass(frozen=True)
class Comparison:
    """One comparison.

    Attributes:
        what: is timed.
        ours: argument of ours.py.
        package: of theirs.
        script: runs it.
        python: of its environment.
        note: what to know.
    """

    what: str
    ours: str
    package: str
    script: str
    python: str
    note: str


STEP_NOTE = "BERT of 4 layers x 256, 128 titles of 30 tokens, no dropout, item encoder only"
COMPARISONS = [
    Comparison(
        "training step, LoRA",
        "lora",
        "peft",
        "with_peft.py",
        sys.executable,
        f"{STEP_NOTE}; rank 8 on query and value",
    ),
    Comparison(
        "training step, Houlsby",
        "houlsby",
        "adapters",
        "with_adapters.py",
        ".venv-others/adapters/bin/python",
        f"{STEP_NOTE}; bottleneck 64, gelu; theirs runs on the transformers version that it asks for",
    ),
    Comparison(
        "full ranking",
        "ranking",
        "recbole",
        "with_recbole.py",
        ".venv-others/recbole/bin/python",
        "5,000 users x 20,000 items, d=64, 2 blocks, same weights; theirs scores 4,096 users at once unless "
        "said otherwise, ours a million scores at once; only ours takes each user's history out of the "
        "ranking",
    ),
]


def run(python: str, script: str, *arguments: str, folder: Path) -> str:
    """Output of a script that is run in ``folder``.

    Raises:
        NotMeasured: if it can't be started or fails; without names of folders.
    """
    program = ROOT / python  # an absolute path stays as it is
    if not program.exists():
        raise NotMeasured(f"no environment {python}: make bench-others sets it up")
    command = [str(program), str(SCRIPTS / script), *arguments, str(folder)]
    done = subprocess.run(command, cwd=folder, env=os.environ | ONE_THREAD, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise NotMeasured(f"{script} failed: {last.replace(str(folder), 'FOLDER').replace(str(ROOT), '.')}")
    return done.stdout


def result(output: str) -> dict[str, Any]:
    """What a side reports: the last line of its output."""
    reported: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return reported


def different(ours: dict[str, float], theirs: dict[str, float]) -> list[str]:
    """Checked values that are not equal: numbers exactly, the rest but for rounding."""
    return [
        key
        for key in ours | theirs
        if not math.isclose(ours.get(key, math.nan), theirs.get(key, math.nan), rel_tol=1e-4)
    ]


def rows(
    comparison: Comparison, turns: list[tuple[dict[str, Any], dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    """Rows of the table, one for each way in which theirs was timed."""
    our, their = turns[0]
    wrong = sorted({key for ours, theirs in turns for key in different(ours["check"], theirs["check"])})
    for label in their["times"]:
        times = [(*ours["times"][""], *theirs["times"][label]) for ours, theirs in turns]
        walls = sorted(theirs / ours for ours, _, theirs, _ in times)
        ours_wall, ours_cpu, theirs_wall, theirs_cpu = (
            statistics.median(column) for column in zip(*times, strict=True)
        )
        yield {
            "what": f"{comparison.what} {label}".strip(),
            "theirs": f"{comparison.package} {their['versions'][comparison.package]}",
            "ours_s": round(ours_wall, 4),
            "theirs_s": round(theirs_wall, 4),
            "ratio": round(statistics.median(walls), 3),
            "low": round(walls[0], 3),
            "high": round(walls[-1], 3),
            "ours_cpu_s": round(ours_cpu, 4),
            "theirs_cpu_s": round(theirs_cpu, 4),
            "cpu_ratio": round(statistics.median(theirs / ours for _, ours, _, theirs in times), 3),
            "pairs": len(times),
            "check": {"ours": our["check"], "theirs": their["check"], "different": wrong},
            "note": comparison.note,
        }


def compare(comparison: Comparison, pairs: int, folder: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows of one comparison, and the versions in the environment of theirs."""
    try:
        turns = [
            (
                result(run(sys.executable, "ours.py", comparison.ours, folder=folder)),
                result(run(comparison.python, comparison.script, folder=folder)),
            )
            for _ in range(pairs)
        ]
    except NotMeasured as error:
        return [
            {
                "what": comparison.what,
                "theirs": comparison.package,
                "pairs": 0,
                "note": f"not measured: {error}",
            }
        ], {}
    return list(rows(comparison, turns)), turns[0][1]["versions"]


def show(rows_of_one: list[dict[str, Any]]) -> None:
    """Prints the checks of a comparison, or why there are none, as soon as they are there."""
    row = rows_of_one[0]  # a further one has the same results, timed in another way
    print(f"{row['what']} / {row['theirs']}: {row['note']}")
    if row["pairs"]:
        check = row["check"]
        print(
            "  ours / theirs:",
            ", ".join(
                f"{key} {value:.6g} / {check['theirs'].get(key, math.nan):.6g}"
                for key, value in check["ours"].items()
            ),
        )
        print("  DIFFERENT:" if check["different"] else "  the same", *check["different"], flush=True)


def main() -> None:
    """Prints the checks and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--out", type=Path, help="also write JSON")
    arguments = parser.parse_args()
    began, lines, versions = time.perf_counter(), [], {}
    load = os.getloadavg()[0]  # how busy others keep the machine
    with tempfile.TemporaryDirectory() as name:
        run(sys.executable, "ours.py", "prepare", folder=Path(name))
        for comparison in COMPARISONS:
            some, versions[comparison.package] = compare(comparison, arguments.pairs, Path(name))
            show(some)
            lines += some
    seconds = round(time.perf_counter() - began)
    table = pd.DataFrame(lines).drop(columns=["check", "note"], errors="ignore")
    print(
        f"\nmedians over {arguments.pairs} pairs, one thread; ratio = theirs / ours [low, high]; "
        f"load at the start {load:.1f}; {seconds} s in all"
    )
    print(table.to_string(index=False))
    if arguments.out:
        facts = environment()
        machine = {"cpu": facts["cpu"], "cores": cores(), "threads": 1, "load at the start": round(load, 1)}
        content = {"command": "python benchmarks/others.py", "seconds": seconds, "machine": machine}
        content |= {
            "versions": {"ours": facts["versions"], **versions},
            "commit": facts["commit"],
            "code": facts["code"],
        }
        content |= {"finished": facts["finished"], "rows": lines}
        atomic_write(arguments.out, json.dumps(content, indent=2) + "\n")
    sys.exit(int(any(row.get("check", {}).get("different") for row in lines)))


if __name__ == "__main__":
    main()
