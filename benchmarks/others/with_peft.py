"""LoRA of the PEFT library, from the start that our LoRA has.    python with_peft.py FOLDER"""

import sys
from pathlib import Path

import torch
from common import mean_pooled, report, train
from peft import PeftModel
from transformers import BertModel

torch.set_num_threads(1)
folder = Path(sys.argv[1])
backbone = BertModel.from_pretrained(folder / "bert", add_pooling_layer=False)
model = PeftModel.from_pretrained(backbone, folder / "peft", is_trainable=True)
result = train(
    folder,
    model,
    lambda features: mean_pooled(model(**features).last_hidden_state, features["attention_mask"]),
)
report(result, "peft", "transformers", "torch")
