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

from IPython.display import Markdown, display
from myst_nb import glue

from transrec_core.report import variants as comparisons
from transrec_core.report import figures
from transrec_core.book.show import show_table, show_worlds, style
from transrec_core.study.profile import Variant
from transrec_core.study.grids import load_profile, question_specs
from transrec_core.report.names import NAMES
from transrec_core.evaluation.statistics import RELATIVE_MARGIN, hits
from transrec_core.study.store import Store
from transrec_core.study.executors import run_many
from transrec_core.study.record import ranks_by_seed

style()
ADAPTER = "parallel"

# %% tags=["remove-stderr", "remove-input"]
study, past = load_profile(profile), load_profile("study")
question = study.question("rq4", shift=seed)
run_many([spec for _, _, spec in question_specs(study, question).values()], Store(Path(data)))
live, recorded, missing = comparisons.live_and_recorded(
    "rq4", study, question, Store(Path(data)), past, Store(Path("results/study"))
)


def shares(factor):
    """The share that each level of a factor stands for."""
    return {level: float(level.rstrip(" %")) / 100 for level in past.factors[factor].levels}


STEPS = {
    "source share": past.base["source"]["training"]["steps"],
    "source share, until it stops": max(
        changes["source.training.steps"]
        for changes in past.factors["source share, until it stops"].levels.values()
    ),
}
TARGET, SOURCE, STOPPED = "target share", "source share", "source share, until it stops"
users = {cell: next(iter(found.values()))[0].facts["cases"] for cell, found in recorded.items()}
glue("rq4-adapter", NAMES[ADAPTER], display=False)
glue(
    "rq4-seeds",
    "/".join(
        sorted({str(len(runs)) for found in recorded.values() for v, runs in found.items() if v.levels})
    ),
    display=False,
)
glue("rq4-users", f"{max(users.values()):,}", display=False)
glue("rq4-runs", sum(len(runs) for found in recorded.values() for runs in found.values()), display=False)
glue("rq4-missing", comparisons.not_run(missing), display=False)
glue("rq4-margin", f"{100 * RELATIVE_MARGIN:.0f}", display=False)

# %% [markdown]
# ## Fewer users in the new domain
#
# Shares of the target's training users, drawn anew for each seed, smaller draws contained in larger ones.
# Training *and* validation see only these users; all {glue:text}`rq4-users` test users are tested, and the
# catalogue stays as it is. {glue:text}`rq4-seeds` seeds, {glue:text}`rq4-runs` recorded runs.
# {glue:text}`rq4-missing`

# %% tags=["remove-input"]
curves, lines = {}, {}
for cell, found in recorded.items():
    curve = comparisons.curve(found, TARGET, shares(TARGET), 1.0)
    if curve.empty:
        continue
    curves[cell.title] = curve
    popular = found.get(Variant("popularity"))
    frozen = found.get(Variant("frozen"))
    lines[cell.title] = (
        {"frozen": 100 * frozen[0].metrics["HR@10"], "popularity": 100 * popular[0].metrics["HR@10"]}
        if popular and frozen
        else {}
    )
_ = figures.plot_curves(curves, "share of the target's training users (%)", lines)

# %% tags=["remove-input"]
for title, curve in curves.items():
    wide = curve.assign(
        text=[f"{r.quality:.1f} [{r.low:.1f}, {r.high:.1f}]" for r in curve.itertuples()]
    ).pivot(index="x", columns="method", values="text")
    wide = wide[[m for m in NAMES if m in wide.columns]].rename(columns=NAMES)
    wide.columns.name = None
    wide.insert(0, "share of users (%)", [f"{100 * x:g}" for x in wide.index])
    show_table(wide, f"{title}: HR@10 (%) [95 %] by the share of training users; recorded")

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

for cell, found in recorded.items():
    if cell.title not in curves:
        continue
    frame, crossings = comparisons.pair_table(found, TARGET, shares(TARGET), 1.0, PAIRS)
    display(Markdown(f"#### {cell.title[0].upper() + cell.title[1:]}"))
    show_table(frame, f"{cell.title}: differences in HR@10 (points) [95 %] and verdict; recorded")
    display(
        Markdown(
            "Where the sign changes:\n\n"
            + "\n".join(comparisons.crossing_words(name, c) for name, c in crossings.items())
        )
    )

# %% [markdown]
# ## A larger source domain
#
# For each share of the source's users and each seed, a source model of its own was trained, so these
# intervals cover the source stage too. Left of 100 %, the model has seen fewer users before it is moved; the
# target always has all of its own.

# %% tags=["remove-input"]
sources = {}
for cell, found in recorded.items():
    for factor, what in (
        (SOURCE, f"same budget (at most {STEPS[SOURCE]:,} steps)"),
        (STOPPED, f"until validation stops (at most {STEPS[STOPPED]:,} steps)"),
    ):
        curve = comparisons.curve(found, factor, shares(factor))
        if not curve.empty:
            sources[f"{cell.title}; source {what}"] = (cell, factor, curve)
if sources:
    across = {
        title: {"no source": 100 * float(hits(ranks_by_seed(recorded[cell][Variant("scratch")])).mean())}
        for title, (cell, _, _) in sources.items()
        if Variant("scratch") in recorded[cell]
    }
    _ = figures.plot_curves(
        {title: curve for title, (_, _, curve) in sources.items()}, "share of the source's users (%)", across
    )

# %% tags=["remove-input"]
for title, (cell, factor, curve) in sources.items():
    frame, crossings = comparisons.pair_table(
        recorded[cell], factor, shares(factor), None, {f"{NAMES[ADAPTER]} minus full": (ADAPTER, "full")}
    )
    for method in ("full", ADAPTER):
        rows = curve[curve["method"] == method].set_index("x")
        frame[f"{NAMES[method]}, HR@10 (%) [95 %]"] = [
            f"{rows.loc[x, 'quality']:.1f} [{rows.loc[x, 'low']:.1f}, {rows.loc[x, 'high']:.1f}]"
            for x in frame.index
        ]
    steps = comparisons.source_steps(
        recorded[cell], factor, shares(factor), Path("results/study/sources.json")
    )
    frame["source steps, mean [least, most]"] = [steps.get(x, "shipped") for x in frame.index]
    show_table(frame, f"{title}; recorded, {curve['seeds'].max()} seeds")
    display(Markdown("\n".join(comparisons.crossing_words(name, c) for name, c in crossings.items())))

# %% [markdown]
# ## Does today's run agree?

# %% tags=["remove-input", "hide-output"]
agreement = comparisons.agreement(live, recorded)
show_table(
    agreement, f"Live (profile {profile}, seeds {', '.join(map(str, question.seeds))}) beside recorded"
)

# %% tags=["remove-input"]
display(Markdown(comparisons.agreement_sentence(agreement, profile)))

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
