"""Optical flow and an action model become one network: only grey frames go in.

In: an action model that takes flow stacks, float32 (B, 10, H, W). Out: one that takes the six grey
frames of a stack, uint8 (B, 6, H, W), and gives the same scores. Needs no PyTorch.
"""

from typing import TYPE_CHECKING, Final

from .engine import ModelError
from .flow_net import flow_model
from .metadata import find_header, model_hash, one_line, parse_model, write_header

if TYPE_CHECKING:
    from onnx import ModelProto

N_FRAMES: Final = 6  # of a stack
N_CHANNELS: Final = 2 * (N_FRAMES - 1)
PREFIX: Final = "flow/"  # of what belongs to the flow network, so that no two have one name


def fuse_flow(action_model: bytes, name: str = "the model") -> bytes:
    """Return an action model with the flow network in front of it.

    Parameters
    ----------
    action_model : bytes
        An ONNX file with Playspot's header, of a model that takes stacks, in any precision.
    name : str
        For the messages of errors.

    Returns
    -------
    model : bytes
        An ONNX file for frames of any size that both networks take, from 16 x 16 pixels on. Its
        header is the model's, but `takes` frames; `provenance` has the model's hash as
        `fused_from`.

    Raises
    ------
    ModelError
        If it is no such model, or cannot be joined to the flow network.

    Examples
    --------
    >>> fused = fuse_flow(Path("action.onnx").read_bytes())  # doctest: +SKIP
    """
    from onnx import compose  # here: who fuses nothing does not pay for it

    action = parse_model(action_model, name)
    header = find_header(action, name)
    if header is None or header.kind != "action" or not _takes_stacks(action):
        raise ModelError(f"{name}: not an action model that takes flow stacks; give one that does")
    try:
        flow = _stacks(parse_model(flow_model(), "the flow network"))
        opset = max(_opset(flow), _opset(action))
        flow, action = _raised(flow, opset), _raised(action, opset)
        flow.ir_version = action.ir_version = max(flow.ir_version, action.ir_version)
        flow = compose.add_prefix(flow, PREFIX)
        joint = [(flow.graph.output[0].name, action.graph.input[0].name)]
        fused = compose.merge_models(flow, action, io_map=joint, producer_name="playspot")
    except (ValueError, RuntimeError) as error:  # what onnx raises; its checker's are ValueErrors
        raise ModelError(
            f"{name}: cannot be joined to the flow network ({one_line(error)}); export it again"
        ) from None
    _rename_input(fused, "frames")
    provenance = {**header.provenance, "fused_from": model_hash(action_model)}
    write_header(fused, header.model_copy(update={"takes": "frames", "provenance": provenance}))
    content: bytes = fused.SerializeToString(deterministic=True)
    return content


def _takes_stacks(action: "ModelProto") -> bool:
    from onnx import TensorProto

    if len(action.graph.input) != 1:
        return False
    given = action.graph.input[0].type.tensor_type
    axes = [axis.dim_value for axis in given.shape.dim]
    is_float: bool = given.elem_type == TensorProto.FLOAT
    return is_float and len(axes) == 4 and axes[1] == N_CHANNELS


def _stacks(flow: "ModelProto") -> "ModelProto":
    """Return the flow network for the frames of a stack, its flows in the axes of one."""
    from onnx import TensorProto, helper

    graph = flow.graph
    axes = graph.input[0].type.tensor_type.shape.dim
    axes[1].dim_value = N_FRAMES
    # (B, 5, 2, H, W) -> (B, 10, H, W): a 0 leaves an axis as it is.
    graph.initializer.append(
        helper.make_tensor("channels", TensorProto.INT64, [2], [0, N_CHANNELS])
    )
    graph.node.extend(
        [
            helper.make_node("Shape", [graph.output[0].name], ["size"], start=3),
            helper.make_node("Concat", ["channels", "size"], ["shape"], axis=0),
            helper.make_node("Reshape", [graph.output[0].name, "shape"], ["stacks"]),
        ]
    )
    shape = [axes[0].dim_param, N_CHANNELS, axes[2].dim_param, axes[3].dim_param]
    graph.output[0].CopyFrom(helper.make_tensor_value_info("stacks", TensorProto.FLOAT, shape))
    return flow


def _opset(model: "ModelProto") -> int:
    versions = (item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    return max(versions, default=0)


def _raised(model: "ModelProto", opset: int) -> "ModelProto":
    from onnx import version_converter

    return model if _opset(model) == opset else version_converter.convert_version(model, opset)


def _rename_input(model: "ModelProto", name: str) -> None:
    old = model.graph.input[0].name
    model.graph.input[0].name = name
    for node in model.graph.node:
        for place, tensor in enumerate(node.input):
            if tensor == old:
                node.input[place] = name
