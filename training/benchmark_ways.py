"""The ways to run one network that are compared: every engine there is, and PyTorch.

In: an ONNX file in each precision. Out: `Way`s, each a call that takes a batch; and, of each way
that cannot be had here, why.
"""

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..engines.engine import Header, ModelError
from ..engines.metadata import model_hash, one_line, read_header
from ..engines.network import Network
from ..engines.options import Precision
from .parity_torch import rebuild

OURS, DEFAULTS = "ONNX Runtime", "ONNX Runtime, defaults"
CUDA, OPENVINO, TENSORRT = "ONNX Runtime, CUDA", "OpenVINO", "TensorRT"
EAGER, COMPILED = "torch, eager", "torch.compile"
WAYS: Final = (OURS, DEFAULTS, CUDA, OPENVINO, TENSORRT, EAGER, COMPILED)
ON_GPU: Final = frozenset((CUDA, TENSORRT))
BACKENDS: Final = {OURS: "onnx", CUDA: "cuda", OPENVINO: "openvino", TENSORRT: "tensorrt"}


@dataclass(frozen=True)
class Way:
    """One way to run a network.

    Attributes
    ----------
    name : str
        One of `WAYS`.
    precision : str
    run : callable
        Takes a batch; has the outputs on the CPU when it returns.
    close : callable
    """

    name: str
    precision: str
    run: Callable[[NDArray[Any]], Any]
    close: Callable[[], None]


@dataclass(frozen=True)
class Subject:
    """A network to be measured; can be sent to another process.

    Attributes
    ----------
    kind : str
        "object", "action" or "sound".
    name : str
        For people.
    models : dict of precision to bytes
        ONNX files.
    inputs : array
        A row a step.
    """

    kind: str
    name: str
    models: dict[Precision, bytes]
    inputs: NDArray[Any]


def open_ways(
    subject: Subject,
    names: tuple[str, ...] = WAYS,
    *,
    threads: int = 1,
    device: int = 0,
    largest: int = 16,
) -> tuple[list[Way], dict[str, str]]:
    """Return the ways to run a network that there are, and why the others are not.

    Parameters
    ----------
    subject : Subject
    names : tuple of str
        Which of `WAYS` are wanted.
    threads : int
        Inside one operator, for ours and PyTorch; "defaults" has what ONNX Runtime takes.
    device : int
        Number of the GPU.
    largest : int
        The largest batch, for a TensorRT plan.

    Returns
    -------
    ways : list of Way
    skipped : dict of str to str
        "way, precision" and the reason in one line.
    """
    ways: list[Way] = []
    skipped: dict[str, str] = {}
    for name in names:
        for precision, model in subject.models.items():
            if name not in BACKENDS and precision != "fp32":
                continue
            try:
                ways.append(_open(name, subject, precision, model, threads, device, largest))
            except Exception as error:  # whatever a runtime raises, the others go on
                skipped[f"{name}, {precision}"] = one_line(error)
    return ways, skipped


def _open(
    name: str,
    subject: Subject,
    precision: Precision,
    model: bytes,
    threads: int,
    device: int,
    largest: int,
) -> Way:
    if name in (EAGER, COMPILED):
        return _torch(name, model, threads)
    if name == DEFAULTS:
        return _defaults(model)
    from ..engines.backends import available

    [found] = [entry for entry in available(device) if entry.backend == BACKENDS[name]]
    if not found.is_there:
        raise RuntimeError(found.why)
    network: Network
    if name in (OURS, CUDA):
        from ..engines.ort import OrtNetwork

        network = OrtNetwork(
            model,
            subject.name,
            threads=threads,
            device="cuda" if name == CUDA else "cpu",
            gpu=device,
            precision=precision,
        )
    elif name == OPENVINO:
        from ..engines.ov import OpenVinoNetwork

        network = OpenVinoNetwork(model, subject.name, precision=precision, threads=threads)
    else:
        network = _tensorrt(subject, precision, model, device, largest)
    place = network.inputs[0].name
    return Way(name, precision, lambda batch: network.run({place: batch}), network.close)


def _tensorrt(
    subject: Subject, precision: Precision, model: bytes, device: int, largest: int
) -> Network:
    from ..engines.compiled import find
    from ..engines.ort import OrtNetwork
    from ..engines.plan import key_for, read_plan
    from ..engines.profiles import shapes_for
    from ..engines.trt import TrtNetwork
    from ..engines.trt_build import build_plan

    hash_ = model_hash(subject.models["fp32"])
    there = find(hash_, "tensorrt", precision, device=device)
    if there is not None:
        plan = read_plan(there.path, key_for(hash_, precision, there.shapes, device))
        return TrtNetwork(plan, subject.name, device=device, precision=precision)
    if precision == "int8":  # TensorRT wants zeros in the middle; what is measured here has not
        how = "playspot compile --engine tensorrt --precision int8"
        raise ModelError(f"there is no int8 plan; use `{how}` first")
    reference = OrtNetwork(model, subject.name)
    inputs = reference.inputs
    reference.close()
    shapes = shapes_for(inputs, subject.kind, (1, min(4, largest), largest))
    with tempfile.TemporaryDirectory(prefix="playspot-benchmark-") as folder:
        plan = build_plan(
            model,
            shapes,
            device=device,
            timing_cache=Path(folder) / "timings",
        )
    return TrtNetwork(plan, subject.name, device=device, precision=precision)


def _defaults(model: bytes) -> Way:
    # As the first example of ONNX Runtime's documentation has it: a file, nothing set.
    import onnxruntime

    with tempfile.TemporaryDirectory(prefix="playspot-benchmark-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    place = session.get_inputs()[0].name
    return Way(DEFAULTS, "fp32", lambda batch: session.run(None, {place: batch}), lambda: None)


def _torch(name: str, model: bytes, threads: int) -> Way:
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # else a process a core
    net = rebuild(model)
    import torch

    torch.set_num_threads(threads)
    torch.compiler.reset()  # it compiles a function for so many shapes only
    is_object = net.config.kind == "object"

    def forward(x: torch.Tensor) -> torch.Tensor:
        # (B, H, W, 3) -> (B, 3, H, W), as the exported network does
        return net.scores(x.permute(0, 3, 1, 2) if is_object else x)

    run = forward if name == EAGER else torch.compile(forward, dynamic=False)

    def scores(batch: NDArray[Any]) -> NDArray[np.float32]:
        with torch.inference_mode():
            found: NDArray[np.float32] = run(torch.from_numpy(batch)).numpy()
        return found

    return Way(name, "fp32", scores, lambda: None)


def random_models(width: float, folder: Path) -> dict[str, Path]:
    """Write the three networks of a width, with random weights; return them by kind.

    Raises
    ------
    ModuleNotFoundError
        Without PyTorch.
    """
    import torch

    from ..engines.export import export, make_header
    from ..models.blocks import KINDS, NetConfig
    from ..models.net import build

    torch.manual_seed(0)
    paths: dict[str, Path] = {}
    for kind in KINDS:
        net = build(NetConfig(kind, width=width))
        paths[kind] = folder / f"{kind}.onnx"
        export(net, paths[kind], make_header(net, f"{kind} {width:g}"))
    return paths


def headers_of(paths: Mapping[Any, Path]) -> dict[str, Header]:
    """Return the headers of model files by kind."""
    return {str(kind): read_header(path) for kind, path in paths.items()}
