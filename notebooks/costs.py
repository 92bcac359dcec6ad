# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Costs
#
# **What you will learn.** Where the time of training and ranking goes, what makes them several times cheaper
# without changing a result, and what is left.
#
# An adapter trains few parameters, but its step still runs the whole encoder forward and most of it back:
# *parameter-efficient* is not yet *cheap*. What is cheap follows from a few exact rearrangements: compute
# nothing twice, and nothing that can't matter. Every figure here is a ratio of two sides that took turns in
# one run; the tables were made by commands in `benchmarks/`, and ship with the book.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
data = "runs"

# %% tags=["remove-cell"]
import json
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown, display
from myst_nb import glue

from transrec_core.book.show import show_table, style
from transrec_core.study.grids import load_profile

style()
BENCHMARKS = Path("results/benchmarks")
bench = json.loads((BENCHMARKS / "costs.json").read_text())
rows = pd.DataFrame(bench["rows"])
machine, extra = bench["machine"], bench["extra"]


def short(value):
    """Three figures, with thousands separated."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(part, place=0):
    """Median ratio of a row."""
    return short(rows[rows["part"] == part].iloc[place]["ratio"])


glue("costs-step", ratio("step"), display=False)
glue("costs-step-full", ratio("step", 1), display=False)
glue("costs-prefix", ratio("prefix"), display=False)
glue("costs-side", ratio("side"), display=False)
glue("costs-side-memory", ratio("side", 1), display=False)
glue("costs-ranking", ratio("ranking"), display=False)
glue("costs-minutes", f"{bench['seconds'] / 60:.1f}", display=False)
glue("costs-seeds", len(load_profile(profile).questions["rq1"].seeds), display=False)

# %% [markdown]
# ## The baseline
#
# *The released procedure* is re-created from its description in `benchmarks/released.py`: every item of every
# sequence and every negative is encoded where it stands, padding included; titles are padded to 30 tokens;
# attention is written out; Adam goes through the parameters one by one; users are ranked one at a time, by
# sorting the catalogue. It gets the same weights, users and negatives as our step, and both find the same
# loss. Where a row has another baseline, the table names it.
#
# ## Where the time goes

# %% tags=["remove-input"]
parts = pd.DataFrame(extra["step"])
order = [
    "drawing the batch",
    "item encoder, forward",
    "user encoder and loss, forward",
    "backward",
    "optimiser",
]
parts = parts.loc[order]
figure, axis = plt.subplots(figsize=(7.2, 3.4))
left = pd.Series(0.0, index=parts.columns)
shades = ["0.75", "#0173b2", "#de8f05", "#56b4e9", "#029e73"]
for name, shade in zip(order, shades, strict=True):
    axis.barh(list(parts.columns), parts.loc[name], left=left, color=shade, label=name)
    left += parts.loc[name]
for place, total in enumerate(left):
    axis.text(total + 0.01 * left.max(), place, f"{total:.2f} s", va="center")
axis.set(xlabel="seconds of one step", xlim=(0, 1.15 * left.max()))
axis.invert_yaxis()
axis.grid(axis="y", visible=False)
figure.legend(loc="lower center", ncols=2, frameon=False, bbox_to_anchor=(0.5, -0.34))
plt.show()
share = parts["here"] / parts["here"].sum()
encoder = share["item encoder, forward"] + share["backward"]
display(
    Markdown(
        f"One step of 32 users, BERT of 4 layers and width 256, titles of {bench['titles']}. In what is left, the item encoder's forward and the backward pass take {100 * encoder:.0f} %, the optimiser "
        f"{100 * share['optimiser']:.0f} %, and drawing the batch {100 * share['drawing the batch']:.1f} %: what remains is the matrix work of items that a batch really names."
    )
)

# %% [markdown]
# ## What was gained

# %% tags=["remove-input"]
table = pd.DataFrame(
    [
        {
            "what": f"{number}. {r.what}",
            "before": f"{short(r.before)} {r.unit}",
            "after": f"{short(r.after)} {r.unit}",
            "ratio [least, most]": short(r.ratio)
            + (f" [{short(r.low)}, {short(r.high)}]" if r.pairs > 1 else ""),
            "goal": f"{short(r.goal)}: {'reached' if r.reached else 'missed'}",
        }
        for number, r in enumerate(rows.itertuples(), 1)
    ]
)
show_table(
    table,
    f"make bench, {machine['threads']} threads, {machine['cpu']}, torch {machine['versions']['torch']}, transformers {machine['versions']['transformers']}; titles of {bench['titles']}",
    text=True,
)
display(
    Markdown(
        "\n".join(
            f"{number}. Against: {r.baseline}"
            + (f", {r.pairs} pairs" if r.pairs > 1 else "")
            + (f". {r.note[0].upper()}{r.note[1:]}" if r.note else "")
            + "."
            for number, r in enumerate(rows.itertuples(), 1)
        )
    )
)
missed = rows[~rows["reached"]]
display(
    Markdown(
        f"{len(rows) - len(missed)} of {len(rows)} goals were reached. "
        + (
            "Missed: "
            + "; ".join(
                f"{r.what} ({short(r.ratio)} instead of {short(r.goal)}; why is in note {r.Index + 1})"
                for r in missed.itertuples()
            )
            + "."
            if len(missed)
            else "None was missed."
        )
    )
)

# %% [markdown]
# - **Step** (×{glue:text}`costs-step`; ×{glue:text}`costs-step-full` where all titles have full length). A
#   batch names each item once, and titles are encoded in groups of like length, cut so that padding and calls
#   together cost least (`length_groups`). The loss is the same to float error. What is left is mostly matrix
#   products, so a larger ratio would need less matrix work, not faster code. The released procedure takes
#   more or less time from one process to the next, whatever it does, so each pair is measured in a process of
#   its own, and the ratio of another day may lie outside the spread.
# - **Frozen layers once** (×{glue:text}`costs-prefix`). Layers that nothing trained stands below can't
#   change; their token states are computed once for each title and read from a memory map, and a step starts
#   above them. It is automatic (`training.cache`), keeps an upper limit (`cache_gb`), and says what it kept.
#   Layers that can't change have no dropout, kept or not.
# - **A side network** (epoch ×{glue:text}`costs-side`, memory ×{glue:text}`costs-side-memory`). It reads
#   pooled states of the frozen layers only, so no step runs the encoder at all.
# - **Ranking** (×{glue:text}`costs-ranking`). Users are scored in blocks that stay in the processor's cache;
#   a rank is a count of scores that are no lower, so nothing is sorted, and users × items never exists.
#
# ## A million items
#
# Ranking costs a product of users and items, whatever is done. From the measured rate:

# %% tags=["remove-input"]
measured = extra["ranking"]
show_table(
    pd.DataFrame(
        [
            {
                "items": f"{int(n):,}",
                "ms a user": short(1000 * m["seconds a user"]),
                "peak memory (MiB)": short(m["peak MiB"]),
                "item vectors (MiB)": short(m["vectors MiB"]),
                "a million users (hours)": short(1e6 * m["seconds a user"] / 3600),
            }
            for n, m in measured.items()
        ]
    ),
    "measured with random vectors of size 64; the last column is arithmetic: a million times the time of one user",
)

# %% [markdown]
# ## Other people's code
#
# The same model, batch and machine, in turns; each library in an environment of its own with the versions
# that it asks for (`make bench-others`).

# %% tags=["remove-input"]
path = BENCHMARKS / "others.json"
if path.exists():
    others = json.loads(path.read_text())
    show_table(
        pd.DataFrame(
            [
                {
                    "what": r["what"],
                    "against": r["theirs"],
                    "theirs (s)": short(r["theirs_s"]),
                    "ours (s)": short(r["ours_s"]),
                    "theirs / ours": f"{short(r['ratio'])} [{short(r['low'])}, {short(r['high'])}]",
                    "pairs": r["pairs"],
                }
                for r in others["rows"]
                if r.get("ratio") is not None
            ]
        ),
        "one thread; median of the pairs' ratios [smallest, largest]",
        text=True,
    )
    display(
        Markdown(
            "\n".join(
                f"- {r['what']}: {'not measured: ' if r.get('ratio') is None else ''}{r['note']}"
                for r in others["rows"]
            )
        )
    )
else:
    display(Markdown("Not measured. `make bench-others` measures it."))

# %% [markdown]
# ## On a GPU

# %% tags=["remove-input"]
path = BENCHMARKS / "gpu.json"
if path.exists():
    gpu = json.loads(path.read_text())
    show_table(
        pd.DataFrame(
            [
                {
                    "method": r["method"],
                    "step (ms)": short(1000 * r["seconds"]),
                    "tokens a second": f"{r['tokens a second']:,.0f}",
                    "peak (GB)": short(r["peak GB"]),
                    "of the matrix rate (%)": short(100 * r["share of matrix rate"])
                    if r["share of matrix rate"]
                    else "",
                    "waits in a step": r["waits in a step"],
                }
                for r in gpu["rows"]
            ]
        ),
        f"{gpu['card']}, bert-base, 30 tokens, bf16",
    )
else:
    display(
        Markdown(
            "**Not measured**: no GPU could be had when this was recorded. On a machine with one, `python -m benchmarks.gpu --out results/benchmarks/gpu.json` measures tokens a second and peak memory of all methods "
            "on bert-base in bf16, the share of the card's measured matrix rate that a step reaches (the goal is 35 % for full fine-tuning), the gain from torch.compile, and how often a step makes the processor wait."
        )
    )

# %% [markdown]
# ## What it bought
#
# The live book computes its runs in one pool, source models first, and executes pages side by side; the time
# that this saved went into more seeds for RQ1, now {glue:text}`costs-seeds`. {doc}`status` says what each
# page took. {doc}`rq2` has the peak memory and the time of a step for every method.
#
# ## Repeat it
#
# ```bash
# make bench                 # the table above, on random titles of the same lengths
# make bench DATA=FOLDER OUT=results/benchmarks/costs.json     # the recorded one: on the titles of amazon_instruments
# make bench-others          # peft, adapters, RecBole; installs them into environments of their own
# ```
#
# The recorded table took {glue:text}`costs-minutes` minutes. The options belong to `training` in a
# specification: `cache` (fp32, fp16, off), `cache_gb`, `checkpointing`, `accumulate`, `precision`.
#
# ## Exercises
#
# ```{exercise}
# :label: costs-bottom
#
# An adapter in the bottom layer alone trains as few parameters as one in the top layer alone. Why does it
# cost so much more?
# ```
#
# ```{solution} costs-bottom
# :class: dropdown
#
# Everything above the lowest trained place must be run forward in each step, and backward as well, because
# the gradient reaches the adapter through it. Below the top layer nothing is trained, so its input is the
# same in every step and can be kept.
# ```
#
# ```{exercise}
# :label: costs-negatives
#
# In-batch softmax needs no drawn negatives. Compare the number of distinct items that a batch names with it
# and with one drawn negative for each position. What does that do to the cost of a step?
# ```
#
# ```{solution} costs-negatives
# :class: dropdown
#
# With one negative a position, most negatives are items that nobody in the batch had, so nearly every
# position adds one more title to encode. In-batch softmax ranks against what was encoded anyway: about half
# the titles, and many more comparisons, which cost next to nothing.
# ```
