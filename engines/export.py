"""A network becomes an ONNX file: a trained one with its header inside, checked against PyTorch.

The one module here that needs PyTorch (`pip install 'playspot[train]'`). In: a network of
`playspot.models`. Out: a file that takes and gives what the table in `engine` says, with any
batch and any size; or the file of `flow_net`.
"""

import copy
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, StringStringEntryProto
from torch import Tensor, nn

from ..models.blocks import MapNet
from ..models.flow import FarnebackFlow
from ..models.net import Net
from .engine import Header, Kind, ModelError
from .metadata import write_header
from .model_engine import ModelEngine
from .options import ORIGINAL

OPSET = 18  # what TensorRT 8.6 and ONNX Runtime 1.14 already know
TOLERANCE = 1e-4  # of a score; single precision summed in another order differs by about 1e-6

# Name of each kind's input, and of the axes that may have any size; then the output's.
_INPUT: dict[Kind, tuple[str, dict[int, str]]] = {
    "object": ("pictures", {0: "batch", 1: "height", 2: "width"}),
    "action": ("stacks", {0: "batch", 2: "height", 3: "width"}),
    "sound": ("log_mel", {0: "batch", 2: "columns"}),
}
_OUTPUT: dict[Kind, dict[int, str]] = {
    "object": {0: "batch", 2: "rows", 3: "cells"},
    "action": {0: "batch", 2: "rows", 3: "cells"},
    "sound": {0: "batch", 2: "steps"},
}
_SIZES: dict[Kind, tuple[tuple[int, ...], ...]] = {  # of the checks: the usual one and an odd one
    "object": ((2, 144, 256, 3), (3, 87, 61, 3)),
    "action": ((2, 10, 144, 256), (3, 10, 87, 61)),
    "sound": ((2, 384, 313), (3, 384, 48)),
}


class _Scores(nn.Module):
    """A network from the engine's input to scores."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        if self.net.config.kind == "object":
            x = x.permute(0, 3, 1, 2)  # (B, H, W, 3) -> (B, 3, H, W)
        return self.net.scores(x)


def make_header(
    net: Net,
    name: str,
    *,
    thresholds: Mapping[str, float] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Header:
    """Return the header of a network: what it knows of itself, and what it is told.

    Parameters
    ----------
    net : SoundNet, ObjectNet or ActionNet
    name : str
        For people.
    thresholds : mapping of label to float, optional
        Scores above which a label counts as present.
    provenance : mapping, optional
        How it was trained: anything that JSON can hold.

    Examples
    --------
    >>> from playspot.models import ActionNet
    >>> make_header(ActionNet(width=0.25), "mine").normalisation
    {'mean': 0.0, 'scale': 1.0}
    """
    config = net.config
    is_image = isinstance(net, MapNet)
    return Header(
        kind=config.kind,
        name=name,
        labels=config.labels,
        front_end=None if is_image else "paper",
        stride=float(net.STRIDE) if is_image else 1.0,
        offset=float(net.OFFSET) if isinstance(net, MapNet) else 0.0,
        thresholds=dict(thresholds or {}),
        normalisation={
            "mean": _brief(net.standardise.mean),
            "scale": _brief(net.standardise.scale),
        },
        provenance={"width": config.width, **(provenance or {})},
    )


def export(net: Net, path: str | Path, header: Header, *, tolerance: float = TOLERANCE) -> float:
    """Write a network as an ONNX file, after checking it against PyTorch.

    Parameters
    ----------
    net : SoundNet, ObjectNet or ActionNet
        Left as it is: mode, device and weights.
    path : path
        Of the file, in a folder that exists; replaced whole, or left as it was.
    header : Header
        As from `make_header`; its kind and labels must be the network's.
    tolerance : float
        Largest difference of a score that is accepted.

    Returns
    -------
    difference : float
        The largest seen, over random inputs of two sizes, in a batch of 2 and one of 3.

    Raises
    ------
    ModelError
        If the header is not the network's, if the exported network gives other scores than
        PyTorch or none that are finite, or if the file cannot be written.
    """
    path = Path(path)
    if header.kind != net.config.kind or header.labels != net.config.labels:
        raise ModelError(f"{path}: the header is of another network; use make_header(net, ...)")
    if not path.parent.is_dir():
        raise ModelError(f"{path}: there is no folder {path.parent}; make it first")
    scores = _Scores(copy.deepcopy(net)).float().cpu().eval()
    proto = _convert(scores)
    write_header(proto, header)
    content = proto.SerializeToString(deterministic=True)
    difference = _check(scores, content, str(path), tolerance)
    _write(path, content)
    return difference


def export_flow(path: str | Path, flow: FarnebackFlow | None = None) -> None:
    """Write the network of `flow_net.FlowNet`: `FarnebackFlow.sequence` for any batch and size.

    Parameters
    ----------
    path : path
        Of the file, in a folder that exists; replaced whole.
    flow : FarnebackFlow, optional
        Another than the one of the paper's parameters.

    Raises
    ------
    ModelError
        If the file cannot be written.

    Notes
    -----
    With the whole pyramid it takes the exporter a minute or two.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ModelError(f"{path}: there is no folder {path.parent}; make it first")
    proto = _graph(
        _Sequence(flow or FarnebackFlow()).eval(),
        torch.zeros(2, 4, 145, 270, dtype=torch.uint8),  # no two sizes the same, none special
        ("frames", {0: "batch", 1: "frames", 2: "height", 3: "width"}),
        ("flow", {0: "batch", 1: "flows", 3: "height", 4: "width"}),
    )
    _write(path, proto.SerializeToString(deterministic=True))


class _Sequence(nn.Module):
    """The flow network from the input of its file."""

    def __init__(self, flow: FarnebackFlow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, frames: Tensor) -> Tensor:
        return self.flow.sequence(frames)


def _convert(scores: _Scores) -> ModelProto:
    kind = scores.net.config.kind
    example = torch.from_numpy(_example(scores.net, _SIZES[kind][0]))
    # Sound: the exporter finds out what its pools ask of the length; DYNAMIC would refuse that.
    size = torch.export.Dim.AUTO if kind == "sound" else torch.export.Dim.DYNAMIC
    return _graph(scores, example, _INPUT[kind], ("scores", _OUTPUT[kind]), size)


def _graph(
    module: nn.Module,
    example: Tensor,
    given: tuple[str, dict[int, str]],
    found: tuple[str, dict[int, str]],
    size: Any = torch.export.Dim.DYNAMIC,
) -> ModelProto:
    """Return the ONNX graph of a module; its input and output have names, and open axes too."""
    with _quiet():
        program = torch.onnx.export(
            module,
            (example,),
            input_names=[given[0]],
            output_names=[found[0]],
            opset_version=OPSET,
            dynamic_shapes=({axis: size for axis in given[1]},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the exporter of PyTorch gave no program")
    proto = program.model_proto
    _strip(proto)
    for value, names in ((proto.graph.input[0], given[1]), (proto.graph.output[0], found[1])):
        for axis, name in names.items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    return proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which warns of its own deprecated parts and of absent torchvision."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _strip(proto: ModelProto) -> None:
    """Remove what the exporter tells of the machine: stack traces with the paths of its files."""
    notes: list[Any] = [proto, proto.graph, *proto.graph.node, *proto.graph.value_info]
    notes += [*proto.graph.input, *proto.graph.output, *proto.graph.initializer, *proto.functions]
    for noted in notes:
        noted.doc_string = ""
        entries: list[StringStringEntryProto] = noted.metadata_props
        del entries[:]
    del proto.graph.value_info[:]  # shapes in the exporter's own symbols; inferred again on loading


def _check(scores: _Scores, content: bytes, name: str, tolerance: float) -> float:
    engine = ModelEngine(content, options=ORIGINAL)
    largest = 0.0
    for shape in _SIZES[scores.net.config.kind]:
        batch = _example(scores.net, shape)
        with torch.inference_mode():
            expected = scores(torch.from_numpy(batch)).numpy()
        given = engine(batch)
        if given.shape != expected.shape or not np.isfinite(expected).all():
            raise ModelError(
                f"{name}: not written: for an input {shape} PyTorch gives {expected.shape}, ONNX "
                f"Runtime {given.shape}, or a score is not finite; look at the weights"
            )
        largest = max(largest, float(np.abs(given - expected).max()))
    engine.close()
    if not largest <= tolerance:
        raise ModelError(
            f"{name}: not written: its scores differ by {largest:.1e} from PyTorch's, {tolerance:g}"
            " is accepted; export it again with another version of torch"
        )
    return largest


def _example(net: Net, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return a random input in the range that the network is used to."""
    rng = np.random.default_rng(shape[-1])
    if net.config.kind == "object":
        return rng.integers(0, 256, shape, dtype=np.uint8)
    noise = rng.standard_normal(shape, dtype=np.float32)
    column = (-1,) + (1,) * (len(shape) - 2)
    mean, scale = net.standardise.mean, net.standardise.scale
    centred = noise * scale.detach().float().cpu().numpy().reshape(column)
    return np.asarray(centred + mean.detach().float().cpu().numpy().reshape(column), np.float32)


def _brief(values: Tensor) -> float | list[float]:
    """Return a buffer for the header: one number where all are the same, six digits else."""
    numbers = [float(f"{value:.6g}") for value in values.tolist()]
    return numbers[0] if len(set(numbers)) == 1 else numbers


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    part: str | None = None
    try:
        number, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(part).chmod(0o644)  # mkstemp gives it to the owner alone
        Path(part).replace(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror}); choose another") from None
    finally:
        if part is not None:
            Path(part).unlink(missing_ok=True)
