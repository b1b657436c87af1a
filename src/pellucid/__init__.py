"""Neural networks that train at compiled speed and can be seen through.

    import pellucid as pel
    from pellucid import nn, optim

    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    trainer = pel.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(lr=1e-3))
    trainer.fit(X, y, epochs=10, batch_size=64, validation=0.1)
    trainer.replay(step=1234)

Names are imported when they are first used, so that importing the package is cheap.
Functions of arrays stand here under their names of the Array API standard.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "Buffer",
    "Graph",
    "Parameter",
    "PellucidError",
    "Tensor",
    "TensorType",
    "Trainer",
    "__version__",
    "config",
    "data",
    "errors",
    "forward",
    "functional",
    "gate",
    "grad",
    "gradcheck",
    "load",
    "nn",
    "optim",
    "random",
    "scan",
    "tensor",
    "trace",
]

if TYPE_CHECKING:
    from pellucid import data, errors, functional, nn, optim, random
    from pellucid.checking import gradcheck
    from pellucid.configuration import config
    from pellucid.errors import PellucidError
    from pellucid.functional.cache import forward
    from pellucid.functional.control import gate, scan
    from pellucid.ir.graph import Graph
    from pellucid.ir.types import TensorType
    from pellucid.nn import load
    from pellucid.tensors import Buffer, Parameter, Tensor, grad, tensor
    from pellucid.tracing import trace
    from pellucid.train.trainer import Trainer

_HOMES = {
    "Buffer": "tensors",
    "Graph": "ir.graph",
    "Parameter": "tensors",
    "PellucidError": "errors",
    "Tensor": "tensors",
    "TensorType": "ir.types",
    "Trainer": "train.trainer",
    "config": "configuration",
    "forward": "functional.cache",
    "gate": "functional.control",
    "grad": "tensors",
    "gradcheck": "checking",
    "load": "nn",
    "scan": "functional.control",
    "tensor": "tensors",
    "trace": "tracing",
}
"""The modules of the names above; the others are modules themselves."""

_ARRAYS = ("functional.array", "functional.layout")
"""The modules whose functions are public names too."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"pellucid.{_HOMES[name]}"), name)
    if name in __all__:
        return import_module(f"pellucid.{name}")
    for home in _ARRAYS:
        module = import_module(f"pellucid.{home}")
        if name in module.__all__:
            return getattr(module, name)
    raise AttributeError(f"module 'pellucid' has no attribute {name!r}")


def __dir__() -> list[str]:
    arrays = (import_module(f"pellucid.{home}").__all__ for home in _ARRAYS)
    return sorted({*__all__, *(name for names in arrays for name in names)})
