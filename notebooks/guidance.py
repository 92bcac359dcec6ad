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
import json
from pathlib import Path

import pandas as pd
from IPython.display import HTML, Markdown, display
from myst_nb import glue

from transrec_core.report import variants as comparisons
from transrec_core.report import evidence
from transrec_core.report import guidance
from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.book.show import show_table, style
from transrec_core.world.config import WorldConfig
from transrec_core.study.profile import Variant
from transrec_core.study.grids import load_profile
from transrec_core.models.params import count
from transrec_core.report.tables import summary
from transrec_core.evaluation.statistics import RELATIVE_MARGIN, hits
from transrec_core.study.store import Store
from transrec_core.study.record import ranks_by_seed

style()

# %% tags=["remove-cell"]
past, shelf = load_profile("study"), Store(Path("results/study"))
recorded = {
    name: {cell: comparisons.groups(past, cell, question.seeds, shelf)[0] for cell in question.cells}
    for name, question in past.questions.items()
}
shares = {level: float(level.rstrip(" %")) / 100 for level in past.factors["target share"].levels}
measured = json.loads((Path(data) / "costs.json").read_text()) if (Path(data) / "costs.json").exists() else {}
BASE = Variant("houlsby")
real = evidence.gather(load_profile("real"), Store(Path("results/real")))
glue("guide-records", len(shelf.ids()), display=False)
glue(
    "guide-users",
    f"{max(r[0].facts['cases'] for found in recorded['rq1'].values() for r in found.values()):,}",
    display=False,
)

# %% [markdown]
# ## From real data
#
# Full fine-tuning, adapters, head only, no source, or the source model as it is, in each cell those that were
# run; only where at least three seeds are complete.

# %% tags=["remove-input"]
rows, given = [], set()
for kind in ("rq2", "rq1", "rq4-target"):
    for cell, found in real.cells(kind):
        if len(found[Variant("full")]) >= evidence.ENOUGH:
            users = found[Variant("full")][0].facts["cases"]
            places = {level: float(level.rstrip(" %")) / 100 for level in ("10 %", "30 %")}
            chosen = [
                v.method for v in found if not v.levels and v.method in ("full", "head", "scratch", *METHODS)
            ]
            fresh = [
                row
                for row in guidance.by_users(found, cell, places, users, chosen, "real")
                if row["given"] not in given
            ]
            given |= {row["given"] for row in fresh}
            rows += fresh
if rows:
    show_table(pd.DataFrame(rows), "Given that many training users of that domain, use this", text=True)
    display(
        Markdown(
            "Before you take any of it, see what needs no encoder at all, which can't rank an item that nobody has had, and what needs no training:\n\n"
            + "\n".join(
                evidence.control_sentences(
                    {cell: evidence.methods_frame(found) for cell, found in real.cells("rq1")}
                )
            )
        )
    )
else:
    display(
        Markdown(
            "*No comparison on real data is complete yet: all advice below rests on the embedded world.*"
        )
    )

# %% [markdown]
# ## From the embedded world, by the number of users in the new domain
#
# {glue:text}`guide-records` recorded runs, {glue:text}`guide-users` test users.

# %% tags=["remove-input"]
rows = []
for cell, found in recorded["rq4"].items():
    rows += guidance.by_users(
        found, cell, shares, WorldConfig().target_users, ("full", "parallel", "head", "scratch")
    )
show_table(
    pd.DataFrame(rows),
    "Given that many training users, use this (full fine-tuning, parallel adapter, head only, no source, or the source model as it is: frozen)",
    text=True,
)

# %% [markdown]
# ## By the budget of a training step
#
# All fourteen adapters, full fine-tuning and head only; costs were measured side by side when this book was
# built ({doc}`rq2`).

# %% tags=["remove-input"]
rows = []
for column, words in (("seconds", "time"), ("memory", "memory")):
    for cell, found in recorded["rq2"].items():
        if cell.name in measured:
            rows += guidance.within(
                found, cell, pd.DataFrame(measured[cell.name]["step"]), column, (1.0, 0.75, 0.5, 0.35), words
            )
if rows:
    show_table(pd.DataFrame(rows), "Given that budget, use this", text=True)
else:
    display(Markdown("Not measured in this build."))

# %% [markdown]
# ## By the number of domains
#
# What has to be kept, with bert-base and a Houlsby adapter of size 64/16 as in the paper's setting (counted,
# not run):

# %% tags=["remove-input"]
large = count("bert-base-uncased", AdapterConfig(method="houlsby"))
show_table(
    guidance.storage(4 * large["base"], large["bytes"], (1, 2, 5, 20, 100)),
    "Storage by the number of domains",
)

# %% [markdown]
# ## Where to put it

# %% tags=["remove-input"]
rows, doubts = [], []
for cell, found in recorded["rq3"].items():
    if BASE not in found or Variant("full") not in found:
        continue
    chosen = [v for v in found if v.method == "houlsby" and len(v.levels) == 1]
    frame = comparisons.factor_summary(found, BASE, chosen)
    rows += guidance.placement(frame, cell, len(found[BASE]))
    doubts += guidance.open_questions(
        frame, cell, 100 * RELATIVE_MARGIN * float(hits(ranks_by_seed(found[Variant("full")])).mean())
    )
show_table(pd.DataFrame(rows), "Changes of the base point, a Houlsby adapter: HR@10 against it", text=True)

# %% [markdown]
# ## Is the source worth it?
#
# Full fine-tuning from the source model minus the same training without source interactions, by the number of
# training users:

# %% tags=["remove-input"]
for cell, found in recorded["rq4"].items():
    frame, _ = comparisons.pair_table(
        found, "target share", shares, 1.0, {"full minus no source": ("full", "scratch")}
    )
    frame["share (%)"] = [
        f"{round(WorldConfig().target_users * float(share) / 100):,}" for share in frame["share (%)"]
    ]
    show_table(frame.rename(columns={"share (%)": "users"}), f"{cell.title}; recorded")

# %% [markdown]
# ## What the evidence cannot decide

# %% tags=["remove-input"]
for cell, found in recorded["rq2"].items():
    if Variant("full") not in found:
        continue
    frame = summary([r for v, runs in found.items() if v.method in ("full", "head", *METHODS) for r in runs])
    doubts += guidance.open_questions(
        frame, cell, RELATIVE_MARGIN * float(frame.loc[frame["method"] == "full", "quality"].iloc[0])
    )
lines = [f"- {doubt}" for doubt in doubts] or ["- None of the comparisons of RQ2 and RQ3 is undecided."]
planned = {run_id for *_, ids in real.plan for run_id in ids.values()}
lines.append(
    f"- Real data: {len(real.recorded)} of {len(planned)} runs whose step sizes are chosen are recorded; {{doc}}`real` lists what was not run."
)
lines.append("- Other worlds, larger backbones, longer budgets: not run.")
display(Markdown("\n".join(lines)))

# %% [markdown]
# ## Look for yourself
#
# Every compared setting of the recorded study on the embedded world, a point each (mean over seeds). Pick
# what the axes show; a click on a name in the legend hides its points, a tap or the mouse on a point names
# it.

# %% tags=["remove-input"]
frames = {}
for name, cells in recorded.items():
    for cell, found in cells.items():
        frame = guidance.explorer_frame(found)
        if len(frame):
            frames[f"{name.upper()}: {cell.title.replace(' objective', '')}"] = frame
figure = guidance.explorer(frames)
display(
    HTML(
        f'<div class="explorer">{figure.to_html(full_html=False, include_plotlyjs=True, config={"responsive": True, "displaylogo": False})}</div>'
    )
)

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
