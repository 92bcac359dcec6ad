"""The front door: the script of the README in a new process, and what ``transrec_core`` hands out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import transrec_core as tr
from tests import shop
from transrec_core.adapters.base import Adapter
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.registry import METHODS, register

SCRIPT = """
import pandas
interactions, items = (pandas.read_csv({data!r} + "/" + name) for name in ("interactions.csv", "items.csv"))

import transrec_core as tr

domain = tr.Domain.from_frame(interactions, items, tokenizer="FOLDER_OR_NAME")
model = tr.TransRec.from_encoder("FOLDER_OR_NAME", dim=64, seed=0)
model.add_adapter("games", tr.LoRA(rank=8), train=True)     # freezes the rest, and says so
tr.fit(model, domain, steps=300)                            # callbacks: on_step, on_evaluation
print(tr.evaluate(model, domain).metrics)
model.recommend(["B001", "B007"], k=10)                     # item ids in, item ids and scores out
model.encode(["A Title"])                                   # item vectors

model.save_pretrained("model")
model.save_adapter("model/games", "games")
print(model.recommend(["B001", "B007"], k=10).ids)
"""

AGAIN = """
import transrec_core as tr

model = tr.TransRec.from_pretrained("model")
before = model.recommend(["B001", "B007"], k=10).ids
model.load_adapter("model/games", "games")
print(model.recommend(["B001", "B007"], k=10).ids)
assert model.recommend(["B001", "B007"], k=10).ids != before, "the adapter acts"
assert model.encode(["kind3 word1"]).shape == (1, 64)
"""


def script(data: Path) -> str:
    """The script with an encoder and frames of 300 users and 120 items, which are written to ``data``."""
    encoder = shop.save_encoder(data)
    interactions, items = shop.frames()
    assert interactions["user"].nunique() == 300 and len(items) == 120
    interactions.to_csv(data / "interactions.csv", index=False)
    items.to_csv(data / "items.csv", index=False)
    return SCRIPT.format(data=str(data)).replace("FOLDER_OR_NAME", encoder)


def python(code: str, folder: Path) -> subprocess.CompletedProcess:
    """A new process, started in ``folder``, with nothing of the repository but the package."""
    root = str(Path(tr.__file__).parents[1])
    env = os.environ | {
        "PYTHONPATH": root,
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSREC_CACHE": str(folder / ".cache"),
    }
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, env=env)


@pytest.mark.slow
def test_the_script_runs_from_an_empty_folder_and_recommends_the_same_in_another_process(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    first = python(script(tmp_path / "data"), empty)
    assert first.returncode == 0, first.stderr
    assert "adapter 'games':" in first.stdout and "'HR@10'" in first.stdout
    second = python(AGAIN, empty)
    assert second.returncode == 0, second.stderr
    assert second.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]


def test_importing_the_package_imports_nothing_heavy(tmp_path):
    code = "import sys, transrec_core; print(transrec_core.__version__, *sorted(sys.modules))"
    done = python(code, tmp_path)
    loaded = set(done.stdout.split())
    assert tr.__version__ in loaded, done.stderr
    heavy = {"torch", "transformers", "pandas", "numpy", "pydantic", "scipy", "matplotlib"}
    assert not loaded & heavy


@pytest.mark.parametrize("name", sorted(tr._HOMES))
def test_every_name_of_the_front_door_is_there(name):
    assert getattr(tr, name).__name__ == name if name != "METHODS" else tr.METHODS is METHODS


def test_every_method_has_its_configuration_under_its_own_name():
    for name, adapter in METHODS.items():
        made = getattr(tr, adapter.__name__)()
        assert made.method == name and type(made) is getattr(tr, type(made).__name__)
        assert made == AdapterConfig(method=name)
        assert adapter.__name__ in dir(tr)
    assert tr.LoRA(rank=8) == tr.LoRAConfig(item_size=8, user_size=8)


def test_a_method_that_comes_later_is_there_as_well(monkeypatch):
    monkeypatch.setattr(METHODS, "_classes", dict(METHODS.items()))

    class ScaledConfig(AdapterConfig):
        method: str = "scaled"

    @register
    class Scaled(Adapter):
        Config = ScaledConfig

    assert tr.Scaled(rank=3).item_size == 3 and tr.ScaledConfig is tr.Scaled


@pytest.mark.parametrize(
    ("name", "hint"), [("Lora", "did you mean 'LoRA'"), ("Domains", "did you mean 'Domain'"), ("fitt", "")]
)
def test_a_wrong_name_is_an_attribute_error_with_the_right_one(name, hint):
    with pytest.raises(AttributeError, match=f"no attribute '{name}'") as error:
        getattr(tr, name)
    assert hint in str(error.value)
