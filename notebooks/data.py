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
# # Data: two domains whose truth is known
#
# **What you will learn.** What a domain is in this book; how the embedded world is made and what is known
# about it that real data never tell; how to look at your own data in the same way.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
data = "runs"

# %% tags=["remove-cell"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from myst_nb import glue

from transrec_core.book.show import show_table, style
from transrec_core.world.config import WorldConfig
from transrec_core.world.made import make_world
from transrec_core.evaluation.controls import popularity_ranks
from transrec_core.evaluation.metrics import metrics

style()

# %% [markdown]
# ## A domain
#
# A *domain* is a catalogue (what items are) and interactions (who had what, in which order). The catalogue
# holds titles or pictures; item numbers are only places in it. Two domains share no items and no users, but
# they may share what makes items alike.

# %%
informative = make_world(WorldConfig(), "text")
vague = make_world(WorldConfig(informativeness="vague"), "text")
pictures = make_world(WorldConfig(), "image")

informative.target.interactions.user(0), informative.target.catalog.titles[1]

# %% tags=["remove-input"]
rows = []
for name, domain in (("source", informative.source), ("target", informative.target)):
    lengths = domain.interactions.lengths
    rows.append(
        {
            "domain": name,
            "items": f"{domain.catalog.n_items:,}",
            "users who train": f"{len(domain.interactions):,}",
            "further test users": f"{len(domain.extra):,}" if domain.extra else "–",
            "interactions (of those who train)": f"{len(domain.interactions.items):,}",
            "items a user": f"{lengths.min()} to {lengths.max()}, mean {lengths.mean():.1f}",
        }
    )
show_table(pd.DataFrame(rows), "The two domains of the embedded world (counts)")

# %% [markdown]
# ## How the world works
#
# Every item has a latent vector $z$ on the unit sphere of $\mathbb R^6$, near one of 20 topics; half of the
# topics exist in both domains. A user has two favourite topics, which give the taste $c$. What comes next
# depends on the taste and, through a fixed rotation $Q$, on the last item:
#
# $$\operatorname{logit}(\text{next}=i) = \frac{z_i\cdot c + 0.6\; z_i\cdot Q\,z_\text{last}}{T} + b_i$$
#
# with $T=0.1$ and $b_i\sim 0.4\,\mathcal N(0,1)$; nobody has an item twice.
#
# The model never sees $z$, $c$ or $Q$. It sees titles or pictures that were drawn from $z$.
#
# ### Titles
#
# A slot of a title holds a function word, a *content* word that is likely for this $z$, or a *nuisance* word
# that says nothing. How much a title tells is one number, the share of content words. Both settings below are
# the same draw apart from that share: some content words are replaced by nuisance words.

# %% tags=["remove-input"]
truth = informative.target.truth
order = np.concatenate([np.flatnonzero(truth["topic"] == topic)[:2] for topic in (0, 4, 9)])
show_table(
    pd.DataFrame(
        {
            "topic": truth["topic"][order],
            "informative title": [informative.target.catalog.titles[i + 1] for i in order],
            "vague title": [vague.target.catalog.titles[i + 1] for i in order],
        }
    ),
    "The same items in both settings (topic: number of the centre they were scattered around)",
    text=True,
)

# %% [markdown]
# ### Pictures
#
# A picture shows the same $z$ as colour of the ground, direction of the stripes, and place and size of the
# disc. Brightness, phase of the stripes and noise tell nothing. Each row holds items of one topic.

# %% tags=["remove-input"]
figure, axes = plt.subplots(4, 8, figsize=(7.2, 3.8), layout="constrained")
for row, topic in zip(axes, (0, 4, 9, 17), strict=True):
    members = np.flatnonzero(truth["topic"] == topic)
    for axis, item in zip(row, members, strict=False):
        axis.imshow(pictures.target.catalog.pixels[item + 1].transpose(1, 2, 0), interpolation="nearest")
    for axis in row:
        axis.axis("off")
    row[0].set_title(f"topic {topic}", loc="left", fontsize=11)

# %% [markdown]
# ### Topics, popularity, lengths
#
# Top: items of the target domain, their six latent factors projected on the two directions of largest spread,
# four topics in colour. Middle: how often items occur, most popular first. Bottom: lengths of histories.

# %% tags=["remove-input"]
figure, axes = plt.subplots(3, 1, figsize=(5.6, 8.6), layout="constrained", height_ratios=(1.6, 1, 1))
z = truth["z"] - truth["z"].mean(0)
plane = z @ np.linalg.svd(z, full_matrices=False)[2][:2].T
chosen = np.isin(truth["topic"], (0, 4, 9, 17))
axes[0].scatter(*plane[~chosen].T, s=8, color="0.8")
sns.scatterplot(
    x=plane[chosen, 0],
    y=plane[chosen, 1],
    hue=[f"topic {t}" for t in truth["topic"][chosen]],
    s=22,
    ax=axes[0],
)
axes[0].set(xlabel="first direction", ylabel="second direction", title="items by latent vector")
axes[0].legend(fontsize=10, loc="lower left")
counts = np.sort(informative.target.interactions.counts()[1:])[::-1]
axes[1].plot(np.arange(1, len(counts) + 1), counts)
axes[1].set(xlabel="items, most popular first", ylabel="interactions", title="popularity")
lengths = informative.target.interactions.lengths
sns.histplot(lengths, discrete=True, ax=axes[2])
axes[2].set(xlabel="interactions of a user", ylabel="users", title="lengths")

# %% [markdown]
# ## The oracle
#
# As the probabilities are known, so is the best possible ranking: the *oracle* ranks by the logits above with
# the user's true taste. No model can do better on average; and popularity, which knows nothing about the
# user, shows how much there is to gain.

# %%
oracle = informative.oracle().hr10
popularity = metrics(popularity_ranks(informative.target))["HR@10"]

# %% tags=["remove-input"]
glue("oracle", f"{100 * oracle:.1f} %", display=False)
glue("popularity", f"{100 * popularity:.1f} %", display=False)
glue("share", f"{100 * popularity / oracle:.0f} %", display=False)
glue("cases", f"{len(informative.oracle().ranks):,}", display=False)

# %% [markdown]
# Over {glue:text}`cases` test users the oracle's HR@10 is {glue:text}`oracle`, that of popularity
# {glue:text}`popularity`, {glue:text}`share` of it.
#
# ## What the encoders know beforehand
#
# Before any recommendation, a *general stage* teaches the encoders without labels: masked words for titles,
# masked patches for pictures, on sentences and pictures of no domain. A linear map from the encoder's mean
# state to $z$, fitted on half of the target's items and judged on the other half, shows what that taught
# ($R^2$, one is perfect):

# %% tags=["remove-input"]
from transrec_core.world.general import probe_r2
from transrec_core.models import fresh_backbone, load_backbone
from transrec_core.world.encoders import encoder_path

rows = []
for what, world in (("informative titles", informative), ("vague titles", vague), ("pictures", pictures)):
    trained = load_backbone(encoder_path("world", world.modality))
    random = fresh_backbone(trained.config.to_diff_dict(), 0)
    scores = [probe_r2(net, world.target.catalog, truth["z"]) for net in (trained, random)]
    rows.append(
        {
            "content": what,
            "after the general stage (R²)": f"{scores[0]:.2f}",
            "random weights (R²)": f"{scores[1]:.2f}",
        }
    )
    glue(f"probe-{what.split()[0]}", f"{scores[0]:.2f} against {scores[1]:.2f}", display=False)
show_table(
    pd.DataFrame(rows), "How much of the latent vectors a linear map reads from the encoder, on unseen items"
)

# %% [markdown]
# For pictures the general stage is a small gain ({glue:text}`probe-pictures`): what "no source" starts from
# is nearly random there, and what the source stage adds includes learning to see.
#
# ## Your own data
#
# `transrec data check FOLDER` reads a dataset folder and says what is in it: users, items, interactions,
# lengths, repeats, items without text or picture, and how many test items are *cold*, in nobody's training
# histories. {doc}`../setup` shows the format and how to convert tables.
#
# ## Exercises
#
# ```{exercise}
# :label: data-oracle
#
# Why is the oracle's HR@10 far below 100 %, although it knows everything?
# ```
#
# ```{solution} data-oracle
# :class: dropdown
#
# It knows the probabilities, not the draw. The next item is drawn at random among many that are about equally
# likely; with ten places, the best that can be done is to name the ten most likely.
# ```
#
# ```{exercise}
# :label: data-temperature
#
# Make a world with `WorldConfig(temperature=0.3)`. What happens to oracle and popularity, and why?
# ```
#
# ````{solution} data-temperature
# :class: dropdown
#
# ```python
# world = make_world(WorldConfig(temperature=0.3), "text")
# world.oracle().hr10, metrics(popularity_ranks(world.target))["HR@10"]
# ```
#
# A higher temperature flattens the preferences: the next item is less predictable from taste, so the oracle
# falls, while the item biases $b_i$ weigh more against it.
# ````
