"""The released code, for tests: random checkpoints by its key names, and its forward pass as equations."""

from __future__ import annotations

import torch
import torch.nn.functional as F

H, D, LAYERS, BLOCKS, HEADS, FFN, LENGTH = 16, 8, 2, 2, 2, 32, 6
ITEM = {
    "text": "bert_encoder.text_encoders.title.bert_model.",
    "vit": "cv_encoder.image_net.vit.",
    "mae": "cv_encoder.image_net.",
}
USER = "user_encoder.transformer_encoder."


def checkpoint(kind: str, form: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """A random state dict with the released code's key names; shapes small, layout as there."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}

    def add(name: str, *shape: int) -> None:
        state[name] = 0.3 * torch.randn(shape, generator=generator)

    def linear(name: str, out: int, size: int, bias: bool = True) -> None:
        add(f"{name}.weight", out, size)
        if bias:
            add(f"{name}.bias", out)

    def norm(name: str, size: int) -> None:
        add(f"{name}.weight", size)
        add(f"{name}.bias", size)

    def bottleneck(name: str, size: int, waist: int) -> None:
        linear(f"{name}.fc_down", waist, size)
        linear(f"{name}.fc_up", size, waist)

    def low_rank(name: str, size: int, rank: int) -> None:
        if form == "lora":
            add(f"{name}.lora_A", rank, size)
            add(f"{name}.lora_B", size, rank)

    root, text = ITEM[kind], kind == "text"
    if text:
        for table, rows in (("word", 50), ("position", 16), ("token_type", 2)):
            add(f"{root}embeddings.{table}_embeddings.weight", rows, H)
        norm(f"{root}embeddings.LayerNorm", H)
        linear(f"{root}pooler.dense", H, H)
        linear("bert_encoder.text_encoders.title.fc", D, H)
    else:
        add(f"{root}embeddings.cls_token", 1, 1, H)
        add(f"{root}embeddings.position_embeddings", 1, 5, H)
        add(f"{root}embeddings.patch_embeddings.projection.weight", H, 3, 8, 8)
        add(f"{root}embeddings.patch_embeddings.projection.bias", H)
        norm(f"{root}layernorm", H)
        linear("cv_encoder.image_net.classifier" if kind == "vit" else "cv_encoder.cv_proj", D, H)
    for n in range(LAYERS):
        layer = f"{root}encoder.layer.{n}"
        attention = f"{layer}.attention.self" if text else f"{layer}.attention.attention"
        for part in ("query", "key", "value"):
            linear(f"{attention}.{part}", H, H)
            if part != "key":
                low_rank(f"{attention}.{part}", H, 3)
        wrapped = {"attention.output": form in ("houlsby", "pfeiffer"), "output": form == "houlsby"}
        for place, width in (("attention.output", H), ("output", FFN)):
            inner = f"{layer}.{place}.self_output" if wrapped[place] else f"{layer}.{place}"
            linear(f"{inner}.dense", H, width)
            if text:
                norm(f"{inner}.LayerNorm", H)
            if wrapped[place]:
                bottleneck(f"{layer}.{place}.adapter", H, 4)
        linear(f"{layer}.intermediate.dense", FFN, H)
        if not text:
            norm(f"{layer}.layernorm_before", H)
            norm(f"{layer}.layernorm_after", H)
    add(f"{USER}position_embedding.weight", LENGTH, D)
    norm(f"{USER}layer_norm", D)
    for m in range(BLOCKS):
        outer = f"{USER}transformer_blocks.{m}."
        block = outer + ("transformer_block." if form in ("houlsby", "pfeiffer") else "")
        for part in ("w_Q", "w_K", "w_V", "fc"):
            linear(f"{block}multi_head_attention.{part}", D, D, bias=False)
        low_rank(f"{block}multi_head_attention.w_Q", D, 2)
        if text:  # the image code gives the value projection no low-rank part
            low_rank(f"{block}multi_head_attention.w_V", D, 2)
        norm(f"{block}multi_head_attention.layer_norm", D)
        linear(f"{block}feed_forward.w_1", 4 * D, D)
        linear(f"{block}feed_forward.w_2", D, 4 * D)
        norm(f"{block}feed_forward.layer_norm", D)
        if form in ("houlsby", "pfeiffer"):
            bottleneck(f"{outer}adapter1", D, 3)
        if form == "houlsby":
            bottleneck(f"{outer}adapter2", D, 3)
    return state


class Released:
    """The released code's forward pass in evaluation mode, as equations on its state dict."""

    def __init__(self, state: dict[str, torch.Tensor], kind: str) -> None:
        self.state, self.kind, self.root = state, kind, ITEM[kind]

    def linear(self, name: str, x):
        y = F.linear(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"))
        if f"{name}.lora_A" in self.state:  # loralib with lora_alpha = 1
            a, b = self.state[f"{name}.lora_A"], self.state[f"{name}.lora_B"]
            y = y + x @ a.T @ b.T / len(a)
        return y

    def norm(self, name: str, x, eps: float):
        return F.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"], eps)

    def adapter(self, name: str, x):
        if f"{name}.fc_down.weight" not in self.state:
            return x
        return self.linear(f"{name}.fc_up", torch.relu(self.linear(f"{name}.fc_down", x))) + x

    def attention(self, names, x, mask):
        q, k, v = (self.linear(name, x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for name in names)
        weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5 + mask).softmax(-1)
        return (weights @ v).transpose(1, 2).flatten(2)

    def sublayer_end(self, place: str, x):
        inner = f"{place}.self_output" if f"{place}.self_output.dense.weight" in self.state else place
        return self.adapter(f"{place}.adapter", self.linear(f"{inner}.dense", x)), inner

    def items(self, features):
        text, root = self.kind == "text", self.root
        if text:
            ids, mask = features["input_ids"], features["attention_mask"]
            words, places, types = (
                self.state[f"{root}embeddings.{t}_embeddings.weight"]
                for t in ("word", "position", "token_type")
            )
            x = self.norm(
                f"{root}embeddings.LayerNorm", words[ids] + places[: ids.shape[1]] + types[0], 1e-12
            )
            mask = (1.0 - mask[:, None, None].float()) * -1e9
        else:
            name = f"{root}embeddings.patch_embeddings.projection"
            x = (
                F.conv2d(
                    features["pixel_values"],
                    self.state[f"{name}.weight"],
                    self.state[f"{name}.bias"],
                    stride=8,
                )
                .flatten(2)
                .transpose(1, 2)
            )
            first, places = (
                self.state[f"{root}embeddings.cls_token"],
                self.state[f"{root}embeddings.position_embeddings"],
            )
            x = torch.cat([first.expand(len(x), -1, -1), x], 1) + places
            mask = 0.0
        for n in range(LAYERS):
            layer = f"{root}encoder.layer.{n}"
            names = [
                f"{layer}.attention.{'self' if text else 'attention'}.{part}"
                for part in ("query", "key", "value")
            ]
            if text:
                out, inner = self.sublayer_end(f"{layer}.attention.output", self.attention(names, x, mask))
                x = self.norm(f"{inner}.LayerNorm", out + x, 1e-12)
                out, inner = self.sublayer_end(
                    f"{layer}.output", F.gelu(self.linear(f"{layer}.intermediate.dense", x))
                )
                x = self.norm(f"{inner}.LayerNorm", out + x, 1e-12)
            else:
                out, _ = self.sublayer_end(
                    f"{layer}.attention.output",
                    self.attention(names, self.norm(f"{layer}.layernorm_before", x, 1e-12), mask),
                )
                x = x + out
                z = F.gelu(
                    self.linear(
                        f"{layer}.intermediate.dense", self.norm(f"{layer}.layernorm_after", x, 1e-12)
                    )
                )
                x = x + self.sublayer_end(f"{layer}.output", z)[0]
        x = x if text else self.norm(f"{root}layernorm", x, 1e-12)
        head = {
            "text": "bert_encoder.text_encoders.title.fc",
            "vit": "cv_encoder.image_net.classifier",
            "mae": "cv_encoder.cv_proj",
        }[self.kind]
        return F.gelu(self.linear(head, x[:, 0]))

    def users(self, items):
        x = self.norm(
            f"{USER}layer_norm",
            items + self.state[f"{USER}position_embedding.weight"][: items.shape[1]],
            1e-6,
        )
        mask = torch.where(torch.ones(items.shape[1], items.shape[1]).tril() > 0, 0.0, -1e9)
        for m in range(BLOCKS):
            outer = f"{USER}transformer_blocks.{m}."
            block = outer + (
                "transformer_block."
                if f"{outer}transformer_block.feed_forward.w_1.weight" in self.state
                else ""
            )
            attention = f"{block}multi_head_attention"
            out = self.linear(
                f"{attention}.fc",
                self.attention([f"{attention}.{w}" for w in ("w_Q", "w_K", "w_V")], x, mask),
            )
            x = self.norm(f"{attention}.layer_norm", x + self.adapter(f"{outer}adapter1", out), 1e-6)
            out = self.linear(
                f"{block}feed_forward.w_2", torch.relu(self.linear(f"{block}feed_forward.w_1", x))
            )
            x = self.norm(f"{block}feed_forward.layer_norm", x + self.adapter(f"{outer}adapter2", out), 1e-6)
        return x
