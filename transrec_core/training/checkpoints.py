"""A run on disk while it is under way: weights, optimiser, random state and progress in one file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from transrec_core.adapters.weights import save_tensors
from transrec_core.base.errors import UserError


@dataclass
class Progress:
    """State of a run besides its tensors; what a checkpoint's metadata holds."""

    step: int = 0
    best_step: int = -1
    best_score: float = -1.0
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    cached: str | None = None  # what was kept of frozen layers, in words


def save_checkpoint(
    path: Path, progress: Progress, trained: dict[str, Any], best: dict[str, Tensor], optimizer: Any
) -> None:
    tensors = {f"now.{k}": v for k, v in trained.items()} | {f"best.{k}": v for k, v in best.items()}
    for name, parameter in trained.items():
        for key, value in optimizer.state[parameter].items():
            tensors[f"adam.{key}.{name}"] = value
    tensors["rng"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["cuda_rng"] = torch.cuda.get_rng_state()
    save_tensors(path, tensors, {"progress": json.dumps(asdict(progress))})


def load_checkpoint(path: Path, trained: dict[str, Any], best: dict[str, Tensor], optimizer: Any) -> Progress:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            progress = Progress(**json.loads(file.metadata()["progress"]))
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(tensors[f"now.{name}"])
                best[name].copy_(tensors[f"best.{name}"])
                state = {k: tensors[f"adam.{k}.{name}"] for k in ("exp_avg", "exp_avg_sq", "step")}
                optimizer.state[parameter] = {
                    k: v.to(parameter.device if k != "step" else "cpu") for k, v in state.items()
                }
    except Exception as error:
        raise UserError(
            f"{path}: not a checkpoint of this run ({str(error).splitlines()[0]}); delete it to start again"
        ) from None
    torch.set_rng_state(tensors["rng"])
    if torch.cuda.is_available() and "cuda_rng" in tensors:
        torch.cuda.set_rng_state(tensors["cuda_rng"])
    return progress
