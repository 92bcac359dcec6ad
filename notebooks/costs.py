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
from pathlib import Path

import matplotlib.pyplot as plt
from myst_nb import glue

from transrec_core.book.show import show_lines, show_table, show_text, style
from transrec_core.report import benchmarks
from transrec_core.study.grids import load_profile

style()
BENCHMARKS = Path("results/benchmarks")
bench = benchmarks.read_benchmark(BENCHMARKS / "costs.json")


def ratio(part, place=0):
    """Median ratio of a row."""
    return benchmarks.short([row for row in bench.rows if row.part == part][place].ratio)


glue("costs-step", ratio("step"), display=False)
glue("costs-step-full", ratio("step", 1), display=False)
glue("costs-prefix", ratio("prefix"), display=False)
glue("costs-side", ratio("side"), display=False)
glue("costs-side-memory", ratio("side", 1), display=False)
glue("costs-ranking", ratio("ranking"), display=False)
glue("costs-minutes", f"{bench.seconds / 60:.1f}", display=False)
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
_ = benchmarks.plot_step(bench)
plt.show()
show_text(benchmarks.step_sentence(bench))

# %% [markdown]
# ## What was gained

# %% tags=["remove-input"]
show_table(benchmarks.gains_table(bench), benchmarks.gains_caption(bench), text=True)
show_lines(benchmarks.gain_notes(bench))
show_text(benchmarks.goals_sentence(bench))

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
show_table(
    benchmarks.ranking_table(bench),
    "measured with random vectors of size 64; the last column is arithmetic: a million times the time of one "
    "user",
)

# %% [markdown]
# ## Other people's code
#
# The same model, batch and machine, in turns; each library in an environment of its own with the versions
# that it asks for (`make bench-others`).

# %% tags=["remove-input"]
others = benchmarks.read_others(BENCHMARKS / "others.json")
if others:
    table = benchmarks.others_table(others)
    show_table(table, "one thread; median of the pairs' ratios [smallest, largest]", text=True)
    show_lines(benchmarks.others_notes(others))
else:
    show_text("Not measured. `make bench-others` measures it.")

# %% [markdown]
# ## On a GPU

# %% tags=["remove-input"]
gpu = benchmarks.read_gpu(BENCHMARKS / "gpu.json")
if gpu:
    show_table(benchmarks.gpu_table(gpu), f"{gpu['card']}, bert-base, 30 tokens, bf16")
else:
    show_text(
        "**Not measured**: no GPU could be had when this was recorded. On a machine with one, `python -m "
        "benchmarks.gpu --out results/benchmarks/gpu.json` measures tokens a second and peak memory of all "
        "methods on bert-base in bf16, the share of the card's measured matrix rate that a step reaches (the "
        "goal is 35 % for full fine-tuning), the gain from torch.compile, and how often a step makes the "
        "processor wait."
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
