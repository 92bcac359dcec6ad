"""Records that ship, of different kinds, run again: the code computes what it did when they were made."""

from __future__ import annotations

import pytest
import torch

from transrec_core.book.execute import ROOT
from transrec_core.study.run import run
from transrec_core.study.store import Store

SHELF = Store(ROOT / "results" / "study")

#: Titles and pictures; full, Houlsby, head, K-Adapter, side network, item-ID.
IDS = {
    "titles, full": "2202c82b558a",
    "pictures, houlsby": "6fc33cb249f9",
    "titles, head": "357f9edca93a",
    "titles, k_adapter": "46554fc6f32f",
    "pictures, side": "fc7703e6c701",
    "titles, item_id": "857cc66a56cb",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", IDS)
def test_a_shipped_record_is_repeated_to_the_last_rank(kind, tmp_path):
    record = SHELF.read(IDS[kind])
    content, method = kind.split(", ")
    assert record.spec.method == method
    assert record.spec.target.modality == {"titles": "text", "pictures": "image"}[content]
    if torch.backends.cpu.get_cpu_capability() != record.facts["cpu"]:
        pytest.skip(f"recorded on a processor with {record.facts['cpu']}: other instructions round otherwise")
    threads = torch.get_num_threads()
    torch.set_num_threads(record.facts["threads"])  # the order of sums depends on it
    try:
        again = run(record.spec, Store(tmp_path), show_progress=False)
    finally:
        torch.set_num_threads(threads)
    assert again.same_ranks(record)
