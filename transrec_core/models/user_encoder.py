"""The SASRec user encoder: a causal transformer over a user's item vectors.

Kang and McAuley 2018 (https://arxiv.org/abs/1808.09781), in the form of the released TransRec code: learned positions, post-norm
blocks, attention without biases. Sequences are padded on the *right*; as position t reads positions <= t only, no padding
mask is needed: padding comes after everything that is read.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CausalAttention(nn.Module):
    """Multi-head self-attention in which position t reads positions <= t. In and out: [B, L, d]."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
        out: Tensor = self.output(mixed.transpose(1, 2).flatten(-2))
        return out


class FeedForward(nn.Module):
    """Two linear maps with a GELU between, four times as wide inside. In and out: [B, L, d]."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.input = nn.Linear(dim, 4 * dim)
        self.output = nn.Linear(4 * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output(self.dropout(F.gelu(self.input(x))))
        return out


class Block(nn.Module):
    """Attention and feed-forward, each with dropout, residual sum and LayerNorm."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = CausalAttention(dim, heads, dropout)
        self.attention_norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, dropout)
        self.ffn_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention_norm(x + self.dropout(self.attention(x)))
        out: Tensor = self.ffn_norm(x + self.dropout(self.ffn(x)))
        return out


class SASRec(nn.Module):
    """Item vectors in time order [B, L, d] -> user vectors [B, L, d]; the one at t summarises items 0..t.

    Args:
        dim: d. blocks: number of transformer blocks. heads: attention heads. max_len: longest sequence.
        dropout: dropout of embeddings, attention and sublayers.
    """

    def __init__(self, dim: int = 64, blocks: int = 2, heads: int = 2, max_len: int = 20, dropout: float = 0.1) -> None:
        super().__init__()
        self.positions = nn.Embedding(max_len, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(dim, heads, dropout) for _ in range(blocks))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02 if isinstance(module, nn.Embedding) else dim**-0.5)
                if isinstance(module, nn.Linear) and module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, items: Tensor) -> Tensor:
        positions = self.positions(torch.arange(items.shape[1], device=items.device))
        x = self.dropout(self.norm(items + positions))
        for block in self.blocks:
            x = block(x)
        return x
