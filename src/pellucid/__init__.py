"""Neural networks that train at compiled speed and can be seen through.

    import pellucid as pel
    from pellucid import nn, optim

    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    trainer = pel.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(lr=1e-3))
    trainer.fit(X, y, epochs=10, batch_size=64, validation=0.1)
    trainer.replay(step=1234)

Names are imported when they are first used, so that importing the package is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Buffer": "tensor",
    "Graph": "ir.graph",
    "Parameter": "tensor",
    "PellucidError": "errors",
    "Tensor": "tensor",
    "TensorType": "ir.types",
    "Trainer": "train.trainer",
    "grad": "tensor",
    "forward": "functional.cache",
    "gate": "functional.control",
    "gradcheck": "gradcheck",
    "load": "nn",
    "scan": "functional.control",
    "tensor": "tensor",
    "trace": "tracing",
}
"""The public names that stand in a module, and the module."""

_PACKAGES = ("config", "data", "errors", "functional", "nn", "optim", "random")
"""The public modules."""

__all__ = [  # noqa: PLE0604 - the names of the tables above and the arrays' functions
    *_HOMES,
    *_PACKAGES,
]

if TYPE_CHECKING:
    from pellucid import data, errors, functional, nn, optim, random
    from pellucid.config import config
    from pellucid.errors import PellucidError
    from pellucid.functional.cache import forward
    from pellucid.functional.control import gate, scan
    from pellucid.gradcheck import gradcheck
    from pellucid.ir.graph import Graph
    from pellucid.ir.types import TensorType
    from pellucid.nn import load
    from pellucid.tensor import Buffer, Parameter, Tensor, grad, tensor
    from pellucid.tracing import trace
    from pellucid.train.trainer import Trainer


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"pellucid.{_HOMES[name]}"), name)
    if name in _PACKAGES:
        return import_module(f"pellucid.{name}")
    array = import_module("pellucid.functional.array")
    if name in array.__all__:
        return getattr(array, name)
    raise AttributeError(f"module 'pellucid' has no attribute {name!r}")


def __dir__() -> list[str]:
    array = import_module("pellucid.functional.array")
    return sorted({*__all__, *array.__all__, "__version__"})
