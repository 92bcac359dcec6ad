"""A run on disk while it is under way: weights, optimiser, random state and progress in one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from transrec_core.adapters.weights import save_tensors
from transrec_core.base.errors import UserError

MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # what AdamW keeps of a parameter


@dataclass
class Progress:
    """How far a run is; what a checkpoint holds besides its tensors.

    Attributes:
        step: steps so far.
        best_step: after which of them validation was best; -1 before the first validation.
        best_score: NDCG@10 then.
        history: an entry for each validation: "step", the metrics, and "loss", the mean over the steps since
            the entry before (the first entry has none).
        seconds: of training, validations included.
        cached: what was kept of frozen layers, in words; None if nothing could be.
    """

    step: int = 0
    best_step: int = -1
    best_score: float = -1.0
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    cached: str | None = None


def save_checkpoint(
    path: Path,
    progress: Progress,
    trained: Mapping[str, nn.Parameter],
    best: Mapping[str, Tensor],
    optimizer: Any,
) -> None:
    """Writes a checkpoint, renamed into place; random states of the processor and of the GPU included.

    Args:
        path: the file.
        progress: how far the run is.
        trained: parameters that train, by name.
        best: their values at the best validation.
        optimizer: an AdamW over them.

    Raises:
        OSError: if the file can't be written.
    """
    tensors = {f"now.{name}": p for name, p in trained.items()} | {f"best.{k}": v for k, v in best.items()}
    for name, parameter in trained.items():
        for key, value in optimizer.state[parameter].items():
            tensors[f"adam.{key}.{name}"] = value
    tensors["rng"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["cuda_rng"] = torch.cuda.get_rng_state()
    save_tensors(path, tensors, {"progress": json.dumps(asdict(progress))})


def load_checkpoint(
    path: Path, trained: Mapping[str, nn.Parameter], best: Mapping[str, Tensor], optimizer: Any
) -> Progress:
    """Takes up the state in a checkpoint: writes into the parameters, the best values, the optimiser and the
    random states.

    Args:
        path: the file.
        trained: parameters that train, by name.
        best: tensors for their values at the best validation.
        optimizer: an AdamW over them.

    Returns:
        How far the run was.

    Raises:
        UserError: if the file is damaged or belongs to another run; names it.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            progress = Progress(**json.loads(file.metadata()["progress"]))
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(tensors[f"now.{name}"])
                best[name].copy_(tensors[f"best.{name}"])
                state = {key: tensors[f"adam.{key}.{name}"] for key in MOMENTS}
                optimizer.state[parameter] = {
                    key: value.to("cpu" if key == "step" else parameter.device)
                    for key, value in state.items()
                }
    except Exception as error:
        raise UserError(
            f"{path}: not a checkpoint of this run ({str(error).splitlines()[0]}); delete it to start again"
        ) from None
    torch.set_rng_state(tensors["rng"])
    if torch.cuda.is_available() and "cuda_rng" in tensors:
        torch.cuda.set_rng_state(tensors["cuda_rng"])
    return progress
