"""Networks ready to run: `load` makes an engine of a model file, by what the file says of itself.

Examples
--------
>>> engine = load("object.onnx")  # doctest: +SKIP
>>> engine.header.labels[0], engine.hash  # doctest: +SKIP
('accordion', '5d1b2f6c9e0a')
"""

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .engine import Engine, Header, Kind, ModelError
from .options import EngineOptions

if TYPE_CHECKING:
    from .model_engine import ModelEngine
    from .replay import ReplayEngine

__all__ = [
    "Engine",
    "EngineOptions",
    "Header",
    "Kind",
    "ModelEngine",
    "ModelError",
    "ReplayEngine",
    "load",
]

# From 1.29 on, ONNX Runtime tells its maker about the models it runs, and leaves an identity in the
# home, from the moment it is imported on, whoever imports it. Who wants that sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOME = {"ModelEngine": ".model_engine", "ReplayEngine": ".replay"}


def __getattr__(name: str) -> Any:
    """Return an engine class; a process that runs no model does not pay for ONNX Runtime."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)


def load(
    path: str | Path, kind: Kind | None = None, *, options: EngineOptions | None = None
) -> Engine:
    """Return an engine for a model file.

    Parameters
    ----------
    path : path
        An ONNX file with our header, a public network that a TOML describes (see `teacher`), or
        such a TOML.
    kind : {"sound", "object", "action"}, optional
        What the model must be.
    options : EngineOptions
        What runs it.

    Returns
    -------
    engine : Engine
        Close it when done.

    Raises
    ------
    ModelError
        If the file cannot be used, or is of another kind: one line for the user.
    """
    from . import (  # here: who loads no model does not pay for ONNX Runtime
        metadata,
        model_engine,
        teacher,
    )

    path = Path(path)
    if path.suffix == ".toml" or not metadata.has_header(path):
        engine: Engine = teacher.load(path, options=options)
    else:
        engine = model_engine.ModelEngine(path, options=options)
    if kind is not None and engine.header.kind != kind:
        engine.close()
        raise ModelError(f"{path}: a model of kind {engine.header.kind}; give one of kind {kind}")
    return engine
