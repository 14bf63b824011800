r"""A TensorRT plan on disk: a file that says what it was built from, for and by.

    b"PLAYSPOT PLAN 1\n" | length of the key, 4 bytes | key, JSON | SHA-256, 32 bytes | plan

A plan is code for one GPU and one TensorRT, and TensorRT believes what it is given. So a plan is
handed on only if every part of its key is that of this machine and this model, and its checksum is
right; no version is taken to be compatible with another.
"""

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from .engine import ModelError
from .machine import gpu, tensorrt_version
from .metadata import one_line
from .options import Precision
from .private_file import anybody_may_write, write_private_bytes
from .profiles import Shapes

MAGIC = b"PLAYSPOT PLAN 1\n"
MAX_KEY_BYTES = 2**16
MAX_PLAN_BYTES = 2 * 2**30
_DIGEST = 32


class PlanMismatch(ModelError):  # noqa: N818
    """A plan that does not belong here, or is damaged; the message says in one line why."""


class PlanKey(BaseModel):
    """What a plan belongs to.

    Attributes
    ----------
    model_hash : str
        `metadata.model_hash` of the original ONNX file.
    precision : {"fp32", "fp16", "bf16", "int8"}
    shapes : dict
        See `profiles.shapes_for`.
    gpu_name, compute_capability : str
        See `machine.Gpu`.
    tensorrt_version : str
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_hash: str
    precision: Precision
    shapes: Shapes
    gpu_name: str
    compute_capability: str
    tensorrt_version: str


def key_for(model_hash: str, precision: Precision, shapes: Shapes, device: int = 0) -> PlanKey:
    """Return the key of a plan for this machine.

    Raises
    ------
    ModelError
        If there is no GPU of that number, or no TensorRT.
    """
    found, version = gpu(device), tensorrt_version()
    if found is None:
        raise ModelError(f"GPU {device}: there is none, or no driver; see `playspot doctor`")
    if version is None:
        raise ModelError("TensorRT: not installed, or its library is not found; see docs/gpu.md")
    return PlanKey(
        model_hash=model_hash,
        precision=precision,
        shapes=shapes,
        gpu_name=found.name,
        compute_capability=found.compute_capability,
        tensorrt_version=version,
    )


def pack_plan(key: PlanKey, plan: bytes) -> bytes:
    """Return the content of a plan's file."""
    told = key.model_dump_json().encode()
    if len(told) > MAX_KEY_BYTES:
        raise ValueError(f"the key has {len(told)} bytes; at most {MAX_KEY_BYTES}")
    digest = hashlib.sha256(told + plan).digest()
    return b"".join([MAGIC, len(told).to_bytes(4, "big"), told, digest, plan])


def unpack_plan(content: bytes, key: PlanKey) -> bytes:
    """Return the plan of a file's content.

    Raises
    ------
    PlanMismatch
        If it is no plan, a damaged one, or one that does not belong: one line that says why.

    Examples
    --------
    >>> key = PlanKey(model_hash="e3b0c44298fc", precision="fp32", shapes={}, gpu_name="A",
    ...               compute_capability="9.0", tensorrt_version="11.4")
    >>> unpack_plan(pack_plan(key, b"plan"), key)
    b'plan'
    >>> unpack_plan(pack_plan(key, b"plan"), key.model_copy(update={"gpu_name": "B"}))
    Traceback (most recent call last):
    ...
    playspot.engines.plan.PlanMismatch: was built for the GPU A, this is B
    """
    if not content.startswith(MAGIC):
        raise PlanMismatch("is no plan, or one of another version of Playspot")
    at = len(MAGIC) + 4
    length = int.from_bytes(content[len(MAGIC) : at], "big")
    told, plan = content[at : at + length], content[at + length + _DIGEST :]
    if length > MAX_KEY_BYTES or not plan:
        raise PlanMismatch("is cut short")
    if hashlib.sha256(told + plan).digest() != content[at + length : at + length + _DIGEST]:
        raise PlanMismatch("is damaged: its checksum is wrong")
    try:
        found = PlanKey.model_validate_json(told)
    except ValidationError:
        raise PlanMismatch("is damaged: its key cannot be read") from None
    if reason := _difference(found, key):
        raise PlanMismatch(reason)
    return plan


def write_plan(path: Path, key: PlanKey, plan: bytes) -> None:
    """Write a plan, whole or not at all; only its owner may read it.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    write_private_bytes(path, pack_plan(key, plan))


def read_plan(path: Path, key: PlanKey) -> bytes:
    """Return the plan of a file.

    Raises
    ------
    PlanMismatch
        As `unpack_plan`, and if the file is missing, too large, cannot be read, or can be written
        by anybody: whoever made up a plan can make up its checksum.
    """
    try:
        if anybody_may_write(path) or anybody_may_write(path.parent):
            raise PlanMismatch("lies where anybody may write")
        size = path.stat().st_size
        if size > MAX_PLAN_BYTES:
            raise PlanMismatch(f"has {size} bytes; a plan may have {MAX_PLAN_BYTES} at most")
        content = path.read_bytes()
    except FileNotFoundError:
        raise PlanMismatch("is missing") from None
    except OSError as error:
        raise PlanMismatch(f"cannot be read ({error.strerror or one_line(error)})") from None
    return unpack_plan(content, key)


def _difference(found: PlanKey, wanted: PlanKey) -> str | None:
    if found.model_hash != wanted.model_hash:
        return f"was built from the model {found.model_hash}, this is {wanted.model_hash}"
    if found.gpu_name != wanted.gpu_name:
        return f"was built for the GPU {found.gpu_name}, this is {wanted.gpu_name}"
    if found.compute_capability != wanted.compute_capability:
        return (
            f"was built for compute capability {found.compute_capability}, "
            f"this is {wanted.compute_capability}"
        )
    if found.tensorrt_version != wanted.tensorrt_version:
        return f"was built by TensorRT {found.tensorrt_version}, this is {wanted.tensorrt_version}"
    if found.precision != wanted.precision:
        return f"was built in {found.precision}, wanted is {wanted.precision}"
    if found.shapes != wanted.shapes:
        return f"was built for the shapes {_told(found.shapes)}, wanted are {_told(wanted.shapes)}"
    return None


def _told(shapes: Shapes) -> str:
    each = (
        f"{name} " + ":".join("x".join(str(n) for n in shape) for shape in three)
        for name, three in sorted(shapes.items())
    )
    return ", ".join(each) or "none"
