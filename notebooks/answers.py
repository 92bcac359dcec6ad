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
# # What the paper asked, what we found
#
# **What you will learn.** The four questions of {cite:t}`fu2024` with the answers of this book side by side:
# from the embedded world, and from real data as far as it is recorded.
#
# No number of the paper is printed here, as none is known to us; whether our answers agree with its own is
# for you to see. Two things differ from the start: our models are smaller, and a difference counts only by a
# margin and an interval that were fixed before ({doc}`../protocol`, {doc}`../protocol_real`). Every sentence
# below that holds a number is written by the code from the records.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
data = "runs"

# %% tags=["remove-cell"]
from pathlib import Path

from transrec_core.book.show import show_lines, show_text, style
from transrec_core.report import sentences
from transrec_core.report.cold import compare_cold
from transrec_core.report.comparisons import FULL, best_group, compare, compare_methods, pareto
from transrec_core.report.curves import pair_curves, share_axis
from transrec_core.report.evidence import gather
from transrec_core.report.names import NAMES
from transrec_core.report.variants import BASE_POINT, has_adapters, single_changes, study_runs
from transrec_core.study.grids import load_profile
from transrec_core.study.store import Store

style()
world = study_runs(load_profile("study"), Store(Path("results/study")))
real = gather(load_profile("real"), Store(Path("results/real")))


def embedded(name):
    """The cells of a question in the embedded world that can be compared."""
    return [(cell, runs) for cell, runs in world[name].items() if FULL in runs]


def say(title, lines):
    show_text(f"**{title}**\n\n" + ("\n".join(line for line in lines if line) or "- *Not run.*"))


def methods(cells):
    return {cell: compare_methods(runs) for cell, runs in cells}


def best(cells):
    return [
        sentences.group_line(cell, best_group(runs), pareto(compare_methods(runs)))
        for cell, runs in cells
        if has_adapters(runs)
    ]


def places(cells):
    lines = []
    for cell, runs in cells:
        changes = single_changes(runs, BASE_POINT)
        if BASE_POINT in runs and changes:
            told = sentences.factor_lines(compare(runs, BASE_POINT, changes))
            lines += [f"- *{cell.content}*", *(f"  {line}" for line in told)]
    return lines


def by_share(cells, factor, last, pairs):
    named = {f"{NAMES[a]} minus {NAMES[b]}": (a, b) for a, b in pairs}
    lines = []
    for cell, runs in cells:
        lines += sentences.share_lines(cell, pair_curves(runs, share_axis(runs, factor, last), named))
    return lines


# %% [markdown]
# ## RQ1: do adapters do as well as training everything?
#
# *Asked*: whether a model with adapters, moved to a new domain, recommends as well as one that is fine-tuned
# whole, for titles and for pictures, with two objectives.

# %% tags=["remove-input"]
say("In the embedded world", sentences.verdict_lines(methods(embedded("rq1"))))
compared = methods(real.cells("rq1"))
say("On real data", sentences.verdict_lines(compared) + sentences.control_lines(compared))
say(
    "On new items (cold targets), real data",
    [sentences.cold_line(cell, compare_cold(runs)) for cell, runs in real.cells("rq1")],
)

# %% [markdown]
# *Different here*: our real text encoder has six layers, and the picture encoder was pretrained by ourselves
# on few pictures. One objective on real data.
#
# ## RQ2: which adapter?
#
# *Asked*: how the known adapters compare, in quality and in what they train.

# %% tags=["remove-input"]
say("In the embedded world", best(embedded("rq2")))
say("On real data", best(real.cells("rq2")))

# %% [markdown]
# *Different here*: "best" is a group, namely all that can't be told from the highest mean; LoRA is added to
# pretrained weights, and soft prompts cut nothing off a title.
#
# ## RQ3: where should it go?
#
# *Asked*: position, form, size, and which encoders and layers to adapt.

# %% tags=["remove-input"]
say("In the embedded world", places(embedded("rq3")))
say("On real data", places(real.cells("rq3")))

# %% [markdown]
# *Different here*: every change is held against one base point with a verdict; a change that is not listed as
# better or worse was not shown to matter.
#
# ## RQ4: more source, less target?
#
# *Asked*: what happens if the source domain grows, or the target domain has few users.

# %% tags=["remove-input"]
ADAPTERS = {"embedded": ("parallel", "full"), "real": ("houlsby", "full")}
WORTH = ("full", "scratch")
target, real_target = (ADAPTERS["embedded"], WORTH), (ADAPTERS["real"], WORTH)
say("Target users, embedded world", by_share(embedded("rq4"), "target share", 1.0, target))
say("Target users, real data", by_share(real.cells("rq4-target"), "target share", 1.0, real_target))
say("Source users, embedded world", by_share(embedded("rq4"), "source share", None, target[:1]))
say("Source users, real data", by_share(real.cells("rq4-source"), "source share", None, real_target[:1]))

# %% [markdown]
# ## Where the two worlds disagree
#
# The page of each question holds the table; in short, with *can't tell* where one side is undecided:

# %% tags=["remove-input"]
show_lines(sentences.world_lines())

# %% [markdown]
# ## Exercises
#
# ```{exercise}
# :label: answers-numbers
#
# Why does this page print no number of the paper beside ours, even if you had the paper at hand?
# ```
#
# ```{solution} answers-numbers
# :class: dropdown
#
# Other data, other filters, other encoders, other budgets: two numbers side by side invite a comparison that
# nothing supports. What can be compared is the *direction* of an answer, with its certainty.
# ```
#
# ```{exercise}
# :label: answers-undecided
#
# An answer reads "undecided" on real data and "worse" in the embedded world. Is that a disagreement?
# ```
#
# ```{solution} answers-undecided
# :class: dropdown
#
# No. Undecided is compatible with worse; look at the interval and at the detectable difference: if the
# embedded difference lies inside the real interval, the real data only had too little to say.
# ```
