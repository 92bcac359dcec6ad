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
# # What to use: guidance
#
# **What you will learn.** What the evidence of this book recommends for your number of users, your budget and
# your number of domains; on what each line rests; and what it can't decide.
#
# Every line of the tables is computed from the recorded runs when the page is built. The rule is the same for
# all: of the method with the best mean and all that are *comparable* to it (within 3 % of its HR@10, by the
# tests of the {doc}`../protocol`), the one that trains the fewest parameters. What can't be told from the
# best is named beside it, not chosen.
#
# Real evidence comes first, as far as it is recorded ({doc}`real`); the embedded world, where more was run,
# comes after it.
#
# ```{warning}
# Few data sets, small encoders, short budgets. Read it as the *form* that advice should have; repeat the
# study on your own domain before you rely on an order of methods.
# ```

# %% tags=["parameters"]
profile = "laptop"
seed = 0
data = "runs"

# %% tags=["remove-cell"]
from pathlib import Path

from IPython.display import HTML, display
from myst_nb import glue

from transrec_core.book.show import show_lines, show_table, show_text, style
from transrec_core.report import guidance, sentences, tables
from transrec_core.report.comparisons import ADAPTATIONS, FULL, compare, compare_methods
from transrec_core.report.curves import Axis, pair_curves
from transrec_core.report.evidence import gather
from transrec_core.report.explorer import explorer_frames, explorer_html
from transrec_core.report.stepcosts import Storage, read_costs, storage_table
from transrec_core.report.variants import BASE_POINT, adapters_of, single_changes, study_runs, test_users
from transrec_core.study.grids import load_profile
from transrec_core.study.store import Store
from transrec_core.world.config import WorldConfig

style()

# %% tags=["remove-cell"]
past, shelf = load_profile("study"), Store(Path("results/study"))
recorded = study_runs(past, shelf)
real = gather(load_profile("real"), Store(Path("results/real")))
TARGET = Axis.of_shares("target share", past.factors["target share"].levels, last=1.0)
REAL_TARGET = Axis.of_shares("target share", ("10 %", "30 %"), last=1.0)
glue("guide-records", len(shelf.ids()), display=False)
glue("guide-users", f"{max(test_users(runs) for runs in recorded['rq1'].values()):,}", display=False)
glue("guide-adapters", len(adapters_of(recorded["rq2"])), display=False)

# %% [markdown]
# ## From real data
#
# Full fine-tuning, adapters, head only, no source, or the source model as it is, in each cell those that were
# run; only where at least three seeds are complete.

# %% tags=["remove-input"]
advice = guidance.from_real_data(real, REAL_TARGET)
if advice:
    caption = "Given that many training users of that domain, use this"
    show_table(tables.advice_table(advice), caption, text=True)
    show_text(
        "Before you take any of it, see what needs no encoder at all, which can't rank an item that nobody "
        "has had, and what needs no training:"
    )
    compared = {cell: compare_methods(runs) for cell, runs in real.cells("rq1")}
    show_lines(sentences.control_lines(compared))
else:
    show_text("*No comparison on real data is complete yet: all advice below rests on the embedded world.*")

# %% [markdown]
# ## From the embedded world, by the number of users in the new domain
#
# {glue:text}`guide-records` recorded runs, {glue:text}`guide-users` test users.

# %% tags=["remove-input"]
advice = []
for cell, runs in recorded["rq4"].items():
    methods = ("full", "parallel", "head", "scratch")
    advice += guidance.by_users(runs, cell, TARGET, WorldConfig().target_users, methods)
show_table(
    tables.advice_table(advice),
    "Given that many training users, use this (full fine-tuning, parallel adapter, head only, no source, or "
    "the source model as it is: frozen)",
    text=True,
)

# %% [markdown]
# ## By the budget of a training step
#
# All {glue:text}`guide-adapters` adapters, full fine-tuning and head only; costs were measured side by side
# when this book was built ({doc}`rq2`).

# %% tags=["remove-input"]
costs = read_costs(Path(data) / "costs.json")
LIMITS = (1.0, 0.75, 0.5, 0.35)
advice = []
for budget, words in (("seconds", "time"), ("memory", "memory")):
    for cell, runs in recorded["rq2"].items():
        if cell.name in costs:
            spent = {method: getattr(step, budget) for method, step in costs[cell.name].items()}
            advice += guidance.within(runs, cell, spent, LIMITS, words)
if advice:
    show_table(tables.advice_table(advice), "Given that budget, use this", text=True)
else:
    show_text("Not measured in this build.")

# %% [markdown]
# ## By the number of domains
#
# What has to be kept, with bert-base and a Houlsby adapter of size 64/16 as in the paper's setting (counted,
# not run):

# %% tags=["remove-input"]
bert = Storage.of("bert-base-uncased", "houlsby")
show_table(storage_table(bert, (1, 2, 5, 20, 100)), "Storage by the number of domains")

# %% [markdown]
# ## Where to put it

# %% tags=["remove-input"]
compared = {
    cell: compare(runs, BASE_POINT, single_changes(runs, BASE_POINT))
    for cell, runs in recorded["rq3"].items()
    if BASE_POINT in runs and FULL in runs
}
show_table(
    tables.effects_table({cell: guidance.effects(comparisons) for cell, comparisons in compared.items()}),
    "Changes of the base point, a Houlsby adapter: HR@10 against it",
    text=True,
)

# %% [markdown]
# ## Is the source worth it?
#
# Full fine-tuning from the source model minus the same training without source interactions, by the number of
# training users:

# %% tags=["remove-input"]
WORTH = {"full minus no source": ("full", "scratch")}
for cell, runs in recorded["rq4"].items():
    pairs = pair_curves(runs, TARGET, WORTH)
    show_table(tables.pair_table(pairs, WorldConfig().target_users), f"{cell.title}; recorded")

# %% [markdown]
# ## What the evidence cannot decide

# %% tags=["remove-input"]
doubts = []
for cell, comparisons in compared.items():
    doubts += sentences.open_lines(comparisons, cell)
for cell, runs in recorded["rq2"].items():
    if FULL in runs:
        doubts += sentences.open_lines(compare(runs, FULL, ADAPTATIONS), cell)
show_lines(
    [
        *(doubts or ["- None of the comparisons of RQ2 and RQ3 is undecided."]),
        sentences.recorded_line(real),
        "- Other worlds, larger backbones, longer budgets: not run.",
    ]
)

# %% [markdown]
# ## Look for yourself
#
# Every compared setting of the recorded study on the embedded world, a point each (mean over seeds). Pick
# what the axes show; a click on a name in the legend hides its points, a tap or the mouse on a point names
# it.

# %% tags=["remove-input"]
display(HTML(explorer_html(explorer_frames(recorded))))

# %% [markdown]
# ## Exercises
#
# ```{exercise}
# :label: guidance-rule
#
# The rule takes the cheapest method that is *comparable* to the best. What would change if it took the
# cheapest that is *not significantly worse*?
# ```
#
# ```{solution} guidance-rule
# :class: dropdown
#
# With few users almost nothing is significantly worse, so it would recommend the cheapest method of all, on
# the strength of knowing nothing. "Comparable" has to be shown; "not significantly worse" is what a lack of
# data gives for free.
# ```
#
# ```{exercise}
# :label: guidance-own
#
# Your shop has 600 users and 12 sister sites. Which two tables of this page do you need, and what do they
# say?
# ```
#
# ```{solution} guidance-own
# :class: dropdown
#
# The table by users (600 lies between 450 and 900: look at both rows) and the table by domains (between 5 and
# 20). If the first recommends full fine-tuning by a small difference, the second says what that difference
# costs in storage.
# ```
