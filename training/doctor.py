"""Whether this machine is fine for Playspot, and what would make it better: one finding a line.

In: the models that would be used. Out: `Finding`s. Nothing is built, downloaded or left behind; the
GPU is examined by `doctor_gpu`.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..engines.engine import ModelError
from ..engines.options import ORIGINAL, EngineOptions
from ..stream.one_line import one_line, reason_of
from .doctor_machine import (
    Finding,
    State,
    devices,
    extras,
    folders,
    media,
    ports,
    processor,
    python,
)

SCHEMA: Final = "playspot/doctor/1"


def examine(models: Path | None = None, device: int = 0) -> list[Finding]:
    """Return what was found on this machine.

    Parameters
    ----------
    models : Path, optional
        Folder of models; those of `detect` without it.
    device : int
        Number of the GPU.

    Returns
    -------
    findings : list of Finding
        A look that fails itself is a finding too.

    Examples
    --------
    >>> [found.what for found in examine()][:2]
    ['Python', 'processor']
    """
    looks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("Python", python),
        ("processor", processor),
        ("engines", lambda: _engines(device)),
        ("models", lambda: _models(models, device)),
        ("optical flow", lambda: _flow(device)),
        ("compiled networks", lambda: _compiled(device)),
        ("media", media),
        ("devices", devices),
        ("ports", ports),
        ("folders", folders),
        ("extras", extras),
    ]
    findings: list[Finding] = []
    for what, look in looks:
        try:
            findings += look()
        except Exception as error:  # one look that fails does not end the others
            findings.append(Finding(what, "fault", f"cannot be examined ({reason_of(error)})"))
    return findings


def is_fine(findings: list[Finding]) -> bool:
    """Return whether `detect` will work."""
    return all(found.state != "fault" for found in findings)


def document_of(findings: list[Finding]) -> dict[str, Any]:
    """Return the findings as one JSON document."""
    from .benchmark_report import machine, versions

    return {
        "schema": SCHEMA,
        "is_fine": is_fine(findings),
        "machine": machine(),
        "versions": versions(),
        "findings": [asdict(found) for found in findings],
    }


def _engines(device: int) -> Iterator[Finding]:
    from ..engines.availability import available, conflict, no_gpu
    from ..engines.machine import gpu

    has_gpu = gpu(device) is not None

    for found in available(device):
        version = f" {found.version}" if found.version else ""
        if found.is_there:
            yield Finding(f"engine {found.backend}", "ok", f"there{version}, {found.why}")
        elif found.backend in ("cuda", "tensorrt") and not has_gpu:
            yield Finding(f"engine {found.backend}", "ok", f"not there: {no_gpu(device)}")
        else:
            state: State = "fault" if found.backend == "onnx" else "could"
            why, how = _advice(found.why)
            yield Finding(f"engine {found.backend}", state, f"not there: {why}", how)
    if fault := conflict():
        yield Finding("engines", "could", *_advice(fault))


def _advice(why: str) -> tuple[str, str]:
    """Return why something is not there, and the command that mends it, if there is one."""
    says, found, how = why.rpartition(": pip ")
    return (says, f"pip {how}") if found else (why, "")


def _models(folder: Path | None, device: int) -> Iterator[Finding]:
    from ..engines.backends import choose
    from ..engines.catalogue import BETTER, find_models
    from ..engines.metadata import model_hash

    try:
        found = find_models(folder)
    except ModelError as error:
        yield Finding("models", "fault", one_line(str(error)), BETTER)
        return
    for kind, model in found.models.items():
        name = f"{kind} model"
        told = f"{model.header.name} ({model.origin})"
        try:
            _run(model, kind)
            if model.path is None:
                yield Finding(name, "ok", f"{told}: computed by NumPy")
                continue
            content = model.path.read_bytes()
            choice = choose(model_hash(content), EngineOptions(device=device, builds=True))
        except ValueError as error:
            yield Finding(name, "fault", f"{told}: {one_line(str(error))}")
            continue
        yield Finding(name, "ok", f"{told}: {choice.backend}, {choice.precision}: {choice.why}")


def _run(model: Any, kind: str) -> None:
    """Run a model once on the CPU, to which all falls back."""
    engine = model.load(ORIGINAL)
    header = engine.header
    side = header.picture_side
    patch = header.front_end == "yamnet"
    batch: Any = {
        "object": np.zeros((1, side // 2, side, 3), np.uint8),
        "action": np.zeros((1, 10, 144, 256), np.float32),
        "sound": np.zeros((1, 96, 64) if patch else (1, 384, 48), np.float32),
    }[kind]
    if kind == "action" and header.takes == "frames":
        batch = np.zeros((1, 6, 144, 256), np.uint8)
    try:
        if not np.isfinite(engine(batch)).all():
            raise ModelError("its scores are not finite; copy the model again")
    finally:
        engine.close()


def _flow(device: int) -> Iterator[Finding]:
    from ..engines.availability import availability
    from ..stream.flow_choice import flow_line, open_flow

    if any(availability(backend, device).is_there for backend in ("cuda", "tensorrt")):
        yield Finding("optical flow", "ok", "Farneback as a network, on the GPU")
        return
    method = open_flow("auto", EngineOptions(device=device, builds=True))
    try:
        yield Finding("optical flow", "ok", flow_line(method).removeprefix("flow: "))
    finally:
        method.close()


def _compiled(device: int) -> Iterator[Finding]:
    from ..engines.backends import standing
    from ..engines.compiled import compiled_networks, store

    all_ = list(compiled_networks())
    if not all_:
        how = "`playspot compile` makes int8 and TensorRT networks for this machine"
        yield Finding("compiled networks", "ok", "none", how)
        return
    for one in all_:
        what = f"{one.model_name or one.kind} ({one.model_hash}), {one.backend}, {one.precision}"
        told, is_fine = standing(one, device), one.passed
        try:
            one.read()
        except ModelError as error:
            told, is_fine = one_line(str(error)), False
        says = f"{what}, of {one.created:%Y-%m-%d}: {told} ({store()})"
        state: State = "ok" if is_fine else "could"
        yield Finding("compiled networks", state, says, "" if is_fine else "playspot compile")
