"""Low latency: nothing of the future, and chunks that give what the whole gives."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playspot.engines.catalogue import bundled_models
from playspot.engines.engine import FrontEnd
from playspot.stream.features import features
from playspot.stream.flow import FlowStack
from playspot.stream.flow_method import farneback
from playspot.stream.latency import flow_stream, look_ahead, sound_windows, steps_to_settle
from playspot.stream.media import AudioChunk, GreyFrame, Waveform
from playspot.stream.timeline import SAMPLE_RATE, STEP_SAMPLES, TICKS_PER_STEP, n_steps
from playspot.stream.whole import steps_of
from playspot.stream.windows import SoundWindow, window_stream
from playspot.training.scores import read_inputs, score_clip

FRONT_ENDS: list[FrontEnd] = ["paper", "yamnet"]
NOISE = (0.3 * np.random.default_rng(20185).standard_normal(60_000)).astype(np.float32)
GREYS = np.random.default_rng(20186).integers(0, 256, (22, 24, 32), np.uint8)
CUTS = st.lists(st.integers(0, len(NOISE)), max_size=12)


def windows_of(waveform: Waveform, cuts: list[int], front_end: FrontEnd) -> list[SoundWindow]:
    stream = sound_windows(front_end, "low")
    places = [0, *sorted(min(cut, len(waveform)) for cut in cuts), len(waveform)]
    found = []
    for start, end in itertools.pairwise(places):
        found += stream.push(AudioChunk(start, waveform[start:end]))
    return found + stream.flush(n_steps(len(waveform) / SAMPLE_RATE))


def assert_same(first: list[SoundWindow], second: list[SoundWindow]) -> None:
    for a, b in zip(first, second, strict=True):
        assert (a.step, a.output, a.missing) == (b.step, b.output, b.missing)
        np.testing.assert_allclose(a.window, b.window, atol=1e-5)


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@settings(deadline=None, max_examples=20)
@given(cuts=CUTS)
def test_chunks_of_any_length_give_what_the_whole_gives(
    front_end: FrontEnd, cuts: list[int]
) -> None:
    assert_same(windows_of(NOISE, cuts, front_end), windows_of(NOISE, [], front_end))


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_delayed_window_is_that_of_the_sound_with_silence_before_it(front_end: FrontEnd) -> None:
    silence = np.zeros(round(SAMPLE_RATE * look_ahead(front_end, "normal")), np.float32)
    stream = window_stream(front_end)
    later = stream.push(AudioChunk(0, np.concatenate([silence, NOISE])))
    for a, b in zip(windows_of(NOISE, [], front_end), later, strict=False):
        np.testing.assert_allclose(a.window, b.window, atol=1e-5)


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_window_comes_with_the_first_sample_of_its_step_and_not_before(
    front_end: FrontEnd,
) -> None:
    stream = sound_windows(front_end, "low")
    assert [w.step for w in stream.push(AudioChunk(0, NOISE[:1]))] == [0]
    for step in range(1, 6):
        start = 1 + (step - 1) * STEP_SAMPLES
        assert stream.push(AudioChunk(start, NOISE[start : step * STEP_SAMPLES])) == []
        start = step * STEP_SAMPLES
        assert [w.step for w in stream.push(AudioChunk(start, NOISE[start : start + 1]))] == [step]


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize("step", [0, 1, 4])
def test_later_sound_never_changes_an_earlier_window(front_end: FrontEnd, step: int) -> None:
    until = step * STEP_SAMPLES + 1
    other = np.concatenate([NOISE[:until], -NOISE[until:]])
    assert_same(
        windows_of(NOISE, [], front_end)[: step + 1], windows_of(other, [], front_end)[: step + 1]
    )


def test_flush_starts_afresh() -> None:
    stream = sound_windows("paper", "low")
    stream.push(AudioChunk(0, NOISE))
    stream.flush(8)
    assert [w.step for w in stream.push(AudioChunk(0, NOISE[:1]))] == [0]


def stacks_of(n_frames: int, *, other_after: int | None = None) -> dict[int, tuple[int, FlowStack]]:
    """Return for each step the tick with which its stack came, and the stack."""
    stream = flow_stream("low")
    found = {}
    for tick in range(n_frames):
        is_other = other_after is not None and tick > other_after
        image = 255 - GREYS[tick] if is_other else GREYS[tick]
        for stack in stream.push(GreyFrame(tick, image)):
            found[stack.step] = (tick, stack)
    assert stream.flush() == []
    return found


def test_a_stack_comes_with_the_frame_of_its_step() -> None:
    assert {step: tick for step, (tick, _) in stacks_of(22).items()} == {
        step: TICKS_PER_STEP * step for step in range(6)
    }


def test_a_stack_holds_the_five_flows_before_its_step() -> None:
    _, stack = stacks_of(22)[3]
    expected = [farneback(GREYS[t], GREYS[t + 1]) for t in range(7, 12)]
    np.testing.assert_array_equal(stack.stack, np.concatenate(expected))


def test_before_the_first_frame_nothing_moves() -> None:
    stacks = stacks_of(22)
    assert not stacks[0][1].stack.any()
    assert not stacks[1][1].stack[:2].any()
    assert stacks[1][1].stack[2:].all(axis=(1, 2)).any()


@pytest.mark.parametrize("step", [1, 3])
def test_later_frames_never_change_an_earlier_stack(step: int) -> None:
    a, b = stacks_of(22), stacks_of(22, other_after=TICKS_PER_STEP * step)
    np.testing.assert_array_equal(a[step][1].stack, b[step][1].stack)


def test_what_is_looked_ahead_is_stated() -> None:
    assert look_ahead("paper", "normal") == 0.736
    assert look_ahead("yamnet", "normal") == 0.4875
    assert look_ahead(None, "normal") == 0.384
    assert {look_ahead(front_end, "low") for front_end in (*FRONT_ENDS, None)} == {0.0}


@pytest.mark.parametrize("latency", ["normal", "low"])
def test_a_start_in_mid_sound_settles_to_the_scores_of_the_whole(latency: Any) -> None:
    """With the real network: it must not see the columns in which the windows may differ."""
    engine = bundled_models().load()["sound"]
    whole = sound_windows("paper", latency).push(AudioChunk(0, NOISE))
    begun, later = 1, sound_windows("paper", latency)
    windows = later.push(AudioChunk(0, NOISE[begun * STEP_SAMPLES :]))
    settled = windows[steps_to_settle("paper", latency) :]
    assert settled
    for window in settled:
        other = whole[begun + window.step]
        a = engine(window.window[None])[0, :, window.output]
        b = engine(other.window[None])[0, :, other.output]
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_file_with_low_latency_has_every_step_and_says_what_it_heard_later(
    make_clip: Any,
) -> None:
    path: Path = make_clip(duration=4.0)
    models = bundled_models()
    low = [result.step for result in steps_of(path, models, latency="low")]
    normal = [result.step for result in steps_of(path, models)]
    assert [step.step for step in low] == [step.step for step in normal]
    assert [step.scores for step in low] != [step.scores for step in normal]


def test_evaluation_with_low_latency_scores_what_the_stream_gives(make_clip: Any) -> None:
    path: Path = make_clip(duration=4.0)
    engines: dict[str, Any] = {name: engine for name, engine in bundled_models().load().items()}
    scores = score_clip(engines, read_inputs(path, engines, "low"))
    found = features(path, latency="low")
    assert scores.sound is not None
    assert scores.action is not None
    assert found.windows is not None
    assert found.stacks is not None
    for step, window in enumerate(found.windows):
        stream = engines["sound"](window.window[None])[0, :, window.output]
        np.testing.assert_allclose(scores.sound[step], stream, atol=1e-5)
        stream = engines["action"](found.stacks[step][None])[0]
        np.testing.assert_allclose(scores.action[step], stream, atol=1e-4)
