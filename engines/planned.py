"""A network on TensorRT: with the plan of the cache, or once one has been built.

A plan is used only where it belongs; one that does not, or is damaged, is built again, with one
logged line that says why. Until then ONNX Runtime runs the network, see `switching.py`.
"""

import logging
from typing import TYPE_CHECKING, Literal

from .build_process import BuildProcess
from .compiled import Compiled, compiled_networks, find
from .engine import ModelError
from .fallback import FallbackNetwork
from .machine import machine
from .metadata import find_header, model_hash, parse_model
from .network import Network, Tensor
from .options import EngineOptions, Precision
from .plan import PlanMismatch, key_for, read_plan
from .profiles import SIDE, Shapes, shapes_for
from .switching import SwitchingNetwork

if TYPE_CHECKING:
    from onnx import ModelProto

TEACHER_SIDE = 640  # longest side of pictures that a network without a header of ours is given

logger = logging.getLogger(__name__)


def tensorrt_network(model: bytes, name: str, options: EngineOptions) -> Network:
    """Return a network on TensorRT: with the plan of the cache, or once one has been built.

    Parameters
    ----------
    model : bytes
        The original ONNX file.
    name : str
        For messages.
    options : EngineOptions
        Its precision is that of the plan, fp32 without.

    Raises
    ------
    ModelError
        If there is no GPU or TensorRT, or no network can be opened: one line.

    Examples
    --------
    >>> network = tensorrt_network(model, "object.onnx", EngineOptions())  # doctest: +SKIP
    >>> network.backend  # doctest: +SKIP
    'onnxruntime-cuda'
    """
    precision = options.precision or "fp32"
    hash_ = model_hash(model)
    key_for(hash_, precision, {}, options.device)  # raises where there is nothing to build with
    may_return = options.engine == "auto"

    def first() -> Network:
        return _meanwhile(model, name, options)

    def load(plan: Compiled) -> Network:
        from .trt import TrtNetwork

        key = key_for(hash_, plan.precision, plan.shapes, options.device)
        content = read_plan(plan.path, key)
        return TrtNetwork(content, name, device=options.device, precision=plan.precision)

    plan = _find(hash_, precision, options.device)
    if plan is not None and plan.report and not plan.passed:
        logger.warning(
            "%s: its plan was found to give other scores and is not used; build it again with "
            "`playspot compile --engine tensorrt`",
            name,
        )
        return _meanwhile(model, name, options)
    why = _others(hash_, precision, options.device)
    if plan is not None:
        try:
            read_plan(plan.path, key_for(hash_, precision, plan.shapes, options.device))
        except PlanMismatch as error:
            why = f"its plan {error}"
        else:
            return SwitchingNetwork(first, None, load, name=name, plan=plan, may_return=may_return)
    if why:
        logger.warning("%s: %s; it is built again", name, why)
    shapes = None if plan is None else plan.shapes
    wanted = plan_order(model, name, precision, shapes=shapes, device=options.device)
    source = _source(model, name, precision, options.device)
    build = BuildProcess(source, wanted, replaces=plan, device=options.device)
    try:
        return SwitchingNetwork(first, build, load, name=name, may_return=may_return)
    except BaseException:
        build.close()
        raise


def _meanwhile(model: bytes, name: str, options: EngineOptions) -> Network:
    """Return a network on ONNX Runtime: on the GPU if that can be, and as long as it can."""
    from .availability import availability
    from .ort import OrtNetwork

    def on(device: Literal["cpu", "cuda"]) -> Network:
        threads, gpu = options.threads, options.device
        return OrtNetwork(model, name, threads=threads, device=device, gpu=gpu)

    if availability("cuda", options.device).is_there:
        try:
            return FallbackNetwork(on("cuda"), lambda: on("cpu"), name)
        except ModelError as error:
            logger.warning("%s: until there is a plan on the CPU, as %s", name, error)
    return on("cpu")


def plan_order(
    model: bytes,
    name: str,
    precision: Precision = "fp32",
    *,
    shapes: Shapes | None = None,
    device: int = 0,
) -> Compiled:
    """Return what a plan of a model is to be called and to be for, before it is built.

    Parameters
    ----------
    model : bytes
        The original ONNX file.
    name : str
        For messages.
    precision : {"fp32", "fp16", "bf16", "int8"}
    shapes : dict, optional
        See `profiles.shapes_for`; what the pipeline gives its networks, without.
    device : int
        Number of the GPU.

    Raises
    ------
    ModelError
        If the model cannot be used, or it is not known what sizes it takes: one line.
    """
    proto = parse_model(model, name)
    header = find_header(proto, name)
    inputs = _inputs(proto)
    kind, side = _kind(inputs)
    if header is not None:
        kind, side = header.kind, header.picture_side if header.kind == "object" else SIDE
    return Compiled(
        model_hash=model_hash(model),
        model_name="" if header is None else header.name,
        kind=kind,
        backend="tensorrt",
        precision=precision,
        machine=machine("tensorrt", device),
        shapes=shapes_for(inputs, kind, side=side) if shapes is None else shapes,
    )


def _find(hash_: str, precision: Precision, device: int) -> Compiled | None:
    """Return the newest plan that has passed, else the newest."""
    for passed in (True, False):
        found = find(hash_, "tensorrt", precision, device=device, passed=passed)
        if found is not None:
            return found
    return None


def _others(hash_: str, precision: Precision, device: int) -> str:
    """Return why none of the plans of a model belongs here; empty if one does, or none is there."""
    here = machine("tensorrt", device)
    there = [
        one.machine
        for one in compiled_networks()
        if (one.model_hash, one.backend, one.precision) == (hash_, "tensorrt", precision)
    ]
    if not there or here in there:
        return ""
    return f"its plan was built for {there[0]}, this is {here}"


def _source(model: bytes, name: str, precision: Precision, device: int) -> bytes:
    """Return the ONNX file that a plan in some precision is built from."""
    if precision == "fp32":
        return model
    # int8 for a CPU has zeros that are not in the middle, which TensorRT refuses.
    is_other = precision == "int8"
    converted = None if is_other else find(model_hash(model), "onnx", precision, device=device)
    if converted is None:
        raise ModelError(
            f"{name}: there is no {precision} plan for this machine, and none can be made of the "
            f"model alone; use `playspot compile --engine tensorrt --precision {precision}`"
        )
    return converted.read()


def _inputs(proto: "ModelProto") -> tuple[Tensor, ...]:
    from onnx import helper

    weights = {tensor.name for tensor in proto.graph.initializer}
    found = []
    for value in proto.graph.input:
        if value.name not in weights:
            kind = value.type.tensor_type
            axes = (
                d.dim_value if d.HasField("dim_value") else d.dim_param or "any"
                for d in kind.shape.dim
            )
            dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
            found.append(Tensor(value.name, dtype, tuple(axes)))
    return tuple(found)


def _kind(inputs: tuple[Tensor, ...]) -> tuple[str, int]:
    """Return what the axes of a network without a header of ours are, and its longest side."""
    shapes = [tensor.shape for tensor in inputs]
    is_pictures = len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][3] == 3
    return ("object", TEACHER_SIDE) if is_pictures else ("flow", SIDE)
