"""What a network costs by its graph: hand counts, the paper's networks, and the roofline."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from playspot.engines.catalogue import bundled
from playspot.training.graph_cost import GraphCost, OperatorCost, graph_cost
from playspot.training.roofline import Peak, cpu_peak

FLOAT = TensorProto.FLOAT


def graph(
    nodes: list[Any],
    size: tuple[int, ...],
    *,
    weights: dict[str, Any] | None = None,
    element: int = FLOAT,
    rank: int | None = None,
) -> onnx.ModelProto:
    """Return a model of one input x of any size, and one output y."""
    axes = [f"axis{k}" for k in range(len(size))]
    return helper.make_model(
        helper.make_graph(
            nodes,
            "made",
            [helper.make_tensor_value_info("x", element, axes)],
            [helper.make_tensor_value_info("y", element, [None] * len(size))],
            [numpy_helper.from_array(np.asarray(w), name) for name, w in (weights or {}).items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )


def of(nodes: list[Any], size: tuple[int, ...], **options: Any) -> GraphCost:
    return graph_cost(graph(nodes, size, **options), {"x": size})


def test_a_convolution_is_its_products_and_its_bias() -> None:
    weights = {"w": np.zeros((8, 2, 3, 3), np.float32), "b": np.zeros(8, np.float32)}
    conv = helper.make_node("Conv", ["x", "w", "b"], ["y"], group=2, pads=[1] * 4, strides=[2, 2])
    cost = of([conv], (1, 4, 10, 6), weights=weights)
    n_out = 8 * 5 * 3
    assert cost.flop == n_out * (2 * 2 * 9 + 1)
    assert cost.n_bytes == 4 * (4 * 10 * 6 + 8 * 2 * 9 + 8 + n_out)


def test_a_product_of_matrices_counts_multiply_adds_as_two() -> None:
    weights = {"w": np.zeros((7, 5), np.float32)}
    product = of([helper.make_node("MatMul", ["x", "w"], ["y"])], (2, 3, 7), weights=weights)
    assert product.flop == 2 * (2 * 3 * 5) * 7


def test_a_gemm_counts_its_bias_and_knows_which_side_is_turned() -> None:
    weights = {"w": np.zeros((7, 5), np.float32), "b": np.zeros(5, np.float32)}
    gemm = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transA=1)
    assert of([gemm], (7, 3), weights=weights).flop == 3 * 5 * (2 * 7 + 1)


def test_elementwise_operators_cost_one_an_element_and_moves_none() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Transpose", ["a"], ["b"], perm=[1, 0]),
        helper.make_node("Sqrt", ["b"], ["y"]),
    ]
    cost = of(nodes, (3, 4))
    assert cost.flop == 2 * 12
    assert cost.by_operator()["Transpose"] == (0, 2 * 12 * 4)


def test_a_pool_looks_at_all_of_its_window() -> None:
    pool = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2])
    assert of([pool], (1, 2, 7, 7)).flop == 2 * 3 * 3 * 9


def test_half_precision_moves_half_the_bytes() -> None:
    add = [helper.make_node("Add", ["x", "x"], ["y"])]
    whole, half = of(add, (4, 5)), of(add, (4, 5), element=TensorProto.FLOAT16)
    assert (whole.n_bytes, half.n_bytes) == (2 * 20 * 4, 2 * 20 * 2)


def test_what_is_quantised_is_read_and_written_as_bytes() -> None:
    weights = {
        "w": np.zeros((4, 4, 1, 1), np.int8),
        "s": np.float32(1),
        "z": np.int8(0),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["v"]),
        helper.make_node("Conv", ["d", "v"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "s", "z"], ["y"]),
    ]
    cost = of(nodes, (1, 4, 2, 2), weights=weights)
    assert [operator.operator for operator in cost.operators] == ["Conv"]
    assert cost.n_bytes == 16 + 16 + 16  # input, weights, output: a byte each
    assert cost.flop == 16 * 2 * 4


def image_fcn(n_channels: int) -> onnx.ModelProto:
    """Return TABLE II of the paper as printed: pools round up, conv6 without padding."""
    layers = [
        (96, n_channels, 7, 2, 3), (256, 96, 5, 2, 2), (512, 256, 3, 1, 1), (512, 512, 3, 1, 1),
        (512, 512, 3, 1, 1), (2048, 512, 3, 1, 0), (1024, 2048, 1, 1, 0), (9, 1024, 1, 1, 0),
    ]  # fmt: skip
    nodes, weights, at = [], {}, "x"
    for k, (n_out, n_in, kernel, stride, pad) in enumerate(layers, 1):
        weights[f"w{k}"] = np.zeros((n_out, n_in, kernel, kernel), np.float32)
        to = "y" if k == len(layers) else f"c{k}"
        nodes.append(
            helper.make_node("Conv", [at, f"w{k}"], [to], strides=[stride] * 2, pads=[pad] * 4)
        )
        at = to
        if k in (1, 2, 5):
            nodes.append(
                helper.make_node(
                    "MaxPool", [at], [f"p{k}"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1
                )
            )
            at = f"p{k}"
    return graph(nodes, (1, n_channels, 144, 256), weights=weights)


@pytest.mark.parametrize(("n_channels", "gmac"), [(3, 1.47), (10, 1.77)])
def test_the_networks_of_the_paper_cost_what_was_counted_by_hand(
    n_channels: int, gmac: float
) -> None:
    cost = graph_cost(image_fcn(n_channels), {"x": (1, n_channels, 144, 256)})
    assert cost.by_operator()["Conv"][0] / 2e9 == pytest.approx(gmac, abs=0.01)


def test_the_bundled_action_network_costs_its_layers() -> None:
    path = bundled()["action"].path
    assert path is not None
    cost = graph_cost(path.read_bytes(), {"stacks": (2, 10, 144, 256)})
    # Width 0.25: outputs x inputs x kernel x places, all padded so that sizes halve and round up.
    layers = [
        24 * 10 * 49 * 72 * 128, 64 * 24 * 25 * 18 * 32, 128 * 64 * 9 * 9 * 16,
        2 * 128 * 128 * 9 * 9 * 16, 512 * 128 * 9 * 5 * 8, 256 * 512 * 5 * 8, 9 * 256 * 5 * 8,
    ]  # fmt: skip
    conv = cost.by_operator()["Conv"][0] / 2  # a bias an output element on top
    assert conv == pytest.approx(2 * sum(layers), rel=0.005)


def test_an_input_without_a_size_is_told() -> None:
    model = graph([helper.make_node("Relu", ["x"], ["y"])], (2, 2))
    with pytest.raises(ValueError, match="x has 2 axes"):
        graph_cost(model, {})


def test_shapes_that_follow_from_values_are_found_by_a_run() -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["n"]), helper.make_node("Neg", ["n"], ["y"])]
    model = graph(nodes, (2, 3))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    assert graph_cost(model, {"x": (2, 3)}).by_operator()["Neg"] == (0, 0)  # of zeros: none


def test_the_roof_is_the_lower_of_arithmetic_and_memory() -> None:
    cost = GraphCost((OperatorCost("a", "Conv", 1000, 100),))
    assert Peak(1e9, 1e6, "made up").share(cost, 1e-3) == pytest.approx(0.1)
    assert Peak(1e6, 1e9, "made up").share(cost, 1e-3) == pytest.approx(1.0)


def test_the_processor_is_probed() -> None:
    peak = cpu_peak(0.0)
    assert peak.flops > 1e8
    assert peak.bandwidth > 1e7
