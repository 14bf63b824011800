"""Ways to compute optical flow: what each gives, which is chosen, and why."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from playspot.engines import availability, flow_net
from playspot.engines.availability import Availability
from playspot.engines.build_process import build_into_store
from playspot.engines.engine import Header, ModelError
from playspot.engines.options import EngineOptions
from playspot.engines.planned import plan_order
from playspot.engines.switching import COMPARED
from playspot.stream.flow import FlowStream, stack_flow, stacks_of
from playspot.stream.flow_choice import FlowSettings, flow_line, flow_settings, open_flow
from playspot.stream.flow_method import Dis, Farneback, FlowMethod, farneback
from playspot.stream.flow_network import N_FRAMES, NetworkFlow
from playspot.stream.media import Grey, GreyFrame
from playspot.stream.timeline import FLOW_LIMIT

ON_CPU = EngineOptions(engine="onnx")
NOISE = cv2.GaussianBlur(np.random.default_rng(20189).random((60, 160)), (0, 0), 2.0)
TEXTURE = np.asarray(255 * (NOISE - NOISE.min()) / np.ptp(NOISE), np.uint8)
GREYS = [np.ascontiguousarray(TEXTURE[:36, 3 * i : 3 * i + 64]) for i in range(24)]
LARGE = [np.ascontiguousarray(TEXTURE[:48, 3 * i : 3 * i + 80]) for i in range(24)]
NETWORK = 2e-2  # px between the network and OpenCV at the worst pixel of these frames


@pytest.fixture(scope="module")
def network() -> Iterator[NetworkFlow]:
    method = NetworkFlow(ON_CPU)
    yield method
    method.close()


@pytest.fixture(scope="module", params=["farneback", "dis", "network"])
def method(request: pytest.FixtureRequest, network: NetworkFlow) -> FlowMethod:
    """Return every method in turn."""
    return network if request.param == "network" else open_flow(request.param)


class CountingNet:
    """What stands in for the network: OpenCV, and what it was given."""

    backend = "tensorrt"
    progress: float | None = None
    is_slow_next = False

    def __init__(self, options: EngineOptions) -> None:
        self.options = options
        self.shapes: list[tuple[int, ...]] = []

    def flows(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.shapes.append(frames.shape)
        return np.array([[farneback(*pair) for pair in pairwise(one)] for one in frames])

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> CountingNet:
    """Put a counting network in place of the network."""
    net = CountingNet(EngineOptions())
    monkeypatch.setattr(flow_net, "FlowNet", lambda options: net)
    return net


def gpu(monkeypatch: pytest.MonkeyPatch, *there: str) -> None:
    """Make the machine look as if it had a GPU that these backends can use."""

    def found(backend: Any, device: int = 0) -> Availability:
        return Availability(backend, backend in there, f"GPU {device}")

    monkeypatch.setattr(availability, "availability", found)


# What each gives


def test_frames_that_move_right_and_down_have_that_flow(method: FlowMethod) -> None:
    (flow,) = method.flows([(TEXTURE[2:58, 3:131], TEXTURE[:56, :128])])
    assert flow.shape == (2, 56, 128)
    assert flow.dtype == np.float32
    u, v = np.median(flow[:, 12:-12, 12:-12], axis=(1, 2))
    assert u == pytest.approx(3.0, abs=0.25)  # DIS is not as precise as the others
    assert v == pytest.approx(2.0, abs=0.25)


def test_the_flow_of_a_pair_does_not_depend_on_the_others(method: FlowMethod) -> None:
    pairs = [*pairwise(GREYS[:7]), *pairwise(LARGE[:3]), (GREYS[9], GREYS[3])]
    together = method.flows(pairs)
    for pair, flow in zip(pairs, together, strict=True):
        (alone,) = method.flows([pair])
        np.testing.assert_allclose(flow, alone, atol=1e-4)


def test_frames_of_different_sizes_are_refused(method: FlowMethod) -> None:
    with pytest.raises(ValueError, match="two of one size"):
        method.flows([(GREYS[0], LARGE[0])])
    with pytest.raises(ValueError, match="give grey uint8"):
        method.flows([(np.zeros((20, 20), np.float32), np.zeros((20, 20), np.float32))])


@pytest.mark.parametrize("size", [(1, 1), (1, 256), (256, 1), (5, 7), (11, 12), (16, 15)])
def test_tiny_pictures_work(
    method: FlowMethod, size: tuple[int, int], rng: np.random.Generator
) -> None:
    greys = rng.integers(0, 256, (6, *size), dtype=np.uint8)
    stacks = stack_flow(greys, method)
    assert stacks.shape == (2, 10, *size)
    assert np.isfinite(stacks).all()


def test_the_network_agrees_with_opencv(network: NetworkFlow) -> None:
    pairs = list(pairwise(LARGE[:6]))
    for ours, theirs in zip(network.flows(pairs), Farneback().flows(pairs), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=NETWORK)


def test_dis_is_that_of_opencv() -> None:
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    expected = dis.calc(GREYS[0], GREYS[1], None)  # type: ignore[call-overload]
    (flow,) = Dis().flows([(GREYS[0], GREYS[1])])
    np.testing.assert_array_equal(flow, expected.transpose(2, 0, 1))


def test_dis_is_clipped_to_a_signed_byte() -> None:
    method = Dis()

    class Far:
        def calc(self, *_: object) -> NDArray[np.float32]:
            return np.full((*GREYS[0].shape, 2), (-500.0, 500.0), np.float32)

    method._dis = Far()  # type: ignore[assignment]
    ((u, v),) = method.flows([(GREYS[0], GREYS[1])])
    assert np.all(u == -FLOW_LIMIT)
    assert np.all(v == FLOW_LIMIT - 1)


# The law, whatever the method


@settings(deadline=None, max_examples=6)
@given(ticks=st.sets(st.integers(0, 23), min_size=1), changed=st.integers(0, 24))
def test_a_stream_with_gaps_and_a_change_of_size_gives_the_stacks_of_the_definition(
    method: FlowMethod, ticks: set[int], changed: int
) -> None:
    frames = {t: (GREYS if t < changed else LARGE)[t] for t in sorted(ticks)}
    stream = FlowStream(method)
    stacks = [s for t, image in frames.items() for s in stream.push(GreyFrame(t, image))]
    stacks += stream.flush()
    assert [s.step for s in stacks] == [t // 4 for t in frames if t % 4 == 0]
    for stack in stacks:
        expected = by_the_book(frames, stack.step, method)
        np.testing.assert_allclose(stack.stack, expected, atol=1e-4)


def by_the_book(frames: dict[int, Grey], step: int, method: FlowMethod) -> NDArray[np.float32]:
    """Six frames of the step's size, the nearest earlier where one is missing; each flow alone."""
    size = frames[4 * step].shape
    of_size = {tick: image for tick, image in frames.items() if image.shape == size}
    first = of_size[min(of_size)]
    six = []
    for tick in range(4 * step - 2, 4 * step + 4):
        earlier = [t for t in of_size if t <= tick]
        six.append(of_size[max(earlier)] if earlier else first)
    still = np.zeros((2, *size), np.float32)
    return np.concatenate(
        [still if a is b else method.flows([(a, b)])[0] for a, b in pairwise(six)]
    )


def test_many_steps_of_many_streams_at_once_give_what_each_gives_alone(method: FlowMethod) -> None:
    videos = [GREYS[:9], LARGE[4:17], GREYS[10:], GREYS[3:5]]
    streams = [FlowStream(method) for _ in videos]
    ready = []
    for stream, video in zip(streams, videos, strict=True):
        for tick, image in enumerate(video):
            ready += [(stream, step) for step in stream.add(GreyFrame(tick, image))]
        ready += [(stream, step) for step in stream.finish()]
    stacks = iter(stacks_of(ready))
    for video in videos:
        for expected in stack_flow(video, method):
            np.testing.assert_allclose(next(stacks).stack, expected, atol=1e-4)
    assert next(stacks, None) is None


@settings(deadline=None, max_examples=30)
@given(
    ticks=st.sets(st.integers(0, 23), min_size=1),
    sizes=st.lists(st.booleans(), min_size=24, max_size=24),
    equal=st.sets(st.integers(1, 23)),
    delay=st.sampled_from([0, 3]),
)
def test_the_flows_between_the_frames_of_a_step_are_its_stack(
    ticks: set[int], sizes: list[bool], equal: set[int], delay: int
) -> None:
    images = [LARGE[t] if sizes[t // 3] else GREYS[t] for t in range(24)]
    for tick in sorted(equal):
        images[tick] = images[tick - 1].copy()
    with_flow, without = FlowStream(delay=delay), FlowStream(None, delay=delay)
    for tick in sorted(ticks):
        stacks = with_flow.push(GreyFrame(tick, images[tick]))
        frames = without.push(GreyFrame(tick, images[tick]))
        assert_same_motion(frames, stacks)
    assert_same_motion(without.flush(), with_flow.flush())


def assert_same_motion(frames: Sequence[Any], stacks: Sequence[Any]) -> None:
    assert [one.step for one in frames] == [one.step for one in stacks]
    for six, stack in zip(frames, stacks, strict=True):
        assert six.stack.dtype == np.uint8
        assert len(six.stack) == 6
        still = np.zeros((2, *six.stack.shape[1:]), np.float32)
        pairs = pairwise(six.stack)
        flows = [still if np.array_equal(a, b) else farneback(a, b) for a, b in pairs]
        np.testing.assert_array_equal(np.concatenate(flows), stack.stack)


# How the network is fed


def test_frames_that_follow_each_other_are_given_once(counting: CountingNet) -> None:
    pairs = list(pairwise(GREYS[:21]))
    flows = NetworkFlow(EngineOptions()).flows(pairs)
    np.testing.assert_array_equal(flows, Farneback().flows(pairs))
    assert counting.shapes == [(5, N_FRAMES, 36, 64)]  # 20 flows: five sequences of five frames


def test_every_sequence_has_one_shape(counting: CountingNet) -> None:
    pairs = [(GREYS[0], GREYS[1]), (GREYS[5], GREYS[7]), *pairwise(GREYS[7:10])]
    flows = NetworkFlow(EngineOptions()).flows(pairs)
    np.testing.assert_array_equal(flows, Farneback().flows(pairs))
    assert counting.shapes == [(2, N_FRAMES, 36, 64)]


def test_a_batch_is_bounded(counting: CountingNet) -> None:
    pairs = [(GREYS[i], GREYS[j]) for i in range(6) for j in range(6)]
    NetworkFlow(EngineOptions()).flows(pairs)
    assert max(shape[0] for shape in counting.shapes) == 16
    assert sum(shape[0] for shape in counting.shapes) >= len(pairs) - 6


def test_frames_of_one_size_go_together(counting: CountingNet) -> None:
    pairs = [(GREYS[0], GREYS[1]), (LARGE[0], LARGE[1]), (GREYS[3], GREYS[4])]
    flows = NetworkFlow(EngineOptions()).flows(pairs)
    for flow, expected in zip(flows, Farneback().flows(pairs), strict=True):
        np.testing.assert_array_equal(flow, expected)
    assert counting.shapes == [(2, N_FRAMES, 36, 64), (1, N_FRAMES, 48, 80)]


# Which is chosen


def test_without_a_gpu_it_is_farneback_and_that_is_said() -> None:
    method = open_flow("auto", EngineOptions())
    assert method.name == "farneback"
    assert flow_line(method).startswith("flow: farneback (opencv-cpu): no GPU for the network: ")


@pytest.mark.parametrize("backend", ["tensorrt", "cuda"])
def test_where_a_gpu_runs_the_network_it_is_used(
    monkeypatch: pytest.MonkeyPatch, counting: CountingNet, backend: str
) -> None:
    gpu(monkeypatch, backend)
    method = open_flow("auto", EngineOptions())
    assert isinstance(method, NetworkFlow)
    assert flow_line(method) == "flow: network (tensorrt): a GPU runs it"
    method.flows([(GREYS[0], GREYS[1])])
    assert counting.shapes


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_who_wants_engines_for_the_cpu_gets_no_network(
    monkeypatch: pytest.MonkeyPatch, engine: Any
) -> None:
    gpu(monkeypatch, "tensorrt", "cuda")
    method = open_flow("auto", EngineOptions(engine=engine))
    assert flow_line(method) == f"flow: farneback (opencv-cpu): engine: {engine} is for the CPU"


def test_a_gpu_that_fails_is_one_line_and_farneback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gpu(monkeypatch, "cuda")

    def failing(options: EngineOptions) -> None:
        raise ModelError("out of memory")

    monkeypatch.setattr(flow_net, "FlowNet", failing)
    assert open_flow("auto").name == "farneback"
    assert [record.message for record in caplog.records] == [
        "flow is farneback: the network cannot be run (out of memory)"
    ]


def test_a_network_that_a_cpu_would_run_for_ever_is_left(
    monkeypatch: pytest.MonkeyPatch, counting: CountingNet
) -> None:
    gpu(monkeypatch, "cuda")
    counting.backend = "onnxruntime-cpu"  # it fell back
    assert flow_line(open_flow("auto")) == "flow: farneback (opencv-cpu): the GPU cannot be used"


def test_while_its_plan_is_being_built_opencv_computes(
    monkeypatch: pytest.MonkeyPatch, counting: CountingNet
) -> None:
    gpu(monkeypatch, "tensorrt")
    counting.backend, counting.progress = "onnxruntime-cpu", 0.5
    method = open_flow("auto")
    pairs = list(pairwise(GREYS[:3]))
    np.testing.assert_array_equal(method.flows(pairs), Farneback().flows(pairs))
    assert counting.shapes == []
    assert flow_line(method) == ("flow: network (opencv-cpu): until the plan for the GPU is there")
    counting.progress = 1.0  # it is there: it takes over once it has been given inputs
    method.flows(pairs)
    counting.backend, counting.progress = "tensorrt", None
    method.flows(pairs)
    assert len(counting.shapes) == 2


def test_a_gpu_that_fails_later_on_is_one_line_and_farneback(
    monkeypatch: pytest.MonkeyPatch, counting: CountingNet, caplog: pytest.LogCaptureFixture
) -> None:
    gpu(monkeypatch, "cuda")
    method, asked_for = open_flow("auto"), open_flow("network")
    pairs = list(pairwise(GREYS[:3]))

    def failing(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise ModelError("the GPU has fallen off the bus")

    monkeypatch.setattr(counting, "flows", failing)
    for _ in range(2):
        np.testing.assert_array_equal(method.flows(pairs), Farneback().flows(pairs))
    assert [record.message for record in caplog.records] == [
        "flow is farneback from now on: the GPU has fallen off the bus"
    ]
    assert flow_line(method) == "flow: network (opencv-cpu): the GPU failed"
    with pytest.raises(ModelError, match="fallen off"):
        asked_for.flows(pairs)


@pytest.mark.usefixtures("fake_gpu")
def test_a_plan_that_is_there_takes_over_and_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT and the GPU are strict fakes that compute by ONNX Runtime."""
    monkeypatch.setenv("PLAYSPOT_ENGINES", str(tmp_path / "engines"))
    # A plan is not for frames as small as the others here.
    large = np.asarray(cv2.resize(TEXTURE, (320, 120)), np.uint8)
    video = [np.ascontiguousarray(large[:72, 3 * i : 3 * i + 128]) for i in range(9)]
    content = flow_net.flow_model()
    build_into_store(content, plan_order(content, flow_net.NAME))
    with closing(open_flow("auto", EngineOptions(builds=True))) as method:
        assert method.why == "until the plan for the GPU is there"
        assert method.is_slow_next
        before = [stack_flow(video, method) for _ in range(COMPARED)]
        assert flow_line(method) == "flow: network (tensorrt): a GPU runs it"
        assert not method.is_slow_next
        np.testing.assert_array_equal(stack_flow(video, method), before[0])
    assert np.abs(before[0] - stack_flow(video)).max() < NETWORK


def test_the_network_can_be_asked_for_on_a_cpu() -> None:
    method = open_flow("network", ON_CPU)
    assert flow_line(method) == "flow: network (onnxruntime-cpu)"
    method.close()


def test_the_network_on_a_gpu_that_is_not_there_is_one_line() -> None:
    with pytest.raises(ModelError, match="cuda cannot be used") as error:
        open_flow("network", EngineOptions(engine="cuda"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("wish", "kind"), [("farneback", Farneback), ("dis", Dis)])
def test_what_is_asked_for_is_given(wish: Any, kind: Callable[..., FlowMethod]) -> None:
    assert type(open_flow(wish)) is kind


def test_for_a_model_that_takes_frames_nothing_is_computed() -> None:
    header = Header(kind="action", name="fused", labels=("drum",), takes="frames")
    settings = flow_settings({"action": header}, "auto", EngineOptions())
    assert settings.open() is None
    assert flow_line(None) == "flow: inside the action model"


def test_another_flow_than_that_of_the_model_is_refused() -> None:
    with pytest.raises(ModelError, match="flow: dis cannot be: the action model takes frames"):
        FlowSettings("dis", takes="frames").open()
