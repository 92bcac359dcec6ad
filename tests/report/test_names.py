"""What things are called: every registered method is named and drawn."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.report.methods import merging_methods, settings_table
from transrec_core.report.names import NAMES, full_name, in_order, level_names, method_name, variant_name
from transrec_core.study.profile import Variant


def test_every_method_is_drawn_and_named():
    assert set(METHODS) <= set(NAMES)
    for name, adapter in METHODS.items():
        assert method_name(name) == (adapter.title or name)
        svg = ElementTree.fromstring(adapter.picture().svg())
        assert svg.tag == "{http://www.w3.org/2000/svg}svg"
        assert svg.attrib["role"] == "img" and svg.attrib["aria-label"]
    assert len(set(NAMES.values())) == len(NAMES)


def test_variants_are_named_by_what_they_change():
    plain, changed = Variant("houlsby"), Variant("houlsby", (("position", "ffn"), ("size", "4/2")))
    assert variant_name(plain) == full_name(plain) == "Houlsby" and level_names(plain) == ""
    assert variant_name(changed) == "position: behind feed-forward only, size: 4/2"
    assert full_name(changed) == f"Houlsby, {variant_name(changed)}"
    assert method_name("of tomorrow") == "of tomorrow"


def test_methods_have_one_order():
    assert in_order(["zebra", "head", "full", "houlsby", "full", "ape"]) == [
        "full",
        "houlsby",
        "head",
        "ape",
        "zebra",
    ]


def test_settings_are_read_from_the_classes():
    table = settings_table().set_index("method")
    assert len(table) == len(METHODS) and list(table.index) == [method_name(m) for m in METHODS]
    for name, adapter in METHODS.items():
        row = table.loc[method_name(name)]
        for field in row["settings of its own"].split(", "):
            assert field == "–" or (
                field in adapter.Config.model_fields and field not in AdapterConfig.model_fields
            )
        assert (row["can be merged"] == "yes") == adapter.merges == (method_name(name) in merging_methods())
    assert table.loc["LoRA", "settings of its own"] == "targets, alpha"
