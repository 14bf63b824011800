"""Flow and action in one network: the scores of both, one after the other."""

from importlib import resources
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import version_converter

from playspot.engines import ModelEngine, ModelError
from playspot.engines.fuse import fuse_flow
from playspot.engines.metadata import find_header, model_hash, parse_model, write_header
from playspot.engines.options import ORIGINAL
from playspot.stream.flow_method import farneback

Greys = NDArray[np.uint8]  # (6, H, W)

# Of a score; 1e-6 is usual. Where real frames have a pixel whose motion ends just at the border, a
# rounding error decides on which side, and its flow is another one.
MEAN, P99, LARGEST = 1e-3, 2e-3, 1e-4


@pytest.fixture(scope="module")
def action() -> bytes:
    """Return the bundled action model."""
    return (resources.files("playspot.models") / "action.onnx").read_bytes()


@pytest.fixture(scope="module")
def fused(action: bytes) -> bytes:
    return fuse_flow(action)


@pytest.fixture(scope="module")
def engine(fused: bytes) -> ModelEngine:
    return onnx_engine(fused)


@pytest.fixture(scope="module")
def engine_of_stacks(action: bytes) -> ModelEngine:
    return onnx_engine(action)


def onnx_engine(model: bytes) -> ModelEngine:
    return ModelEngine(model, options=ORIGINAL)


def in_turn(engine: ModelEngine, sequences: Greys) -> NDArray[np.float32]:
    """Return the scores of OpenCV's flow stacks, (B, 6, H, W) -> (B, K, h, w)."""
    stacks = [
        np.concatenate([farneback(*pair) for pair in pairwise(frames)]) for frames in sequences
    ]
    return engine(np.stack(stacks))


def moving(height: int, width: int) -> Greys:
    """Return two sequences of six frames in which a texture moves, (2, 6, H, W)."""
    rng = np.random.default_rng(height)
    large = cv2.GaussianBlur(rng.random((height + 20, width + 20)), (0, 0), 3.0)
    texture = np.asarray(255 * (large - large.min()) / np.ptp(large), np.uint8)
    frames = [
        [texture[speed * t : speed * t + height, 3 * t : 3 * t + width] for t in range(6)]
        for speed in (1, 4)
    ]
    return np.asarray(frames, np.uint8)


@pytest.mark.parametrize("size", [(144, 256), (96, 128)])
def test_a_fused_model_has_the_scores_of_flow_and_action(
    engine: ModelEngine, engine_of_stacks: ModelEngine, size: tuple[int, int]
) -> None:
    frames = moving(*size)
    np.testing.assert_allclose(engine(frames), in_turn(engine_of_stacks, frames), atol=LARGEST)


def test_real_frames_have_the_scores_of_flow_and_action(
    engine: ModelEngine, engine_of_stacks: ModelEngine, shared: Path
) -> None:
    import av

    sequences = []
    for path in sorted((shared / "data" / "video").iterdir())[:3]:
        with av.open(str(path)) as container:
            greys = [
                cv2.resize(frame.to_ndarray(format="gray"), (256, 144), interpolation=3)
                for _, frame in zip(range(36), container.decode(video=0), strict=False)
            ]
        sequences.append(greys[-21::4])
    frames = np.asarray(sequences, np.uint8)
    difference = np.abs(engine(frames) - in_turn(engine_of_stacks, frames))
    assert difference.mean() <= MEAN
    assert np.quantile(difference, 0.99) <= P99


def test_its_header_is_the_models_but_takes_frames(action: bytes, engine: ModelEngine) -> None:
    before = find_header(parse_model(action, "action"), "action")
    after = engine.header
    assert before is not None
    assert after.takes == "frames"
    assert after.provenance["fused_from"] == model_hash(action)
    rest = {"takes": before.takes, "provenance": before.provenance}
    assert after.model_copy(update=rest) == before


def test_fusing_twice_gives_the_same_file(action: bytes, fused: bytes) -> None:
    assert fuse_flow(action) == fused


def test_a_fused_model_refuses_stacks(engine: ModelEngine) -> None:
    with pytest.raises(ValueError, match=r"grey frames, uint8 \(B, 6, H, W\)"):
        engine(np.zeros((1, 10, 144, 256), np.float32))


def test_a_model_of_newer_operators_is_fused_too(action: bytes, engine: ModelEngine) -> None:
    proto = parse_model(action, "action")
    header = find_header(proto, "action")
    assert header is not None
    newer = version_converter.convert_version(proto, 21)
    write_header(newer, header)
    frames = moving(96, 128)
    scores = onnx_engine(fuse_flow(newer.SerializeToString()))(frames)
    np.testing.assert_allclose(scores, engine(frames), atol=1e-6)


def test_a_fused_model_is_not_fused_again(fused: bytes) -> None:
    with pytest.raises(ModelError, match="mine: not an action model that takes flow stacks"):
        fuse_flow(fused, "mine")


def test_an_object_model_is_not_fused() -> None:
    model = (resources.files("playspot.models") / "object.onnx").read_bytes()
    with pytest.raises(ModelError, match="not an action model that takes flow stacks"):
        fuse_flow(model)


def test_a_model_of_another_input_than_its_header_says_is_not_fused(action: bytes) -> None:
    proto = parse_model(action, "action")
    proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    with pytest.raises(ModelError, match="not an action model that takes flow stacks"):
        fuse_flow(proto.SerializeToString())


def test_a_model_of_unknown_operators_is_refused_in_one_line(action: bytes) -> None:
    proto = parse_model(action, "action")
    proto.opset_import[0].version = 99
    with pytest.raises(ModelError, match="mine: cannot be joined to the flow network") as caught:
        fuse_flow(proto.SerializeToString(), "mine")
    assert "\n" not in str(caught.value)
