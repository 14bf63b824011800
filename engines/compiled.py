"""The cache of compiled networks: what there is for which model, on which machine.

    <folder>/<model>-<backend>-<precision>-<key>.json     the record
    <folder>/<SHA-256 of the content>.onnx | .plan        what it tells of

A content never changes under its name and is written before its record, so whoever reads a record
finds what it was written for, or is told that it is damaged.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .engine import ModelError
from .machine import machine as this_machine
from .metadata import one_line
from .options import Backend, Precision
from .plan import MAX_PLAN_BYTES
from .private_file import private_folder, sweep, write_private_bytes
from .profiles import Shapes

MAX_RECORD_BYTES = 2**20
SUFFIXES: dict[Backend, str] = {
    "onnx": ".onnx",
    "cuda": ".onnx",
    "openvino": ".onnx",
    "tensorrt": ".plan",
}

logger = logging.getLogger(__name__)


class Compiled(BaseModel):
    """A compiled network in the cache.

    Attributes
    ----------
    model_hash, model_name : str
        Of the original ONNX file; `metadata.model_hash`, and the name in its header.
    kind : str
        "object", "action", "sound" or "flow".
    backend : {"onnx", "cuda", "openvino", "tensorrt"}
    precision : {"fp32", "fp16", "bf16", "int8"}
    path : Path
        Of the content: an ONNX file in that precision; for tensorrt what `plan.pack_plan` made.
    created : datetime
    passed : bool
        Whether its scores were found to agree with those of the original.
    machine : str
        See `machine.machine`.
    sha256 : str
        Of the content.
    shapes : dict
        See `profiles.shapes_for`; empty where any will do.
    report : dict
        What was measured of it; empty as long as nobody has compared it.
    speed_up : float or None
        How many times as fast it is as the original on `against`; None: not measured.
    against : {"cuda", "onnx"} or None
        What ran the original.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    model_hash: str = Field(pattern="^[0-9a-f]{12}$")
    model_name: str
    kind: str
    backend: Backend
    precision: Precision
    path: Path = Path()
    created: datetime = Field(default_factory=lambda: datetime.now(UTC))
    passed: bool = False
    machine: str = ""
    sha256: str = ""
    shapes: Shapes = Field(default_factory=dict)
    report: dict[str, Any] = Field(default_factory=dict)
    speed_up: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    against: Backend | None = None

    @property
    def is_original(self) -> bool:
        """Whether it is what runs without it, too."""
        return self.precision == "fp32" and self.backend in ("onnx", "cuda")

    def read(self) -> bytes:
        """Return the content.

        Raises
        ------
        ModelError
            If it is missing, cannot be read, or is not what was written: one line.
        """
        try:
            if self.path.stat().st_size > MAX_PLAN_BYTES:
                raise ModelError(f"{self.path}: above {MAX_PLAN_BYTES} bytes; remove it")
            content = self.path.read_bytes()
        except OSError as error:
            reason = error.strerror or one_line(error)
            raise ModelError(f"{self.path}: cannot be read ({reason})") from None
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ModelError(f"{self.path}: damaged, its checksum is wrong; compile it again")
        return content


def store() -> Path:
    """Return where compiled networks lie: $PLAYSPOT_ENGINES, or in the user's cache.

    Examples
    --------
    >>> store().name
    'engines'
    """
    if given := os.environ.get("PLAYSPOT_ENGINES"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "playspot" / "engines"


def save(compiled: Compiled, content: bytes) -> Compiled:
    """Put a network into the cache, in place of one of the same kind.

    Parameters
    ----------
    compiled : Compiled
        Its `path`, `sha256` and, where that is empty, `machine` are filled in.
    content : bytes

    Returns
    -------
    compiled : Compiled
        As it is in the cache.

    Raises
    ------
    ModelError
        If it cannot be written: one line that says why.
    """
    folder = store()
    digest = hashlib.sha256(content).hexdigest()
    path = folder / (digest + SUFFIXES[compiled.backend])
    kept = compiled.model_copy(
        update={
            "path": path,
            "sha256": digest,
            "machine": compiled.machine or this_machine(compiled.backend),
        }
    )
    record = _record(kept)
    before = _read(record) if record.exists() else None
    try:
        private_folder(folder)
        sweep(folder)
        write_private_bytes(path, content)
        _write_record(kept)
    except OSError as error:
        raise _unwritable(error) from None
    if isinstance(before, Compiled) and before.path != path:
        _forget_content(before)
    return kept


def mark(compiled: Compiled, *, passed: bool, report: dict[str, Any]) -> Compiled:
    """Write down what was found of a network that is in the cache, and return it so.

    Raises
    ------
    ModelError
        If the cache cannot be written.
    """
    marked = compiled.model_copy(update={"passed": passed, "report": report})
    try:
        _write_record(marked)
    except OSError as error:
        raise _unwritable(error) from None
    return marked


def find(
    model_hash: str,
    backend: Backend | None = None,
    precision: Precision | None = None,
    *,
    device: int = 0,
    passed: bool = True,
    shapes: Shapes | None = None,
) -> Compiled | None:
    """Return the newest network compiled from a model that belongs to this machine.

    Parameters
    ----------
    model_hash : str
    backend, precision : str, optional
        Only such.
    device : int
        Number of the GPU.
    passed : bool
        Only such as were found to agree with the original.
    shapes : dict, optional
        Only such as were compiled for these sizes.
    """
    found = [
        one
        for one in of_this_machine(model_hash, device)
        if backend in (None, one.backend)
        and precision in (None, one.precision)
        and (one.passed or not passed)
        and shapes in (None, one.shapes)
    ]
    return max(found, key=lambda one: one.created, default=None)


def of_this_machine(model_hash: str, device: int = 0) -> list[Compiled]:
    """Return all networks compiled from a model that belong to this machine, passed or not."""
    return [
        one
        for one in compiled_networks()
        if one.model_hash == model_hash and one.machine == this_machine(one.backend, device)
    ]


def compiled_networks() -> Iterator[Compiled]:
    """Yield all that is in the cache, of other machines and not passed too.

    A damaged record is skipped, with one logged line.
    """
    try:
        records = sorted(store().glob("*.json"))
    except OSError as error:
        logger.warning("%s: cannot be read (%s)", store(), error.strerror)
        return
    for path in records:
        found = _read(path)
        if isinstance(found, Compiled):
            yield found
        elif found is not None:
            _tell(path, found)


def remove(compiled: Compiled) -> None:
    """Take a network out of the cache; harmless where it is gone already.

    Raises
    ------
    ModelError
        If the cache cannot be written.
    """
    try:
        _record(compiled).unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(error) from None
    _forget_content(compiled)


@cache  # once for each in a process: it is looked at for every network
def _tell(path: Path, reason: str) -> None:
    logger.warning("%s: skipped, %s; remove it", path, reason)


def _write_record(compiled: Compiled) -> None:
    told = compiled.model_dump_json(indent=1, exclude={"path"})
    write_private_bytes(_record(compiled), told.encode())


def _unwritable(error: OSError) -> ModelError:
    reason = error.strerror or one_line(error)
    return ModelError(
        f"{store()}: cannot be written ({reason}); set PLAYSPOT_ENGINES to another folder"
    )


def _forget_content(compiled: Compiled) -> None:
    # Unless another record is of the same content: what is compiled alike for two backends.
    if all(other.path != compiled.path for other in compiled_networks()):
        with suppress(OSError):
            compiled.path.unlink(missing_ok=True)


def _record(compiled: Compiled) -> Path:
    # One of a kind for each machine, as homes may be shared, and for each range of sizes.
    told = f"{compiled.machine} {sorted(compiled.shapes.items())}"
    key = hashlib.sha256(told.encode()).hexdigest()[:12]
    name = f"{compiled.model_hash}-{compiled.backend}-{compiled.precision}-{key}.json"
    return store() / name


def _read(path: Path) -> Compiled | str | None:
    """Return a record, what is wrong with it, or None if it has gone meanwhile."""
    try:
        if path.stat().st_size > MAX_RECORD_BYTES:
            return "too large for a record"
        found = Compiled.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    except ValidationError:
        return "damaged"
    if len(found.sha256) != 64 or not found.sha256.isalnum():
        return "damaged"
    content = path.parent / (found.sha256 + SUFFIXES[found.backend])
    found = found.model_copy(update={"path": content})
    if _record(found).name != path.name:
        return "it does not belong to its name"
    return found if content.is_file() else f"{content.name} is missing"
