"""The SASRec user encoder: a causal transformer over a user's item vectors.

Kang and McAuley 2018 (https://arxiv.org/abs/1808.09781), in the form of the released TransRec code: learned
positions, post-norm blocks, attention without biases. Sequences are padded on the *right*; as position t
reads positions <= t only, no padding mask is needed: padding comes after everything that is read.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transrec_core.adapters.base import Trace


class CausalAttention(nn.Module):
    """Multi-head self-attention in which position t reads positions <= t. In and out: [B, L, d].

    Args:
        dim: d.
        heads: how many.
        dropout: of the attention weights.

    Attributes:
        extend_keys: set by an adapter that puts keys and values before the sequence's own (see
            ``adapters/hooks.py``).
    """

    extend_keys: Any = None

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value)
        )
        dropout = self.dropout if self.training else 0.0
        mask = None
        if self.extend_keys is not None:
            causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
            k, v, mask = self.extend_keys(None, (k, v, causal))
        mixed = F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None, dropout_p=dropout)
        out: Tensor = self.output(mixed.transpose(1, 2).flatten(-2))
        return out


class FeedForward(nn.Module):
    """Two linear maps with a non-linearity between, four times as wide inside. In and out: [B, L, d].

    Args:
        dim: d.
        dropout: of the inner activations.
        activation: "gelu" or "relu".
    """

    def __init__(self, dim: int, dropout: float, activation: str) -> None:
        super().__init__()
        self.input = nn.Linear(dim, 4 * dim)
        self.activation = nn.GELU() if activation == "gelu" else nn.ReLU()
        self.output = nn.Linear(4 * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output(self.dropout(self.activation(self.input(x))))
        return out


class Block(nn.Module):
    """Attention and feed-forward, each with dropout, residual sum and LayerNorm. In and out: [B, L, d].

    Args:
        dim: d.
        heads: of the attention.
        dropout: of the attention weights, the inner activations and both sublayers' outputs.
        activation: "gelu" or "relu".
        norm_eps: of both LayerNorms.
    """

    def __init__(self, dim: int, heads: int, dropout: float, activation: str, norm_eps: float) -> None:
        super().__init__()
        self.attention = CausalAttention(dim, heads, dropout)
        self.attention_norm = nn.LayerNorm(dim, eps=norm_eps)
        self.ffn = FeedForward(dim, dropout, activation)
        self.ffn_norm = nn.LayerNorm(dim, eps=norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention_norm(x + self.dropout(self.attention(x)))
        out: Tensor = self.ffn_norm(x + self.dropout(self.ffn(x)))
        return out


class LastStates(nn.Module):
    """The end of an encoder: what passed through it -> its last states. Adapters that read all layers act
    here.
    """

    def forward(self, trace: Trace) -> Tensor:
        return trace.last


class Readout(nn.Module):
    """Pooled states of several layers [..., layers, H], or of the last one only [..., H] -> the last one's.

    ``many`` tells them apart. Adapters that read pooled states act here.
    """

    def forward(self, pooled: Tensor, many: bool) -> Tensor:
        return pooled[..., -1, :] if many else pooled


class SASRec(nn.Module):
    """Item vectors in time order [B, L, d] -> user vectors [B, L, d]; the one at t summarises items 0..t.

    Args:
        dim: d.
        blocks: number of transformer blocks.
        heads: attention heads.
        max_len: longest sequence.
        dropout: of embeddings, attention and sublayers.
        activation: "gelu" or "relu", of the feed-forward part.
        norm_eps: of the LayerNorms.
    """

    def __init__(
        self,
        dim: int = 64,
        blocks: int = 2,
        heads: int = 2,
        max_len: int = 20,
        dropout: float = 0.1,
        activation: str = "gelu",
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.positions = nn.Embedding(max_len, dim)
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(dim, heads, dropout, activation, norm_eps) for _ in range(blocks))
        self.states, self.readout = LastStates(), Readout()
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02 if isinstance(module, nn.Embedding) else dim**-0.5)
                if isinstance(module, nn.Linear) and module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, items: Tensor, every_layer: bool = False) -> Tensor:
        """Item vectors in time order, right-padded -> user vectors.

        Args:
            items: [B, L, d].
            every_layer: let adapters act at the end of the encoder, which read all layers.

        Returns:
            [B, L, d]; what stands at t depends on items 0 to t alone.
        """
        positions = self.positions(torch.arange(items.shape[1], device=items.device))
        x = self.dropout(self.norm(items + positions))
        passed = [x]
        for block in self.blocks:
            x = block(x)
            passed.append(x)
        if not every_layer:
            return x
        x = self.states(Trace(tuple(passed), x, None, True))
        out: Tensor = self.readout(torch.stack([*passed[:-1], x], -2), True)
        return out
