"""This library's side of a comparison.    python ours.py prepare|lora|houlsby|ranking FOLDER"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import EVALUATIONS, median_seconds, report, train

from transrec_core.adapters import AdapterConfig
from transrec_core.adapters.peft_format import export_peft
from transrec_core.data.interactions import Interactions
from transrec_core.evaluation.metrics import metrics
from transrec_core.evaluation.ranking import model_scorer, target_ranks
from transrec_core.models import IdEncoder, ModelSpec, TransRec, fresh_backbone, load_backbone

TITLES, TOKENS, RANK, WAIST = 128, 30, 8, 64
USERS, ITEMS, LONGEST = 5000, 20000, 20
# Without dropout both sides compute the same losses, which is checked.
BERT = {
    "model_type": "bert",
    "num_hidden_layers": 4,
    "hidden_size": 256,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
    "vocab_size": 30522,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
PREFIX = "item_encoder/backbone/"


def adapted(folder: Path, method: str) -> TransRec:
    """The BERT in ``folder`` with an adapter of which no part is zero; nothing else trains."""
    model = TransRec.from_backbone(load_backbone(str(folder / "bert")), ModelSpec(), 0)
    size = RANK if method == "lora" else WAIST
    model.add_adapter("a", AdapterConfig(method=method, encoders="item", item_size=size, train_head=False))
    model.train_adapter("a")
    with torch.no_grad():
        for parameter in model.adapters["a"].parameters():
            parameter += 0.02 * torch.randn(parameter.shape)
    return model


def sasrec() -> TransRec:
    """A user encoder over item numbers with random weights."""
    torch.manual_seed(1)
    return TransRec(
        IdEncoder(ITEMS, 64), ModelSpec(dim=64, blocks=2, heads=2, max_len=LONGEST, dropout=0.5)
    ).eval()


def cases(model: TransRec) -> tuple[Interactions, np.ndarray]:
    """Random histories, in which each item occurs, and targets that the model ranks between 1 and 20:
    metrics that say something.
    """
    rng = np.random.default_rng(2)
    lengths = rng.integers(5, LONGEST + 1, USERS)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    items = np.concatenate([rng.permutation(ITEMS) + 1 for _ in range(offsets[-1] // ITEMS + 1)])[
        : offsets[-1]
    ].astype(np.int32)
    histories = Interactions(items, offsets, ITEMS)
    score, targets = model_scorer(model, model.item_encoder.embedding.weight.detach(), histories), []
    for users in np.array_split(np.arange(USERS), 25):
        scores = score(users)
        scores[:, 0] = -torch.inf
        best = scores.topk(20).indices
        targets.append(
            best[torch.arange(len(users)), torch.from_numpy(rng.integers(0, 20, len(users)))].numpy()
        )
    return histories, np.concatenate(targets)


def prepare(folder: Path) -> None:
    """Writes what the sides have in common: weights, a batch, and interactions in RecBole's format."""
    fresh_backbone(BERT, 0).save_pretrained(folder / "bert")
    ids = torch.randint(1, BERT["vocab_size"], (TITLES, TOKENS))
    torch.save(
        (
            {"input_ids": ids, "attention_mask": torch.ones_like(ids)},
            torch.randn(TITLES, BERT["hidden_size"]),
        ),
        folder / "batch.pt",
    )
    export_peft(adapted(folder, "lora"), "a", folder / "peft")
    model = adapted(folder, "houlsby")
    state = model.adapters["a"].state_dict()
    torch.save(
        {name.removeprefix(PREFIX).replace("/", "."): value for name, value in state.items()},
        folder / "houlsby.pt",
    )

    model = sasrec()
    torch.save(
        model.user_encoder.state_dict() | {"items": model.item_encoder.embedding.weight.detach()},
        folder / "sasrec.pt",
    )
    histories, targets = cases(model)
    np.savez(folder / "cases.npz", items=histories.items, offsets=histories.offsets, targets=targets)
    (folder / "inter").mkdir()
    with (folder / "inter" / "inter.inter").open("w") as file:
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for user, target in enumerate(targets):
            for when, item in enumerate([*histories.user(user), target]):
                file.write(f"{user}\t{item}\t{when}\n")


def ranking(folder: Path) -> dict[str, Any]:
    """Times the whole evaluation, from histories to metrics."""
    stored = np.load(folder / "cases.npz")
    histories, targets = Interactions(stored["items"], stored["offsets"], ITEMS), stored["targets"]
    model = sasrec()
    scorer = model_scorer(model, model.item_encoder.embedding.weight.detach(), histories)
    # RecBole leaves a sequential model's history in the ranking. So does the check; what is timed takes it
    # out, as always here.
    nothing = Interactions.from_lists([[]] * USERS, ITEMS)
    values = metrics(target_ranks(scorer, nothing, targets))
    check = {"users": USERS, "items": ITEMS, "HR@10": values["HR@10"], "NDCG@10": values["NDCG@10"]}
    return {
        "times": {"": median_seconds(lambda: metrics(target_ranks(scorer, histories, targets)), EVALUATIONS)},
        "check": check,
    }


def main() -> None:
    """Does what the command line says."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what == "prepare":
        prepare(folder)
    elif what == "ranking":
        report(ranking(folder), "transrec-adapters", "torch", "numpy")
    else:
        model = adapted(folder, what)
        report(train(folder, model, model.item_encoder.pooled), "transrec-adapters", "transformers", "torch")


if __name__ == "__main__":
    main()
