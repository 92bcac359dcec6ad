"""Writes the goldens: outputs of independent implementations, to which tests and the book compare ours.

It shares no code with this project and runs in an environment of its own, because `adapters` 1.3 needs an
older transformers:

    python -m venv /tmp/goldens
    /tmp/goldens/bin/pip install torch==2.13.0 transformers==4.57.6 adapters==1.3.0 peft==0.17.1
    /tmp/goldens/bin/python tests/goldens/make.py

For each backbone: a folder with its weights (`config.json`, `model.safetensors`) and `inputs.safetensors`;
for each method a file `BACKBONE-METHOD-LIBRARY.safetensors` with the adapter's parameters under that
library's names and the `output`. Versions are in the files' metadata.
"""

from __future__ import annotations

from pathlib import Path

import adapters
import peft
import torch
import transformers
from safetensors.torch import save_file
from transformers import BertConfig, BertModel, ViTConfig, ViTModel

HERE = Path(__file__).parent
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}

#: Bottlenecks here read and correct the sublayer's output; that is what `adapters` does with
#: original_ln_before=False. DoRA is compared to PEFT only: `adapters` 1.3 also stretches the bias, which the
#: paper's equation leaves alone.
ADAPTERS = {
    "houlsby": adapters.DoubleSeqBnConfig(reduction_factor=4, non_linearity="gelu"),
    "pfeiffer": adapters.SeqBnConfig(reduction_factor=4, non_linearity="gelu", original_ln_before=False),
    "parallel": adapters.ParBnConfig(reduction_factor=4, non_linearity="relu"),
    "compacter": adapters.CompacterConfig(reduction_factor=4, non_linearity="gelu"),
    "lora": adapters.LoRAConfig(r=4, alpha=8),
    "prefix": adapters.PrefixTuningConfig(flat=True, prefix_length=4),
    "prompt": adapters.PromptTuningConfig(prompt_length=4),
}
QUERY_VALUE = {"bert": ["query", "value"], "vit": ["query", "value"]}
KINDS = {"task_type": "FEATURE_EXTRACTION"}


def peft_configs(family: str) -> dict[str, peft.PeftConfig]:
    targets = QUERY_VALUE[family]
    ffn = r".*layer\.\d+\.output\.dense"
    found = {
        "lora": peft.LoraConfig(r=4, lora_alpha=8, target_modules=targets, **KINDS),
        "rslora": peft.LoraConfig(r=4, lora_alpha=8, target_modules=targets, use_rslora=True, **KINDS),
        "dora": peft.LoraConfig(r=4, lora_alpha=8, target_modules=targets, use_dora=True, **KINDS),
        "ia3": peft.IA3Config(
            target_modules=r".*(key|value|layer\.\d+\.output\.dense)", feedforward_modules=ffn, **KINDS
        ),
    }
    if family == "bert":
        found["prompt"] = peft.PromptTuningConfig(num_virtual_tokens=4, **KINDS)
    return found


def backbone(family: str) -> torch.nn.Module:
    torch.manual_seed(7)
    if family == "bert":
        model = BertModel(
            BertConfig(vocab_size=50, max_position_embeddings=16, attn_implementation="eager", **SMALL),
            add_pooling_layer=False,
        )
        # Eager attention, because with "sdpa" `adapters` 1.3 lets prompt tokens look at padding. PEFT gives
        # prompt tokens a position and moves the title's; without position embeddings the two prompts mean the
        # same.
        for table in (model.embeddings.position_embeddings, model.embeddings.token_type_embeddings):
            torch.nn.init.zeros_(table.weight)
    else:
        model = ViTModel(ViTConfig(image_size=16, patch_size=8, **SMALL), add_pooling_layer=False)
    stir(model.parameters(), 8, 0.1)
    if family == "bert":
        for table in (model.embeddings.position_embeddings, model.embeddings.token_type_embeddings):
            torch.nn.init.zeros_(table.weight)
    return model.eval()


def stir(parameters, seed: int, std: float = 0.3) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            parameter += std * torch.randn(parameter.shape, generator=generator)


def inputs(family: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(9)
    if family == "vit":
        return {"pixel_values": torch.randn(4, 3, 16, 16, generator=generator)}
    mask = (torch.arange(8)[None] < torch.tensor([8, 5, 3, 6])[:, None]).long()
    return {"input_ids": torch.randint(5, 50, (4, 8), generator=generator) * mask, "attention_mask": mask}


def write(
    name: str,
    model: torch.nn.Module,
    added: dict[str, torch.Tensor],
    features: dict[str, torch.Tensor],
    library: str,
    strip: int = 0,
) -> None:
    with torch.no_grad():
        output = model.eval()(**features).last_hidden_state[:, strip:]
    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "adapters": adapters.__version__,
        "peft": peft.__version__,
    }
    tensors = {key: value.detach().clone().contiguous() for key, value in added.items()}
    save_file({**tensors, "output": output.contiguous()}, HERE / f"{name}-{library}.safetensors", versions)


for family in ("bert", "vit"):
    features = inputs(family)
    backbone(family).save_pretrained(HERE / family)
    save_file(features, HERE / family / "inputs.safetensors")
    for method, config in ADAPTERS.items():
        if (family, method) == ("vit", "parallel"):
            # in a pre-norm encoder `adapters` feeds it the residual stream; here, as in the paper's equation,
            # the sublayer's input
            continue
        model = backbone(family)
        before = {name for name, _ in model.named_parameters()}
        adapters.init(model)
        model.add_adapter("a", config=config)
        model.set_active_adapters("a")
        added = {
            name: p
            for name, p in model.named_parameters()
            if ".a." in name or "shared" in name or "phm" in name
        }
        assert added and not before & set(added)
        stir(added.values(), 10)
        write(f"{family}-{method}", model, added, features, "adapters", 4 if method == "prompt" else 0)
    for method, config in peft_configs(family).items():
        model = peft.get_peft_model(backbone(family), config)
        added = {
            name: p
            for name, p in model.named_parameters()
            if any(part in name for part in ("lora_", "ia3_l", "prompt_encoder"))
        }
        stir(added.values(), 10)
        write(f"{family}-{method}", model, added, features, "peft", 4 if method == "prompt" else 0)
