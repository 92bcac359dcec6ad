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

from IPython.display import Markdown, display

from transrec_core.report import variants as comparisons
from transrec_core.report import evidence
from transrec_core.report import tables as report
from transrec_core.report import worlds
from transrec_core.book.show import style
from transrec_core.study.profile import Variant
from transrec_core.study.grids import load_profile
from transrec_core.study.store import Store

style()
past, shelf = load_profile("study"), Store(Path("results/study"))
real = evidence.gather(load_profile("real"), Store(Path("results/real")))
world = {
    name: {cell: comparisons.groups(past, cell, question.seeds, shelf)[0] for cell in question.cells}
    for name, question in past.questions.items()
}
HOULSBY = Variant("houlsby")


def say(title, lines):
    display(Markdown(f"**{title}**\n\n" + ("\n".join(line for line in lines if line) or "- *Not run.*")))


def methods(cells):
    return {cell: evidence.methods_frame(found) for cell, found in cells}


def best(cells):
    lines = []
    for cell, found in cells:
        if not any(runs[0].spec.adapter for v, runs in found.items() if not v.levels):
            continue
        frame = report.best_group([r for v, runs in found.items() if not v.levels for r in runs])
        group = [report.NAMES[m] for m in frame.loc[frame["in group"], "method"]]
        costs = evidence.methods_frame(found)
        front = [report.NAMES[m] for m in report.pareto(costs)]
        lines.append(
            f"- *{cell.content}*: adapters that can't be told from the best one: {', '.join(group)}. Worth their parameters: {', '.join(front)}."
        )
    return lines


def places(cells):
    lines = []
    for cell, found in cells:
        chosen = [v for v in found if v.method == "houlsby" and len(v.levels) == 1]
        if HOULSBY in found and chosen:
            lines += [
                f"- *{cell.content}*",
                *(
                    "  " + line
                    for line in comparisons.factor_sentences(
                        comparisons.factor_summary(found, HOULSBY, chosen)
                    )
                ),
            ]
    return lines


def by_share(cells, factor, last, pairs):
    lines = []
    for cell, found in cells:
        levels = {v.levels[0][1] for v in found if v.levels and v.levels[0][0] == factor}
        x = {level: float(level.rstrip(" %")) / 100 for level in levels}
        for a, b in pairs:
            name = f"{report.NAMES[a]} minus {report.NAMES[b]}"
            frame, crossings = comparisons.pair_table(found, factor, x, last, {name: (a, b)})
            if len(frame):
                told = "; ".join(
                    f"{share} %: {text}"
                    for share, text in zip(frame.iloc[:, 0], frame.iloc[:, 1], strict=True)
                )
                lines.append(f"- *{cell.content}*, {name} (points) by the share of users: {told}")
    return lines


def embedded(name):
    return [(cell, found) for cell, found in world[name].items() if Variant("full") in found]


# %% [markdown]
# ## RQ1: do adapters do as well as training everything?
#
# *Asked*: whether a model with adapters, moved to a new domain, recommends as well as one that is fine-tuned
# whole, for titles and for pictures, with two objectives.

# %% tags=["remove-input"]
say("In the embedded world", report.sentences(methods(embedded("rq1"))))
frames = methods(real.cells("rq1"))
say("On real data", report.sentences(frames) + evidence.control_sentences(frames))
say(
    "On new items (cold targets), real data",
    [evidence.cold_sentence(cell, found) for cell, found in real.cells("rq1")],
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
SHARES = {
    "embedded": (("parallel", "full"), ("full", "scratch")),
    "real": (("houlsby", "full"), ("full", "scratch")),
}
say("Target users, embedded world", by_share(embedded("rq4"), "target share", 1.0, SHARES["embedded"]))
say("Target users, real data", by_share(real.cells("rq4-target"), "target share", 1.0, SHARES["real"]))
say("Source users, embedded world", by_share(embedded("rq4"), "source share", None, SHARES["embedded"][:1]))
say("Source users, real data", by_share(real.cells("rq4-source"), "source share", None, SHARES["real"][:1]))

# %% [markdown]
# ## Where the two worlds disagree
#
# The page of each question holds the table; in short, with *can't tell* where one side is undecided:

# %% tags=["remove-input"]
display(Markdown(worlds.summary()))

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
