"""The network in PyTorch from which an ONNX file was exported, rebuilt from the file alone.

The weights lie in the file under the names that they have in PyTorch. Batch norms were folded into
the convolutions before them by the exporter, so they are set to do nothing here.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..engines.engine import Header
from ..engines.metadata import find_header, parse_model
from ..engines.network import Arrays, Network

if TYPE_CHECKING:
    from ..models.net import Net


def rebuild(model: bytes) -> "Net":
    """Return the network of an ONNX file of ours, in evaluation mode.

    Raises
    ------
    ValueError
        If PyTorch is not installed, or the file is no export of one of our networks: a reason,
        for people.
    """
    proto = parse_model(model, "the model")
    header = find_header(proto, "the model")
    width = None if header is None else header.provenance.get("width")
    if header is None or not isinstance(width, int | float) or header.takes != "stacks":
        raise ValueError("not exported by `playspot train`")
    try:
        import torch
    except ImportError:
        raise ValueError("PyTorch is not installed") from None
    from onnx.numpy_helper import to_array

    from ..models.blocks import NetConfig
    from ..models.net import build

    net = build(NetConfig(header.kind, header.labels, float(width))).eval()
    found = {tensor.name: to_array(tensor) for tensor in proto.graph.initializer}
    weights = {name: torch.zeros_like(value) for name, value in net.state_dict().items()}
    for name, value in weights.items():
        if name.startswith("norm"):
            is_scale = name.endswith(("weight", "running_var"))
            value.fill_(float(is_scale))
        elif not name.startswith("standardise."):
            given = found.get(f"net.{name}")
            if given is None or given.shape != tuple(value.shape):
                raise ValueError(f"its weights {name} are not those of our network")
            value.copy_(torch.from_numpy(given.copy()))
    mean, scale = _standardise(proto, found)
    weights["standardise.mean"] = torch.from_numpy(mean.reshape(-1).copy())
    weights["standardise.scale"] = torch.from_numpy(scale.reshape(-1).copy())
    net.load_state_dict(weights)
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm1d):
            layer.eps = 0.0
    return net


def _standardise(
    proto: Any, found: dict[str, NDArray[Any]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what the first Sub and Div of the graph take: mean and scale."""
    values = []
    for kind in ("Sub", "Div"):
        node = next((node for node in proto.graph.node if node.op_type == kind), None)
        given = None if node is None else found.get(node.input[1])
        if given is None:
            raise ValueError("it does not standardise its input as our networks do")
        values.append(np.asarray(given, np.float32))
    return values[0], values[1]


class TorchNetwork:
    """A network of ours run by PyTorch, eagerly, on the CPU.

    Parameters
    ----------
    net : Net
    header : Header
    like : Network
        The same network, for its inputs and outputs.
    """

    backend = "torch"
    precision = "fp32"

    def __init__(self, net: "Net", header: Header, like: Network) -> None:
        self._net = net
        self._is_object = header.kind == "object"
        self.inputs = like.inputs
        self.outputs = like.outputs

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """Return the scores by their name."""
        import torch

        x = torch.from_numpy(np.array(feeds[self.inputs[0].name]))  # a view may not be written
        with torch.inference_mode():
            scores = self._net.scores(x.permute(0, 3, 1, 2) if self._is_object else x)
        return {"scores": scores.numpy()}

    def close(self) -> None:
        """Nothing is held."""
