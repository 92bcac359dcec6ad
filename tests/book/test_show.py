"""What notebooks display, an adapter that no page knows of among it."""

from __future__ import annotations

import IPython.display
import pandas as pd
import pytest
import torch
from torch import nn

from transrec_core.adapters.base import Adapter
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.registry import METHODS, register
from transrec_core.book.show import Gallery, show_lines, show_table


@pytest.fixture
def displayed(monkeypatch) -> list[str]:
    """What was displayed, as text."""
    texts: list[str] = []
    monkeypatch.setattr(IPython.display, "display", lambda *things: texts.extend(t.data for t in things))
    return texts


@pytest.fixture
def shift():
    """An adapter of tomorrow, in a file that says little: it adds a vector behind both sublayers."""

    class ShiftConfig(AdapterConfig):
        method: str = "shift"

    @register
    class Shift(Adapter):
        Config = ShiftConfig

        def __init__(self, width: int) -> None:
            super().__init__()
            self.vector = nn.Parameter(torch.zeros(width))

        @classmethod
        def roles(cls, config):
            return ("attention", "ffn")

        @classmethod
        def build(cls, site, config):
            return cls(site.width)

        def forward(self, x, y):
            return y + self.vector

    yield Shift
    METHODS._classes.pop("shift")


def test_a_table_is_escaped_and_has_no_index(displayed):
    show_table(pd.DataFrame({"a<b": ["x & y"]}), "1 < 2", text=True)
    (html,) = displayed
    assert "1 &lt; 2" in html and "x &amp; y" in html and "a&lt;b" in html and "study-text" in html
    assert "<th>0</th>" not in html


def test_lines_or_other_text(displayed):
    show_lines(["- one", "", "- two"], "none")
    show_lines([], "none")
    assert displayed == ["- one\n- two", "none"]


def test_an_adapter_is_shown_by_its_class(displayed):
    Gallery().show("lora")
    picture, text = displayed
    assert 'role="img"' in picture and "```python\n# LoRA in lora.py\ndef forward" in text
    assert "On bert-base with d = 64: **" in text


def test_adapters_that_a_page_does_not_mention_are_shown_at_its_end(displayed, shift):
    gallery = Gallery()
    gallery.shown = [method for method in METHODS if method != "shift"]
    gallery.show_others()
    heading, picture, text = displayed
    assert heading.startswith("### shift\n\n    What notebooks display")  # the head of its file
    assert 'aria-label="A shift adapter"' in picture
    added = 12 * 2 * 768 + 2 * 2 * 64
    assert f"**{added:,}** parameters" in text and "return y + self.vector" in text
    displayed.clear()
    gallery.show_others()
    assert displayed == ["None: every registered method is shown above."]


def test_an_adapter_that_the_backbone_cannot_have_is_shown_without_a_count(displayed):
    gallery = Gallery("beit-base-patch16-224")
    gallery.show("prompt")
    assert displayed[1].startswith("Not for beit-base-patch16-224: this encoder has a bias for each pair")
