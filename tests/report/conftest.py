"""Records of real data, made up, as far as seeds say."""

from __future__ import annotations

import pytest
import yaml

from tests.report.made_up import fill
from transrec_core.study import step_sizes
from transrec_core.study.grids import load_profile
from transrec_core.study.store import Store


@pytest.fixture(scope="session")
def real():
    """The profile of the study on real data."""
    return load_profile("real")


@pytest.fixture
def tuned_instruments(real, tmp_path, monkeypatch) -> None:
    """A table of step sizes for the pair "instruments" alone, as if it had been tuned."""
    monkeypatch.setattr(step_sizes, "PROFILES", tmp_path / "profiles")
    (tmp_path / "profiles").mkdir()
    table = {
        "instruments-text-sasrec": {
            method: {"chosen": sizes[1], "valid NDCG@10": {}, "best step": {}}
            for method, sizes in real.pairs["instruments"].grids.items()
        }
    }
    (tmp_path / "profiles" / "step_sizes_real.yaml").write_text(yaml.safe_dump(table))


@pytest.fixture
def recorded(real, tuned_instruments, tmp_path):
    """A function that makes a store of a question's runs with some seeds."""

    def make(question: str, seeds: set[int], name: str = "store") -> Store:
        store = Store(tmp_path / name)
        fill(store, real, question, seeds)
        return store

    return make
