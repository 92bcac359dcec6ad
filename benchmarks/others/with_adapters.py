"""The Houlsby adapter ("double_seq_bn") of AdapterHub's library, from the start that ours has.    python
with_adapters.py FOLDER
"""

import sys
from pathlib import Path

import adapters
import torch
from common import mean_pooled, report, train
from transformers import BertModel

torch.set_num_threads(1)
folder = Path(sys.argv[1])
model = BertModel.from_pretrained(folder / "bert", add_pooling_layer=False)
adapters.init(model)
# Its default non-linearity is swish, ours is gelu; apart from that and the width, this is its double_seq_bn
# as it comes.
start = torch.load(folder / "houlsby.pt")
width, waist = next(value for name, value in start.items() if name.endswith("up.weight")).shape
model.add_adapter(
    "a", config=adapters.DoubleSeqBnConfig(reduction_factor=width / waist, non_linearity="gelu")
)
model.train_adapter("a")
parameters = dict(model.named_parameters())
with torch.no_grad():
    for name, value in start.items():
        site, _, rest = name.partition(".dense.")
        parameters[f"{site}.adapters.a.adapter_{rest.replace('down.', 'down.0.')}"].copy_(value)
result = train(
    folder,
    model,
    lambda features: mean_pooled(model(**features).last_hidden_state, features["attention_mask"]),
)
report(result, "adapters", "transformers", "torch")
