"""What methods, controls, factors and levels are called in tables, figures and sentences."""

from __future__ import annotations

from collections.abc import Iterable

from transrec_core.adapters.registry import METHODS
from transrec_core.study.profile import Variant

#: Names of methods and controls in the order of tables. An adapter's is its class's title.
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

#: Names of factors and levels, where not their own.
WORDS = {
    "item": "item encoder only",
    "user": "user encoder only",
    "attention": "behind attention only",
    "ffn": "behind feed-forward only",
    "top": "top layer only",
    "bottom": "bottom layer only",
    "embeddings": "input embeddings",
    "layernorm": "LayerNorm",
    "init": "first map's start",
    "normal": "N(0, 0.02)",
}


def method_name(method: str) -> str:
    """The name of a method or control; its key, if it is not known."""
    return NAMES.get(method, method)


def word(key: str) -> str:
    """The name of a factor or a level."""
    return WORDS.get(key, key)


def level_names(variant: Variant) -> str:
    """What a variant changes: "position: behind attention only"; empty if it changes nothing."""
    return ", ".join(f"{word(factor)}: {word(level)}" for factor, level in variant.levels)


def variant_name(variant: Variant) -> str:
    """A variant's changes in words; the method's name if there are none."""
    return level_names(variant) or method_name(variant.method)


def full_name(variant: Variant) -> str:
    """The method's name, and what the variant changes of it."""
    return ", ".join(part for part in (method_name(variant.method), level_names(variant)) if part)


def in_order(methods: Iterable[str]) -> list[str]:
    """Methods in the order of tables, each once; unknown ones last, by their keys."""
    order = list(NAMES)
    return sorted(set(methods), key=lambda m: (order.index(m) if m in order else len(order), m))


def capital(text: str) -> str:
    """A text with a capital at the beginning, for headings."""
    return text[:1].upper() + text[1:]
