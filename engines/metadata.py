"""The header inside an ONNX file: what a model says of itself, read without running it.

A model file may come from anywhere, so nothing in it is trusted: its size is bounded, it may not
point to other files, its header is validated, and nothing is unpickled.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from .engine import Header, ModelError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

KEY = "playspot"  # in the file's `metadata_props`
SCHEMA_VERSION = 1
MAX_MODEL_BYTES = 512 * 2**20
MAX_HEADER_BYTES = 2**20
AGAIN = "copy it again, or make it again with `playspot train`"


def model_hash(model: bytes) -> str:
    """Return the first 12 hex digits of the SHA-256 of a model file.

    Examples
    --------
    >>> model_hash(b"")
    'e3b0c44298fc'
    """
    return hashlib.sha256(model).hexdigest()[:12]


def one_line(error: BaseException, limit: int = 200) -> str:
    r"""Return an error's message on one line, shortened, for the user.

    Examples
    --------
    >>> one_line(ValueError("no such  operator\nin graph"))
    'no such operator in graph'
    """
    text = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."


def read_model(path: Path) -> bytes:
    """Return the bytes of a model file.

    Raises
    ------
    ModelError
        If the file is missing, unreadable, empty or larger than 512 MiB.

    Examples
    --------
    >>> read_model(Path("nothing.onnx"))
    Traceback (most recent call last):
    ...
    playspot.engines.engine.ModelError: nothing.onnx: no such model file; give the path of an .onnx
    """
    if not path.exists():
        raise ModelError(f"{path}: no such model file; give the path of an .onnx")
    if not path.is_file():
        raise ModelError(f"{path}: not a file; give the path of an .onnx")
    try:
        size = path.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise ModelError(
                f"{path}: {size / 2**20:.0f} MiB; a model may have {MAX_MODEL_BYTES // 2**20} MiB "
                "at most; give a smaller one"
            )
        model = path.read_bytes()
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise ModelError(f"{path}: cannot be read ({reason}); check its permissions") from None
    if not model:
        raise ModelError(f"{path}: empty; {AGAIN}")
    return model


def parse_model(model: bytes, name: str) -> "ModelProto":
    """Return the parsed model of a file's bytes; `name` is for the error's message.

    Raises
    ------
    ModelError
        If the bytes are no ONNX model, or a tensor of it lies in another file.
    """
    import onnx  # only who loads a model pays for it

    try:
        proto = onnx.load_model_from_string(model)
    except Exception:  # protobuf's own, and what onnx makes of it
        raise ModelError(f"{name}: not an ONNX file, or a damaged one; {AGAIN}") from None
    if not proto.graph.node or not proto.graph.output:
        raise ModelError(f"{name}: not an ONNX file, or one without a network; {AGAIN}")
    external = onnx.TensorProto.EXTERNAL
    if any(tensor.data_location == external for tensor in _tensors(proto)):
        raise ModelError(
            f"{name}: keeps weights in another file, which is refused; save it as one file "
            "(onnx.save_model without external data)"
        )
    return proto


def find_header(proto: "ModelProto", name: str) -> Header | None:
    """Return the header of a parsed model, or None if it has none.

    Raises
    ------
    ModelError
        If there is a header and it is too long, no JSON, incomplete, or of a newer version.
    """
    texts = [entry.value for entry in proto.metadata_props if entry.key == KEY]
    if not texts:
        return None
    if len(texts) > 1 or len(texts[0]) > MAX_HEADER_BYTES:
        raise ModelError(f"{name}: its header is doubled or above 1 MiB; {AGAIN}")
    try:
        header = Header.model_validate_json(texts[0])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "JSON"
        what = " ".join(first["msg"].split())[:120]
        raise ModelError(f"{name}: its header is damaged ({place}: {what}); {AGAIN}") from None
    if header.schema_version > SCHEMA_VERSION:
        raise ModelError(
            f"{name}: header version {header.schema_version}, this Playspot reads up to "
            f"{SCHEMA_VERSION}; update Playspot"
        )
    if fault := _fault(header):
        raise ModelError(f"{name}: its header is wrong ({fault}); {AGAIN}")
    return header


def read_header(path: Path) -> Header:
    """Return the header of an ONNX file.

    Raises
    ------
    ModelError
        As `read_model`, `parse_model` and `find_header`, and if the file has no header.
    """
    header = find_header(parse_model(read_model(path), str(path)), str(path))
    if header is None:
        raise no_header(str(path))
    return header


def has_header(path: Path) -> bool:
    """Return whether an ONNX file has a header; the errors are those of `read_header`."""
    return find_header(parse_model(read_model(path), str(path)), str(path)) is not None


def no_header(name: str) -> ModelError:
    """Return the error of an ONNX file that does not say what it is."""
    return ModelError(
        f"{name}: an ONNX file without Playspot's header; describe it in a TOML of the same name "
        "beside it, or export it with `playspot train`"
    )


def write_header(proto: "ModelProto", header: Header) -> None:
    """Put a header into a parsed model, in place of one it may have.

    Raises
    ------
    ModelError
        If the header contradicts itself, as no reader would accept it.
    """
    if fault := _fault(header):
        raise ModelError(f"{header.name}: the header is wrong ({fault})")
    others = [(entry.key, entry.value) for entry in proto.metadata_props if entry.key != KEY]
    del proto.metadata_props[:]
    for key, value in [*others, (KEY, header.model_dump_json())]:
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value


def _fault(header: Header) -> str | None:
    """Return what is wrong with a header's values taken together, or None."""
    if not header.labels or len(set(header.labels)) != len(header.labels):
        return "labels: none, or one twice"
    if not all(label and label.isprintable() and "/" not in label for label in header.labels):
        return "labels: empty, or with a slash or a control character"
    if (header.kind == "sound") != (header.front_end is not None):
        return "front_end: a sound model has one, others have none"
    if not 1 <= header.picture_side <= 8192 or not 1 <= header.picture_multiple <= 256:
        return "picture_side or picture_multiple: out of 1 to 8192 or 1 to 256"
    if not 0 < header.stride <= 4096 or not -4096 <= header.offset <= 4096:
        return "stride or offset: out of 0 to 4096 or +-4096"
    if not all(0 <= value <= 1 for value in header.thresholds.values()):
        return "thresholds: out of 0 to 1"
    return None


def _tensors(proto: "ModelProto") -> "Iterator[TensorProto]":
    yield from _graph_tensors(proto.graph)
    for function in proto.functions:
        yield from _node_tensors(function.node)
    for training in proto.training_info:
        yield from _graph_tensors(training.initialization)
        yield from _graph_tensors(training.algorithm)


def _graph_tensors(graph: "GraphProto") -> "Iterator[TensorProto]":
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: "Iterator[NodeProto] | list[NodeProto]") -> "Iterator[TensorProto]":
    for node in nodes:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for sparse in [attribute.sparse_tensor, *attribute.sparse_tensors]:
                yield sparse.values
                yield sparse.indices
            for graph in [attribute.g, *attribute.graphs]:
                yield from _graph_tensors(graph)
