"""Flow stacks: law, causality, physics, OpenCV."""

from collections.abc import Iterable
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from playspot.stream import flow_method
from playspot.stream.flow import FlowStack, FlowStream, stack_flow
from playspot.stream.flow_method import farneback
from playspot.stream.media import Grey, GreyFrame
from playspot.stream.timeline import FLOW_LIMIT

SMALL = (24, 32)


def smooth_noise(rng: np.random.Generator, height: int, width: int) -> Grey:
    """Return a picture of full contrast with something to follow everywhere."""
    noise = cv2.GaussianBlur(rng.random((height, width)), (0, 0), 2.0)
    return np.asarray(255 * (noise - noise.min()) / np.ptp(noise), np.uint8)


TEXTURE = smooth_noise(np.random.default_rng(20183), 40, 120)
GREYS = [np.ascontiguousarray(TEXTURE[:24, 2 * i : 2 * i + 32]) for i in range(30)]


def opencv(previous: Grey, following: Grey) -> NDArray[np.float32]:
    call = cv2.calcOpticalFlowFarneback
    return call(previous, following, None, 0.5, 3, 15, 3, 5, 1.2, 0)  # type: ignore


def push_all(stream: FlowStream, frames: Iterable[GreyFrame]) -> list[FlowStack]:
    return [stack for frame in frames for stack in stream.push(frame)] + stream.flush()


def by_the_book(frames: dict[int, Grey]) -> dict[int, NDArray[np.float32]]:
    """Six frames a step, the nearest earlier where one is missing, and all flows computed."""
    first = frames[min(frames)]

    def standing(tick: int) -> Grey:
        earlier = [t for t in frames if t <= tick]
        return frames[max(earlier)] if earlier else first

    stacks = {}
    for step in (tick // 4 for tick in frames if tick % 4 == 0):
        six = [standing(tick) for tick in range(4 * step - 2, 4 * step + 4)]
        five = [
            np.zeros((*SMALL, 2), np.float32) if a is b else opencv(a, b) for a, b in pairwise(six)
        ]
        stacks[step] = np.stack([flow[..., i] for flow in five for i in (0, 1)])
    return stacks


@settings(deadline=None, max_examples=30)
@given(ticks=st.sets(st.integers(0, 29), min_size=1))
def test_frames_of_any_ticks_give_the_stacks_of_the_definition(ticks: set[int]) -> None:
    frames = {tick: GREYS[tick] for tick in sorted(ticks)}
    stacks = push_all(FlowStream(), (GreyFrame(t, image) for t, image in frames.items()))
    expected = by_the_book(frames)
    assert [stack.step for stack in stacks] == list(expected)
    for stack in stacks:
        np.testing.assert_array_equal(stack.stack, expected[stack.step])


@pytest.mark.parametrize("n_frames", [1, 2, 3, 4, 5, 8, 13, 30])
def test_frame_by_frame_gives_what_the_whole_gives(n_frames: int) -> None:
    whole = stack_flow(GREYS[:n_frames])
    assert whole.shape == (-(-n_frames // 4), 10, *SMALL)
    stacks = push_all(FlowStream(), (GreyFrame(t, GREYS[t]) for t in range(n_frames)))
    assert [stack.step for stack in stacks] == list(range(len(whole)))
    np.testing.assert_array_equal([stack.stack for stack in stacks], whole)


@settings(deadline=None, max_examples=10)
@given(n_before=st.integers(0, 11))
def test_after_reset_nothing_of_earlier_frames_is_left(n_before: int) -> None:
    stream = FlowStream()
    for tick in range(n_before):
        stream.push(GreyFrame(tick, GREYS[29 - tick]))
    stream.reset()
    for _ in range(2):  # flush starts afresh as well
        stacks = push_all(stream, (GreyFrame(t, GREYS[t]) for t in range(11)))
        np.testing.assert_array_equal([stack.stack for stack in stacks], stack_flow(GREYS[:11]))


def test_a_stack_comes_with_the_third_tick_after_its_step() -> None:
    stream = FlowStream()
    came = {tick: stream.push(GreyFrame(tick, GREYS[tick])) for tick in range(12)}
    assert {t: [stack.step for stack in stacks] for t, stacks in came.items() if stacks} == {
        3: [0],
        7: [1],
        11: [2],
    }


@pytest.mark.parametrize("n_frames", [4, 9, 15])
def test_later_frames_never_change_stacks_already_given(n_frames: int) -> None:
    stream = FlowStream()
    early = [stack for t in range(n_frames) for stack in stream.push(GreyFrame(t, GREYS[t]))]
    other_future = stack_flow([*GREYS[:n_frames], *GREYS[:8]])
    for stack in early:
        np.testing.assert_array_equal(stack.stack, other_future[stack.step])


def test_each_flow_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    n_calls = 0

    def counted(previous: Grey, following: Grey) -> NDArray[np.float32]:
        nonlocal n_calls
        n_calls += 1
        return farneback(previous, following)

    monkeypatch.setattr(flow_method, "farneback", counted)
    stack_flow(GREYS[:21])
    assert n_calls == 20


def test_flow_beyond_the_ends_is_zero() -> None:
    stacks = stack_flow(GREYS[:9])
    assert not stacks[0, :4].any()  # before the first frame
    assert stacks[0, 4:].any(axis=(1, 2)).all()
    assert not stacks[2, 4:].any()  # after the last frame, tick 8
    assert stacks[2, :4].any(axis=(1, 2)).all()


def test_the_middle_flow_starts_at_the_frame_of_the_step() -> None:
    stacks = stack_flow(GREYS[:12])
    np.testing.assert_array_equal(stacks[1, 4:6], farneback(GREYS[4], GREYS[5]))


def test_a_video_that_starts_late_has_stacks_from_its_first_step_on() -> None:
    stacks = push_all(FlowStream(), (GreyFrame(t, GREYS[t]) for t in range(7, 13)))
    assert [stack.step for stack in stacks] == [2, 3]
    assert not stacks[0].stack[:2].any()  # ticks 6 and 7
    assert stacks[0].stack[2:].any(axis=(1, 2)).all()


def test_a_gap_of_days_costs_nothing() -> None:
    stream = FlowStream()
    stream.push(GreyFrame(0, GREYS[0]))
    (stack,) = stream.push(GreyFrame(4_000_000, GREYS[1]))
    assert stack.step == 0
    (stack,) = stream.flush()
    assert stack.step == 1_000_000
    assert not stack.stack[:2].any()
    np.testing.assert_array_equal(stack.stack[2:4], farneback(GREYS[0], GREYS[1]))


def test_a_change_of_size_counts_as_no_motion() -> None:
    large = np.zeros((36, 48), np.uint8)
    large[8:20, 8:20] = 255
    frames = [*GREYS[:6], large, np.roll(large, 2, 1), np.roll(large, 4, 1), np.roll(large, 6, 1)]
    stacks = push_all(FlowStream(), (GreyFrame(t, frame) for t, frame in enumerate(frames)))
    assert [stack.stack.shape for stack in stacks] == [(10, *SMALL), (10, *SMALL), (10, 36, 48)]
    assert stacks[1].stack[:6].any(axis=(1, 2)).all()  # 2 -> 3 -> 4 -> 5
    assert not stacks[1].stack[6:].any()  # 5 -> 6 is the change, 6 -> 7 has the new size
    assert stacks[2].stack[:6].any(axis=(1, 2)).all()  # 6 -> 7 -> 8 -> 9


def test_equal_frames_have_exactly_zero_flow() -> None:
    assert not stack_flow([GREYS[0].copy() for _ in range(8)]).any()


def test_a_square_moved_3_px_has_flow_3_px(rng: np.random.Generator) -> None:
    texture = smooth_noise(rng, 60, 60)
    frames = np.full((6, 144, 256), 100, np.uint8)
    for tick in range(6):
        frames[tick, 40:100, 60 + 3 * tick : 120 + 3 * tick] = texture
    stack = stack_flow(frames)[1]
    for place, tick in enumerate((2, 3, 4)):
        inside = stack[2 * place : 2 * place + 2, 55:85, 75 + 3 * tick : 105 + 3 * tick]
        x, y = np.median(inside, axis=(1, 2))
        assert x == pytest.approx(3.0, abs=0.1)
        assert y == pytest.approx(0.0, abs=0.1)
    assert np.abs(stack[:, :20]).max() < 0.1  # nothing moves at the top


def test_down_is_positive_y() -> None:
    u, v = farneback(TEXTURE[2:34, :100], TEXTURE[:32, :100])
    assert np.median(v[8:-8, 8:-8]) == pytest.approx(2.0, abs=0.1)
    assert np.median(u[8:-8, 8:-8]) == pytest.approx(0.0, abs=0.1)


def test_equals_the_call_of_opencv() -> None:
    expected = opencv(GREYS[0], GREYS[1])
    result = farneback(GREYS[0], GREYS[1])
    assert result.shape == (2, *SMALL)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, expected.transpose(2, 0, 1))


def test_flow_is_clipped_to_a_signed_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    far = np.full((*SMALL, 2), (-500.0, 500.0), np.float32)
    monkeypatch.setattr(cv2, "calcOpticalFlowFarneback", lambda *_, **__: far)
    u, v = farneback(GREYS[0], GREYS[1])
    assert np.all(u == -FLOW_LIMIT)
    assert np.all(v == FLOW_LIMIT - 1)


@pytest.mark.parametrize("size", [(1, 1), (1, 256), (256, 1), (5, 7)])
def test_tiny_pictures_work(size: tuple[int, int], rng: np.random.Generator) -> None:
    greys = rng.integers(0, 256, (6, *size), dtype=np.uint8)
    stacks = stack_flow(greys)
    assert stacks.shape == (2, 10, *size)
    assert np.isfinite(stacks).all()


def test_no_frames_give_no_stacks() -> None:
    assert stack_flow([]).shape == (0, 10, 0, 0)
    assert FlowStream().flush() == []


def test_frames_that_go_back_in_time_are_refused() -> None:
    stream = FlowStream()
    stream.push(GreyFrame(5, GREYS[0]))
    with pytest.raises(ValueError, match=r"tick 5 came after that of tick 5; push frames in"):
        stream.push(GreyFrame(5, GREYS[1]))


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32), np.zeros((0, 4), np.uint8)],
)
def test_what_is_not_a_grey_frame_is_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="give grey uint8"):
        FlowStream().push(GreyFrame(0, image))


def test_the_whole_wants_one_size() -> None:
    with pytest.raises(ValueError, match="frames of one size"):
        stack_flow([GREYS[0], TEXTURE])
    with pytest.raises(ValueError, match="two of one size"):
        farneback(GREYS[0], TEXTURE)
