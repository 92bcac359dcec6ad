"""Adapters for transferable recommendation: the front door for library users.

    import transrec_core as tr

    domain = tr.Domain.from_frame(interactions, items, tokenizer="FOLDER_OR_NAME")
    model = tr.TransRec.from_encoder("FOLDER_OR_NAME", dim=64, seed=0)
    model.add_adapter("games", tr.LoRA(rank=8), train=True)
    tr.fit(model, domain, steps=300)
    print(tr.evaluate(model, domain).metrics)
    model.recommend(["B001", "B007"], k=10)

Names are imported when they are first asked for. Every adapter method has its configuration here, under the
name of the method's class as well: ``tr.LoRA(rank=8)`` is ``LoRAConfig(item_size=8, user_size=8)``. So has a
method that is added tomorrow; ``tr.METHODS`` lists them.
"""

from typing import TYPE_CHECKING, Any

from transrec_core.base.lazy import lazy_names

if TYPE_CHECKING:
    from transrec_core.adapters.attach import attach as attach
    from transrec_core.adapters.config import AdapterConfig as AdapterConfig
    from transrec_core.adapters.peft_format import export_peft as export_peft
    from transrec_core.adapters.peft_format import import_peft as import_peft
    from transrec_core.adapters.registry import METHODS as METHODS
    from transrec_core.base.errors import UserError as UserError
    from transrec_core.data.domain import Domain as Domain
    from transrec_core.evaluation.ranking import Evaluation as Evaluation
    from transrec_core.evaluation.ranking import evaluate as evaluate
    from transrec_core.models.backbones import load_backbone as load_backbone
    from transrec_core.models.recommendations import Recommendations as Recommendations
    from transrec_core.models.spec import ModelSpec as ModelSpec
    from transrec_core.models.transrec import TransRec as TransRec
    from transrec_core.training.spec import StepSizes as StepSizes
    from transrec_core.training.spec import TrainSpec as TrainSpec
    from transrec_core.training.trainer import fit as fit

__version__ = "0.2.0"

_HOMES = {
    "AdapterConfig": "adapters.config",
    "Domain": "data.domain",
    "Evaluation": "evaluation.ranking",
    "METHODS": "adapters.registry",
    "ModelSpec": "models.spec",
    "Recommendations": "models.recommendations",
    "StepSizes": "training.spec",
    "TrainSpec": "training.spec",
    "TransRec": "models.transrec",
    "UserError": "base.errors",
    "attach": "adapters.attach",
    "evaluate": "evaluation.ranking",
    "export_peft": "adapters.peft_format",
    "fit": "training.trainer",
    "import_peft": "adapters.peft_format",
    "load_backbone": "models.backbones",
}
_named, _ = lazy_names(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES and name[:1].isupper():  # classes; what Python itself asks for is written small
        configurations = _configurations()
        if name in configurations:
            return configurations[name]
        from transrec_core.base.config import nearest

        names = [*_HOMES, *configurations]
        alike = next((known for known in names if known.lower() == name.lower()), name)
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'; {nearest(alike, names)}")
    return _named(name)


def __dir__() -> list[str]:
    return sorted(["__version__", *_HOMES, *_configurations()])


def _configurations() -> dict[str, Any]:
    """The configuration class of each adapter method, by its own name and by that of the method's class."""
    from transrec_core.adapters.registry import METHODS

    adapters = list(METHODS.values())
    return {name: cls.Config for cls in adapters for name in (cls.Config.__name__, cls.__name__)}
