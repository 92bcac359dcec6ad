"""How much memory a run takes, and ways to take less of it."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transrec_core.data.batching import Batch
from transrec_core.data.parts import Parts
from transrec_core.models.transrec import TransRec


def reset_peak_memory() -> None:
    """Makes :func:`peak_memory_mb` count from now (on Linux and on a GPU; elsewhere it counts from the
    process's start).
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory in MiB: of the GPU if it is one, else the resident set of this process.

    Args:
        device: where the model is.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(lines[0].split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def backward_in_parts(model: TransRec, features: Parts, batch: Batch, autocast: Any) -> Tensor:
    """The loss of a batch and its gradients, with the activations of one part of its items in memory at a
    time.

    All items are encoded without a graph; the loss gives a gradient for each item vector; then part after
    part is encoded again, with the same dropout, and passes its vectors' gradients on (GradCache, Gao et al.
    2021, https://arxiv.org/abs/2101.06983, section 3.2).

    Args:
        model: whose parameters get the gradients.
        features: of the batch's items, in parts.
        batch: the rest of it.
        autocast: context of the forward passes.

    Returns:
        The loss, detached.
    """
    devices = [batch.inputs.device] if batch.inputs.device.type == "cuda" else []
    encoded, states = [], []
    with torch.no_grad(), autocast:
        for part in features.features:
            states.append((torch.get_rng_state(), [torch.cuda.get_rng_state(d) for d in devices]))
            encoded.append(model.encode_items(part))
    vectors = features.joined(encoded).requires_grad_()
    with autocast:
        loss = model.loss(vectors, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    assert vectors.grad is not None
    gradients = torch.empty_like(vectors.grad)
    gradients[features.order] = vectors.grad  # back to the order of the parts
    for part, (state, on_gpu), gradient in zip(
        features.features, states, gradients.split([len(part) for part in encoded]), strict=True
    ):
        with torch.random.fork_rng(devices):
            torch.set_rng_state(state)
            for device, state_there in zip(devices, on_gpu, strict=True):
                torch.cuda.set_rng_state(state_there, device)
            with autocast:
                again = model.encode_items(part)
        if again.requires_grad:
            again.backward(gradient)  # type: ignore[no-untyped-call]
    return loss.detach()


def recompute_activations(model: TransRec, on: bool) -> None:
    """Lets the item encoder keep its layers' inputs only and compute the rest again in the backward pass,
    or not.

    Args:
        model: whose item encoder it is; one of item IDs has nothing to recompute.
        on: whether to.
    """
    backbone: Any = getattr(model.item_encoder, "backbone", None)
    if backbone is None or on == any(
        getattr(module, "gradient_checkpointing", False) for module in backbone.modules()
    ):
        return
    name = (
        "activation_checkpointing"
        if hasattr(backbone, "activation_checkpointing_enable")
        else "gradient_checkpointing"
    )  # its older name
    if on:
        getattr(backbone, f"{name}_enable")({"use_reentrant": False})
    else:
        getattr(backbone, f"{name}_disable")()
