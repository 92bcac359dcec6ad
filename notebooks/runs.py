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
# # All runs
#
# **What you will learn.** Every run behind this book: what it was, what it reached, what it took, which
# version of the code made it, and the command that repeats it.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
data = "runs"

# %% tags=["remove-cell"]
from pathlib import Path

from IPython.display import HTML, display
from myst_nb import glue

from transrec_core.base.files import atomic_write
from transrec_core.book.show import show_table, style
from transrec_core.report import overview
from transrec_core.study.provenance import code_version

style()

# %% tags=["remove-cell"]
shelves = {"recorded": Path("results/study"), "recorded, real data": Path("results/real"), "live": Path(data)}
frame, damaged, other_code = overview.all_runs(shelves)
atomic_write(Path("book/executed/all_runs.csv"), frame.to_csv(index=False))
glue("all-count", f"{len(frame):,}", display=False)
glue("all-code", code_version(), display=False)
glue("all-other", other_code, display=False)
glue("all-damaged", len(damaged), display=False)
glue("all-hours", f"{frame['seconds'].sum() / 3600:.1f}", display=False)

# %% [markdown]
# {glue:text}`all-count` runs, {glue:text}`all-hours` hours of one core. This page was built with version
# {glue:text}`all-code` of the code that every run uses; {glue:text}`all-other` of the runs were made by
# another version of the code that they depend on. {glue:text}`all-damaged` records are damaged or were changed
# by hand.
#
# {download}`Download them as CSV <all_runs.csv>`. A click on a heading sorts, the field searches.

# %% tags=["remove-input"]
if len(damaged):
    show_table(damaged, "Damaged or changed by hand: not used anywhere in this book", text=True)

# %% tags=["remove-input"]
display(HTML(overview.sortable(frame)))

# %% [markdown]
# ## What the columns mean
#
# - *where*: `recorded` ships with the book (`results/study`, `results/real`), `live` ran when the book was
#   built here.
# - *question*: questions that the run belongs to; a run shared by two questions is run once.
# - *code*: fingerprint of the code that the run depends on. Where that is another one now, the live runs
#   of the same specification say whether the result does.
# - *repeat*: a command that runs it again into `runs/again`, and says whether every test case has the same
#   rank and whether the figure agrees.
#
# A record is one specification, known by the hash of its content. A changed default is a changed
# specification, hence another record. Each record carries checksums of its numbers; a number that is changed
# by hand no longer fits, and the record is listed above instead of being used.
#
# ## Exercises
#
# ```{exercise}
# :label: runs-hand
#
# Copy `results/study` elsewhere, change one digit in one line, and run `transrec runs --store COPY`. What
# does it say, and what is the exit status?
# ```
#
# ```{solution} runs-hand
# :class: dropdown
#
# A line `damaged: ID` with the reason (checksum) below the table of the sound records, and status 1.
# ```
#
# ```{exercise}
# :label: runs-repeat
#
# Repeat one of the cheap recorded runs with its command. How do you see whether it came out the same?
# ```
#
# ```{solution} runs-repeat
# :class: dropdown
#
# The command says it itself: "every test case has the same rank" on the same kind of processor; on another,
# "ranks differ", and whether the figure lies in the recorded interval.
# ```
