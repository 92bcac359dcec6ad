"""How an adapter gets hold of a site: a hook for each role (see the table at the top of ``base.py``).

Hooks are set once for each site and stay; what acts is decided at each call, by ``apply``. They are partials
and bound methods, which ``copy.deepcopy`` takes along, so a copied model has adapters of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from transrec_core.adapters.anatomy import Site
from transrec_core.base.errors import UserError

Apply = Callable[[Any, Any], Any]

#: Name under which the attention below is known to transformers.
EXTENDED = "sdpa_with_prefix"


def _extended_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> Any:
    extend = getattr(module, "extend_keys", None)
    if extend is not None:
        key, value, attention_mask = extend(None, (key, value, attention_mask))
    return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)


AttentionInterface.register(EXTENDED, _extended_attention)
AttentionMaskInterface.register(EXTENDED, sdpa_mask)


def install(site: Site, apply: Apply, prompt_tokens: Callable[[], int]) -> None:
    """Lets ``apply(x, y)`` act at a site.

    Args:
        site: where.
        apply: returns what takes the place of y.
        prompt_tokens: how many tokens the active prompts add at this site.
    """
    if site.role == "attend":
        _hook_attention(site, apply)
    elif site.role == "embeddings":
        _hook_embeddings(site, apply, prompt_tokens)
    elif site.source is not None:
        sublayer = _Sublayer(apply)
        site.source.register_forward_pre_hook(sublayer.before)
        site.module.register_forward_hook(sublayer.after)
    else:
        site.module.register_forward_hook(partial(_after, apply))


def _after(apply: Apply, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    return apply(args[0], output)


class _Sublayer:
    # The sublayer's input is seen when its first module is called, its output when the last one has been; in
    # between it waits here.
    def __init__(self, apply: Apply) -> None:
        self.apply = apply
        self.seen: Tensor | None = None

    def before(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self.seen = args[0]

    def after(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Any:
        x, self.seen = self.seen, None
        return self.apply(x, output)


def _hook_attention(site: Site, apply: Apply) -> None:
    if isinstance(site.root, PreTrainedModel) and site.root.config._attn_implementation != EXTENDED:
        if site.root.config._attn_implementation != "sdpa":
            raise UserError(
                f"a prefix needs attn_implementation='sdpa', not '{site.root.config._attn_implementation}': load the encoder with it"
            )
        site.root.set_attn_implementation(EXTENDED)  # the same computation, with a place for more keys
    cast(Any, site.module).extend_keys = apply


def _hook_embeddings(site: Site, apply: Apply, prompt_tokens: Callable[[], int]) -> None:
    # Prompt tokens enter behind the embeddings, the padding mask is told of them, and they leave the
    # encoder's output.
    assert site.root is not None
    site.root.register_forward_pre_hook(partial(_widen_mask, prompt_tokens), with_kwargs=True)
    site.root.register_forward_hook(partial(_strip, prompt_tokens))
    site.module.register_forward_hook(partial(_embedded, apply))


def _embedded(apply: Apply, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Any:
    return apply(None, output)


def _widen_mask(
    prompt_tokens: Callable[[], int], module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    mask, n = kwargs.get("attention_mask"), prompt_tokens()
    return args, kwargs if mask is None or n == 0 else {
        **kwargs,
        "attention_mask": F.pad(mask, (n, 0), value=1),
    }


def _strip(prompt_tokens: Callable[[], int], module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    n = prompt_tokens()
    if n == 0 or isinstance(output, Tensor):
        return output[:, n:] if n else output
    output.last_hidden_state = output.last_hidden_state[:, n:]
    if output.get("hidden_states") is not None:
        output.hidden_states = tuple(state[:, n:] for state in output.hidden_states)
    return output
