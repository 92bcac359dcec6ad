"""What the commands print: lines that can be pasted, lists of what can be written, comparisons."""

from __future__ import annotations

import json
import re
import shlex
import shutil

import numpy as np
import pytest

from tests.helpers import STEPS, command, fields
from transrec_core.adapters.registry import METHODS
from transrec_core.base.errors import UserError
from transrec_core.evaluation.metrics import metrics
from transrec_core.study.keys import keys
from transrec_core.study.record import same_cases
from transrec_core.study.specs import RunSpec, validated, with_changes
from transrec_core.study.store import Store


def ran(*arguments: str, monkeypatch, capsys) -> str:
    status, output, errors = command(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert status == 0, errors
    return output


def test_the_line_that_repeats_a_run_can_be_pasted(folders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folders, tmp_path / "my data")
    (tmp_path / "s.yaml").write_text(json.dumps(fields("popularity")))
    places = ("--store", "my runs", "--data-root", "my data")
    output = ran("run", "s.yaml", *places, monkeypatch=monkeypatch, capsys=capsys)
    (line,) = re.findall(r"repeat: (.*)", output)
    words = shlex.split(line)
    assert words[:2] == ["transrec", "repeat"] and words[3:] == list(places)
    assert "agrees" in ran(*words[1:], monkeypatch=monkeypatch, capsys=capsys)
    again = ran("show", words[2], "--store", "my runs", monkeypatch=monkeypatch, capsys=capsys)
    assert "--store 'my runs' --data-root DATA" in again
    again = ran("show", words[2], *places, monkeypatch=monkeypatch, capsys=capsys)
    assert f"repeat: {line}" in again


@pytest.mark.slow
def test_a_run_in_the_embedded_world_needs_no_data_root(tmp_path, monkeypatch, capsys):
    places = ("--store", str(tmp_path))
    output = ran("run", "--strategy", "popularity", *places, monkeypatch=monkeypatch, capsys=capsys)
    assert "--data-root" not in output and "note: the catalogue" not in output


def test_a_small_catalogue_is_told(tmp_path, monkeypatch, capsys):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "items.tsv").write_text("".join(f"i{n}\n" for n in range(6)))
        (tmp_path / name / "users.tsv").write_text("u\ti0 i1 i2 i3 i4\nv\ti1 i2 i3 i4 i5\n")
    arguments = ("--source", "a", "--target", "b", "--modality", "id", "--strategy", "popularity")
    monkeypatch.chdir(tmp_path)
    output = ran("run", *arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert "note: the catalogue has 6 items, so any ranking has HR@10 100 %" in output


def test_help_of_run_has_examples(monkeypatch, capsys):
    output = ran("run", "--help", monkeypatch=monkeypatch, capsys=capsys)
    examples = re.findall(r"^ +transrec (run .*?)(?:   .*)?$", output, re.MULTILINE)
    assert len(examples) >= 4
    for line in examples:
        words = line.split()
        assert words[0] == "run"
        changes = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
        with_changes({}, changes)


def test_every_key_is_listed_with_a_meaning_and_can_be_set(monkeypatch, capsys):
    listed = {key.name: key for key in keys() if not key.methods}
    assert all(key.meaning and key.kind for key in keys()), [k.name for k in keys() if not k.meaning]

    def leaves(values: dict, prefix: str = "") -> set[str]:
        parts = [
            leaves(v, f"{prefix}{k}.") if isinstance(v, dict) else {prefix + k} for k, v in values.items()
        ]
        return set().union(*parts)

    assert leaves(RunSpec().model_dump(mode="json")) <= set(listed)
    spec = validated({"strategy": "adapter", "adapter": {"method": "houlsby"}}, "test")
    houlsby = {key.name for key in keys() if "houlsby" in key.methods} | set(listed)
    assert leaves(spec.model_dump(mode="json")) - {"adapter.method"} <= houlsby
    output = ran("keys", "training.s", monkeypatch=monkeypatch, capsys=capsys)
    assert output.splitlines()[0] == "training.steps  int = 600" and "training.schedule" in output
    assert "source.training.steps" not in output
    assert "adapter.alpha" in ran("keys", "adapter.a", monkeypatch=monkeypatch, capsys=capsys)


def test_every_method_is_listed(monkeypatch, capsys):
    output = ran("methods", monkeypatch=monkeypatch, capsys=capsys)
    lines = {line.split()[0]: line for line in output.splitlines()[1:-1]}
    assert set(lines) == set(METHODS)
    assert all(
        adapter.title in lines[name] and adapter.family in lines[name] for name, adapter in METHODS.items()
    )
    assert "phm_dim=4" in lines["compacter"] and " yes " in lines["lora"] and " no " in lines["houlsby"]


@pytest.mark.slow
def test_two_encoders_on_one_folder_compare(folders, encoder, tmp_path, monkeypatch, capsys):
    """Titles become other tokens; users and targets are the same."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(encoder, tmp_path / "other")
    words = json.loads((tmp_path / "other" / "tokenizer.json").read_text())
    words["model"]["vocab"] |= {"i3": words["model"]["vocab"]["i4"], "i4": words["model"]["vocab"]["i3"]}
    (tmp_path / "other" / "tokenizer.json").write_text(json.dumps(words))
    ids = []
    for name in (encoder, "other"):
        data = {"modality": "text", "max_tokens": 16}
        spec = {
            "source": {"data": {"folder": "a", **data}, "training": STEPS},
            "target": {"folder": "b", **data},
        }
        (tmp_path / "s.yaml").write_text(json.dumps(fields("frozen", encoder=str(name), **spec)))
        output = ran("run", "s.yaml", "--data-root", str(folders), monkeypatch=monkeypatch, capsys=capsys)
        ids.append(output.split()[0])
    facts = [Store("runs").read(run_id).facts for run_id in ids]
    assert facts[0]["data_fingerprint"] != facts[1]["data_fingerprint"]
    output = ran("compare", *ids, monkeypatch=monkeypatch, capsys=capsys)
    assert "95 % interval" in output and "note" not in output and "(other)" in output


def recorded(store: Store, seed: int, facts: dict, **target):
    spec = validated({"strategy": "popularity", "seed": seed, "target": target}, "test")
    ranks = np.random.default_rng(seed).integers(1, 40, 30)
    known = {"id": spec.id(), "metrics": metrics(ranks), "cases": 30, "finished": "", "seconds": 1.0}
    return store.write(spec, known | facts, ranks)


def test_what_can_be_compared(tmp_path):
    """By users and targets; older records hold only a fingerprint in which the tokens are, too."""
    store = Store(tmp_path)
    one = recorded(store, 1, {"data_fingerprint": "s-x", "cases_fingerprint": "users"})
    assert (
        same_cases(one, recorded(store, 2, {"data_fingerprint": "s-y", "cases_fingerprint": "users"})) is None
    )
    assert same_cases(one, recorded(store, 3, {"data_fingerprint": "other-x"})) is None
    with pytest.raises(UserError, match="different users or targets"):
        same_cases(one, recorded(store, 4, {"data_fingerprint": "s-y", "cases_fingerprint": "others"}))
    old = recorded(store, 5, {"data_fingerprint": "s-y"}, max_tokens=12)
    assert "an older record does not say" in str(same_cases(one, old)) and "30 test cases" in str(
        same_cases(old, one)
    )
    with pytest.raises(UserError, match="different users or targets"):
        same_cases(one, recorded(store, 6, {"data_fingerprint": "s-y"}, min_item=5))
