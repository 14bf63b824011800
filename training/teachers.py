"""Trained models that teach an action network: ONNX files, or checkpoints of `playspot train`."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from ..engines import load
from ..engines.engine import Engine, ModelError
from ..engines.options import ORIGINAL
from .config import TrainConfig, TrainingError


def load_teachers(config: TrainConfig, paths: Mapping[str, Path | None]) -> dict[str, Engine]:
    """Return the models that the target of a configuration needs, by kind.

    Parameters
    ----------
    config : TrainConfig
    paths : mapping of kind to Path or None
        Those that the target does not need are not looked at.

    Raises
    ------
    ValueError
        If one is not given or cannot be used: one line.
    """
    from .run_data import target_of  # needs PyTorch

    target = target_of(config)
    if target is None:
        return {}
    engines: dict[str, Engine] = {}
    for kind, is_needed in (("sound", target.needs_sound), ("object", target.needs_object)):
        path = paths.get(kind)
        if is_needed and path is None:
            raise TrainingError(f"target {config.target} needs --{kind}, a trained model")
        if is_needed and path is not None:
            engines[kind] = load_teacher(path, kind)
    return engines


def load_teacher(path: Path, kind: str) -> Engine:
    """Return a trained model as an engine: its own file, as its hash names what is kept of it.

    Raises
    ------
    ValueError
        If it cannot be used, or is of another kind.
    """
    if path.suffix != ".pt":
        engine = load(path, options=ORIGINAL)
    else:
        from ..engines.export import export, make_header
        from .train import load_network

        net, _ = load_network(path)
        with tempfile.TemporaryDirectory() as folder:
            exported = Path(folder) / f"{path.stem}.onnx"
            export(net, exported, make_header(net, path.stem))
            engine = load(exported, options=ORIGINAL)
    if engine.header.kind != kind:
        raise ModelError(f"{path}: is a {engine.header.kind} model, --{kind} needs a {kind} model")
    return engine
