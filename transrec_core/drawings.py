"""Small vector pictures of the adapters, drawn by code. Lines take the colour of the page's text, so they read in light and dark mode."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

FROZEN, TRAINED, PLAIN = "rgba(70,130,200,.28)", "rgba(240,140,30,.55)", "none"


class Drawing:
    """An SVG picture made of boxes, arrows and words; x goes right, y goes down."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.parts: list[str] = []

    def box(self, x: float, y: float, w: float, h: float, text: str = "", fill: str = FROZEN) -> None:
        self.parts.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="4" fill="{fill}" stroke="currentColor" stroke-width="1"/>')
        self.words(x + w / 2, y + h / 2, text)

    def words(self, x: float, y: float, text: str, anchor: str = "middle", size: int = 12) -> None:
        lines = text.split("\n")
        for number, line in enumerate(lines):
            place = y + (number - (len(lines) - 1) / 2) * (size + 1)
            self.parts.append(
                f'<text x="{x}" y="{place}" text-anchor="{anchor}" dominant-baseline="central" font-size="{size}" fill="currentColor">'
                f"{escape(line)}</text>"
            )

    def line(self, *points: tuple[float, float], arrow: bool = True, dashed: bool = False) -> None:
        path = "M" + " L".join(f"{x},{y}" for x, y in points)
        style = ' stroke-dasharray="4 3"' if dashed else ""
        self.parts.append(f'<path d="{path}" fill="none" stroke="currentColor" stroke-width="1.3"{style}/>')
        if arrow:
            (x0, y0), (x, y) = points[-2:]
            dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
            tip = f"{x},{y} {x - 6 * dx - 3.5 * dy},{y - 6 * dy - 3.5 * dx} {x - 6 * dx + 3.5 * dy},{y - 6 * dy + 3.5 * dx}"
            self.parts.append(f'<polygon points="{tip}" fill="currentColor"/>')

    def join(self, x: float, y: float, sign: str = "+") -> None:
        self.parts.append(f'<circle cx="{x}" cy="{y}" r="9" fill="{PLAIN}" stroke="currentColor" stroke-width="1.2"/>')
        self.words(x, y, sign, size=13)

    def waist(self, x: float, y: float, w: float, h: float, text: str = "") -> None:
        """A bottleneck: wide, narrow, wide."""
        points = f"{x},{y} {x + w / 2},{y + h * 0.3} {x + w},{y} {x + w},{y + h} {x + w / 2},{y + h * 0.7} {x},{y + h}"
        self.parts.append(f'<polygon points="{points}" fill="{TRAINED}" stroke="currentColor" stroke-width="1"/>')
        self.words(x + w / 2, y + h + 9, text, size=11)

    def svg(self) -> str:
        return (
            f'<svg class="adapter-drawing" viewBox="0 0 {self.width} {self.height}" width="{self.width}" role="img" '
            f'aria-label="{escape(self.title)}" xmlns="http://www.w3.org/2000/svg"><title>{escape(self.title)}</title>{"".join(self.parts)}</svg>'
        )


def _layer(title: str, at: tuple[str, ...], mark: Callable[[Drawing, float, float], None]) -> Drawing:
    """A transformer layer with something behind its sublayers."""
    d = Drawing(460, 96, title)
    x = 8.0
    for name, role in (("attention", "attention"), ("feed-\nforward", "ffn")):
        start = x
        d.line((x, 58), (x + 22, 58))
        d.box(x + 22, 40, 66, 36, name)
        end = x + 88
        if role in at:
            d.line((end, 58), (end + 16, 58))
            mark(d, end + 16, 58)
            end += 66
        d.line((end, 58), (x + 176, 58))
        d.join(x + 185, 58)
        d.line((start + 10, 58), (start + 10, 14), (x + 185, 14), (x + 185, 49))
        d.line((x + 194, 58), (x + 202, 58), arrow=False)
        d.parts.append(f'<rect x="{x + 202}" y="40" width="10" height="36" fill="{FROZEN}" stroke="currentColor"/>')
        x += 212
    d.line((x, 58), (x + 22, 58))
    return d


def _behind(title: str, at: tuple[str, ...]) -> Drawing:
    return _layer(title, at, lambda d, x, y: d.waist(x, y - 16, 50, 32))


def houlsby() -> Drawing:
    return _behind("A bottleneck after the attention and after the feed-forward sublayer", ("attention", "ffn"))


def pfeiffer() -> Drawing:
    return _behind("A bottleneck after the feed-forward sublayer", ("ffn",))


def parallel() -> Drawing:
    d = Drawing(460, 110, "A bottleneck beside the feed-forward sublayer, scaled and added to its output")
    d.line((10, 40), (110, 40))
    d.box(110, 22, 100, 36, "feed-forward")
    d.line((210, 40), (311, 40))
    d.line((60, 40), (60, 84), (110, 84))
    d.waist(110, 68, 100, 32)
    d.line((210, 84), (250, 84))
    d.words(268, 84, "× s")
    d.line((286, 84), (320, 84), (320, 49))
    d.join(320, 40)
    d.line((329, 40), (384, 40))
    d.words(392, 40, "residual\nsum", anchor="start", size=11)
    return d


def compacter() -> Drawing:
    d = Drawing(460, 120, "Each map of the bottleneck is a sum of Kronecker products of a small shared matrix and two vectors")
    d.box(10, 30, 70, 60, "W", TRAINED)
    d.words(98, 60, "=  Σ", size=16)
    d.box(130, 42, 36, 36, "Aᵢ", TRAINED)
    d.words(148, 96, "n × n, shared\nby all", size=11)
    d.words(188, 60, "⊗", size=18)
    d.words(212, 60, "(", size=26)
    d.box(224, 30, 12, 60, "", TRAINED)
    d.words(230, 104, "sᵢ", size=12)
    d.box(246, 54, 60, 12, "", TRAINED)
    d.words(276, 80, "tᵢ", size=12)
    d.words(318, 60, ")", size=26)
    d.words(390, 60, "d × m weight from\nabout d/n + m/n\nnumbers a term", size=11)
    return d


def _low_rank(title: str, scale: str, magnitude: bool = False) -> Drawing:
    d = Drawing(460, 124, title)
    d.words(14, 62, "x")
    d.line((24, 62), (44, 62), (44, 32), (80, 32))
    d.box(80, 12, 110, 40, "W")
    d.line((44, 62), (44, 92), (80, 92))
    d.parts.append(f'<polygon points="80,72 130,82 130,102 80,112" fill="{TRAINED}" stroke="currentColor"/>')
    d.parts.append(f'<polygon points="140,82 190,72 190,112 140,102" fill="{TRAINED}" stroke="currentColor"/>')
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


def lora() -> Drawing:
    return _low_rank("A low-rank product beside a frozen weight", "× α / r")


def rslora() -> Drawing:
    return _low_rank("A low-rank product beside a frozen weight, scaled by the root of the rank", "× α / √r")


def dora() -> Drawing:
    return _low_rank("A low-rank update of the direction of each row, and a trained length", "× α / r", magnitude=True)


def prompt() -> Drawing:
    d = Drawing(460, 112, "Learned tokens enter before the first layer and leave after the last one")
    for i in range(3):
        d.box(10 + 26 * i, 66, 24, 24, "P", TRAINED)
    for i in range(5):
        d.box(94 + 26 * i, 66, 24, 24, "x", FROZEN)
    d.words(160, 104, "embedded title or picture", size=11)
    d.line((112, 64), (112, 48))
    d.box(10, 14, 214, 34, "all layers, frozen")
    d.line((224, 31), (262, 31))
    for i in range(3):
        d.box(262 + 24 * i, 19, 22, 24, "", PLAIN)
        d.line((262 + 24 * i, 43), (284 + 24 * i, 19), arrow=False)
    for i in range(5):
        d.box(338 + 24 * i, 19, 22, 24, "", FROZEN)
    d.words(360, 60, "prompt states are dropped,\nnothing of the input is", size=11)
    return d


def prefix() -> Drawing:
    d = Drawing(460, 112, "Learned keys and values before those of the sequence, in each layer")
    for row, (name, y) in enumerate((("K", 40), ("V", 72))):
        d.words(16, y + 12, name)
        for i in range(3):
            d.box(30 + 26 * i, y, 24, 24, ("Pₖ", "Pᵥ")[row], TRAINED)
        for i in range(5):
            d.box(112 + 26 * i, y, 24, 24)
    d.words(16, 20, "Q")
    for i in range(5):
        d.box(112 + 26 * i, 8, 24, 24)
    d.line((246, 52), (300, 52))
    d.box(300, 34, 90, 36, "attention")
    d.line((390, 52), (440, 52))
    return d


def _tower(d: Drawing, x: float, names: tuple[str, ...]) -> list[float]:
    """Layers one above the other, bottom first; returns the heights of their outputs."""
    heights, y = [], float(d.height - 34)
    d.line((x + 45, d.height - 4), (x + 45, y + 22))
    for name in names:
        d.box(x, y, 90, 22, name)
        heights.append(y - 8)
        d.line((x + 45, y), (x + 45, y - 16), arrow=name != names[-1])
        y -= 38
    return heights


def k_adapter() -> Drawing:
    d = Drawing(460, 196, "Small transformers beside the backbone read its first and last layer; a mix adds what they found")
    heights = _tower(d, 20, ("layer 1", "…", "layer L"))
    for height in (heights[0], heights[2]):
        d.line((65, height), (180, height))
        d.box(180, height - 17, 130, 34, "down, 2 small\nlayers, up", TRAINED)
    d.line((245, heights[0] - 17), (245, heights[2] + 17))
    d.words(258, (heights[0] + heights[2]) / 2, "added", anchor="start", size=11)
    d.line((310, heights[2]), (366, heights[2]), (366, 31))
    d.line((65, heights[2]), (65, 18), (340, 18))
    d.box(340, 5, 52, 26, "mix", TRAINED)
    d.line((392, 18), (440, 18))
    return d


def ia3() -> Drawing:
    d = Drawing(460, 128, "Learned vectors multiply keys, values and the inner activations of the feed-forward sublayer")
    for y, name, label, beside in ((48, "K", "lₖ", 6), (80, "V", "lᵥ", 122)):
        d.line((50, y), (81, y))
        d.box(10, y - 12, 40, 24, name)
        d.join(90, y, "⊙")
        d.box(77, min(beside, 102), 26, 22, label, TRAINED)
        d.line((90, 28 if beside < 50 else 102), (90, y - 9 if beside < 50 else y + 9))
        d.line((99, y), (130, y))
    d.box(130, 36, 80, 56, "attention")
    d.box(262, 52, 50, 24, "f(W₁x)")
    d.line((312, 64), (345, 64))
    d.join(354, 64, "⊙")
    d.box(341, 96, 26, 22, "l", TRAINED)
    d.line((354, 96), (354, 73))
    d.line((363, 64), (394, 64))
    d.box(394, 52, 50, 24, "W₂")
    return d


def bitfit() -> Drawing:
    d = Drawing(460, 80, "A learned vector is added to every bias")
    d.line((10, 30), (60, 30))
    d.box(60, 12, 130, 36, "W x + b")
    d.line((190, 30), (251, 30))
    d.join(260, 30)
    d.box(247, 54, 26, 22, "c", TRAINED)
    d.line((260, 54), (260, 39))
    d.line((269, 30), (330, 30))
    d.words(338, 30, "at every bias", anchor="start", size=11)
    return d


def layernorm() -> Drawing:
    d = _layer("Gain and bias of the LayerNorms are trained copies", (), lambda d, x, y: None)
    d.parts = [p.replace(FROZEN, TRAINED) if 'width="10"' in p else p for p in d.parts]
    return d


def side() -> Drawing:
    d = Drawing(460, 196, "A ladder beside the frozen backbone reads its pooled states; nothing trained stands before them")
    heights = _tower(d, 20, ("layer 1", "layer 2", "layer L"))
    for number, height in enumerate(heights):
        d.line((65, height), (196, height))
        d.box(196, height - 11, 92, 22, ("down", "gate, down", "gate, down")[number], TRAINED)
        if number:
            d.line((242, heights[number - 1] - 11), (242, height + 11))
    d.words(140, heights[1] + 12, "cached", size=11)
    d.line((170, 190), (170, 34), arrow=False, dashed=True)
    d.words(178, 184, "no gradient beyond this line", anchor="start", size=11)
    d.line((288, heights[2]), (330, heights[2]))
    d.box(330, heights[2] - 11, 44, 22, "up", TRAINED)
    d.line((374, heights[2]), (400, heights[2]), (400, 27))
    d.line((65, heights[2]), (65, 18), (391, 18))
    d.join(400, 18)
    d.line((409, 18), (445, 18))
    return d


DRAWINGS: dict[str, Callable[[], Drawing]] = {
    f.__name__: f
    for f in (
        houlsby, pfeiffer, parallel, compacter, lora, rslora, dora, prompt, prefix, k_adapter, ia3, bitfit, layernorm, side,
    )
}  # fmt: skip


def draw(method: str) -> str:
    """The picture of an adapter as an SVG element: frozen parts blue, trained ones orange; "" if a method has no picture."""
    return DRAWINGS[method]().svg() if method in DRAWINGS else ""
