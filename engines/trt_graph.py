"""A network's graph as TensorRT takes it: other nodes, the same scores."""

from typing import TYPE_CHECKING

from .metadata import parse_model
from .onnx_graph import replace_nodes

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


def for_tensorrt(model: bytes, name: str = "the model") -> bytes:
    """Return a network as an ONNX file that TensorRT reads; as it is, where it does already.

    An input of bytes goes into a cast to fp32 and nowhere else: TensorRT has uint8 for inputs
    alone, and not even a transposition of it (NVIDIA/TensorRT, issue 3985). Every byte is exact in
    fp32, and a cast to whatever the network wants follows.

    Parameters
    ----------
    model : bytes
        An ONNX file.
    name : str
        For the messages of errors.

    Raises
    ------
    ModelError
        If the bytes are no ONNX model.
    """
    proto = parse_model(model, name)
    nodes = _with_casts(proto.graph)
    if len(nodes) == len(proto.graph.node):
        return model
    replace_nodes(proto.graph, nodes)
    return bytes(proto.SerializeToString(deterministic=True))


def _with_casts(graph: "GraphProto") -> "list[NodeProto]":
    from onnx import TensorProto, helper

    nodes = list(graph.node)
    for value in graph.input:
        given = value.name
        users = [node for node in nodes if given in node.input]
        is_bytes = value.type.tensor_type.elem_type == TensorProto.UINT8
        if not is_bytes or all(_casts_to_float(node) for node in users):
            continue
        cast = f"{given}_as_fp32"
        for node in users:
            node.input[:] = [cast if source == given else source for source in node.input]
        nodes.insert(0, helper.make_node("Cast", [given], [cast], cast, to=TensorProto.FLOAT))
    return nodes


def _casts_to_float(node: "NodeProto") -> bool:
    from onnx import TensorProto, helper

    if node.op_type != "Cast":
        return False
    to = helper.get_node_attr_value(node, "to")
    return to in (TensorProto.FLOAT, TensorProto.FLOAT16)
