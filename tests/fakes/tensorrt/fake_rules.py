"""What no TensorRT takes of a graph, though ONNX and ONNX Runtime do."""

from typing import Any

from onnx import TensorProto, numpy_helper


def asymmetric(graph: Any) -> str | None:
    """Return a pair's node whose zero is not that of a signed integer in the middle."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) > 2:
            zero = weights[node.input[2]]
            if zero.data_type != TensorProto.INT8 or numpy_helper.to_array(zero).any():
                return f"{node.op_type} {node.name}"
    return None


def reads_bytes(graph: Any) -> str | None:
    """Return what reads an input of bytes, and is no cast to a float of 16 or 32 bits."""
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    names = {name for name, kind in kinds.items() if kind == TensorProto.UINT8}
    for node in graph.node:
        to = [attribute.i for attribute in node.attribute if attribute.name == "to"]
        is_cast = node.op_type == "Cast" and to[0] in (TensorProto.FLOAT, TensorProto.FLOAT16)
        if not names.isdisjoint(node.input) and not is_cast:
            return f"{node.op_type} {node.name}"
    return None
