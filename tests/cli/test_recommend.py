"""``transrec recommend``, on a folder of save_pretrained and on what ``transrec run`` kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests import shop, tiny
from tests.helpers import write_folders
from transrec_core.adapters import AdapterConfig
from transrec_core.base.errors import UserError
from transrec_core.cli.main import app
from transrec_core.data.loading import DataSpec, load_folder
from transrec_core.models import TransRec
from transrec_core.models import recommend as recommend_module
from transrec_core.study import kept
from transrec_core.study.run import run
from transrec_core.study.specs import RunSpec
from transrec_core.study.store import Store

STEPS = {"steps": 4, "min_steps": 0, "eval_every": 2, "batch_size": 16}


def recommend(*arguments: object) -> list[list[str]]:
    """What the command prints, by rows; a mistake is raised."""
    done = CliRunner().invoke(app, ["recommend", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return [line.split("\t") for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A saved model with an adapter within."""
    place = tmp_path_factory.mktemp("model")
    model, domain = tiny.model(), tiny.domain("text")
    tiny.stir(model)
    domain.item_ids = ["", *(f"B{n:03d}" for n in range(1, tiny.ITEMS + 1))]
    model.remember(domain)
    model.save_pretrained(place)
    model.add_adapter("games", AdapterConfig(method="houlsby", item_size=4, user_size=4))
    tiny.stir(model.adapters)
    model.save_adapter(place / "games", "games")
    return place


def test_it_writes_what_the_model_recommends(folder, tmp_path):
    file = tmp_path / "users.tsv"
    file.write_text("anna\tB001 B007\n\nbert\tB003\r\n")
    model = TransRec.from_pretrained(folder)
    rows = recommend(folder, "--histories", file, "--k", 3)
    assert rows[0] == ["user", "rank", "item", "score"]
    for user, history, some in (("anna", ["B001", "B007"], rows[1:4]), ("bert", ["B003"], rows[4:])):
        best = model.recommend(history, 3)
        assert [row[:3] for row in some] == [[user, str(n), item] for n, item in enumerate(best.ids, 1)]
        assert [float(row[3]) for row in some] == pytest.approx(best.scores, rel=1e-4)


@pytest.mark.parametrize("adapter", ["games", "{folder}/games"])
def test_an_adapter_is_taken_by_name_or_folder(adapter, folder, tmp_path):
    file = tmp_path / "histories.txt"
    file.write_text("\ufeffB001 B007\nB003\n", encoding="utf-8")
    model = TransRec.from_pretrained(folder)
    plain = model.recommend(["B003"], 4).ids
    model.load_adapter(folder / "games", "games")
    rows = recommend(folder, "--adapter", adapter.format(folder=folder), "--histories", file, "--k", 4)
    assert [row[2] for row in rows[5:]] == model.recommend(["B003"], 4).ids != plain
    assert [row[0] for row in rows[1:]] == ["1"] * 4 + ["2"] * 4  # users are lines where they have no names


def test_the_output_is_whole_or_not_there_and_blocks_change_nothing(folder, tmp_path, monkeypatch):
    file, out = tmp_path / "histories.txt", tmp_path / "out.tsv"
    file.write_text("".join(f"B{n:03d} B{n + 1:03d}\n" for n in range(1, 31)))
    assert recommend(folder, "--histories", file, "--out", out) == []
    whole = out.read_text()
    assert len(whole.splitlines()) == 1 + 30 * 10
    monkeypatch.setattr(recommend_module, "SCORES_AT_ONCE", 4 * (tiny.ITEMS + 1))
    assert [row[:3] for row in recommend(folder, "--histories", file)] == [
        line.split("\t")[:3] for line in whole.splitlines()
    ]
    file.write_text(file.read_text() + "B001 nobody\n")
    with pytest.raises(UserError, match="line 31"):
        recommend(folder, "--histories", file, "--out", out)
    assert out.read_text() == whole and sorted(p.name for p in tmp_path.iterdir()) == [file.name, out.name]


def test_what_a_user_had_and_unknown_items(folder, tmp_path):
    file = tmp_path / "histories.txt"
    file.write_text("B001 what B002\nnever\n")
    rows = recommend(folder, "--histories", file, "--k", 40, "--skip-unknown", "--with-history")
    assert {row[0] for row in rows[1:]} == {"1"} and {"B001", "B002"} < {row[2] for row in rows}
    assert len(recommend(folder, "--histories", file, "--k", 40, "--skip-unknown")) == 1 + 38


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"B001\nB0x1\n", "line 2: item 'B0x1' is not among the 40 that the model knows; did you mean 'B0"),
        (b"anna\tB001\nB002\n", "line 2: write 'user TAB item ids' in all lines"),
        (b"anna\tB001\tB002\n", "line 1: write 'user TAB item ids'"),
        (b"B001\nanna\tB001\n", "line 2: write 'user TAB item ids'"),
        (b"anna\t\n", "line 1: no items"),
        (b"B001\nB00\xff\n", "line 2: byte 0xff is not UTF-8"),
        (b"\n \n", "is empty"),
    ],
)
def test_a_line_that_can_not_be_read_is_named(text, message, folder, tmp_path):
    file = tmp_path / "histories.txt"
    file.write_bytes(text)
    with pytest.raises(UserError) as error:
        recommend(folder, "--histories", file)
    assert message in str(error.value) and str(file) in str(error.value) and "\n" not in str(error.value)


def test_models_adapters_and_files_that_are_not_there_are_told(folder, tmp_path):
    file = tmp_path / "histories.txt"
    with pytest.raises(UserError, match=r"histories\.txt: no such file"):
        recommend(folder, "--histories", file)
    file.write_text("B001\n")
    with pytest.raises(UserError, match="no such folder; give one of save_pretrained, or STORE/ID"):
        recommend(tmp_path / "nothing", "--histories", file)
    with pytest.raises(UserError, match=r"--adapter gams: no such folder.*\(there are: games\)"):
        recommend(folder, "--histories", file, "--adapter", "gams")
    tiny.model().save_pretrained(tmp_path / "bare")
    with pytest.raises(UserError, match="knows no items"):
        recommend(tmp_path / "bare", "--histories", file)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Two small dataset folders with pictures: "a" (source) and "b" (target)."""
    folder = tmp_path_factory.mktemp("data")
    return write_folders(folder, items=20, users=30, longest=8, own_ids=True, ending="png")


def spec(strategy: str, **more) -> RunSpec:
    picture = {"modality": "image", "image_size": 32}
    fields = {
        "source": {"data": {"folder": "a", **picture}, "training": STEPS},
        "target": {"folder": "b", **picture},
        "encoder": "fresh-vit",
        "strategy": strategy,
        "model": {"dim": 16, "max_len": 8},
        "training": STEPS,
    }
    return RunSpec.model_validate(fields | more)


LORA = {"adapter": {"method": "lora", "item_size": 4, "user_size": 4}}


@pytest.mark.slow
def test_what_an_adapter_run_trained_is_kept_small_and_recommends(data, tmp_path):
    store, wanted = Store(tmp_path / "my runs"), spec("adapter", **LORA)
    record = run(wanted, store, data, show_progress=False, keep=True)
    place = store.folder(record.id)
    assert {path.name for path in (place / "model").iterdir()} == {"base.json", "target"}
    base = json.loads((place / "model" / "base.json").read_text())
    assert base["base"] == f"../../sources/{wanted.source_id()}"
    shown = CliRunner().invoke(app, ["show", record.id, "--store", str(store.root)]).stdout
    assert f"transrec recommend '{place}' --histories FILE" in shown
    users = data / "b" / "users.tsv"
    rows = recommend(place, "--histories", users, "--k", 20)
    # The record's ranks are of the last item given the others: the kept model ranks them alike.
    histories = dict(line.split("\t") for line in users.read_text().splitlines())
    short = tmp_path / "short.tsv"
    short.write_text("".join(f"{user}\t{items.rpartition(' ')[0]}\n" for user, items in histories.items()))
    ranked = {(row[0], row[2]): int(row[1]) for row in recommend(place, "--histories", short, "--k", 20)[1:]}
    ranks = [ranked[user, items.split()[-1]] for user, items in histories.items()]
    assert ranks == record.ranks.tolist()
    assert {row[0] for row in rows[1:]} == set(histories)
    # A study keeps nothing, and the record is the same.
    plain = Store(tmp_path / "plain")
    again = run(wanted, plain, data, show_progress=False)
    assert not (plain.folder(again.id) / "model").exists() and not (plain.root / "items").exists()
    clock = {"sha256", "seconds", "train_seconds", "seconds_per_step", "peak_memory_mb", "finished", "commit"}
    both = [{k: v for k, v in r.facts.items() if k not in clock} for r in (record, again)]
    assert both[0] == both[1] and again.same_ranks(record)


@pytest.mark.parametrize("strategy", ["head", "item_id"])
def test_other_trained_strategies_are_kept_whole(strategy, data, tmp_path):
    store = Store(tmp_path)
    record = run(spec(strategy), store, data, show_progress=False, keep=True)
    model = TransRec.from_pretrained(store.folder(record.id) / "model")
    best = model.recommend(["b0", "b3"], 5)
    assert len(best) == 5 and all(item.startswith("b") for item in best.ids)
    if strategy == "head":
        assert model.encode([data / "b" / "images" / "b3.png"]).shape == (1, 16)


def test_a_kept_run_on_titles_reads_new_ones(data, tmp_path):
    titles = {"modality": "text", "max_tokens": 6}
    parts = {
        "source": {"data": {"folder": "a", **titles}, "training": STEPS},
        "target": {"folder": "b", **titles},
        "encoder": shop.save_encoder(tmp_path / "bert"),
    }
    store = Store(tmp_path / "runs")
    record = run(spec("adapter", **LORA, **parts), store, data, show_progress=False, keep=True)
    model = TransRec.from_pretrained(store.folder(record.id) / "model")
    assert model.reader.max_tokens == 6 and model.encode(["kind1 word2", "word3"]).shape == (2, 16)
    vectors = model.item_vectors()
    domain = load_folder(DataSpec(folder="b", **titles), data, model.reader.tokenizer)
    assert domain.history("u3")[0].startswith("b") and model.recommend(domain.history("u3"), 3).ids
    assert np.allclose(model.encode("title b3"), vectors[1 + 3], atol=1e-6)


def test_a_run_that_is_interrupted_while_it_keeps_leaves_nothing_half_written(data, tmp_path, monkeypatch):
    store, wanted = Store(tmp_path), spec("adapter", **LORA)
    place, write = store.folder(wanted.id()), kept.atomic_write

    def stop(path, content):
        raise KeyboardInterrupt

    monkeypatch.setattr(kept, "atomic_write", stop)
    with pytest.raises(KeyboardInterrupt):
        run(wanted, store, data, show_progress=False, keep=True)
    assert not store.has(wanted.id())
    assert not (place / "model").exists() and not list(place.glob(".*"))
    (place / ".model.x.tmp").mkdir()  # of a process that was killed
    monkeypatch.setattr(kept, "atomic_write", write)
    run(wanted, store, data, show_progress=False, keep=True)
    assert (place / "model" / "base.json").is_file() and not list(place.glob(".*"))


def test_a_record_without_its_model_says_how_to_get_it(data, tmp_path, capsys):
    store, wanted = Store(tmp_path), spec("head")
    run(wanted, store, data, show_progress=False)
    run(wanted, store, data, show_progress=False, keep=True)
    assert "--refresh trains again and keeps it" in capsys.readouterr().err
    file = tmp_path / "histories.txt"
    file.write_text("b0\n")
    with pytest.raises(UserError, match="no model was kept"):
        recommend(store.folder(wanted.id()), "--histories", file)
    run(wanted, store, data, refresh=True, show_progress=False, keep=True)
    assert len(recommend(store.folder(wanted.id()), "--histories", file)) == 11
