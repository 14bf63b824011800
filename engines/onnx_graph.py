"""What the passes over ONNX graphs share."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto


PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})  # where nearly all time goes


def replace_nodes(graph: "GraphProto", nodes: "list[NodeProto]") -> None:
    """Give a graph other nodes; weights that nothing uses any more go, and old types of values."""
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    del graph.value_info[:]
    used = {name for node in graph.node for name in node.input}
    used |= {output.name for output in graph.output}
    weights = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(weights)
