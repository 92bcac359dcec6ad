"""Small vector pictures of the adapters, drawn by code. Lines take the colour of the page's text, so they
read in light and dark mode.
"""

from __future__ import annotations

from html import escape

FROZEN, TRAINED, PLAIN = "rgba(70,130,200,.28)", "rgba(240,140,30,.55)", "none"

#: See study/meaning.py.
CHANGES_NO_RESULT = True


class Drawing:
    """An SVG picture made of boxes, arrows and words; x goes right, y goes down."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.parts: list[str] = []

    def box(self, x: float, y: float, w: float, h: float, text: str = "", fill: str = FROZEN) -> None:
        """A rounded box with text in it; ``fill`` says whether it is frozen or trained."""
        frame = f'x="{x}" y="{y}" width="{w}" height="{h}" rx="4"'
        self.parts.append(f'<rect {frame} fill="{fill}" stroke="currentColor" stroke-width="1"/>')
        self.words(x + w / 2, y + h / 2, text)

    def words(self, x: float, y: float, text: str, anchor: str = "middle", size: int = 12) -> None:
        """Text, its lines centred on y; ``anchor`` and ``size`` as in SVG."""
        lines = text.split("\n")
        for number, line in enumerate(lines):
            place = y + (number - (len(lines) - 1) / 2) * (size + 1)
            style = (
                f'text-anchor="{anchor}" dominant-baseline="central" font-size="{size}" fill="currentColor"'
            )
            self.parts.append(f'<text x="{x}" y="{place}" {style}>{escape(line)}</text>')

    def line(self, *points: tuple[float, float], arrow: bool = True, dashed: bool = False) -> None:
        """A line through points, with an arrow's head at its end."""
        path = "M" + " L".join(f"{x},{y}" for x, y in points)
        style = ' stroke-dasharray="4 3"' if dashed else ""
        self.parts.append(f'<path d="{path}" fill="none" stroke="currentColor" stroke-width="1.3"{style}/>')
        if arrow:
            (x0, y0), (x, y) = points[-2:]
            dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
            left = f"{x - 6 * dx - 3.5 * dy},{y - 6 * dy - 3.5 * dx}"
            right = f"{x - 6 * dx + 3.5 * dy},{y - 6 * dy + 3.5 * dx}"
            self.parts.append(f'<polygon points="{x},{y} {left} {right}" fill="currentColor"/>')

    def join(self, x: float, y: float, sign: str = "+") -> None:
        """A circle where two lines meet, with the operation in it."""
        self.parts.append(
            f'<circle cx="{x}" cy="{y}" r="9" fill="{PLAIN}" stroke="currentColor" stroke-width="1.2"/>'
        )
        self.words(x, y, sign, size=13)

    def waist(self, x: float, y: float, w: float, h: float, text: str = "") -> None:
        """A bottleneck: wide, narrow, wide."""
        top, bottom = f"{x + w / 2},{y + h * 0.3} {x + w},{y}", f"{x + w},{y + h} {x + w / 2},{y + h * 0.7}"
        points = f"{x},{y} {top} {bottom} {x},{y + h}"
        self.parts.append(
            f'<polygon points="{points}" fill="{TRAINED}" stroke="currentColor" stroke-width="1"/>'
        )
        self.words(x + w / 2, y + h + 9, text, size=11)

    def svg(self) -> str:
        """The picture as an element of a page, with its title for who can't see it."""
        size, title = f'viewBox="0 0 {self.width} {self.height}" width="{self.width}"', escape(self.title)
        return (
            f'<svg class="adapter-drawing" {size} role="img" aria-label="{title}" '
            f'xmlns="http://www.w3.org/2000/svg"><title>{title}</title>{"".join(self.parts)}</svg>'
        )


def layer_picture(title: str, at: tuple[str, ...], text: str = "") -> Drawing:
    """A transformer layer with a trained box, ``text`` in it, behind the sublayers of the roles ``at``; no
    text: a waist.
    """
    d = Drawing(460, 96, title)
    x = 8.0
    for name, role in (("attention", "attention"), ("feed-\nforward", "ffn")):
        start = x
        d.line((x, 58), (x + 22, 58))
        d.box(x + 22, 40, 66, 36, name)
        end = x + 88
        if role in at:
            d.line((end, 58), (end + 16, 58))
            if text:
                d.box(end + 16, 42, 50, 32, text[:8], TRAINED)
            else:
                d.waist(end + 16, 42, 50, 32)
            end += 66
        d.line((end, 58), (x + 176, 58))
        d.join(x + 185, 58)
        d.line((start + 10, 58), (start + 10, 14), (x + 185, 14), (x + 185, 49))
        d.line((x + 194, 58), (x + 202, 58), arrow=False)
        d.parts.append(
            f'<rect x="{x + 202}" y="40" width="10" height="36" fill="{FROZEN}" stroke="currentColor"/>'
        )
        x += 212
    d.line((x, 58), (x + 22, 58))
    return d


def waists_behind(title: str, at: tuple[str, ...]) -> Drawing:
    """A transformer layer with bottlenecks behind its sublayers."""
    return layer_picture(title, at)


def low_rank_picture(title: str, scale: str, magnitude: bool = False) -> Drawing:
    """LoRA and its kin: two thin matrices beside a frozen one; ``scale`` is written at the sum."""
    d = Drawing(460, 124, title)
    d.words(14, 62, "x")
    d.line((24, 62), (44, 62), (44, 32), (80, 32))
    d.box(80, 12, 110, 40, "W")
    d.line((44, 62), (44, 92), (80, 92))
    d.parts.append(f'<polygon points="80,72 130,82 130,102 80,112" fill="{TRAINED}" stroke="currentColor"/>')
    d.parts.append(
        f'<polygon points="140,82 190,72 190,112 140,102" fill="{TRAINED}" stroke="currentColor"/>'
    )
    d.words(105, 92, "A")
    d.words(165, 92, "B")
    d.line((130, 92), (140, 92), arrow=False)
    d.line((190, 92), (236, 92), (236, 71))
    d.words(252, 100, scale, anchor="start")
    d.line((190, 32), (236, 32), (236, 53))
    d.join(236, 62)
    if magnitude:
        d.line((245, 62), (290, 62))
        d.box(290, 44, 110, 36, "m / ‖W + s BA‖", TRAINED)
        d.line((400, 62), (440, 62))
    else:
        d.line((245, 62), (320, 62))
    return d


def tower(d: Drawing, x: float, names: tuple[str, ...]) -> list[float]:
    """Layers one above the other, bottom first; returns the heights of their outputs."""
    heights, y = [], float(d.height - 34)
    d.line((x + 45, d.height - 4), (x + 45, y + 22))
    for name in names:
        d.box(x, y, 90, 22, name)
        heights.append(y - 8)
        d.line((x + 45, y), (x + 45, y - 16), arrow=name != names[-1])
        y -= 38
    return heights
