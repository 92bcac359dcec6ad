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
# # Model: TransRec and an adapter
#
# **What you will learn.** How TransRec turns content into recommendations, what its two objectives and losses
# are, what an adapter adds to it, and how to check that nothing looks into the future.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
data = "runs"

# %% tags=["remove-cell"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from myst_nb import glue

from transrec_core.adapters import AdapterConfig
from transrec_core.book.show import show_table, style
from transrec_core.data.batching import Batcher
from transrec_core.world.config import WorldConfig
from transrec_core.world.made import make_world
from transrec_core.models import ModelSpec, TransRec, load_backbone
from transrec_core.report.diagram import draw_model
from transrec_core.world.encoders import encoder_path

style()
torch.set_num_threads(1)

# %% [markdown]
# ## In a picture

# %% tags=["remove-input"]
_ = draw_model()

# %% [markdown]
# An item's title or picture goes through a pretrained *backbone*; its pooled state goes through one linear
# map, the *head*, and is the item vector $v_i\in\mathbb R^d$. The *user encoder*, a causal transformer
# {cite}`kang2018`, reads the item vectors of a history and gives a user vector $u_t$ at each position. The
# score of an item is the dot product $u_t\cdot v_i$. Adapters sit at the end of the sublayers of both
# encoders.
#
# ## In thirty lines
#
# The library's classes are hardly longer than this: the backbone comes from Hugging Face, the rest is here.

# %%
import torch.nn.functional as F
from torch import nn


class SmallTransRec(nn.Module):
    def __init__(self, backbone, dim=32, heads=2, max_len=14):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.config.hidden_size, dim)
        self.positions = nn.Embedding(max_len, dim)
        block = nn.TransformerEncoderLayer(
            dim, heads, 4 * dim, dropout=0, activation="gelu", batch_first=True
        )
        self.user_encoder = nn.TransformerEncoder(block, 2)

    def items(self, input_ids, attention_mask):  # [k, T] -> [k, d]
        out = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        mask = attention_mask.unsqueeze(-1)
        mean = (out.last_hidden_state * mask).sum(1) / mask.sum(1)
        return self.head(mean)

    def users(self, items):  # [B, L, d] -> [B, L, d]
        length = items.shape[1]
        causal = nn.Transformer.generate_square_subsequent_mask(length)
        items = items + self.positions.weight[:length]
        return self.user_encoder(items, mask=causal, is_causal=True)

    def loss(self, content, batch):  # content: each item once
        vectors = self.items(**content)  # [k, d]
        users = self.users(vectors[batch.inputs])  # [B, L, d]
        states = users[batch.rows, batch.columns]  # [M, d]
        return F.cross_entropy(states @ vectors.T, batch.targets)


world = make_world(WorldConfig(), "text")
backbone = load_backbone(encoder_path("world", "text"))
small = SmallTransRec(backbone)

train = world.target.split.train
batch = Batcher(train, "sasrec", "batch", batch_size=64, max_len=14, seed=0).batch(0)
loss = small.loss(world.target.catalog.batch(batch.items), batch)
print(f"{len(batch.inputs)} users, {len(batch.rows)} positions with a loss,")
print(f"{len(batch.items)} different items, loss {loss.item():.2f}")

# %% [markdown]
# ## Objectives and losses
#
# **SASRec** asks at every position $t$ for the next item; **CPC** {cite}`oord2018` only at the last position.
# Both train the same network; CPC sees a tenth of the targets.
#
# The released code scores one sampled negative $j$ for each positive $i$,
#
# $$\mathcal L = -\log\sigma(u_t\cdot v_i) - \log\bigl(1-\sigma(u_t\cdot v_j)\bigr),$$
#
# the study uses a softmax over candidates $C$, the items of the batch or of the catalogue, without the user's
# own other items,
#
# $$\mathcal L = -\log\frac{e^{u_t\cdot v_i-\log q_i}}{\sum_{j\in C}e^{u_t\cdot v_j-\log q_j}},$$
#
# where $q_j$ is the probability that $j$ gets into a batch: without that correction popular items, which are
# candidates most often, would be held down {cite}`yi2019`. Both are in the library (`training.loss: bce`,
# `batch`, `catalogue`).
#
# ## An adapter

# %%
spec = ModelSpec(dim=32, max_len=14, pooling="mean", dropout=0.0)
backbone = load_backbone(encoder_path("world", "text"))
model = TransRec.from_backbone(backbone, spec, seed=0)
content = world.target.catalog.batch(torch.arange(1, 6))
before = model.encode_items(content)

config = AdapterConfig(method="houlsby", item_size=16, user_size=8)
model.add_adapter("shop", config)
model.train_adapter("shop")
model.print_trainable_parameters()
after = model.encode_items(content)
bool(torch.equal(before, after))  # a fresh adapter changes nothing

# %% tags=["remove-input"]
rows = []
for method in ("houlsby", "pfeiffer", "lora"):
    one = TransRec.from_backbone(
        load_backbone(encoder_path("world", "text")), ModelSpec(dim=32, max_len=14, pooling="mean"), seed=0
    )
    total = sum(p.numel() for p in one.parameters())
    one.add_adapter("a", AdapterConfig(method=method, item_size=16, user_size=8))
    groups = {
        r: sum(p.numel() for p in ps) for r, ps in (one.train_adapter("a"), one.parameter_groups())[1].items()
    }
    rows.append(
        {
            "method": method,
            "adapters (parameters)": f"{groups['adapter']:,}",
            "copy of the head (parameters)": f"{groups['head']:,}",
            "base model (parameters)": f"{total:,}",
            "trained share (%)": f"{100 * sum(groups.values()) / total:.1f}",
        }
    )
show_table(pd.DataFrame(rows), "What trains, on the embedded world's small model")

# %% [markdown]
# ## Nothing looks into the future
#
# If the item at position $t+1$ changes, the user vector at $t$ must not. Below, one item of a history is
# exchanged, and the change of each user vector is drawn: zero before, something from there on. The same is a
# test for every adapter. (The released K-Adapter fails it: its attention mask lets a position see its own
# target.)

# %% tags=["remove-input"]
torch.manual_seed(0)
with torch.no_grad():
    for parameter in model.adapters.parameters():
        parameter += 0.3 * torch.randn_like(parameter)
    model.eval()
    vectors = model.catalogue(world.target.catalog)
    history = torch.from_numpy(world.target.interactions.padded([0], 14))
    place = history.shape[1] // 2
    changed = history.clone()
    changed[0, place] = 1 + history[0, place] % 500
    change = (
        (model.encode_users(vectors[history]) - model.encode_users(vectors[changed])).norm(dim=-1)[0].numpy()
    )
figure, axis = plt.subplots(figsize=(7.2, 2.8), layout="constrained")
axis.bar(np.arange(len(change)), change, color=["C0" if t < place else "C1" for t in range(len(change))])
axis.axvline(place - 0.5, color="0.4", ls="--")
axis.set(
    xlabel="position in the history",
    ylabel="change of the user vector",
    title=f"item at position {place} exchanged",
)
glue("leak", f"{change[:place].max():.1e}", display=False)

# %% [markdown]
# Largest change before the exchanged item: {glue:text}`leak`.
#
# ## Exercises
#
# ```{exercise}
# :label: model-count
#
# An adapter with bottleneck $m$ on width $d$ has $2dm+d+m$ parameters. How many does Houlsby add to a BERT of
# 12 layers and width 768 with $m=64$?
# ```
#
# ```{solution} model-count
# :class: dropdown
#
# Two for each layer: $12\cdot 2\cdot(2\cdot 768\cdot 64+768+64)$, which is 2,379,264; the rest of the
# 2,387,776 that a test checks is in the user encoder.
# ```
#
# ```{exercise}
# :label: model-mask
#
# Sequences are padded on the right here, and the user encoder gets no padding mask. Why is that right, and
# what would go wrong with padding on the left?
# ```
#
# ```{solution} model-mask
# :class: dropdown
#
# With a causal mask a position reads only earlier ones, and padding on the right comes later than all that is
# read. On the left it would come first and be read by every position, unless masked.
# ```
#
# ```{exercise}
# :label: model-lora
#
# Attach `lora` instead, move its parameters at random as above, and merge it with
# `model.merge_adapter("shop")`. How far are the scores before and after?
# ```
#
# ```{solution} model-lora
# :class: dropdown
#
# Equal up to float rounding, about $10^{-6}$: the product $BA$ is added to the frozen weight, which computes
# the same. A bottleneck has a non-linearity inside and can't be merged; the library says so.
# ```
