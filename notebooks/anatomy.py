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
# # Anatomy of an adapter
#
# **What you will learn.** What each adapter does, as a picture, an equation and the few lines of code that
# compute it; how many parameters it adds; and how one backbone serves many domains.
#
# An adapter here is a small module with one method, `forward(x, y)`. A hook hands it the input `x` and the
# output `y` of a frozen module, and what it returns takes the place of `y`. So the backbone is never rebuilt
# and never changed, and all adapters share one interface. In the pictures, blue is frozen and orange is
# trained.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
data = "runs"

# %% tags=["remove-cell"]
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from myst_nb import glue

from transrec_core.adapters import AdapterConfig
from transrec_core.book.show import Gallery, show_table
from transrec_core.data.loading import DataSpec
from transrec_core.report.methods import counts_table, merging_methods, settings_table
from transrec_core.report.names import method_name
from transrec_core.report.stepcosts import Storage
from transrec_core.study.grids import load_profile, run_spec
from transrec_core.study.stages import build_model
from transrec_core.study.store import Store
from transrec_core.world.loading import load_domain

torch.set_num_threads(1)
gallery = Gallery("bert-base-uncased")

# %% [markdown]
# ## Bottlenecks
#
# ### Houlsby
#
# After the attention and after the feed-forward sublayer of each layer, before the residual sum
# {cite}`houlsby2019`:
#
# $$h \leftarrow h + W_\mathrm{up}\, f(W_\mathrm{down}\, h + b_\mathrm{down}) + b_\mathrm{up}, \qquad W_\mathrm{down}\in\mathbb R^{m\times d}$$

# %% tags=["remove-input"]
gallery.show("houlsby")

# %% [markdown]
# ### Pfeiffer
#
# The same bottleneck after the feed-forward sublayer only {cite}`pfeiffer2021`: half the parameters. The
# released code of the paper has it after the attention; here that is `position="attention"`.

# %% tags=["remove-input"]
gallery.show("pfeiffer")

# %% [markdown]
# ### Parallel
#
# The bottleneck reads what the sublayer *reads*, not what it computed {cite}`he2022`; with scale $s=4$,
# beside the feed-forward sublayer:
#
# $$h \leftarrow h + s\,\bigl(W_\mathrm{up}\, f(W_\mathrm{down}\, x + b_\mathrm{down}) + b_\mathrm{up}\bigr)$$

# %% tags=["remove-input"]
gallery.show("parallel")

# %% [markdown]
# ### Compacter
#
# A bottleneck whose maps are sums of Kronecker products {cite}`karimi2021`; the small matrices $A_i$ are
# shared by all adapters of the model:
#
# $$W = \sum_{i=1}^{n} A_i \otimes (s_i t_i^\top), \qquad A_i\in\mathbb R^{n\times n}$$

# %% tags=["remove-input"]
gallery.show("compacter")

# %% [markdown]
# ## Low-rank updates
#
# ### LoRA
#
# A product of two thin matrices beside a frozen one, by default at query and value {cite}`hu2022`. It can be
# added to the weight, and then costs nothing:
#
# $$W x \leftarrow W x + \frac{\alpha}{r} B A x, \qquad A\in\mathbb R^{r\times d_\mathrm{in}},\ B\in\mathbb R^{d_\mathrm{out}\times r}$$

# %% tags=["remove-input"]
gallery.show("lora")

# %% [markdown]
# ### rsLoRA
#
# LoRA scaled by $\alpha/\sqrt r$, so that the update does not fade as the rank grows
# {cite}`kalajdzievski2023`.

# %% tags=["remove-input"]
gallery.show("rslora")

# %% [markdown]
# ### DoRA
#
# The weight is taken apart into length and direction; LoRA turns the direction, a vector $m$ is the length
# {cite}`liu2024dora`:
#
# $$W x \leftarrow \frac{m}{\lVert W + s B A\rVert} \odot (W + s B A)\,x \qquad \text{norm of each row}$$

# %% tags=["remove-input"]
gallery.show("dora")

# %% [markdown]
# ### VeRA
#
# $A$ and $B$ are drawn once, from a seed, frozen, and the same in every layer; two vectors say how much of their
# rows each weight takes {cite}`kopiczko2024`. The rank may be large: it costs one number a row.
#
# $$W x \leftarrow W x + b \odot B\,(d \odot A x) \qquad d \in \mathbb{R}^{r},\; b \in \mathbb{R}^{d}$$

# %% tags=["remove-input"]
gallery.show("vera")

# %% [markdown]
# ## Prompts
#
# ### Soft prompt
#
# Learned tokens $P$ before the embedded title {cite}`lester2021` or picture {cite}`jia2022`; their states are
# dropped at the end:
#
# $$X \leftarrow [P; X], \qquad P\in\mathbb R^{n\times d}$$
#
# It is, with the prefix, the one adapter that changes outputs from the start: attention is a weighted mean,
# and new members have weight.

# %% tags=["remove-input"]
gallery.show("prompt")

# %% [markdown]
# ### Prefix
#
# The deep form of a prompt: learned keys and values in every layer {cite}`li2021`:
#
# $$K \leftarrow [P_k; K],\quad V \leftarrow [P_v; V]$$

# %% tags=["remove-input"]
gallery.show("prefix")

# %% [markdown]
# ## Vectors
#
# ### (IA)³
#
# Learned vectors multiply keys, values and the inner activations of the feed-forward sublayer
# {cite}`liu2022`:
#
# $$k \leftarrow l_k\odot k,\quad v \leftarrow l_v\odot v,\quad f(W_1x) \leftarrow l\odot f(W_1x)$$

# %% tags=["remove-input"]
gallery.show("ia3")

# %% [markdown]
# ### BitFit
#
# Only biases train {cite}`zaken2022`; here as a learned vector added to each, so that the base keeps its own.

# %% tags=["remove-input"]
gallery.show("bitfit")

# %% [markdown]
# ### LayerNorm tuning
#
# Only gains and biases of the LayerNorms train {cite}`zhao2024`, as copies.

# %% tags=["remove-input"]
gallery.show("layernorm")

# %% [markdown]
# ## Beside the backbone
#
# ### K-Adapter
#
# Small transformers beside the backbone read some of its layers {cite}`wang2021`, by default the first and
# the last; a mix adds what they found:
#
# $$s_j = u_j + W_\mathrm{up}\,T(T(W_\mathrm{down}\,u_j)),\quad u_j = h_{l_j} + s_{j-1},\qquad y \leftarrow y + W [y; s_K] + b$$
#
# They have the padding and causal masks of the encoder they stand beside; without, the user encoder would see
# the future.

# %% tags=["remove-input"]
gallery.show("k_adapter")

# %% [markdown]
# ### Side network
#
# A ladder beside the frozen backbone {cite}`sung2022` that reads the *pooled* states of its layers
# {cite}`fu2024iisan`:
#
# $$s_l = f\bigl(g_l s_{l-1} + (1-g_l)(W_l h_l + b_l)\bigr),\qquad y \leftarrow y + W_\mathrm{up} s_L + b_\mathrm{up}$$
#
# Nothing trained stands before the states $h_l$, so they are computed once for each item: a training step
# costs no backbone at all.

# %% tags=["remove-input"]
gallery.show("side")

# %% [markdown]
# ## Others
#
# Registered methods that this page has no words for, as their files describe themselves.

# %% tags=["remove-input"]
gallery.show_others()

# %% [markdown]
# ## All counts
#
# `transrec params --all` prints this table for any of the usual backbones, without loading a weight. Sizes
# are each method's defaults. The counts of Houlsby, LoRA, K-Adapter, Compacter, the soft prompt and Pfeiffer
# (at either place) are those of the released code.

# %% tags=["remove-input"]
show_table(counts_table("bert-base-uncased"), "bert-base with d = 64 and two SASRec blocks")
glue("anatomy-merges", ", ".join(merging_methods()), display=False)

# %% [markdown]
# ## Placement is configuration
#
# Which encoder, which layers, which sublayer, serial or parallel, how wide: fields of one class, the same for
# all methods. A field that a method does not have is refused, with those it has.

# %%
config = AdapterConfig(
    method="houlsby",
    encoders="item",
    layers="top-2",
    position="attention",
    form="parallel",
    item_size=8,
    train_layernorm=True,
)
try:
    AdapterConfig(method="lora", position="ffn")
except ValueError as error:
    print(error.errors()[0]["msg"])

# %% tags=["remove-input"]
show_table(settings_table(), "What each method says of itself; settings that all share are left out")

# %% [markdown]
# ## One backbone, three domains
#
# The practical promise of adapters: the backbone is loaded once, each domain adds a small file, and a request
# chooses by name. Three adapters of three methods, saved, and loaded into one model:

# %%
study = load_profile("laptop")
spec = run_spec(study, study.question("rq2").cells[0], "frozen", seed=1)
domain = load_domain(DataSpec(folder="world:target"))
model = build_model(spec, Store(Path(data)), Path(), domain)
folder = Path(tempfile.mkdtemp())
for name, method in {"books": "houlsby", "games": "lora", "films": "side"}.items():
    model.add_adapter(name, AdapterConfig(method=method, item_size=16, user_size=8))
    with torch.no_grad():  # stands in for training
        for parameter in model.adapters[name].parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    model.save_adapter(folder / name, name)
    model.delete_adapter(name)

base = {key: value.clone() for key, value in model.state_dict().items()}
for name in ("books", "games", "films"):
    model.load_adapter(folder / name, name)

content = domain.catalog.batch(torch.arange(1, 33))
vectors = {}
for name in ("books", "games", "films", "books"):
    began = time.perf_counter()
    model.set_adapter(name)
    switched = time.perf_counter() - began
    with torch.no_grad():
        encoded = model.eval().encode_items(content)
    assert name not in vectors or torch.equal(vectors[name], encoded)  # the second time as the first
    vectors[name] = encoded

# %% tags=["remove-input"]
files = {name: sum(f.stat().st_size for f in (folder / name).iterdir()) for name in vectors}
whole = 4 * sum(v.numel() for v in base.values())
unchanged = all(torch.equal(base[key], value) for key, value in model.state_dict().items() if key in base)
show_table(
    pd.DataFrame(
        [
            {
                "domain": name,
                "method": method_name(model.adapter_configs[name].method),
                "folder (KiB)": f"{size / 1024:.1f}",
                "of the model (%)": f"{100 * size / whole:.1f}",
            }
            for name, size in files.items()
        ]
    ),
    f"Three adapter folders beside one base model of {whole / 1024:.0f} KiB",
)
bert = Storage.of("bert-base-uncased", "houlsby")
glue("bert-model", f"{bert.model / 2**20:.0f}", display=False)
glue("bert-adapter", f"{bert.adapter / 2**20:.1f}", display=False)
glue("anatomy-unchanged", "unchanged, bit for bit" if unchanged else "CHANGED", display=False)
glue("anatomy-switch", f"{1e6 * switched:.0f}", display=False)

# %% [markdown]
# Switching took {glue:text}`anatomy-switch` µs, and the base is {glue:text}`anatomy-unchanged`. Here the
# model is tiny, so a folder is a large share of it; with bert-base, a model of {glue:text}`bert-model` MiB
# stands beside Houlsby adapters of {glue:text}`bert-adapter` MiB each, and smaller ones of other methods
# (table above).
#
# Several adapters can also act at once, one after the other or averaged:

# %%
model.set_adapter(["books", "games"])  # stacked: games acts on what books made
model.set_adapter(["books", "games"], combine="average")  # both act on the same output; the mean counts

# %% [markdown]
# ## To PEFT and back, and from the released code
#
# LoRA, rsLoRA, DoRA and (IA)³ of the item encoder are written in the format of the PEFT library and read from
# it, with outputs equal to $10^{-6}$. Checkpoints of the released code are converted by
# `transrec import-adapter4rec`.

# %%
from transrec_core.adapters.peft_format import export_peft, import_peft

model.set_adapter("games")
export_peft(model, "games", folder / "peft")
config = import_peft(model, folder / "peft", "games-again")
print(config.method, config.encoders, config.targets, config.item_size)

# %% [markdown]
# ## Exercises
#
# ```{exercise}
# :label: anatomy-zero
#
# In a fresh bottleneck $W_\mathrm{up}$ is zero. Why not both maps? And which parameters get a gradient in the
# first step?
# ```
#
# ```{solution} anatomy-zero
# :class: dropdown
#
# With both at zero the gradient of each is zero, because each is multiplied by the other: nothing would ever
# train. With $W_\mathrm{up}=0$ only $W_\mathrm{up}$ and $b_\mathrm{up}$ get one in the first step; from the
# second on, all do.
# ```
#
# ```{exercise}
# :label: anatomy-merge
#
# Which of the adapters can be merged into the frozen weights, and what do the others have that prevents it?
# ```
#
# ```{solution} anatomy-merge
# :class: dropdown
#
# {glue:text}`anatomy-merges`: what they do is linear in the input of a module that has a weight or bias to take
# it up. Bottlenecks have a non-linearity, prompts change the sequence, K-Adapter
# and the side network read other layers.
# ```
