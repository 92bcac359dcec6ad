"""From a configuration to modules: an adapter for each site that it reaches."""

from __future__ import annotations

from pydantic import ValidationError
from torch import nn

from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.base import Adapter, Replica
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.registry import METHODS, method
from transrec_core.base.config import first_problem
from transrec_core.base.errors import UserError

#: Key of what all adapters of one name have in common.
SHARED = "shared"


def as_config(config: object) -> AdapterConfig:
    """What a caller gave as a configuration, as an object of its method's own class.

    Args:
        config: a configuration, a dictionary of its fields, or the name of a method.

    Raises:
        UserError: if it is something else, or a field is wrong.
    """
    if isinstance(config, AdapterConfig) and isinstance(config, method(config.method).Config):
        return config
    if isinstance(config, AdapterConfig):
        config = config.model_dump()
    elif isinstance(config, str):
        config = {"method": method(config).method}
    try:
        if isinstance(config, dict):
            return AdapterConfig.model_validate(config)
    except ValidationError as error:
        raise UserError(f"adapter configuration: {first_problem(error)}") from None
    name = type(config).__name__
    if type(config).__module__.split(".")[0] == "peft":
        raise UserError(
            f"a {name} is PEFT's: write e.g. AdapterConfig(method='lora', rank=8), which knows PEFT's names; "
            "what PEFT has saved is read by import_peft of transrec_core.adapters.peft_format"
        )
    raise UserError(
        f"an adapter configuration is e.g. AdapterConfig(method='lora', rank=8), a dictionary of such fields "
        f"or the name of a method ({', '.join(METHODS)}), not {name}"
    )


def build_adapter(sites: list[Site], config: AdapterConfig) -> dict[str, nn.Module]:
    """Adapters of one configuration for the sites of a model.

    Args:
        sites: of the model.
        config: which adapter, and where.

    Returns:
        {site path: adapter}, and {"shared": module} if they share one.

    Raises:
        UserError: if the configuration reaches no module at all.
    """
    cls = method(config.method)
    shared = cls.build_shared(config)
    built: dict[str, nn.Module] = {}
    for site in sites:
        if config.encoders not in (site.encoder, "both"):
            continue
        if site.layer >= 0 and site.layer not in config.chosen_layers(site.n_layers, site.encoder):
            continue
        adapter: Adapter | None = None
        if (site.role == "norm" and config.train_layernorm) or (
            site.role == "table" and config.train_embeddings
        ):
            adapter = Replica.build(site, config)
        elif site.role in cls.roles(config):
            adapter = cls.build(site, config)
        if adapter is not None:
            if shared is not None:
                adapter.share(shared)
            built[site.path] = adapter
    if not built:
        raise UserError(
            f"adapter {config.method} reaches no layer (encoders={config.encoders}, layers={config.layers})"
        )
    if config.train_embeddings and not any(site.role == "table" for site in sites):
        raise UserError(
            "train_embeddings: the anatomy of this encoder names no 'table'; add it in "
            "transrec_core/adapters/anatomy.py"
        )
    if config.train_head:
        built |= {site.path: Replica.build(site, config) for site in sites if site.role == "head"}
    return built | ({SHARED: shared} if shared is not None else {})
