"""Specifications, records, and the command line on a small dataset folder."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from tests.helpers import STEPS, TRANSREC, command, environment, fields, same, transrec
from transrec_core.base.errors import UserError
from transrec_core.report.ledger import repeats_table
from transrec_core.study.run import run
from transrec_core.study.specs import RunSpec, read_spec, validated
from transrec_core.study.store import Store


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


@pytest.mark.slow
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
    spec = str(tmp_path / "runs" / record.id / "spec.yaml")
    again = transrec("run", spec, "--data-root", str(folders), "--store", "new", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    # Law 8, in another process, source stage included.
    assert same(Store(tmp_path / "new").read(record.id), record)
    places = ("--store", "new", "--data-root", str(folders), "--note", "again.json")
    repeated = transrec("repeat", record.id[:6], *places, cwd=tmp_path)
    assert repeated.returncode == 0 and "same rank; agrees" in repeated.stdout, repeated.stderr
    (row,) = repeats_table(tmp_path / "again.json").to_dict("records")
    assert (row["id"], row["ranks of all test cases"], row["agrees"]) == (record.id, "equal", "yes")


def test_the_short_way_on_folders(folders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    short = {"source": folders / "a", "target": folders / "b", "encoder": "fresh-vit", "modality": "image"}
    short |= {"strategy": "lora"}
    sizes = ("target.image_size=32", "source.data.image_size=32")
    steps = [f"{part}training.{key}" for part in ("", "source.") for key in ("steps=2", "min_steps=0")]
    arguments = [word for name, value in short.items() for word in (f"--{name}", str(value))]
    arguments += [word for change in (*steps, *sizes) for word in ("--set", change)]
    status, output, errors = command("run", *arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert status == 0, errors
    assert "lora, sasrec, seed 0" in output


NOWHERE = ("--target", "nowhere", "--source", "nowhere")
PICTURES = ("--modality", "image", "--encoder", "fresh-vit")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["run", "--set", "trainin.steps=1"], "did you mean 'training'"),
        (["run", *NOWHERE, *PICTURES], "nowhere"),
        (["show", "abc"], "no run 'abc'"),
        (["runs"], "no records"),
        (["compare", "a", "b"], "no run 'a'"),
        (["run", "--strategy", "hulsby"], "strategy"),
        (["run", "--encoder", "no/such/encoder"], "no/such/encoder"),
        # Own data, and what is easily forgotten there.
        (["run", "--target", "b", *PICTURES], "name two dataset folders (--source and --target"),
        (["run", "--source", "a", *PICTURES], "name two dataset folders (--source and --target"),
        (["run", "--target", "b", "--encoder", "minilm"], "name two dataset folders"),
        (["run", "--source", "a", "--target", "b"], "encoder 'world' reads nothing but the embedded world"),
        (["run", *NOWHERE, "--strategy", "nearest"], "name one for 'nowhere' (--encoder: minilm"),
        (["run", "--modality", "id"], "modality 'id' has no content for full to read"),
        (["run", "--encoder", "minilm"], "does not know the embedded world's words"),
        (["run", "--strategy", "houlsbi"], "did you mean 'houlsby'?"),
        (["run", "--strategy", "popularty"], "did you mean 'popularity'?"),
        (["run", "--strategy", "adapter"], "no such strategy or adapter method"),
        (["run", *NOWHERE, "--encoder", "../bertsmal"], "encoder '../bertsmal': no such folder"),
        (
            ["run", *NOWHERE, "--encoder", "some/where"],
            "no folder, and the Hugging Face hub, as far as in reach",
        ),
        (["run", *NOWHERE, "--encoder", "minilmm"], "did you mean 'minilm'?"),
        (
            ["run", "--set", "training.lr=fast"],
            "training.lr: should be a mapping of keys to values, not 'fast'",
        ),
        (["run", "--set", "training.steps=many"], "training.steps: should be a whole number, not 'many'"),
        (["run", "--set", "training.cache=maybe"], "should be 'fp32', 'fp16' or 'off', not 'maybe'"),
        (["run", "--set", "seed=[1"], "'[1' is no YAML value"),
        (["keys", "trainin.stps"], "did you mean 'training.steps'?"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, output, errors = command(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert status == 2 and output == ""
    assert len(errors) == 1 and message in errors[0], errors


@pytest.mark.slow
def test_a_users_mistake_is_one_line_in_a_process_of_its_own(tmp_path):
    done = transrec("run", "--strategy", "hulsby", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_a_changed_record_is_noticed(folders, tmp_path):
    folder = (
        tmp_path / "runs" / run(validated(fields("popularity"), "test"), Store(tmp_path / "runs"), folders).id
    )
    ranks = bytearray((folder / "ranks.npy").read_bytes())
    ranks[-4] ^= 1
    (folder / "ranks.npy").write_bytes(ranks)
    with pytest.raises(UserError, match="checksum"):
        Store(tmp_path / "runs").read(folder.name)


def test_a_failing_disk_is_one_line_and_status_1(folders, tmp_path, monkeypatch, capsys):
    """The record's folder is there already, as a file."""
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(yaml.safe_dump(fields()))
    Path("runs").write_text("in the way")
    arguments = ("run", "s.yaml", "--data-root", str(folders))
    status, _, errors = command(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert status == 1 and errors[-1].startswith("error: ") and "Traceback" not in "".join(errors)


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


@pytest.mark.slow
def test_ctrl_c_is_one_line_and_status_130(folders, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(fields(training=STEPS | {"steps": 5000, "patience": 5000})))
    # A shell that starts this in the background may leave SIGINT ignored, which children inherit.
    process = subprocess.Popen(
        [*TRANSREC, "run", str(path), "--data-root", str(folders)],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    checkpoint = tmp_path / "runs" / read_spec(path).id() / "checkpoint.safetensors"
    began = time.monotonic()
    while process.poll() is None and not checkpoint.exists() and time.monotonic() - began < 120:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    try:
        errors = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert "error: interrupted" in errors.splitlines()[-1]
    assert process.returncode == 130 and checkpoint.exists()


@pytest.mark.slow
def test_kill_9_and_the_same_command_end_in_the_same_record(folders, tmp_path):
    """Killed once in the source stage and once in the adaptation, then left alone."""
    path = tmp_path / "s.yaml"
    long = {"training": STEPS | {"steps": 60, "patience": 100}}
    path.write_text(yaml.safe_dump(fields(**long) | {"source": fields()["source"] | long}))
    spec = read_spec(path)
    again = [*TRANSREC, "run", str(path), "--data-root", str(folders)]
    kills = 0
    for checkpoint in (
        f"runs/sources/{spec.source_id()}.checkpoint.safetensors",
        f"runs/{spec.id()}/checkpoint.safetensors",
    ):
        nowhere = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        process = subprocess.Popen(again, cwd=tmp_path, env=environment(), **nowhere)
        while process.poll() is None and not (tmp_path / checkpoint).exists():
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        assert not (tmp_path / "runs" / spec.id() / "record.json").exists()
    assert kills == 2
    for store in ("runs", "whole"):
        done = transrec(*again[3:], "--store", store, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert same(Store(tmp_path / "runs").read(spec.id()), Store(tmp_path / "whole").read(spec.id()))
    assert not (tmp_path / "runs" / spec.id() / "checkpoint.safetensors").exists()
