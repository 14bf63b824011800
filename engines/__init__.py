"""Networks ready to run: `load` makes an engine of a model file, by what the file says of itself.

Examples
--------
>>> engine = load("object.onnx")  # doctest: +SKIP
>>> engine.header.labels[0], engine.hash  # doctest: +SKIP
('accordion', '5d1b2f6c9e0a')
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .engine import Engine, Header, Kind, ModelError

if TYPE_CHECKING:
    from .ort import OrtEngine
    from .replay import ReplayEngine

__all__ = ["Engine", "Header", "Kind", "ModelError", "OrtEngine", "ReplayEngine", "load"]


_HOME = {"OrtEngine": ".ort", "ReplayEngine": ".replay"}


def __getattr__(name: str) -> Any:
    """Return an engine class; a process that runs no model does not pay for ONNX Runtime."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)


def load(path: str | Path, kind: Kind | None = None, *, threads: int = 1) -> Engine:
    """Return an engine for a model file.

    Parameters
    ----------
    path : path
        An ONNX file with our header, a public network that a TOML describes (see `teacher`), or
        such a TOML.
    kind : {"sound", "object", "action"}, optional
        What the model must be.
    threads : int
        Inside one operator, see `ort.make_session`.

    Returns
    -------
    engine : Engine
        Close it when done.

    Raises
    ------
    ModelError
        If the file cannot be used, or is of another kind: one line for the user.
    """
    from . import metadata, ort, teacher  # here: who loads no model does not pay for ONNX Runtime

    path = Path(path)
    if path.suffix == ".toml" or not metadata.has_header(path):
        engine: Engine = teacher.load(path, threads=threads)
    else:
        engine = ort.OrtEngine(path, threads=threads)
    if kind is not None and engine.header.kind != kind:
        engine.close()
        raise ModelError(f"{path}: a model of kind {engine.header.kind}; give one of kind {kind}")
    return engine
