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
import json
import tempfile
from pathlib import Path


import torch
from IPython.display import Markdown, display
from myst_nb import glue

from transrec_core.report import variants as comparisons
from transrec_core.report import figures
from transrec_core.report import tables as report
from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.book.show import show_table, show_worlds, style
from transrec_core.training.costs import measure
from transrec_core.world.loading import load_domain
from transrec_core.base.files import atomic_write
from transrec_core.study.grids import cell_specs, load_profile, run_spec
from transrec_core.models.params import count
from transrec_core.study.store import Store
from transrec_core.study.stages import build_model
from transrec_core.study.executors import run_many
from transrec_core.study.step_sizes import grids

style()
torch.set_num_threads(1)

# %% tags=["remove-stderr", "remove-input"]
study = load_profile(profile)
live_question, recorded_question = study.question("rq2", shift=seed), load_profile("study").question("rq2")
live_plan = {cell: cell_specs(study, cell, live_question.seeds) for cell in live_question.cells}
live = {
    record.id: record
    for record in run_many([spec for cell in live_plan for spec in live_plan[cell]], Store(Path(data)))
}

live_groups, recorded_groups, missing = comparisons.live_and_recorded(
    "rq2", study, live_question, Store(Path(data)), load_profile("study"), Store(Path("results/study"))
)
recorded = {cell: [r for runs in found.values() for r in runs] for cell, found in recorded_groups.items()}
summaries = {cell: report.summary(found) for cell, found in recorded.items()}

# %% tags=["remove-input"]
glue("rq2-methods", len(METHODS), display=False)
glue("rq2-seeds", len(recorded_question.seeds), display=False)
glue("rq2-tried", len(grids()["houlsby"]), display=False)
glue("rq2-item-size", study.base["adapter"]["item_size"], display=False)
glue("rq2-user-size", study.base["adapter"]["user_size"], display=False)
glue("rq2-missing", comparisons.not_run(missing), display=False)
glue("rq2-live-seeds", len(live_question.seeds), display=False)
glue("rq2-live-runs", len(live), display=False)
glue("rq2-recorded-runs", sum(len(found) for found in recorded.values()), display=False)

# %% [markdown]
# ## Quality
#
# {glue:text}`rq2-methods` adapters, each with its own step size out of {glue:text}`rq2-tried`, the same
# steps, and the same size ({glue:text}`rq2-item-size` in the item encoder, {glue:text}`rq2-user-size` in the
# user encoder) where a method has one. {glue:text}`rq2-recorded-runs` recorded runs, {glue:text}`rq2-seeds`
# seeds. {glue:text}`rq2-missing` In brackets: 95 % intervals over users and seeds. The verdict compares with
# full fine-tuning.

# %% tags=["remove-input"]
for cell, frame in summaries.items():
    display(Markdown(f"### {cell.title[0].upper() + cell.title[1:]}"))
    table = report.table(frame).drop(columns=["training (s)", "memory (MiB)"])
    show_table(table, f"{cell.title}; recorded, {len(recorded_question.seeds)} seeds")

# %% [markdown]
# ## Which can't be told from the best
#
# The adapter with the highest mean is compared with each of the others, user by user, with intervals that
# hold for all these comparisons at once.

# %% tags=["remove-input"]
groups = {cell: report.best_group(found) for cell, found in recorded.items()}
lines = []
for cell, frame in groups.items():
    names = [report.NAMES.get(m, m) for m in frame.loc[frame["in group"], "method"]]
    others = frame.loc[~frame["in group"]]
    text = f"- *{cell.title[0].upper() + cell.title[1:]}*: **{names[0]}** has the highest mean; "
    text += f"not to be told from it: {', '.join(names[1:]) or 'none'}. "
    if len(others):
        nearest, last = others.iloc[0], others.iloc[-1]
        text += (
            f"The nearest that is certainly behind is {report.NAMES.get(nearest.method, nearest.method)} ({nearest.difference:+.1f} points "
            f"[{nearest.low:+.1f}, {nearest.high:+.1f}]), the last {report.NAMES.get(last.method, last.method)} ({last.difference:+.1f} [{last.low:+.1f}, {last.high:+.1f}])."
        )
    lines.append(text)
shared = set.intersection(*(set(f.loc[f["in group"], "method"]) for f in groups.values()))
lines.append(
    f"- In the best group of every cell: {', '.join(report.NAMES.get(m, m) for m in METHODS if m in shared) or 'none'}."
)
display(Markdown("\n".join(lines)))

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
costs, sizes = {}, {}
with tempfile.TemporaryDirectory() as folder:
    for cell in live_question.cells:
        specs = {method: run_spec(study, cell, method, live_question.seeds[0]) for method in cell.methods}
        domain = load_domain(specs["full"].target)
        models = {
            method: build_model(spec, Store(Path(data)), Path(), domain) for method, spec in specs.items()
        }
        costs[cell] = measure(models, domain, specs["full"].training)
        sizes[cell] = {}
        for method, model in models.items():
            if model.adapters:
                (name,) = model.adapters
                model.save_adapter(Path(folder) / cell.name / method, name)
                sizes[cell][method] = (
                    (Path(folder) / cell.name / method / "transrec_adapter.safetensors").stat().st_size
                )
            else:
                sizes[cell][method] = 4 * sum(p.numel() for p in model.parameters() if p.requires_grad)

costs_kept = {cell.name: {"step": costs[cell].to_dict("records"), "bytes": sizes[cell]} for cell in costs}
atomic_write(Path(data) / "costs.json", json.dumps(costs_kept))  # the guidance reads them
by_name = {cell.name: frame for cell, frame in summaries.items()}
for cell in live_question.cells:
    table = report.cost_table(by_name[cell.name], costs[cell], sizes[cell])
    show_table(
        table,
        f"{cell.title}; quality recorded, step and memory measured live, batches of {study.base['training']['batch_size']} users, one thread",
    )

# %% [markdown]
# ## Quality against parameters
#
# Further left trains less, further up recommends better. The line joins the *Pareto set* (bold): methods with
# no other that trains as little and recommends better on average. Bars are 95 % intervals; points whose bars
# overlap widely need the comparison above.

# %% tags=["remove-input"]
_ = figures.plot_pareto({cell.title: frame for cell, frame in summaries.items()}, ["full", *METHODS, "head"])

# %% tags=["remove-input"]
lines = []
for cell, frame in summaries.items():
    front = report.pareto(frame[frame["method"].isin(["full", *METHODS, "head"])])
    lines.append(
        f"- *{cell.title[0].upper() + cell.title[1:]}*: {' → '.join(report.NAMES.get(m, m) for m in front)}."
    )
for cell in live_question.cells:
    step = costs[cell].set_index("method")
    ratio = step["seconds"] / step.loc["full", "seconds"]
    adapters = [m for m in METHODS if m in ratio.index]
    cheap, dear = min(adapters, key=lambda m: ratio[m]), max(adapters, key=lambda m: ratio[m])
    lines.append(
        f"- *{cell.title[0].upper() + cell.title[1:]}*, a step as a multiple of full fine-tuning's: cheapest {report.NAMES[cheap]} ({ratio[cheap]:.2f}), "
        f"dearest {report.NAMES[dear]} ({ratio[dear]:.2f}), median of the adapters {ratio[adapters].median():.2f}."
    )
display(Markdown("\n".join(lines)))

# %% [markdown]
# ## Does today's run agree?
#
# {glue:text}`rq2-live-runs` runs on this machine with {glue:text}`rq2-live-seeds` seed. Where the seed is
# among the recorded ones, the same specification was run twice: on the same kind of processor the ranks are
# the same to the last one, on another the last bits of sums differ and with them a few users. Otherwise the
# question is whether the live figure lies within the spread of the recorded ones.

# %% tags=["remove-input"]
agreement = comparisons.agreement(live_groups, recorded_groups)
large = count("bert-base-uncased", AdapterConfig(method="houlsby"))
model_bytes = 4 * large["base"]
glue("rq2-bert-model", f"{model_bytes / 2**20:.0f}", display=False)
glue("rq2-bert-adapter", f"{large['bytes'] / 2**20:.1f}", display=False)
glue("rq2-disk-full", f"{20 * model_bytes / 2**30:.1f}", display=False)
glue("rq2-disk-adapters", f"{(model_bytes + 20 * large['bytes']) / 2**30:.1f}", display=False)
show_table(agreement, f"Live (profile {profile}) beside recorded")
display(Markdown(comparisons.agreement_sentence(agreement, profile)))

# %% [markdown]
# ## The step sizes behind it

# %% tags=["remove-input", "hide-output"]
show_table(
    report.step_size_table(recorded_question.cells),
    "Step sizes tried and chosen, by `transrec tune`, recorded",
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
# import pathlib, transrec_core.adapters.scale
# from transrec_core.study.grids import load_profile, run_spec
# from transrec_core.study.run.store import Store
# from transrec_core.study.run import run
#
# study = load_profile("laptop")
# run(run_spec(study, study.question("rq2").cells[0], "scale", seed=1, lr=0.02), Store(pathlib.Path("runs"))).metrics
# ```
# ````
