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
# # RQ4: more source data, less target data
#
# **What you will learn.** What happens to adapters, full fine-tuning and training without a source when the
# new domain has few users; what a larger source domain is worth; and how to say where two curves cross, or
# that they were not seen to.
#
# What was fixed before the first run is in {doc}`../protocol`. The recorded runs, which ship with the book,
# carry the conclusions; the live ones were computed when this book was built.

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
from transrec_core.report.curves import Axis, control_levels, curve, pair_curves, source_steps
from transrec_core.report.live import agreements, live_and_recorded
from transrec_core.report.names import NAMES, capital
from transrec_core.report.variants import run_count, seed_counts, test_users
from transrec_core.study.executors import run_many
from transrec_core.study.grids import load_profile, question_specs
from transrec_core.study.store import Store

style()
ADAPTER = "parallel"

# %% tags=["remove-stderr", "remove-input"]
study, past, store = load_profile(profile), load_profile("study"), Store(Path(data))
question = study.question("rq4", shift=seed)
run_many([spec for _, _, spec in question_specs(study, question).values()], store)
live, recorded, missing = live_and_recorded("rq4", study, question, store)


def axis_of(factor, last=None):
    """A factor of the recorded study as an axis of shares."""
    return Axis.of_shares(factor, past.factors[factor].levels, last)


TARGET = axis_of("target share", last=1.0)
SOURCE, STOPPED = axis_of("source share"), axis_of("source share, until it stops")
longest = past.factors[STOPPED.factor].levels.values()
SOURCES = {
    f"same budget (at most {past.base['source']['training']['steps']:,} steps)": SOURCE,
    "until validation stops (at most "
    f"{max(changes['source.training.steps'] for changes in longest):,} steps)": STOPPED,
}
glue("rq4-adapter", NAMES[ADAPTER], display=False)
glue("rq4-seeds", "/".join(map(str, seed_counts(recorded, varied=True))), display=False)
glue("rq4-users", f"{max(test_users(runs) for runs in recorded.values()):,}", display=False)
glue("rq4-runs", run_count(recorded), display=False)
glue("rq4-missing", sentences.missing_sentence(missing), display=False)
glue("rq4-margin", f"{100 * RELATIVE_MARGIN:.0f}", display=False)

# %% [markdown]
# ## Fewer users in the new domain
#
# Shares of the target's training users, drawn anew for each seed, smaller draws contained in larger ones.
# Training *and* validation see only these users; all {glue:text}`rq4-users` test users are tested, and the
# catalogue stays as it is. {glue:text}`rq4-seeds` seeds, {glue:text}`rq4-runs` recorded runs.
# {glue:text}`rq4-missing`

# %% tags=["remove-input"]
curves = {cell: points for cell, runs in recorded.items() if (points := curve(runs, TARGET))}
_ = figures.plot_curves(
    {cell.title: points for cell, points in curves.items()},
    "share of the target's training users (%)",
    {cell.title: control_levels(recorded[cell], ("frozen", "popularity")) for cell in curves},
)

# %% tags=["remove-input"]
for cell, points in curves.items():
    show_table(
        tables.curve_table(points, "share of users (%)"),
        f"{cell.title}: HR@10 (%) [95 %] by the share of training users; recorded",
    )

# %% [markdown]
# ### Adapter against full fine-tuning, source against no source
#
# The paired differences at each share. Verdicts as everywhere: margin {glue:text}`rq4-margin` % of full
# fine-tuning's HR@10 at that share, corrected over all shares of a column (Holm).

# %% tags=["remove-input"]
PAIRS = {
    f"{NAMES[ADAPTER]} minus full": (ADAPTER, "full"),
    "head only minus full": ("head", "full"),
    "full minus no source": ("full", "scratch"),
    f"{NAMES[ADAPTER]} minus no source": (ADAPTER, "scratch"),
}

for cell in curves:
    pairs = pair_curves(recorded[cell], TARGET, PAIRS)
    show_text(f"#### {capital(cell.title)}")
    caption = f"{cell.title}: differences in HR@10 (points) [95 %] and verdict; recorded"
    show_table(tables.pair_table(pairs), caption)
    show_lines(["Where the sign changes:\n", *sentences.crossing_lines(pairs)])

# %% [markdown]
# ## A larger source domain
#
# For each share of the source's users and each seed, a source model of its own was trained, so these
# intervals cover the source stage too. Left of 100 %, the model has seen fewer users before it is moved; the
# target always has all of its own.

# %% tags=["remove-input"]
sources = {
    f"{cell.title}; source {budget}": (runs, axis, curve(runs, axis))
    for cell, runs in recorded.items()
    for budget, axis in SOURCES.items()
    if curve(runs, axis)
}
if sources:
    _ = figures.plot_curves(
        {title: points for title, (_, _, points) in sources.items()},
        "share of the source's users (%)",
        {title: control_levels(runs, ("scratch",)) for title, (runs, _, _) in sources.items()},
    )

# %% tags=["remove-input"]
for title, (runs, axis, points) in sources.items():
    pairs = pair_curves(runs, axis, {f"{NAMES[ADAPTER]} minus full": (ADAPTER, "full")})
    steps = source_steps(runs, axis, Path("results/study/sources.json"))
    table = tables.source_table(pairs, points, ("full", ADAPTER), steps)
    show_table(table, f"{title}; recorded, {max(p.quality.seeds for p in points)} seeds")
    show_lines(sentences.crossing_lines(pairs))

# %% [markdown]
# ## Does today's run agree?

# %% tags=["remove-input", "hide-output"]
agreement = agreements(live, recorded)
seeds = ", ".join(map(str, question.seeds))
show_table(tables.agreement_table(agreement), f"Live (profile {profile}, seeds {seeds}) beside recorded")

# %% tags=["remove-input"]
show_text(sentences.agreement_sentence(agreement, profile))

# %% [markdown]
# ## On real data
#
# The same question on real titles and posters, as far as it is recorded, beside the recorded runs of the
# embedded world; {doc}`real` has the whole tables. First what the controls reach, then verdicts and
# differences at the shares that both have (the adapter is the one of each study), in percent of full
# fine-tuning's HR@10 in the same cell. *Disagree* means that cells are certain of different things; where one
# side is undecided, nothing can be said.

# %% tags=["remove-input"]
show_worlds("rq4")

# %% [markdown]
# ## How to read this
#
# - At 1 % a handful of users also *choose* the best state: validation itself is noisy, and methods that
#   change little are safer for that reason alone.
# - Every share gets the same number of steps. With few users that is many passes over the same histories.
# - Step sizes of 10 % and less were chosen at 10 %, the others at 100 %.
# - The source axis has full fine-tuning and the adapter only, and "until it stops" three of the five shares;
#   with early stopping the *same budget* is an upper limit, as the table's last column says.
# - "No crossing seen" holds for the shares that were run, in this world.
#
# ## Exercises
#
# ```{exercise}
# :label: rq4-nested
#
# Why are smaller draws of users contained in larger ones, and why does each seed draw its own?
# ```
#
# ```{solution} rq4-nested
# :class: dropdown
#
# Contained: the step from 10 to 25 % then only adds users, so the curve does not jump because other people
# were drawn. Of its own: which 18 users are drawn matters a lot, and an interval that does not cover it would
# be too narrow.
# ```
#
# ```{exercise}
# :label: rq4-crossing
#
# One resample has the differences -1.0, -0.2 and +0.6 at 10, 25 and 50 %. Where does it cross?
# ```
#
# ```{solution} rq4-crossing
# :class: dropdown
#
# Between 25 and 50 %, a quarter of the way on the logarithm: exp(ln 25 + 0.25 (ln 50 - ln 25)) = 29.7 %.
# ```
