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
# # Scale on paper
#
# **What you will learn.** What a million or a hundred million users would take with bert-base: steps, device
# hours, storage; how the work would be laid out; and what breaks first.
#
# ```{warning}
# An estimate. Nothing of this size was run. It is arithmetic from a few rates, each of which you can change
# in the cell below; expect it to be right within a factor of two or three, not better.
# ```

# %% tags=["parameters"]
profile = "laptop"
seed = 0
data = "runs"

# %% tags=["remove-cell"]
from pathlib import Path

from myst_nb import glue

from transrec_core.book.show import show_table, show_text, style
from transrec_core.report import scale
from transrec_core.report.stepcosts import Storage
from transrec_core.study.store import Store

style()

# %% [markdown]
# ## The rates
#
# What was measured: full fine-tuning of MiniLM on instrument titles, from its recorded times. The number of
# tokens in a step is an upper bound (every history and title at its longest), so the rate is one, too.

# %% tags=["remove-input"]
MINILM = 6 * 12 * 384**2  # six layers of width 384: 4 d^2 for attention, 8 d^2 for the feed-forward part
records = [
    r
    for r in Store(Path("results/real")).scan()[0]
    if r.spec.encoder == "minilm" and r.spec.model.encoder_layers is None
]
rates = scale.measured_rates(records, MINILM, length=20, tokens=20)
others = scale.benchmark_rates(Path("results/benchmarks"))
if rates:
    show_table(scale.measured_table(rates), "Measured here")
else:
    show_text("*No recorded run of MiniLM with all layers yet.*")
if others:
    show_table(scale.benchmark_table(others), "From benchmarks")

# %% [markdown]
# What is assumed: a training GPU does 100 TFLOP/s of such work in bfloat16, a third of an A100's peak, which
# padded titles and small user encoders rarely let one exceed. Change it:

# %%
GPU = 1e14  # operations a second that one GPU really does; an assumption
LENGTH, TOKENS = 20, 20  # interactions read of a user, tokens of a title
BATCH, EPOCHS = 1024, 5  # users a step over all devices, passes over the users
SIZES = {
    "a million users": (10**6, 10**5, 8),
    "a hundred million users": (10**8, 10**7, 64),
}  # users, items, GPUs

# %% [markdown]
# ## The arithmetic
#
# A token costs two operations for each parameter of the layers, and twice that again on the way back if
# everything trains, once if the gradient only passes through to adapters. Each user's items are encoded anew
# in each pass; with cached states each item is encoded once and for all. The user encoder always trains.

# %%
bert = scale.backbone_size("bert-base-uncased")
estimates = {
    name: scale.estimate(scale.Plan(users, items, LENGTH, TOKENS, BATCH, EPOCHS, GPU, gpus), bert)
    for name, (users, items, gpus) in SIZES.items()
}

# %% tags=["remove-input"]
millions = f"{bert.parameters / 1e6:,.0f}"
glue("scale-parameters", millions, display=False)
for name, ways in estimates.items():
    users, items, gpus = SIZES[name]
    show_table(
        scale.ways_table(ways),
        f"Estimate: {name}, {items:,} items, {gpus} GPUs, bert-base ({millions} million parameters in its "
        "layers)",
    )

# %% tags=["remove-input"]
large = estimates["a hundred million users"]
hours = large[scale.FULL].hours
glue("scale-ratio", f"{hours / large[scale.SIDE].hours:,.0f}", display=False)
glue("scale-adapter", f"{large[scale.INSIDE].hours / hours:.2f}", display=False)
if rates:
    years = hours * GPU / max(rate.flops for rate in rates) / 24 / 365
    show_text(
        "On one core of the machine that made the records, full fine-tuning for a hundred million users "
        f"would take about {years:,.1f} years."
    )

# %% [markdown]
# An adapter inside the backbone takes {glue:text}`scale-adapter` of full fine-tuning's operations: it saves
# storage and memory more than time. What saves time is not running the backbone at all: with cached states,
# by these numbers, {glue:text}`scale-ratio` times less, at the price of a method that can't change what the
# layers compute.
#
# ## What has to be kept
#
# For each domain, whole models or adapters (Houlsby, 64/16); and the table of item vectors that serving
# reads, once for each domain's catalogue.

# %% tags=["remove-input"]
storage = Storage.of("bert-base-uncased", "houlsby")
table = scale.serving_table(storage, (1.0, 20.0, 200.0), items=10**7, dim=64)
show_table(table, "Estimate: storage by the number of domains")

# %% [markdown]
# ## The layout
#
# Two kinds of parallel work, never mixed. *Within* a run `accelerate launch` puts the same model on each GPU
# of a node, each takes its share of the users of a step, and gradients are averaged: bert-base is small, so
# no model is split. *Between* runs a Dask scheduler hands whole runs to nodes: seeds, step sizes and domains
# don't need each other. One worker is one node (or one GPU where a domain is small); records come back by
# content hash, and a lost worker's run goes on from its checkpoint ({doc}`reliability`). Source models and
# cached states are computed once, under a lock, and want a file system that all nodes see.
#
# ## What breaks first

# %% tags=["remove-input"]
users, items, gpus = SIZES["a hundred million users"]
history = 4 * users * LENGTH / 1e9
scores = (BATCH / gpus) * (BATCH / gpus * LENGTH) * LENGTH * 4 / 2**20
ranking = users * items
table_gb = items * 64 * 4 * 3 / 1e9
spread = 100 * 1.96 * (0.3 * 0.7 / 1e5) ** 0.5
tuning = 8 * (3 + 5)
show_text(f"""In the order in which it would be met, with a hundred million users:

1. **Loading.** Histories are two flat arrays, {history:,.0f} GB, and fit; the text files they are read from
   must not be parsed by each process. Arrays on disk, mapped into memory, come first.
2. **Items of a batch.** The softmax over the items of a batch holds a score for each position and each item
   of it: {scores:,.1f} MiB on each GPU if every GPU keeps to its own users, and {gpus**2:,} times that if the
   items of all were gathered. It stays local.
3. **Evaluation over the full catalogue.** Everybody against every item is {ranking:.0e} scores. It is done on
   a sample of *users*, never of items: 100,000 users give an interval of about ±{spread:.1f} points at an
   HR@10 of 30 %.
4. **The item-ID baseline.** Its table grows with the catalogue, with Adam's two moments to {table_gb:.1f} GB;
   the content models do not grow.
5. **Caches.** When the backbone changes, every cached state is void; a side network binds you to a backbone
   for as long as its cache is worth keeping.
6. **The tuning.** Eight methods with three step sizes and five seeds are {tuning} runs of what is estimated
   above; at this size nobody tunes like that. The order of methods would have to be found small and trusted
   to hold, a hypothesis of its own.""")

# %% [markdown]
# ## Exercises
#
# ```{exercise}
# :label: scale-own
#
# Put your own numbers into the cell of rates: your users, your items, your GPUs. Which of the four ways is
# over within a night?
# ```
#
# ```{solution} scale-own
# :class: dropdown
#
# Divide "device hours" by your number of GPUs. If only the cached ways are, compare their HR@10 with full
# fine-tuning's in {doc}`real` before you settle for one.
# ```
#
# ```{exercise}
# :label: scale-once
#
# Why does a title that a million users have cost full fine-tuning more than one that ten users have, but not
# the cached ways? And how does encoding each item once *a step* help?
# ```
#
# ```{solution} scale-once
# :class: dropdown
#
# Full fine-tuning encodes a title in every step in which somebody in the batch has it, as the encoder has
# changed since; cached states are computed once for all. Within a step the encoder does not change, so a
# title that many users of the batch have is encoded once: the estimate above leaves that out, and is too high
# by as much as batches repeat items.
# ```
