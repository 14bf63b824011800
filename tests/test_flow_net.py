"""The flow network as it is shipped: OpenCV's flow, any size, no PyTorch."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from playspot.engines import EngineOptions, ModelError, flow_net
from playspot.engines.flow_net import FlowNet, flow_model
from playspot.stream.flow_method import farneback

Greys = NDArray[np.uint8]  # (B, T, H, W)

MEAN, P99 = 0.005, 0.05  # pixels, of the distance to OpenCV's flow


@pytest.fixture(scope="module")
def net() -> Iterator[FlowNet]:
    net = FlowNet(EngineOptions(engine="onnx"))
    yield net
    net.close()


def moving(height: int, width: int, n_batch: int = 1, n_frames: int = 2) -> Greys:
    """Return sequences in which a texture moves, each in another way."""
    rng = np.random.default_rng(height)
    large = cv2.GaussianBlur(rng.random((height + 40, width + 40)), (0, 0), 3.0)
    texture = np.asarray(255 * (large - large.min()) / np.ptp(large), np.uint8)
    frames = np.zeros((n_batch, n_frames, height, width), np.uint8)
    for batch in range(n_batch):
        for time in range(n_frames):
            down, right = 2 * time, (3 + batch) * time
            frames[batch, time] = texture[down : down + height, right : right + width]
    return frames


@pytest.mark.parametrize("size", [(144, 256), (192, 256), (256, 144), (257, 259), (61, 87)])
def test_the_flow_is_that_of_opencv_at_any_size(net: FlowNet, size: tuple[int, int]) -> None:
    frames = moving(*size)
    flow = net.flows(frames)[0, 0]
    distance = np.linalg.norm(flow - farneback(frames[0, 0], frames[0, 1]), axis=0)
    assert distance.mean() <= MEAN
    assert np.quantile(distance, 0.99) <= P99


def test_each_sequence_of_a_batch_has_its_own_flows(net: FlowNet) -> None:
    frames = moving(48, 64, n_batch=3, n_frames=4)
    flows = net.flows(frames)
    assert flows.shape == (3, 3, 2, 48, 64)
    assert flows.dtype == np.float32
    for sequence, found in zip(frames, flows, strict=True):
        # Sums of a batch may be in another order; where little is to be seen that is amplified.
        np.testing.assert_allclose(net.flows(sequence[None])[0], found, atol=1e-3)


def test_between_two_equal_frames_nothing_moves(net: FlowNet) -> None:
    frames = moving(48, 64)[:, [0, 0, 1]]
    flows = net.flows(frames)[0]
    assert not flows[0].any()
    assert flows[1].any()


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((1, 2, 32, 32), np.float32),
        np.zeros((2, 32, 32), np.uint8),
        np.zeros((1, 1, 32, 32), np.uint8),
        np.zeros((0, 2, 32, 32), np.uint8),
        np.zeros((1, 2, 15, 32), np.uint8),
    ],
)
def test_frames_of_another_type_or_shape_are_refused(net: FlowNet, frames: Greys) -> None:
    with pytest.raises(ValueError, match="two or more in time, of 16 x 16 pixels or more"):
        net.flows(frames)


def test_the_smallest_frames_have_finite_flow(net: FlowNet) -> None:
    assert np.isfinite(net.flows(moving(16, 16))).all()


def test_a_closed_network_says_so() -> None:
    net = FlowNet(EngineOptions(engine="onnx"))
    assert net.backend == "onnxruntime-cpu"
    net.close()
    net.close()
    assert net.backend == "none"
    with pytest.raises(ValueError, match="is closed; open it again"):
        net.flows(moving(32, 32))


def test_the_precision_of_the_other_networks_does_not_count() -> None:
    FlowNet(EngineOptions(engine="onnx", precision="int8")).close()


def test_it_needs_no_pytorch() -> None:
    code = (
        "import sys; from playspot.engines import EngineOptions\n"
        "from playspot.engines.flow_net import FlowNet; FlowNet(EngineOptions(engine='onnx'))\n"
        "from playspot.engines.fuse import fuse_flow\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_the_file_is_small_and_knows_any_size() -> None:
    content = flow_model()
    assert len(content) < 200_000
    graph = onnx.load_model_from_string(content).graph
    sizes = [
        [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (graph.input[0], graph.output[0])
    ]
    assert sizes == [
        ["batch", "frames", "height", "width"],
        ["batch", "flows", 2, "height", "width"],
    ]


def test_the_file_has_only_what_tensorrt_and_cuda_know() -> None:
    model = onnx.load_model_from_string(flow_model())
    # The GridSample of opset 20 has another mode name, and ONNX Runtime's CUDA has that of 16.
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 18)]
    graph = model.graph
    assert {node.domain for node in graph.node} == {""}
    kinds = {node.op_type for node in graph.node}
    assert not kinds & {"If", "Loop", "Scan", "Mod", "NonZero", "ScatterND", "GatherND"}
    # TensorRT counts to an open length in integers only.
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    counted = {types[node.output[0]] for node in graph.node if node.op_type == "Range"}
    assert counted == {onnx.TensorProto.INT64}


def test_the_file_gives_what_the_module_gives(net: FlowNet) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'playspot[train]'")
    from playspot.models import FarnebackFlow

    for size in [(144, 256), (61, 87)]:
        frames = moving(*size, n_batch=2, n_frames=3)
        with torch.inference_mode():
            expected = FarnebackFlow().sequence(torch.from_numpy(frames)).numpy()
        # The same sums in another order: 1e-6 is usual.
        np.testing.assert_allclose(net.flows(frames), expected, atol=1e-3)


def test_it_refuses_what_the_module_refuses() -> None:
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'playspot[train]'")
    from playspot.models import flow

    assert flow.SMALLEST_SIDE == flow_net.SMALLEST_SIDE


def test_a_new_export_gives_what_the_module_gives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'playspot[train]'")
    pytest.importorskip("onnxscript", reason="needs onnxscript: pip install 'playspot[train]'")
    from playspot.engines.export import export_flow
    from playspot.engines.ort import OrtNetwork
    from playspot.models import FarnebackFlow, flow

    # All of it takes the exporter more than a minute; the test before this one is about the rest.
    monkeypatch.setattr(flow, "_refine", lambda before, after, flow: (after - before)[:, :2])
    module = FarnebackFlow(levels=0)
    export_flow(tmp_path / "flow.onnx", module)
    frames = moving(61, 87, n_batch=2, n_frames=3)
    found = OrtNetwork((tmp_path / "flow.onnx").read_bytes(), "flow").run({"frames": frames})
    with torch.inference_mode():
        expected = module.sequence(torch.from_numpy(frames)).numpy()
    np.testing.assert_allclose(found["flow"], expected, atol=1e-3)


def test_an_export_to_nowhere_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="needs PyTorch: pip install 'playspot[train]'")
    from playspot.engines.export import export_flow

    with pytest.raises(ModelError, match=r"there is no folder .*nowhere; make it first"):
        export_flow(tmp_path / "nowhere" / "flow.onnx")
