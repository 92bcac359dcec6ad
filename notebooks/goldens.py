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
# # Checked against others
#
# **What you will learn.** How far the adapters of this project are from independent implementations that are
# given the same parameters and inputs; and how defects are kept out.
#
# A *golden* is an output that somebody else's code computed. A script (`tests/goldens/make.py`) ran two
# libraries, `adapters` {cite}`poth2023` and `peft`, in an environment of their own on small BERT and ViT
# encoders with random parameters, and saved parameters, inputs and outputs. The page loads them into this
# project's adapters and compares.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
data = "runs"

# %% tags=["remove-cell"]
from myst_nb import glue

from tests.goldens import compare
from transrec_core.adapters import METHODS
from transrec_core.book.show import show_table
from transrec_core.report.names import method_name

# %% tags=["remove-input"]
goldens = compare.table()
without = [method_name(m) for m in METHODS if m not in set(goldens["method"])]
worst = goldens["max |difference|"].max()
glue("golden-worst", f"{worst:.1e}", display=False)
glue("golden-verdict", "all at most 1e-5" if worst <= 1e-5 else "NOT ALL WITHIN 1e-5", display=False)
glue("golden-none", ", ".join(without) or "none", display=False)
shown = goldens.assign(
    **{
        "method": goldens["method"].map(method_name),
        "backbone": goldens["backbone"].str.upper().replace("VIT", "ViT"),
        "max |difference|": goldens["max |difference|"].map("{:.1e}".format),
        "max |effect|": goldens["max |effect|"].map("{:.2f}".format),
    }
).sort_values(["method", "backbone"], key=lambda column: column.str.lower())
show_table(
    shown,
    "Largest absolute difference of the encoder's output, and largest change that the adapter makes to it",
    text=True,
)

# %% [markdown]
# Largest difference: {glue:text}`golden-worst`, {glue:text}`golden-verdict`. Methods without a golden here:
# {glue:text}`golden-none`. They rest on what every method rests on:
#
# - the *laws*, as tests over every method, backbone family, objective and placement: a frozen base, identity
#   at the start, exact counts, causality, padding, every token heard, save and load;
# - gradients against finite differences in double precision;
# - the formulas for their numbers of parameters.
#
# For the user encoder no library has a counterpart; there the same modules act, by the same hooks.
#
# ## Defects that must not come back
#
# The code released with the paper has defects in several of its seven adapters (whether the paper's own runs
# used it is not known). For each there is a test named after it. `python benchmarks/mutate.py` puts the
# defect into a copy of this code and shows that its test then fails, and that it passes without; it ends with
# an error if one is not caught.
#
# | where | what the released code does | here |
# |---|---|---|
# | LoRA | puts a fresh layer in place of the pretrained query and value | wraps, and keeps the weight |
# | soft prompt | cuts as many tokens off the title as it puts in front | prepends, cuts nothing |
# | K-Adapter | attends without a mask: the user encoder sees its target in training | causal and padding masks |
# | Compacter | has no skip connection: adapted sublayers start near zero | the identity at the start |
# | parallel | adds its input, which the residual adds again | one residual |
# | Pfeiffer | ships the adapter after the attention | after the feed-forward sublayer |
# | evaluation | masks a target that also occurs in the history | never masks the target |
#
# ## Exercises
#
# ```{exercise}
# :label: goldens-effect
#
# Why does the table show the largest *effect* beside the largest difference?
# ```
#
# ```{solution} goldens-effect
# :class: dropdown
#
# A difference of zero is also what two adapters give that do nothing. Only where the effect is large does a
# small difference prove anything.
# ```
#
# ```{exercise}
# :label: goldens-law
#
# A golden says that an adapter equals somebody else's. Name a defect that a golden would not have caught, and
# a test that does.
# ```
#
# ```{solution} goldens-law
# :class: dropdown
#
# A golden compares outputs of one encoder in evaluation mode. It would not see a base weight that changes in
# training, or a user encoder that reads the future: the laws on the frozen base and on causality do.
# ```
