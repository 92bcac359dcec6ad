"""TransRec as a diagram."""

from __future__ import annotations

from matplotlib.figure import Figure


def draw_model() -> Figure:
    """TransRec as a diagram: content, item encoder, item vectors, user encoder, score; adapters in colour."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    figure, axis = plt.subplots(figsize=(6.8, 4.6), layout="constrained")
    axis.set(xlim=(0, 10), ylim=(0, 7.6))
    axis.axis("off")

    def box(
        x: float, y: float, w: float, h: float, text: str, color: str = "white", size: float = 11
    ) -> None:
        axis.add_patch(
            FancyBboxPatch(
                (x, y), w, h, boxstyle="round,pad=0.03,rounding_size=0.1", fc=color, ec="0.3", lw=1.2
            )
        )
        axis.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=size, color="black")

    def arrow(x0: float, y0: float, x1: float, y1: float) -> None:
        axis.add_patch(
            FancyArrowPatch((x0, y0), (x1, y1), arrowstyle="-|>", mutation_scale=12, color="0.3", lw=1.2)
        )

    warm, cool = "#f6d9b8", "#dbe7f3"
    for i, x in enumerate((0.2, 2.0, 3.8)):
        box(x, 0.1, 1.5, 0.7, f"item {i + 1}\ntitle or picture", size=9)
        arrow(x + 0.75, 0.85, x + 0.75, 1.3)
        arrow(x + 0.75, 3.45, x + 0.75, 3.75)
        box(x + 0.3, 3.8, 0.9, 0.5, f"$v_{i + 1}$")
        arrow(x + 0.75, 4.35, x + 0.75, 4.75)
    box(0.2, 1.35, 5.1, 2.05, "", cool)
    axis.text(2.75, 3.12, "item encoder: backbone + head", ha="center", fontsize=11)
    for k, name in enumerate(("attention", "adapter", "feed-forward", "adapter")):
        box(0.4 + 1.22 * k, 1.95, 1.08, 0.7, name, warm if name == "adapter" else "white", 8)
    axis.text(2.75, 1.6, "in each layer", ha="center", fontsize=9, color="0.3")
    box(0.2, 4.8, 5.1, 1.2, "user encoder: causal transformer\n(adapters in each block as well)", cool)
    arrow(4.55, 6.05, 4.55, 6.45)
    box(4.1, 6.5, 0.9, 0.5, "$u_3$")
    box(6.6, 3.8, 0.9, 0.5, "$v_i$")
    axis.text(7.05, 3.3, "any item of the\ncatalogue, encoded once", ha="center", va="top", fontsize=9)
    arrow(5.05, 6.75, 7.1, 6.75)
    arrow(7.05, 4.35, 8.0, 6.45)
    box(7.2, 6.45, 2.4, 0.6, "score $u_3\\cdot v_i$", warm)
    return figure
