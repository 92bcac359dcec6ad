"""Specifications, records, and the command line on a small dataset folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from transrec_core.base.errors import UserError
from transrec_core.report.ledger import repeats_table
from transrec_core.study.specs import RunSpec, read_spec, validated
from transrec_core.study.store import Store

STEPS = {"steps": 8, "min_steps": 0, "eval_every": 2, "batch_size": 16}


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> Path:
    """Two small dataset folders with pictures: "a" (source) and "b" (target)."""
    root = tmp_path_factory.mktemp("folders")
    for name, seed in (("a", 0), ("b", 1)):
        rng = np.random.default_rng(seed)
        (root / name / "images").mkdir(parents=True)
        items = [f"i{n}" for n in range(30)]
        (root / name / "items.tsv").write_text("".join(f"{i}\ttitle {i}\n" for i in items))
        users = [" ".join(rng.permutation(items)[: rng.integers(5, 10)]) for _ in range(40)]
        (root / name / "users.tsv").write_text("".join(f"u{n}\t{line}\n" for n, line in enumerate(users)))
        for item in items:
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
                root / name / "images" / f"{item}.jpg"
            )
    return root


def fields(strategy: str = "full", **more) -> dict:
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


def transrec(*arguments: str, cwd: Path, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", "from transrec_core.cli.main import main; main()", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        **options,
    )


def same(a, b) -> bool:
    """Whether two records agree in all that does not depend on the clock."""
    free = {"sha256", "seconds", "train_seconds", "seconds_per_step", "peak_memory_mb", "finished", "commit"}
    left, right = ({k: v for k, v in r.facts.items() if k not in free} for r in (a, b))
    return left == right and (a.ranks == b.ranks).all()


def test_the_same_spec_has_the_same_id_and_any_change_another():
    base = RunSpec()
    assert base.id() == RunSpec.model_validate(base.model_dump(mode="json")).id()
    changed = [{"seed": 1}, {"training": {"steps": 601}}, {"model": {"dim": 32}}, {"strategy": "scratch"}]
    assert len({base.id(), *(RunSpec.model_validate(c).id() for c in changed)}) == 1 + len(changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strateggy": "full"}, "did you mean 'strategy'"),
        ({"training": {"stepps": 3}}, "training: unknown key 'stepps' in TrainSpec; did you mean 'steps'"),
        ({"strategy": "adapter"}, "'adapter' is set if, and only if"),
        ({"strategy": "adapter", "adapter": {"method": "lorra"}}, "did you mean 'lora'"),
        ({"target": {"modality": "image"}}, "different modalities"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_fields_are_named(change, message):
    with pytest.raises(UserError, match="here.yaml") as error:
        validated(change, "here.yaml")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_set_changes_one_field(tmp_path):
    (tmp_path / "s.yaml").write_text("strategy: full\ntraining: {steps: 100, min_steps: 0}\n")
    spec = read_spec(tmp_path / "s.yaml", ["training.steps=50", "training.lr.head=0.5"])
    assert spec.training.steps == 50 and spec.training.lr.head == 0.5
    for change, message in (("training.steps", "key=value"), ("strategy.x=1", "has no keys")):
        with pytest.raises(UserError, match=message):
            read_spec(tmp_path / "s.yaml", [change])


def test_run_show_compare_and_repeat_from_the_command_line(folders, tmp_path):
    common = ["--data-root", str(folders), "--store", str(tmp_path / "runs")]
    ids = {}
    for strategy, extra in (
        ("full", {}),
        ("adapter", {"adapter": {"method": "houlsby"}}),
        ("popularity", {}),
        ("item_id", {}),
    ):
        path = tmp_path / f"{strategy}.yaml"
        path.write_text(yaml.safe_dump(fields(strategy, **extra)))
        done = transrec("run", str(path), *common, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        ids[strategy] = done.stdout.split()[0]
    store = Store(tmp_path / "runs")
    assert {r.id for r in store.all()} == set(ids.values())
    assert "houlsby" in transrec("runs", *common[2:], cwd=tmp_path).stdout
    compared = transrec("compare", ids["adapter"], ids["full"], *common[2:], cwd=tmp_path)
    assert "95 % interval" in compared.stdout and compared.returncode == 0
    record = store.read(ids["adapter"])
    assert record.facts["trainable_parameters"] < record.facts["total_parameters"]
    assert str(tmp_path) not in json.dumps(record.facts)
    again = transrec(
        "run",
        str(tmp_path / "runs" / record.id / "spec.yaml"),
        "--data-root",
        str(folders),
        "--store",
        "new",
        cwd=tmp_path,
    )
    assert again.returncode == 0, again.stderr
    assert same(
        Store(tmp_path / "new").read(record.id), record
    )  # law 8, in another process, source stage included
    repeated = transrec(
        "repeat",
        record.id[:6],
        "--store",
        "new",
        "--data-root",
        str(folders),
        "--note",
        "again.json",
        cwd=tmp_path,
    )
    assert repeated.returncode == 0 and "same rank; agrees" in repeated.stdout, repeated.stderr
    (row,) = repeats_table(tmp_path / "again.json").to_dict("records")
    assert (row["id"], row["ranks of all test cases"], row["agrees"]) == (record.id, "equal", "yes")


def test_the_short_way_on_folders(folders, tmp_path):
    done = transrec(
        "run",
        "--source",
        str(folders / "a"),
        "--target",
        str(folders / "b"),
        "--encoder",
        "fresh-vit",
        "--modality",
        "image",
        "--strategy",
        "lora",
        "--set",
        "training.steps=2",
        "--set",
        "training.min_steps=0",
        "--set",
        "source.training.steps=2",
        "--set",
        "source.training.min_steps=0",
        "--set",
        "target.image_size=32",
        "--set",
        "source.data.image_size=32",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "lora, sasrec, seed 0" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["run", "--set", "trainin.steps=1"], "did you mean 'training'"),
        (
            [
                "run",
                "--target",
                "nowhere",
                "--source",
                "nowhere",
                "--modality",
                "image",
                "--encoder",
                "fresh-vit",
            ],
            "nowhere",
        ),
        (["show", "abc"], "no run 'abc'"),
        (["runs"], "no records"),
        (["compare", "a", "b"], "no run 'a'"),
        (["run", "--strategy", "hulsby"], "strategy"),
        (["run", "--encoder", "no/such/encoder"], "no/such/encoder"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(arguments, message, tmp_path):
    done = transrec(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and message in lines[0], done.stderr


def test_a_changed_record_is_noticed(folders, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(fields("popularity")))
    done = transrec("run", str(path), "--data-root", str(folders), cwd=tmp_path)
    folder = tmp_path / "runs" / done.stdout.split()[0]
    ranks = bytearray((folder / "ranks.npy").read_bytes())
    ranks[-4] ^= 1
    (folder / "ranks.npy").write_bytes(ranks)
    with pytest.raises(UserError, match="checksum"):
        Store(tmp_path / "runs").read(folder.name)


def test_a_failing_disk_is_one_line_and_status_1(folders, tmp_path):
    """The record's folder is there already, as a file."""
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(fields()))
    (tmp_path / "runs").write_text("in the way")
    done = transrec("run", str(path), "--data-root", str(folders), cwd=tmp_path)
    assert (
        done.returncode == 1
        and done.stderr.strip().splitlines()[-1].startswith("error: ")
        and "Traceback" not in done.stderr
    )


def test_weights_that_cannot_be_written_are_an_os_error_and_leave_nothing(tmp_path):
    import resource

    import torch

    from transrec_core.adapters.weights import save_tensors

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    save_tensors(tmp_path / "w.safetensors", {"a": torch.zeros(3)})
    old = (tmp_path / "w.safetensors").read_bytes()
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="w.safetensors"):
            save_tensors(tmp_path / "w.safetensors", {"a": torch.zeros(5000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"] and (
        tmp_path / "w.safetensors"
    ).read_bytes() == old


def test_ctrl_c_is_one_line_and_status_130(folders, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(fields(training=STEPS | {"steps": 5000, "patience": 5000})))
    command = [
        sys.executable,
        "-c",
        "from transrec_core.cli.main import main; main()",
        "run",
        str(path),
        "--data-root",
        str(folders),
    ]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    checkpoint = tmp_path / "runs" / read_spec(path).id() / "checkpoint.safetensors"
    while process.poll() is None and not checkpoint.exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert "error: interrupted" in process.communicate()[1].splitlines()[-1]
    assert process.returncode == 130 and checkpoint.exists()


def test_kill_9_and_the_same_command_end_in_the_same_record(folders, tmp_path):
    """Killed once in the source stage and once in the adaptation, then left alone."""
    path = tmp_path / "s.yaml"
    long = {"training": STEPS | {"steps": 60, "patience": 100}}
    path.write_text(yaml.safe_dump(fields(**long) | {"source": fields()["source"] | long}))
    spec = read_spec(path)
    command = [
        sys.executable,
        "-c",
        "from transrec_core.cli.main import main; main()",
        "run",
        str(path),
        "--data-root",
        str(folders),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    kills = 0
    for checkpoint in (
        f"runs/sources/{spec.source_id()}.checkpoint.safetensors",
        f"runs/{spec.id()}/checkpoint.safetensors",
    ):
        process = subprocess.Popen(
            command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment
        )
        while process.poll() is None and not (tmp_path / checkpoint).exists():
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        assert not (tmp_path / "runs" / spec.id() / "record.json").exists()
    assert kills == 2
    for store in ("runs", "whole"):
        done = subprocess.run(
            [*command, "--store", store], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert same(Store(tmp_path / "runs").read(spec.id()), Store(tmp_path / "whole").read(spec.id()))
    assert not (tmp_path / "runs" / spec.id() / "checkpoint.safetensors").exists()
