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

from IPython.display import Markdown, display
from myst_nb import glue

from transrec_core.report import variants as comparisons
from transrec_core.report import figures
from transrec_core.book.show import show_table, show_worlds, style
from transrec_core.study.profile import Variant
from transrec_core.study.grids import load_profile, question_specs
from transrec_core.evaluation.statistics import RELATIVE_MARGIN, hits
from transrec_core.study.store import Store
from transrec_core.study.executors import run_many
from transrec_core.study.record import ranks_by_seed
from transrec_core.study.step_sizes import step_sizes

style()

# %% tags=["remove-stderr", "remove-input"]
study = load_profile(profile)
question = study.question("rq3", shift=seed)
run_many([spec for _, _, spec in question_specs(study, question).values()], Store(Path(data)))
live, recorded, missing = comparisons.live_and_recorded(
    "rq3", study, question, Store(Path(data)), load_profile("study"), Store(Path("results/study"))
)
BASE = Variant("houlsby")
single = {
    cell: [v for v in found if v.method == "houlsby" and len(v.levels) == 1]
    for cell, found in recorded.items()
}
recorded = {cell: found for cell, found in recorded.items() if BASE in found and Variant("full") in found}
frames = {
    cell: comparisons.factor_summary(found, BASE, [*single[cell], Variant("full"), Variant("head")])
    for cell, found in recorded.items()
}

# %% tags=["remove-input"]
seeds = {len(found[BASE]) for found in recorded.values()}
glue("rq3-seeds", "/".join(map(str, sorted(seeds))), display=False)
glue("rq3-runs", sum(len(runs) for found in recorded.values() for runs in found.values()), display=False)
glue("rq3-margin", f"{100 * RELATIVE_MARGIN:.0f}", display=False)
glue("rq3-users", f"{next(iter(recorded.values()))[BASE][0].facts['cases']:,}", display=False)
glue("rq3-missing", comparisons.not_run(missing), display=False)
glue("rq3-levels", len({v for chosen in single.values() for v in chosen}), display=False)
glue("rq3-cells", len(single), display=False)

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
for cell, frame in frames.items():
    display(Markdown(f"### {cell.title[0].upper() + cell.title[1:]}"))
    show_table(
        comparisons.factor_table(frame),
        f"{cell.title}; recorded, {len(recorded[cell][BASE])} seeds; sizes are item encoder/user encoder",
    )
    display(Markdown("\n".join(comparisons.factor_sentences(frame))))

# %% [markdown]
# The same as a picture: each change's difference to the base point with its 95 % interval. The grey band is
# the margin; colours are verdicts.

# %% tags=["remove-input"]
_ = figures.plot_forest(
    {cell.title: frame for cell, frame in frames.items()},
    {
        cell.title: RELATIVE_MARGIN * 100 * float(hits(ranks_by_seed(found[Variant("full")])).mean())
        for cell, found in recorded.items()
    },
)

# %% [markdown]
# ## Do the choices depend on each other?
#
# One factor at a time can't see that, say, a parallel adapter is only worth it at one position. So for titles
# position, form and size were also varied together.

# %% tags=["remove-input"]
crossed = {
    cell: {
        v: runs
        for v, runs in found.items()
        if v.method == "houlsby" and {f for f, _ in v.levels} <= {"position", "form", "size"}
    }
    for cell, found in recorded.items()
    if cell.cross
}
for cell, found in crossed.items():
    if len(found) > 8:
        _ = figures.plot_crossed(comparisons.crossed_frame(found), cell.title)

# %% tags=["remove-input"]
lines = []
for cell, found in crossed.items():
    lines += comparisons.interaction_sentences(found, cell)
display(Markdown("\n".join(lines) or "Not recorded."))

# %% [markdown]
# ## How much is a matter of step size?
#
# All variants train with the step size that was chosen for the base point. On the tuning seed, its neighbours
# in the grid reached this much of the chosen one's validation NDCG@10:

# %% tags=["remove-input"]
lines = []
for cell in recorded:
    entry = step_sizes()[cell.name]["houlsby"]
    figures_ = entry["valid NDCG@10"]
    grid = list(figures_)
    place = grid.index(entry["chosen"])
    near = [
        f"step size {grid[k]:g}: {100 * (figures_[grid[k]] / figures_[entry['chosen']] - 1):+.1f} %"
        for k in (place - 1, place + 1)
        if 0 <= k < len(grid)
    ]
    lines.append(
        f"- *{cell.title[0].upper() + cell.title[1:]}*: chosen {entry['chosen']:g}; {', '.join(near)}."
    )
display(Markdown("\n".join(lines)))

# %% [markdown]
# A variant that differs from the base point by less than that may only want another step size.
#
# ## Does today's run agree?

# %% tags=["remove-input"]
agreement = comparisons.agreement(live, recorded)
show_table(
    agreement, f"Live (profile {profile}, seeds {', '.join(map(str, question.seeds))}) beside recorded"
)
display(Markdown(comparisons.agreement_sentence(agreement, profile)))

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
