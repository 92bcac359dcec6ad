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
# # RQ3: where and how should an adapter sit?
#
# **What you will learn.** Which choices about an adapter matter: the encoder, the position in a layer, the
# layers, serial or parallel, its size, its activation and start, and what else trains beside it. And how to
# vary one thing at a time without fooling yourself.
#
# Everything is compared with one *base point*: a Houlsby adapter as in {doc}`rq1`. What was fixed before the
# first run is in {doc}`../protocol`. The recorded runs, which ship with the book, carry the conclusions; the
# live ones were computed when this book was built.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
data = "runs"

# %% tags=["remove-cell"]
from pathlib import Path

from myst_nb import glue

from transrec_core.book.show import show_lines, show_table, show_text, show_worlds, style
from transrec_core.evaluation.statistics import RELATIVE_MARGIN
from transrec_core.report import figures, sentences, tables
from transrec_core.report.comparisons import FULL, compare
from transrec_core.report.crossed import crossed_points, crossed_runs, parallel_gains
from transrec_core.report.live import agreements, live_and_recorded
from transrec_core.report.names import capital
from transrec_core.report.variants import BASE_POINT, run_count, single_changes, test_users
from transrec_core.study.executors import run_many
from transrec_core.study.grids import load_profile, question_specs
from transrec_core.study.profile import Variant
from transrec_core.study.store import Store

style()

# %% tags=["remove-stderr", "remove-input"]
study, store = load_profile(profile), Store(Path(data))
question = study.question("rq3", shift=seed)
run_many([spec for _, _, spec in question_specs(study, question).values()], store)

live, shipped, missing = live_and_recorded("rq3", study, question, store)
recorded = {cell: runs for cell, runs in shipped.items() if BASE_POINT in runs and FULL in runs}
changes = {cell: single_changes(runs, BASE_POINT) for cell, runs in shipped.items()}
compared = {
    cell: compare(runs, BASE_POINT, [*changes[cell], FULL, Variant("head")])
    for cell, runs in recorded.items()
}

# %% tags=["remove-input"]
seeds = sorted({len(runs[BASE_POINT]) for runs in recorded.values()})
glue("rq3-seeds", "/".join(map(str, seeds)), display=False)
glue("rq3-runs", run_count(recorded), display=False)
glue("rq3-margin", f"{100 * RELATIVE_MARGIN:.0f}", display=False)
glue("rq3-users", f"{test_users(next(iter(recorded.values()))):,}", display=False)
glue("rq3-missing", sentences.missing_sentence(missing), display=False)
glue("rq3-levels", len({v for chosen in changes.values() for v in chosen}), display=False)
glue("rq3-cells", len(changes), display=False)

# %% [markdown]
# ## One thing at a time
#
# {glue:text}`rq3-levels` changes of the base point in each of {glue:text}`rq3-cells` cells,
# {glue:text}`rq3-runs` recorded runs, {glue:text}`rq3-seeds` seeds, {glue:text}`rq3-users` test users. A
# verdict compares with the *base point*; the margin is {glue:text}`rq3-margin` % of full fine-tuning's HR@10.
# "Detectable" is the true difference that this comparison would find with 80 % probability, as one of the
# tests of its table: an *undecided* with a detectable difference above the margin asks for more data, not for
# a shrug. {glue:text}`rq3-missing`

# %% tags=["remove-input"]
for cell, comparisons in compared.items():
    show_text(f"### {capital(cell.title)}")
    runs = len(recorded[cell][BASE_POINT])
    show_table(
        tables.factor_table(comparisons),
        f"{cell.title}; recorded, {runs} seeds; sizes are item encoder/user encoder",
    )
    show_lines(sentences.factor_lines(comparisons))

# %% [markdown]
# The same as a picture: each change's difference to the base point with its 95 % interval. The grey band is
# the margin; colours are verdicts.

# %% tags=["remove-input"]
_ = figures.plot_forest({cell.title: comparisons for cell, comparisons in compared.items()})

# %% [markdown]
# ## Do the choices depend on each other?
#
# One factor at a time can't see that, say, a parallel adapter is only worth it at one position. So for titles
# position, form and size were also varied together.

# %% tags=["remove-input"]
crossed = {cell: crossed_runs(runs) for cell, runs in recorded.items() if cell.cross}
for cell, runs in crossed.items():
    if len(runs) > 8:
        _ = figures.plot_crossed(crossed_points(runs), cell.title)

# %% tags=["remove-input"]
lines = []
for cell, runs in crossed.items():
    lines += sentences.interaction_lines(parallel_gains(runs), cell)
show_lines(lines, "Not recorded.")

# %% [markdown]
# ## How much is a matter of step size?
#
# All variants train with the step size that was chosen for the base point. On the tuning seed, its neighbours
# in the grid reached this much of the chosen one's validation NDCG@10:

# %% tags=["remove-input"]
show_lines(sentences.step_size_line(cell, BASE_POINT.method) for cell in recorded)

# %% [markdown]
# A variant that differs from the base point by less than that may only want another step size.
#
# ## Does today's run agree?

# %% tags=["remove-input"]
agreement = agreements(live, recorded)
seeds = ", ".join(map(str, question.seeds))
show_table(tables.agreement_table(agreement), f"Live (profile {profile}, seeds {seeds}) beside recorded")
show_text(sentences.agreement_sentence(agreement, profile))

# %% [markdown]
# ## On real data
#
# The same question on real titles and posters, as far as it is recorded, beside the recorded runs of the
# embedded world; {doc}`real` has the whole tables. First what the controls reach, then the verdict on each
# change and its difference to the base point, in percent of full fine-tuning's HR@10 in the same cell.
# *Disagree* means that cells are certain of different things; where one side is undecided, nothing can be
# said.

# %% tags=["remove-input"]
show_worlds("rq3")

# %% [markdown]
# ## How to read this
#
# - The encoders have two layers. "Top layer only" leaves out one of two; in a backbone of twelve the same
#   words leave out eleven.
# - Intervals cover users and repeated adaptation, not other worlds or other source models.
# - The comparisons of one table form a family, corrected together (Holm); a single row looked at for itself
#   would be judged more easily.
#
# ## Exercises
#
# ```{exercise}
# :label: rq3-alone
#
# A colleague tries sixteen changes, finds one that is "significantly better at 5 %", and reports that one.
# What is wrong, and what would you ask for?
# ```
#
# ```{solution} rq3-alone
# :class: dropdown
#
# With sixteen tests one false alarm is to be expected in more than half of all studies (1 - 0.95^16 = 56 %).
# Ask for all sixteen with a correction (Holm), or for a new run of the one change with new seeds.
# ```
#
# ````{exercise}
# :label: rq3-own
#
# Write a study of your own that varies LoRA's rank over 2, 4, 8 and 16 with two seeds, and look at what it
# would cost before you run it.
# ````
#
# `````{solution} rq3-own
# :class: dropdown
#
# ```yaml
# # rank.yaml
# profile: laptop
# seeds: [1, 2]
# factors:
#   rank:
#     methods: [lora]
#     levels: {"2": {adapter.item_size: 2}, "4": {adapter.item_size: 4}, "8": {adapter.item_size: 8}}
# cells:
#   - {modality: text, methods: [full, lora], vary: [rank]}
# ```
#
# `transrec study rank.yaml --dry-run` lists the runs and the expected time; without `--dry-run` they are run.
# The rank 16 is the base.
# `````
