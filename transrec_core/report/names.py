"""What methods and controls are called in tables and figures."""

from __future__ import annotations

from transrec_core.adapters.registry import METHODS

#: Names in the order of tables. An adapter's is its class's.
NAMES = {
    "oracle": "oracle",
    "full": "full fine-tuning",
    **{name: adapter.title or name for name, adapter in METHODS.items()},
    "head": "head only",
    "frozen": "frozen",
    "scratch": "no source",
    "item_id": "item-ID SASRec",
    "popularity": "popularity",
    "nearest": "nearest content",
    "untrained": "untrained network",
}
