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
# # RQ2: which adapter, at what cost?
#
# **What you will learn.** How the known adapters order themselves in recommendation when all of them get the
# same chance; which of them can't be told apart; and what each costs in parameters, time, memory and disk.
# Which method does what is drawn in {doc}`anatomy`; what was fixed before is in {doc}`../protocol`.
#
# Two sets of runs are on this page. The *recorded* ones ship with the book and carry the conclusions. The
# *live* ones, with fewer seeds, ran when this book was built, by the same specifications, and are there to be
# compared with the recorded ones.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
data = "runs"

# %% tags=["remove-cell"]
from pathlib import Path

import torch
from myst_nb import glue

from transrec_core.book.show import show_lines, show_table, show_text, show_worlds, style
from transrec_core.report import figures, sentences, tables
from transrec_core.report.comparisons import adaptations, best_group, compare, methods_of, pareto
from transrec_core.report.ledger import step_size_table
from transrec_core.report.live import agreements, live_and_recorded
from transrec_core.report.names import capital
from transrec_core.report.stepcosts import Storage, cost_table, measured, write_costs
from transrec_core.report.variants import adapters_of, run_count
from transrec_core.study.executors import run_many
from transrec_core.study.grids import load_profile, question_specs
from transrec_core.study.step_sizes import grids
from transrec_core.study.store import Store

style()
torch.set_num_threads(1)

# %% tags=["remove-stderr", "remove-input"]
study, store = load_profile(profile), Store(Path(data))
question, recorded_question = study.question("rq2", shift=seed), load_profile("study").question("rq2")
records = run_many([spec for _, _, spec in question_specs(study, question).values()], store)

live, recorded, missing = live_and_recorded("rq2", study, question, store)
compared = {cell: compare(methods_of(runs)) for cell, runs in recorded.items()}

# %% tags=["remove-input"]
glue("rq2-methods", len(adapters_of(recorded)), display=False)
glue("rq2-seeds", len(recorded_question.seeds), display=False)
glue("rq2-tried", len(grids()["houlsby"]), display=False)
glue("rq2-item-size", study.base["adapter"]["item_size"], display=False)
glue("rq2-user-size", study.base["adapter"]["user_size"], display=False)
glue("rq2-missing", sentences.missing_sentence(missing), display=False)
glue("rq2-live-seeds", len(question.seeds), display=False)
glue("rq2-live-runs", len(records), display=False)
glue("rq2-recorded-runs", run_count(recorded), display=False)

# %% [markdown]
# ## Quality
#
# {glue:text}`rq2-methods` adapters, each with its own step size out of {glue:text}`rq2-tried`, the same
# steps, and the same size ({glue:text}`rq2-item-size` in the item encoder, {glue:text}`rq2-user-size` in the
# user encoder) where a method has one. {glue:text}`rq2-recorded-runs` recorded runs, {glue:text}`rq2-seeds`
# seeds. {glue:text}`rq2-missing` In brackets: 95 % intervals over users and seeds. The verdict compares with
# full fine-tuning.

# %% tags=["remove-input"]
for cell, comparisons in compared.items():
    show_text(f"### {capital(cell.title)}")
    table = tables.comparison_table(comparisons, costs=False)
    show_table(table, f"{cell.title}; recorded, {len(recorded_question.seeds)} seeds")

# %% [markdown]
# ## Which can't be told from the best
#
# The adapter with the highest mean is compared with each of the others, user by user, with intervals that
# hold for all these comparisons at once.

# %% tags=["remove-input"]
show_lines(sentences.best_lines({cell: best_group(runs) for cell, runs in recorded.items()}))

# %% [markdown]
# ## What a step costs
#
# Times of runs that shared a machine say little. So all methods take training steps in turns, in this
# process, while nothing else runs; the median of the turns counts, and the ratio to full fine-tuning in the
# same minute is what to remember. *Peak memory* is the most that is held at one moment of a step, as the
# allocator reports it: the model, Adam's two moments, and all that the step itself allocates (activations
# kept for the backward pass, gradients, scratch). *On disk* is what has to be kept for one more domain: for
# an adapter its file, for full fine-tuning the whole model.

# %% tags=["remove-stderr", "remove-input"]
costs = {cell: measured(study, cell, question.seeds[0], store) for cell in question.cells}
write_costs(Path(data) / "costs.json", costs)  # the guidance reads them

reached = {cell.name: comparisons for cell, comparisons in compared.items()}
batch = f"batches of {study.base['training']['batch_size']} users, one thread"
for cell in question.cells:
    show_table(
        cost_table(reached[cell.name], costs[cell]),
        f"{cell.title}; quality recorded, step and memory measured live, {batch}",
    )

# %% [markdown]
# ## Quality against parameters
#
# Further left trains less, further up recommends better. The line joins the *Pareto set* (bold): methods with
# no other that trains as little and recommends better on average. Bars are 95 % intervals; points whose bars
# overlap widely need the comparison above.

# %% tags=["remove-input"]
_ = figures.plot_pareto({cell.title: adaptations(comparisons) for cell, comparisons in compared.items()})

# %% tags=["remove-input"]
show_lines(
    [
        *sentences.front_lines({cell: pareto(adaptations(c)) for cell, c in compared.items()}),
        *(sentences.step_cost_line(cell, steps) for cell, steps in costs.items()),
    ]
)

# %% [markdown]
# ## Does today's run agree?
#
# {glue:text}`rq2-live-runs` runs on this machine with {glue:text}`rq2-live-seeds` seed. Where the seed is
# among the recorded ones, the same specification was run twice: on the same kind of processor the ranks are
# the same to the last one, on another the last bits of sums differ and with them a few users. Otherwise the
# question is whether the live figure lies within the spread of the recorded ones.

# %% tags=["remove-input"]
bert = Storage.of("bert-base-uncased", "houlsby")
glue("rq2-bert-model", f"{bert.model / 2**20:.0f}", display=False)
glue("rq2-bert-adapter", f"{bert.adapter / 2**20:.1f}", display=False)
glue("rq2-disk-full", f"{bert.whole(20):.1f}", display=False)
glue("rq2-disk-adapters", f"{bert.shared(20):.1f}", display=False)
agreement = agreements(live, recorded)
show_table(tables.agreement_table(agreement), f"Live (profile {profile}) beside recorded")
show_text(sentences.agreement_sentence(agreement, profile))

# %% [markdown]
# ## The step sizes behind it

# %% tags=["remove-input", "hide-output"]
show_table(
    step_size_table(recorded_question.cells), "Step sizes tried and chosen, by `transrec tune`, recorded"
)

# %% [markdown]
# ## On real data
#
# The same question on real titles and posters, as far as it is recorded, beside the recorded runs of the
# embedded world; {doc}`real` has the whole tables. First what the controls reach, then each method's verdict
# and difference to full fine-tuning, in percent of full fine-tuning's HR@10 in the same cell. *Disagree*
# means that cells are certain of different things; where one side is undecided, nothing can be said.

# %% tags=["remove-input"]
show_worlds("rq2")

# %% [markdown]
# ## How to read this
#
# - One world, one small backbone, one budget. What carries over is the method of comparison; the order may
#   not.
# - All methods share one size. A method that is cheap at this size could be given a larger one: that trade is
#   RQ3's.
# - The soft prompt acts in the item encoder only, as its default says; (IA)³, BitFit and LayerNorm have no
#   size at all.
# - Where the best step size lies at the end of its grid (table above), the method may be better than it
#   looks.
#
# ## Exercises
#
# ```{exercise}
# :label: rq2-disk
#
# A shop has one backbone and twenty countries. What has to be on disk with full fine-tuning, and what with
# the best adapter of the first table? Which figure decides once the backbone is bert-base ({doc}`anatomy`)?
# ```
#
# ```{solution} rq2-disk
# :class: dropdown
#
# Twenty whole models against one model and twenty adapter files. With bert-base a model is
# {glue:text}`rq2-bert-model` MiB and a Houlsby adapter {glue:text}`rq2-bert-adapter` MiB:
# {glue:text}`rq2-disk-full` GiB against {glue:text}`rq2-disk-adapters` GiB. In memory the difference is the
# same, because all adapters share the one backbone.
# ```
#
# ```{exercise}
# :label: rq2-time
#
# Training a hundredth of the parameters does not make a step a hundred times faster. What does a step still
# have to do, and which method avoids it?
# ```
#
# ```{solution} rq2-time
# :class: dropdown
#
# The forward pass through the whole backbone, and the backward pass down to the lowest adapter: gradients of
# activations are needed even where no weight trains. Only what stands *after* the backbone avoids both: the
# head, and the side network, whose pooled states are computed once.
# ```
#
# ```{exercise}
# :label: rq2-own
#
# Add the adapter of the contributors' guide (`CONTRIBUTING.md`) and run it in the first cell with a step size
# of 0.02.
# ```
#
# ````{solution} rq2-own
# :class: dropdown
#
# ```python
# from transrec_core.study.grids import load_profile, run_spec
# from transrec_core.study.run import run
# from transrec_core.study.store import Store
#
# study = load_profile("laptop")
# spec = run_spec(study, study.question("rq2").cells[0], "scale", seed=1, lr=0.02)
# run(spec, Store("runs")).metrics
# ```
# ````
