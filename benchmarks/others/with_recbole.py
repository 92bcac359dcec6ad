"""Full ranking by RecBole's trainer and evaluator, with the weights of our user encoder.    python
with_recbole.py FOLDER
"""

import sys
from pathlib import Path

import torch
from common import EVALUATIONS, median_seconds, report
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer
from torch import Tensor

BLOCK = 200  # its default is 4,096 users at once; we take as many as make four million scores
OURS = {
    "query": "attention.query",
    "key": "attention.key",
    "value": "attention.value",
    "dense": "attention.output",
}
NORMS = {"multi_head_attention.LayerNorm": "attention_norm", "feed_forward.LayerNorm": "ffn_norm"}


def translate(name: str) -> str:
    """RecBole's name of a parameter -> ours."""
    for theirs, ours in NORMS.items():
        name = name.replace(theirs, ours)
    for theirs, ours in OURS.items():
        name = name.replace(f"multi_head_attention.{theirs}.", f"{ours}.")
    name = name.replace("feed_forward.dense_1", "ffn.input").replace("feed_forward.dense_2", "ffn.output")
    name = name.replace("trm_encoder.layer.", "blocks.").replace("position_embedding", "positions")
    return name.replace("LayerNorm", "norm")


@torch.no_grad()
def copy_weights(model: SASRec, weights: dict[str, Tensor], tokens: list[str]) -> None:
    """Copies our weights; attention has biases here and none in ours, so they become zero."""
    order = [0 if token == "[PAD]" else int(token) for token in tokens]  # it numbers the items anew
    for name, parameter in model.named_parameters():
        ours = translate(name)
        if name == "item_embedding.weight":
            parameter.copy_(weights["items"][order])
        elif ours.endswith("bias") and ".attention." in ours:
            parameter.zero_()
        else:
            parameter.copy_(weights[ours])


torch.set_num_threads(1)
folder = Path(sys.argv[1])
sys.argv = sys.argv[:1]  # RecBole reads the command line itself
weights = torch.load(folder / "sasrec.pt")
length, dim = weights["positions.weight"].shape
settings = {
    "data_path": str(folder),
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "TIME_FIELD": "timestamp",
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "MAX_ITEM_LIST_LENGTH": length,
    "hidden_size": dim,
    "inner_size": 4 * dim,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "loss_type": "CE",
    "train_neg_sample_args": None,
    "eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"},
    "metrics": ["Hit", "NDCG", "MRR"],
    "topk": [1, 5, 10, 20],
    "valid_metric": "MRR@10",
    "metric_decimal_place": 6,
    "use_gpu": False,
    "show_progress": False,
    "state": "ERROR",
    "checkpoint_dir": str(folder / "saved"),
}
config = Config(model="SASRec", dataset="inter", config_dict=settings)
dataset = create_dataset(config)
test = data_preparation(config, dataset)[2]
model = SASRec(config, dataset)
copy_weights(model, weights, dataset.field2id_token["item_id"])
trainer = Trainer(config, model)


def evaluate() -> dict[str, float]:
    """Its whole evaluation, from histories to metrics."""
    return trainer.evaluate(test, load_best_model=False)


values = evaluate()
check = {
    "users": len(test.dataset),
    "items": dataset.item_num - 1,
    "HR@10": values["hit@10"],
    "NDCG@10": values["ndcg@10"],
}
times = {"": median_seconds(evaluate, EVALUATIONS)}
config["eval_batch_size"] = BLOCK
test.update_config(config)
times[f"in blocks of {BLOCK} users"] = median_seconds(evaluate, EVALUATIONS)
report({"times": times, "check": check}, "recbole", "torch", "numpy")
