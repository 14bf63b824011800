"""The flow network in PyTorch: against OpenCV, and against what moved by a known amount."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'playspot[train]'")

from playspot.models import FarnebackFlow  # noqa: E402
from playspot.stream.timeline import FLOW_LIMIT, TICK_SAMPLES  # noqa: E402
from playspot.training.band import Band, parse_options  # noqa: E402

Greys = NDArray[np.uint8]  # (T, H, W)

SIZES = [(144, 256), (192, 256), (256, 144), (256, 256), (143, 255), (61, 87)]
MEAN, P99 = 0.005, 0.05  # pixels; single precision, where OpenCV sums in double


def opencv(greys: Greys, levels: int = 3) -> NDArray[np.float32]:
    """Return OpenCV's flows of frames in a row, (T - 1, 2, H, W)."""
    call: Any = cv2.calcOpticalFlowFarneback
    flows = [call(a, b, None, 0.5, levels, 15, 3, 5, 1.2, 0) for a, b in pairwise(greys)]
    return np.stack(flows).transpose(0, 3, 1, 2)


def network(greys: Greys, levels: int = 3) -> NDArray[np.float32]:
    """Return the network's flows of frames in a row, pair by pair, (T - 1, 2, H, W)."""
    frames = torch.from_numpy(greys)[:, None]
    with torch.inference_mode():
        flows: NDArray[np.float32] = FarnebackFlow(levels)(frames[:-1], frames[1:]).numpy()
    return flows


def distances(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.linalg.norm(one - other, axis=-3))


def resized(greys: Greys, size: tuple[int, int]) -> Greys:
    scaled = [cv2.resize(grey, size[::-1], interpolation=cv2.INTER_AREA) for grey in greys]
    return np.asarray(scaled, np.uint8)


@pytest.fixture(scope="module")
def rendered() -> Greys:
    """Return a second of the bandstand."""
    band = Band(parse_options("bandstand://?seed=4&size=512x288"))
    pictures = [band.frame(80_000 + TICK_SAMPLES * tick) for tick in range(4)]
    return np.stack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures])


@pytest.fixture(scope="module")
def filmed(shared: Path) -> list[Greys]:
    """Return two frames, 0.1 s apart, of real clips."""
    found: list[Greys] = []
    for path in sorted((shared / "data" / "video").iterdir())[:4]:
        with av.open(str(path)) as container:
            greys = [
                frame.to_ndarray(format="gray")
                for _, frame in zip(range(44), container.decode(video=0), strict=False)
            ]
        found.append(np.asarray([greys[-4], greys[-1]], np.uint8))
    return found


@pytest.fixture
def texture(rng: np.random.Generator) -> Callable[[int, int], Greys]:
    """Return what makes a picture that has something to follow everywhere."""

    def make(height: int, width: int) -> Greys:
        noise = cv2.GaussianBlur(rng.random((height, width)), (0, 0), 3.0)
        return np.asarray(255 * (noise - noise.min()) / np.ptp(noise), np.uint8)

    return make


@pytest.mark.parametrize("size", SIZES)
def test_rendered_pairs_have_the_flow_of_opencv(rendered: Greys, size: tuple[int, int]) -> None:
    greys = resized(rendered, size)
    error = distances(network(greys), opencv(greys))
    assert error.mean() <= MEAN
    assert np.quantile(error, 0.99) <= P99


@pytest.mark.parametrize("size", SIZES)
def test_real_pairs_have_the_flow_of_opencv(filmed: list[Greys], size: tuple[int, int]) -> None:
    pairs = [resized(pair, size) for pair in filmed]
    error = np.stack([distances(network(pair), opencv(pair)) for pair in pairs])
    assert error.mean() <= MEAN
    assert np.quantile(error, 0.99) <= P99


@pytest.mark.parametrize("side", [63, 64, 127, 128, 255, 256])
def test_the_pyramid_is_as_deep_as_opencv_makes_it(
    texture: Callable[[int, int], Greys], side: int
) -> None:
    wide = texture(side, 320)
    greys = np.stack([wide[:, :-20], wide[:, 20:]])  # so far that it takes every level
    assert distances(network(greys), opencv(greys)).mean() <= MEAN


def test_levels_is_how_deep_the_pyramid_is_at_most(
    texture: Callable[[int, int], Greys],
) -> None:
    wide = texture(128, 160)
    greys = np.stack([wide[:, :-8], wide[:, 8:]])
    assert distances(network(greys, 1), opencv(greys, 1)).mean() <= MEAN
    assert distances(network(greys, 1), opencv(greys)).mean() > MEAN


def test_what_moves_three_pixels_down_and_two_to_the_left_has_that_flow(
    texture: Callable[[int, int], Greys],
) -> None:
    large = texture(147, 258)
    flow = network(np.stack([large[3:, :-2], large[:-3, 2:]]))[0]
    inner = flow[:, 20:-20, 20:-20].mean((1, 2))
    np.testing.assert_allclose(inner, [-2, 3], atol=0.05)  # at a pixel it is uncertain by more


def test_a_sequence_has_the_flows_of_its_pairs(rendered: Greys) -> None:
    greys = resized(rendered, (72, 128))
    batch = np.stack([greys, greys[::-1]])
    with torch.inference_mode():
        flows = FarnebackFlow().sequence(torch.from_numpy(batch)).numpy()
    assert flows.dtype == np.float32
    pairs = np.stack([network(np.ascontiguousarray(of_one)) for of_one in batch])
    # Sums of a batch may be in another order; where little is to be seen that is amplified.
    np.testing.assert_allclose(flows, pairs, atol=1e-3)


def test_between_two_equal_frames_nothing_moves(rendered: Greys) -> None:
    first, second = resized(rendered[:2], (72, 128))
    frames = torch.from_numpy(np.stack([first, first, second])[None])
    with torch.inference_mode():
        flows = FarnebackFlow().sequence(frames)[0]
    assert not flows[0].any()
    assert flows[1].any()


def test_a_sequence_is_clipped_to_what_a_signed_byte_holds(
    monkeypatch: pytest.MonkeyPatch, rendered: Greys
) -> None:
    far = torch.tensor([-1000.0, 1000.0]).view(1, 1, 2, 1, 1)
    monkeypatch.setattr(FarnebackFlow, "_flows", lambda self, grey: far)
    flows = FarnebackFlow().sequence(torch.from_numpy(rendered[None, :2]))
    assert flows.flatten().tolist() == [-FLOW_LIMIT, FLOW_LIMIT - 1]


def test_bytes_and_floats_have_the_same_flow(rendered: Greys) -> None:
    frames = torch.from_numpy(resized(rendered[:2], (48, 64)))[:, None, None]
    flow = FarnebackFlow()
    assert torch.equal(flow(frames[0], frames[1]), flow(frames[0].float(), frames[1].float()))


@pytest.mark.parametrize(
    ("one", "other"),
    [((1, 1, 32, 32), (1, 1, 32, 33)), ((1, 2, 32, 32),) * 2, ((32, 32),) * 2],
)
def test_frames_of_another_shape_are_refused(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"give two of \(B, 1, H, W\)"):
        FarnebackFlow()(torch.zeros(one), torch.zeros(other))


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (1, 2, 15, 32), (1, 2, 32, 15)])
def test_one_frame_or_too_small_ones_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="two or more of at least 16 x 16 pixels"):
        FarnebackFlow().sequence(torch.zeros(shape))
