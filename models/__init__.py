"""The networks, in PyTorch: sound, object and action, and optical flow in front of action.

`LABELS` needs nothing; the networks need PyTorch, which is imported when one is first asked for.

Examples
--------
>>> from playspot.models import LABELS
>>> len(LABELS)
9
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .labels import LABELS

if TYPE_CHECKING:
    from .action import ActionNet
    from .blocks import NetConfig, Standardise, n_parameters
    from .flow import FarnebackFlow
    from .net import Net, build
    from .object import ObjectNet
    from .sound import SoundNet

__all__ = [
    "LABELS",
    "ActionNet",
    "FarnebackFlow",
    "Net",
    "NetConfig",
    "ObjectNet",
    "SoundNet",
    "Standardise",
    "build",
    "n_parameters",
]

_HOME = {
    "ActionNet": ".action",
    "FarnebackFlow": ".flow",
    "Net": ".net",
    "NetConfig": ".blocks",
    "ObjectNet": ".object",
    "SoundNet": ".sound",
    "Standardise": ".blocks",
    "build": ".net",
    "n_parameters": ".blocks",
}


def __getattr__(name: str) -> Any:
    """Return a network class; the run time, which has no PyTorch, never asks for one."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(_HOME[name], __name__)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModuleNotFoundError(
            f"{name} needs PyTorch: pip install 'playspot[train]'", name="torch"
        ) from None
    return getattr(module, name)
