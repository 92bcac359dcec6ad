"""Small layers that several methods, or one, are made of."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu, "tanh": F.tanh}


class SharedRule(nn.Module):
    """The matrices A [n, n, n] that all PHM layers of an adapter have in common."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(n, n, n) * n**-0.5)


class PHM(nn.Module):
    """A linear map [..., d_in] -> [..., d_out] with the weight of the equation above; the rule A is given
    at call.
    """

    def __init__(self, d_in: int, d_out: int, n: int, zero: bool = False) -> None:
        super().__init__()
        self.s = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n, d_in // n, 1))[..., 0])
        self.t = nn.Parameter(
            torch.zeros(n, d_out // n)
            if zero
            else nn.init.xavier_uniform_(torch.empty(n, 1, d_out // n))[:, 0]
        )
        self.bias = nn.Parameter(torch.zeros(d_out))

    def weight(self, rule: Tensor) -> Tensor:
        """W [d_in, d_out]."""
        return torch.einsum("iab,ip,iq->apbq", rule, self.s, self.t).flatten(2).flatten(0, 1)

    def forward(self, x: Tensor, rule: Tensor) -> Tensor:
        return x @ self.weight(rule) + self.bias


class PostNormLayer(nn.Module):
    """A post-norm transformer layer, attention without biases, [k, T, m] -> [k, T, m]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = next(h for h in (12, 8, 4, 2, 1) if width % h == 0 and (width // h >= 8 or h == 1))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.ffn = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
        self.ffn_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        q, k, v = (z.unflatten(-1, (self.heads, -1)).transpose(1, 2) for z in self.qkv(x).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)
        x = self.norm(x + self.out(mixed.transpose(1, 2).flatten(-2)))
        out: Tensor = self.ffn_norm(x + self.ffn(x))
        return out
