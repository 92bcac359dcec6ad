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
# # RQ1: do adapters match full fine-tuning?
#
# **What you will learn.** How to ask whether a small adapter does *as well as* training everything, so that
# the answer can be "no" or "we can't tell"; what it costs; and how far all of it is above recommending what
# is popular.
#
# The first half of this page was computed when the book was built, by the protocol that was fixed before
# ({doc}`../protocol`). The second half rests on recorded runs with more seeds, which ship with the book, and
# says whether the two agree.

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
from transrec_core.report.comparisons import compare, methods_of
from transrec_core.report.ledger import step_size_table
from transrec_core.report.live import agreements, live_and_recorded
from transrec_core.report.names import capital
from transrec_core.report.variants import seed_counts
from transrec_core.study.executors import run_many
from transrec_core.study.grids import load_profile, question_specs
from transrec_core.study.store import Store

style()

# %% [markdown]
# ## The runs
#
# A *cell* is one comparison: a modality, an objective, and for text how much a title tells. In each, all
# methods start from the same source model and see the same users; methods differ in what they train. `seed`
# shifts the seeds of the profile.

# %% tags=["remove-stderr"]
study, store = load_profile(profile), Store(Path(data))
question = study.question("rq1", shift=seed)
records = run_many([spec for _, _, spec in question_specs(study, question).values()], store)

live, recorded, missing = live_and_recorded("rq1", study, question, store)
compared = {cell: compare(methods_of(runs)) for cell, runs in live.items()}

# %% tags=["remove-input"]
glue("n-runs", len(records), display=False)
glue("n-seeds", len(question.seeds), display=False)
glue("n-cases", f"{max(r.facts['cases'] for r in records):,}", display=False)
glue("n-steps", max(r.facts.get("steps", 0) for r in records), display=False)
glue("margin", f"{100 * RELATIVE_MARGIN:.0f} %", display=False)
glue("profile", profile, display=False)

# %% [markdown]
# Profile {glue:text}`profile`: {glue:text}`n-runs` runs, {glue:text}`n-seeds` seeds for each trained method,
# at most {glue:text}`n-steps` steps each, {glue:text}`n-cases` test users who are the same for all.
#
# ## Quality, difference, verdict
#
# HR@10 is the share of test users whose next item is among the ten that the model ranks highest out of *all*
# items of the catalogue. In brackets: 95 % intervals over users and seeds. The verdict compares with full
# fine-tuning under a margin of {glue:text}`margin` of its HR@10: *comparable* if the difference is certainly
# within the margin, *worse* or *better* if it is certainly on one side of zero, otherwise *undecided*.
# "Detectable" is the true difference that the comparison would find with 80 % probability: where it is larger
# than the margin, "undecided" says that more users or seeds are needed, not that the methods are equal.

# %% tags=["remove-input"]
seeds = f"{len(question.seeds)} seeds for each trained method, one training process on one core"
for cell, comparisons in compared.items():
    show_text(f"### {capital(cell.title)}")
    show_table(tables.comparison_table(comparisons), f"{cell.title}; {seeds}")

# %% [markdown]
# ## What adaptation costs
#
# Each point is a method; further left trains fewer parameters or takes less time, further up recommends
# better. Bars are 95 % intervals. The dotted line is the oracle: what the world's own probabilities reach.
# The dashed one is popularity.

# %% tags=["remove-input"]
_ = figures.plot_costs(compared)

# %% [markdown]
# ## The answer, computed
#
# The following lines are written by the code from the tables above; run it on other data, and they change.

# %% tags=["remove-input"]
show_lines(sentences.verdict_lines(compared))

# %% [markdown]
# ## Recorded, with more seeds
#
# The same comparisons with {glue:text}`rq1-recorded-seeds` seeds, from the records that ship with the book
# ({doc}`runs` lists them). {glue:text}`rq1-missing`

# %% tags=["remove-input"]
glue("rq1-recorded-seeds", max(seed_counts(recorded)), display=False)
glue("rq1-missing", sentences.missing_sentence(missing), display=False)
shipped = {cell: compare(methods_of(runs)) for cell, runs in recorded.items()}
for cell, comparisons in shipped.items():
    show_table(tables.comparison_table(comparisons, costs=False), f"{cell.title}; recorded")
show_lines(sentences.verdict_lines(shipped))

# %% [markdown]
# ### Does today's run agree?

# %% tags=["remove-input"]
agreement = agreements(live, recorded)
seeds = ", ".join(map(str, question.seeds))
show_table(tables.agreement_table(agreement), f"Live (profile {profile}, seeds {seeds}) beside recorded")
show_text(sentences.agreement_sentence(agreement, profile))

# %% [markdown]
# ## The step sizes behind it
#
# Every method chose among four, on the validation users with a seed of its own; the choice is in brackets.
# Where it lies at the end of the grid, a better one may lie outside, and the method may be better than it
# looks here.

# %% tags=["remove-input", "hide-output"]
show_table(step_size_table(question.cells), "Step sizes tried and chosen, by `transrec tune`, recorded")

# %% [markdown]
# ## On real data
#
# The same question on real titles and posters, as far as it is recorded, beside the recorded runs of the
# embedded world; {doc}`real` has the whole tables. First what the controls reach, then each method's verdict
# and difference to full fine-tuning, in percent of full fine-tuning's HR@10 in the same cell. *Disagree*
# means that cells are certain of different things; where one side is undecided, nothing can be said.

# %% tags=["remove-input"]
show_worlds("rq1")

# %% [markdown]
# ## How to read this
#
# - The seeds vary what is random in the *adaptation*: order of users, dropout, start of the adapters. Source
#   stage and world are one draw each, so the intervals do not cover what another world would say.
# - "No source" starts from the same weights as the source stage did and trains everything on the target. What
#   full fine-tuning has over it is the use of the source *interactions*.
# - Times include the validations and were taken with as many runs side by side as this machine has cores;
#   memory is the peak of the whole process, libraries and world included. They compare methods on this page,
#   not machines.
#
# ## Exercises
#
# ```{exercise}
# :label: rq1-margin
#
# The margin is relative to full fine-tuning. Take one of the tables: how large would the margin have to be
# for Houlsby to be called comparable? Is that a difference which a shop would notice?
# ```
#
# ```{solution} rq1-margin
# :class: dropdown
#
# Both one-sided tests must reject the margin; for a single comparison the 95 % interval within the margin is
# enough for that, so the larger of its two bounds in absolute value is nearly the answer (with several
# comparisons the correction asks for a little more). Divide it by full fine-tuning's HR@10 to get it as a
# share. Whether a shop would notice is not for statistics to say: that is why the margin has to be fixed
# before the data are seen.
# ```
#
# ```{exercise}
# :label: rq1-seeds
#
# Compare the interval of one method's HR@10 with the interval of its difference to full fine-tuning. Which is
# narrower, and why?
# ```
#
# ```{solution} rq1-seeds
# :class: dropdown
#
# The difference is taken user by user. Users who are hard for every method, and easy ones, cancel out; only
# users on whom the methods disagree are left. The more two methods agree, the narrower the interval of the
# difference.
# ```
#
# ```{exercise}
# :label: rq1-own
#
# Run one more method in one cell: `pfeiffer` with adapters in the item encoder only. Which line of code is
# needed?
# ```
#
# ````{solution} rq1-own
# :class: dropdown
#
# ```python
# from transrec_core.study.grids import merged, run_spec
# from transrec_core.study.run import run
# from transrec_core.study.specs import RunSpec
#
# spec = run_spec(study, question.cells[0], "pfeiffer", seed=1, lr=0.01)
# fields = merged(spec.model_dump(mode="json"), {"adapter": {"encoders": "item"}})
# run(RunSpec.model_validate(fields), Store("runs")).metrics
# ```
# ````
