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
# # Real data, one seed
#
# **What you will learn.** That the same code trains on real data, what came out once, and why once is no evidence.
#
# ```{warning}
# One seed, step sizes that were set and not tuned, budgets of what fits an hour on two cores. The intervals are over users only: another seed can move any of these numbers, and the order of methods, by
# more than they show. This page illustrates; it decides nothing.
# ```

# %% tags=["parameters"]
profile = "laptop"
seed = 0
data = "runs"

# %% tags=["remove-cell"]
from pathlib import Path

import pandas as pd
from IPython.display import Markdown, display
from myst_nb import glue

from transrec_core import report
from transrec_core.book import show_table, style
from transrec_core.store import Store

style()
records = Store(Path("results/real")).scan()[0]
pairs = {what: [r for r in records if r.spec.target.modality == what] for what in ("text", "image")}
titles = {"text": "Video games to musical instruments (titles)", "image": "Films from 1990 on to films before 1990 (posters)"}

# %% [markdown]
# ## The runs
#
# Recorded with `make record` and shipped in `results/real`; the data are not shipped. Sources: Amazon reviews {cite}`ni2019` and MovieLens-1M {cite}`harper2015`.
#
# - **Titles**: video games are the source, musical instruments the target; the encoder is the first layers of MiniLM {cite}`wang2020minilm`, real pretrained weights.
# - **Posters**: films from 1990 on are the source, films before 1990 the target, and the users are split in halves, so that the domains share neither. The encoder is a small ViT from *random* weights: all
#   that it knows of pictures it learns in the source stage.

# %% tags=["remove-input"]
rows = []
for found in pairs.values():
    spec, facts = found[0].spec, next(r.facts for r in found if r.spec.method == "full")
    rows.append({
        "pair": f"{spec.source.data.folder} → {spec.target.folder}",
        "encoder": spec.encoder + (f", {spec.model.encoder_layers} layers" if spec.model.encoder_layers else ""),
        "test users": f"{facts['cases']:,}", "users a step": spec.training.batch_size,
        "source steps, at most": spec.source.training.steps, "target steps": facts["steps"],
    })
show_table(pd.DataFrame(rows), "What was run (SASRec objective, seed 0; target steps of full fine-tuning)", text=True)

# %% [markdown]
# ## What came out
#
# "Minus full" is the difference to full fine-tuning on the same users. The last columns are costs on one core of the recording machine while another job ran on the other; compare them with each other only.

# %% tags=["remove-input"]
for what, found in pairs.items():
    display(Markdown(f"### {titles[what]}"))
    show_table(report.table(report.summary(found)).drop(columns=["verdict"]), f"{titles[what]}; one seed, intervals over users only")

# %% tags=["remove-input"]
for what, found in pairs.items():
    flat = [report.NAMES[r.spec.method] for r in found if r.facts.get("best_step") == 0]
    late = [report.NAMES[r.spec.method] for r in found if r.facts.get("best_step") and r.facts["best_step"] == r.spec.training.steps]
    popular = next(r for r in found if r.spec.method == "popularity").metrics["HR@10"]
    below = [report.NAMES[r.spec.method] for r in found if r.spec.method != "popularity" and r.metrics["HR@10"] <= popular]
    glue(f"{what}-late", ", ".join(late) or "none", display=False)
    glue(f"{what}-flat", ", ".join(flat) or "none", display=False)
    glue(f"{what}-below", ", ".join(below) or "none", display=False)

# %% [markdown]
# What to notice before reading an order into these tables:
#
# - No better than recommending what is popular: titles, {glue:text}`text-below`; posters, {glue:text}`image-below`.
# - Still improving at the last step, so under-trained: titles, {glue:text}`text-late`; posters, {glue:text}`image-late`.
# - Never better than the state they started from: titles, {glue:text}`text-flat`; posters, {glue:text}`image-flat`.
#
# ## Repeating one
#
# Each record holds its specification. With the data in a folder `DATA`, one of them runs again by the following; on the same kind of machine with
# the same number of threads, to the same ranks:

# %% tags=["remove-input"]
example = next(r for r in pairs["image"] if r.spec.method == "head")
print(f"transrec repeat {example.id} --store results/real --data-root DATA")

# %% [markdown]
# ## Exercises
#
# ```{exercise}
# :label: real-seed
#
# Run one of the cheap records again with `--set seed=1`. By how much does HR@10 move, compared with its interval over users?
# ```
#
# ```{solution} real-seed
# :class: dropdown
#
# `transrec run results/real/ID/spec.yaml --set seed=1 --data-root DATA --store runs/again`, then `transrec show`. The move is what the interval on this page leaves out; if it is of the same size
# as the difference between two methods, their order means nothing.
# ```
#
# ```{exercise}
# :label: real-popularity
#
# Why can a network that was trained on thousands of histories lose to popularity on real data, but not in the embedded world?
# ```
#
# ```{solution} real-popularity
# :class: dropdown
#
# Real popularity is far more uneven than in the embedded world, and a content model has to learn it from titles or pictures, which hardly show it; with few steps it has learnt neither taste nor popularity.
# ```
