"""What notebooks display: tables and figures that read well in light, dark and on a phone."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def style() -> None:
    """Figures on a white card with large type: they read in light and dark mode, and scaled down on a
    phone.
    """
    import seaborn as sns

    sns.set_theme(
        context="notebook",
        style="whitegrid",
        palette="colorblind",
        rc={
            "figure.dpi": 110,
            "savefig.dpi": 110,
            "figure.facecolor": "white",
            "font.size": 13,
            "axes.titlesize": 13,
            "axes.labelsize": 13,
            "legend.fontsize": 12,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.figsize": (7.2, 4),
        },
    )


def show_text(text: str) -> None:
    """Displays Markdown."""
    from IPython.display import Markdown, display

    display(Markdown(text))


def show_lines(lines: Iterable[str], otherwise: str = "") -> None:
    """Displays the items of a Markdown list, or other text if there are none."""
    show_text("\n".join(line for line in lines if line) or otherwise)


def show_table(frame: pd.DataFrame, caption: str, text: bool = False) -> None:
    """Displays a data frame as a table that scrolls sideways in its own box where it is wider than the page.

    Args:
        frame: the table; its index is not shown.
        caption: above it.
        text: cells hold words, so they are set left and wrapped.
    """
    from IPython.display import HTML, display

    html = frame.to_html(
        index=False, border=0, classes=["study-table", *(["study-text"] if text else [])], escape=True
    )
    display(HTML(f'<div class="table-box"><p class="table-caption">{escape(caption)}</p>{html}</div>'))


def show_worlds(question: str) -> None:
    """Displays what the controls of a question reach in the embedded world and on real data, the verdicts
    of both, and where they disagree.

    Args:
        question: its name ("rq1").
    """
    from transrec_core.report import sentences, tables, worlds

    embedded, real = worlds.shipped(question)
    rows = worlds.both_worlds(question, embedded, real)
    controls = tables.controls_table(embedded, real)
    show_table(controls, "Full fine-tuning and controls, in the embedded world and on real data", text=True)
    if rows:
        caption = "Verdicts, and differences in percent of full fine-tuning"
        show_table(tables.side_by_side_table(rows), caption, text=True)
    show_text(sentences.world_sentence(rows))


class Gallery:
    """Adapters shown one by one, so that at the end it is known which were not.

    Args:
        encoder: the backbone on which parameters are counted.
    """

    def __init__(self, encoder: str = "bert-base-uncased") -> None:
        self.encoder = encoder
        self.shown: list[str] = []

    def show(self, method: str) -> None:
        """Displays an adapter: its picture, the code of its forward pass, and what it adds to the backbone.

        Args:
            method: its registered name.
        """
        from IPython.display import HTML, display

        from transrec_core.adapters.registry import METHODS

        adapter = METHODS[method]
        self.shown.append(method)
        owner = next(c for c in adapter.__mro__ if "forward" in c.__dict__)
        code = textwrap.dedent(inspect.getsource(owner.__dict__["forward"])).rstrip()
        where = f"# {owner.__name__} in {Path(inspect.getfile(owner)).name}"
        display(HTML(f'<div class="adapter-card">{adapter.picture().svg()}</div>'))
        show_text(f"{self._size(method)}\n\n```python\n{where}\n{code}\n```")

    def _size(self, method: str) -> str:
        from transrec_core.adapters.config import AdapterConfig
        from transrec_core.base.errors import UserError
        from transrec_core.models.params import count

        name = self.encoder.removesuffix("-uncased")
        try:
            row = count(self.encoder, AdapterConfig(method=method))
        except UserError as error:
            return f"Not for {name}: {error}."
        share = 100 * row["added"] / row["base"]
        return f"On {name} with d = 64: **{row['added']:,}** parameters, {share:.2f} % of the model's."

    def show_others(self) -> None:
        """Displays each registered adapter that was not shown yet, under its title, with the head of its
        file.
        """
        from transrec_core.adapters.registry import METHODS
        from transrec_core.report.names import method_name

        others = [method for method in METHODS if method not in self.shown]
        if not others:
            show_text("None: every registered method is shown above.")
        for method in others:
            module = inspect.getmodule(METHODS[method])
            header = textwrap.indent(inspect.cleandoc((module and module.__doc__) or ""), "    ")
            show_text(f"### {method_name(method)}\n\n{header}")
            self.show(method)
