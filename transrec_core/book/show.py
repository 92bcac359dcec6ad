"""What notebooks display: tables and figures that read well in light, dark and on a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any


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


def show_table(frame: Any, caption: str, text: bool = False) -> None:
    """Displays a data frame as a table that scrolls sideways in its own box where it is wider than the page.

    Args:
        text: cells hold words, so they are set left and wrapped.
    """
    from html import escape

    from IPython.display import HTML, display

    html = frame.to_html(
        index=False, border=0, classes=["study-table", *(["study-text"] if text else [])], escape=True
    )
    display(HTML(f'<div class="table-box"><p class="table-caption">{escape(caption)}</p>{html}</div>'))


def show_worlds(question: str) -> None:
    """Displays what the controls of a question reach in the embedded world and on real data, the verdicts
    of both, and where they disagree.
    """
    from IPython.display import Markdown, display

    from transrec_core.report import worlds

    both = worlds.shipped(question)
    beside = worlds.beside(question, *both)
    show_table(
        worlds.controls_table(*both),
        "Full fine-tuning and controls, in the embedded world and on real data",
        text=True,
    )
    if len(beside):
        show_table(beside, "Verdicts, and differences in percent of full fine-tuning", text=True)
    display(Markdown(worlds.disagreements(beside)))


def show_adapter(method: str) -> None:
    """Displays an adapter: its picture, the code of its forward pass, and what it adds to bert-base."""
    import inspect
    import textwrap

    from IPython.display import HTML, Markdown, display

    from transrec_core.adapters.config import AdapterConfig
    from transrec_core.adapters.registry import METHODS
    from transrec_core.models.params import count

    found = METHODS[method]
    config = AdapterConfig(method=method)
    row = count("bert-base-uncased", config)
    owner = next(c for c in found.__mro__ if "forward" in c.__dict__)
    code = textwrap.dedent(inspect.getsource(owner.__dict__["forward"])).rstrip()
    display(HTML(f'<div class="adapter-card">{found.picture().svg()}</div>'))
    display(
        Markdown(
            f"On bert-base with d = 64: **{row['added']:,}** parameters, {100 * row['added'] / row['base']:.2f} % of the model's.\n\n"
            f"```python\n# {owner.__name__} in {Path(inspect.getfile(owner)).name}\n{code}\n```"
        )
    )
