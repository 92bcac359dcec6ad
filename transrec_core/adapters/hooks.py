"""How an adapter gets hold of a site: a hook for each role (see the table at the top of ``base.py``).

Hooks are set once for each site and stay; what acts is decided at each call, by ``apply``. They are partials
and bound methods, which ``copy.deepcopy`` takes along, so a copied model has adapters of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import Adapter, Trace
from transrec_core.base.errors import UserError

Apply = Callable[[Any, Any], Any]
Acting = Callable[[], list[Adapter]]

#: Name under which the attention below is known to transformers.
EXTENDED = "sdpa_with_prefix"


def _extended_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> Any:
    extend = getattr(module, "extend_keys", None)
    if extend is not None:
        tokens, causal = key.shape[2], kwargs.get("is_causal")
        longer = extend(None, (key, value, attention_mask))
        causal = getattr(module, "is_causal", False) if causal is None else causal
        if causal and attention_mask is None and longer[0].shape[2] > tokens:
            # Without a mask positions would be counted from the first key, which is now the prefix's.
            mask = torch.ones(query.shape[2], tokens, dtype=torch.bool, device=query.device).tril()
            longer = extend(None, (key, value, mask))
        key, value, attention_mask = longer
    return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)


AttentionInterface.register(EXTENDED, _extended_attention)
AttentionMaskInterface.register(EXTENDED, sdpa_mask)


def install(site: Site, apply: Apply, acting: Acting) -> list[RemovableHandle]:
    """Lets ``apply(x, y)`` act at a site.

    Args:
        site: where.
        apply: returns what takes the place of y.
        acting: the adapters that act at this site at the moment.

    Returns:
        The handles of the hooks, to take them out again.

    Raises:
        UserError: if the encoder's attention has no place for more keys (role "attend").
    """
    if site.role == "attend":
        return _hook_attention(site, apply)
    if site.role == "embeddings":
        return _hook_embeddings(site, apply, acting)
    if site.role in ("states", "readout") and site.module is site.root:
        return _Outputs(site, apply, acting).hook()
    if site.source is not None:
        sublayer = _Sublayer(apply)
        return [
            site.source.register_forward_pre_hook(sublayer.before),
            site.module.register_forward_hook(sublayer.after),
        ]
    return [site.module.register_forward_hook(partial(_after, apply))]


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


def _hook_attention(site: Site, apply: Apply) -> list[RemovableHandle]:
    if isinstance(site.root, PreTrainedModel) and site.root.config._attn_implementation != EXTENDED:
        if site.root.config._attn_implementation != "sdpa":
            raise UserError(
                f"a prefix needs attn_implementation='sdpa', not '{site.root.config._attn_implementation}': "
                "load the encoder with it"
            )
        site.root.set_attn_implementation(EXTENDED)  # the same computation, with a place for more keys
    cast(Any, site.module).extend_keys = apply
    return []


def _hook_embeddings(site: Site, apply: Apply, acting: Acting) -> list[RemovableHandle]:
    # Prompt tokens enter behind the embeddings, the padding mask is told of them, and they leave the
    # encoder's output, before any other hook sees it.
    assert site.root is not None
    return [
        site.root.register_forward_pre_hook(partial(_widen_mask, acting), with_kwargs=True),
        site.root.register_forward_hook(partial(_strip, acting), prepend=True),
        site.module.register_forward_hook(partial(_embedded, apply)),
    ]


def _embedded(apply: Apply, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Any:
    return apply(None, output)


def _prompt_tokens(acting: Acting) -> int:
    return sum(cast(int, adapter.n_tokens) for adapter in acting())


def _by_name(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    # Arguments of a Hugging Face encoder, the positional ones by their names.
    return {**dict(zip(inspect.signature(module.forward).parameters, args, strict=False)), **kwargs}


def _padding_mask(named: dict[str, Any]) -> Tensor | None:
    mask: Tensor | None = named.get("attention_mask")
    if mask is not None and mask.dim() != 2:
        raise UserError(
            f"attention_mask has {mask.dim()} dimensions: soft prompts and K-Adapter need a padding mask "
            "[batch, tokens], 1 for a token and 0 for padding"
        )
    return mask


def _widen_mask(
    acting: Acting, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    n = _prompt_tokens(acting)
    if n == 0 or not isinstance(module, PreTrainedModel):
        return args, kwargs
    named = _by_name(module, args, kwargs)
    mask = _padding_mask(named)
    return (args, kwargs) if mask is None else ((), {**named, "attention_mask": F.pad(mask, (n, 0), value=1)})


def _strip(acting: Acting, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    n = _prompt_tokens(acting)
    if n == 0 or isinstance(output, Tensor):
        return output[:, n:] if n else output
    _check_named(output)
    if output.get("hidden_states") is not None:
        output.hidden_states = tuple(state[:, n:] for state in output.hidden_states)
    return _with_last(module, output, output.last_hidden_state[:, n:])


def _check_named(output: Any) -> None:
    if isinstance(output, tuple):
        raise UserError(
            "soft prompts, K-Adapter and side networks change the encoder's output by its names: call the "
            "encoder without return_dict=False"
        )


def _with_last(module: nn.Module, output: Any, last: Tensor) -> Any:
    # What the encoder's own pooler made of the states before is made again.
    output.last_hidden_state = last
    pooler = getattr(module, "pooler", None)
    if pooler is not None and output.get("pooler_output") is not None:
        output.pooler_output = pooler(last)
    return output


def has_host(encoder: nn.Module) -> bool:
    """Whether adapters were attached to an encoder by itself; a second host would make them act twice.

    Args:
        encoder: a Hugging Face encoder.
    """
    return any(
        isinstance(getattr(hook, "__self__", None), _Outputs) for hook in encoder._forward_hooks.values()
    )


class _Outputs:
    # At an encoder that stands alone, what reads all layers acts on the encoder's output: it is asked for the
    # states of all layers, and gives them to nobody else.
    def __init__(self, site: Site, apply: Apply, acting: Acting) -> None:
        self.site, self.apply, self.acting = site, apply, acting
        self.only_here = False
        self.mask: Tensor | None = None

    def hook(self) -> list[RemovableHandle]:
        # The mask is read before prompts widen it, hence first; the output after they have left it.
        module = self.site.module
        return [
            module.register_forward_pre_hook(self.ask, with_kwargs=True, prepend=True),
            module.register_forward_hook(self.correct),
        ]

    def ask(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not self.acting():
            return args, kwargs
        config: Any = module.config
        asked = kwargs.get("output_hidden_states")
        self.only_here = not (config.output_hidden_states if asked is None else asked)
        if self.site.role == "states":
            self.mask = _padding_mask(_by_name(module, args, kwargs))
        return args, {**kwargs, "output_hidden_states": True}

    def correct(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if not self.acting():
            return output
        _check_named(output)
        last, states = output.last_hidden_state, output.hidden_states
        if self.site.role == "states":
            config: Any = module.config
            causal = bool(getattr(config, "is_decoder", False))
            trace = Trace(states, last, self.mask, causal)
            self.mask, corrected = None, self.apply(trace, last)
        else:
            corrected = self.apply(torch.stack([*states[:-1], last], -2), last)
        if self.only_here:
            output = type(output)(**{key: value for key, value in output.items() if key != "hidden_states"})
        return _with_last(module, output, corrected)
