"""Tables as plain text, for the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def plain_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows with the same columns as lines of text, headings first; the first and the last column are set
    left, the others right.

    Args:
        rows: at least one.
    """
    lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            text.ljust(width) if place in (0, len(widths) - 1) else text.rjust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
