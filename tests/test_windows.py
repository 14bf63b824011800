"""The windows of the sound networks: law, causality, the network's own scores, YAMNet's formula."""

import math
import pickle
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from playspot.stream.media import AudioChunk, Waveform
from playspot.stream.mel import log_mel
from playspot.stream.patches import yamnet_patch
from playspot.stream.timeline import COLUMNS_PER_STEP, HOP_LENGTH, SAMPLE_RATE, STEP_SAMPLES
from playspot.stream.windows import (
    PaperWindows,
    SoundWindow,
    WindowStream,
    YamnetWindows,
    window_stream,
)

ROUNDING = 1e-5  # of float32, summed in another order
NOISE = (0.3 * np.random.default_rng(20184).standard_normal(60_000)).astype(np.float32)

FRONT_ENDS = [PaperWindows, YamnetWindows]
CHUNKS = st.lists(st.sampled_from([0, 1, 513, 8192]) | st.integers(0, 20_001), max_size=10)


def n_steps_of(n: int) -> int:
    return math.ceil(n / STEP_SAMPLES)


def in_chunks(waveform: Waveform, sizes: Sequence[int], *, missing: Any = ()) -> list[AudioChunk]:
    ends = [min(int(end), len(waveform)) for end in np.cumsum([0, *sizes])] + [len(waveform)]
    return [
        AudioChunk(start, waveform[start:end], i in missing)
        for i, (start, end) in enumerate(pairwise(ends))
    ]


def streamed(stream: WindowStream, chunks: list[AudioChunk], n_steps: int) -> list[SoundWindow]:
    windows = [window for chunk in chunks for window in stream.push(chunk)]
    return windows + stream.flush(n_steps)


def assert_same(first: Sequence[SoundWindow], second: Sequence[SoundWindow]) -> None:
    for a, b in zip(first, second, strict=True):
        assert (a.step, a.output, a.missing) == (b.step, b.output, b.missing)
        np.testing.assert_allclose(a.window, b.window, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@settings(deadline=None, max_examples=25)
@given(n=st.integers(0, len(NOISE)), sizes=CHUNKS)
def test_chunks_of_any_length_give_what_the_whole_gives(
    front_end: type[WindowStream], n: int, sizes: list[int]
) -> None:
    n_steps = n_steps_of(n)
    whole = streamed(front_end(), in_chunks(NOISE[:n], []), n_steps)
    assert [window.step for window in whole] == list(range(n_steps))
    assert_same(streamed(front_end(), in_chunks(NOISE[:n], sizes), n_steps), whole)


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_after_reset_nothing_of_earlier_sound_is_left(front_end: type[WindowStream]) -> None:
    stream = front_end()
    stream.push(AudioChunk(0, NOISE[:31_000], missing=True))
    stream.reset()
    chunks = in_chunks(NOISE[::-1], [7000, 30_000])
    expected = streamed(front_end(), chunks, 8)
    assert_same(streamed(stream, chunks, 8), expected)
    assert_same(streamed(stream, chunks, 8), expected)  # flush starts afresh as well


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize("n", [8192, 20_000, 45_000])
def test_later_sound_never_changes_windows_already_given(
    front_end: type[WindowStream], n: int
) -> None:
    early = front_end().push(AudioChunk(0, NOISE[:n]))
    future = streamed(
        front_end(), [AudioChunk(0, NOISE[:n]), AudioChunk(n, NOISE[: 60_000 - n])], 8
    )
    assert_same(early, future[: len(early)])


@pytest.mark.parametrize(
    ("front_end", "look_ahead"), [(PaperWindows, 11_776), (YamnetWindows, 7800)]
)
@pytest.mark.parametrize("step", [0, 1, 4])
def test_a_window_comes_as_soon_as_its_look_ahead_is_full(
    front_end: type[WindowStream], look_ahead: int, step: int
) -> None:
    end = STEP_SAMPLES * step + look_ahead
    stream = front_end()
    assert [w.step for w in stream.push(AudioChunk(0, NOISE[: end - 1]))] == list(range(step))
    assert [w.step for w in stream.push(AudioChunk(end - 1, NOISE[end - 1 : end]))] == [step]


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_the_state_stays_small_however_long_the_sound(front_end: type[WindowStream]) -> None:
    stream = front_end()
    for start in range(0, 800_000, 100_000):
        stream.push(AudioChunk(start, np.zeros(100_000, np.float32), missing=start % 200_000 == 0))
    for start in range(800_000, 900_000, 250):
        stream.push(AudioChunk(start, np.zeros(250, np.float32)))
    assert len(pickle.dumps(stream)) < 200_000  # 63 columns of 384 bands, 2 x 8192 samples


@pytest.mark.parametrize("n", [1, 600, 8193, 33_000, 60_000])
def test_a_paper_window_is_the_columns_of_its_step_and_the_two_before(n: int) -> None:
    columns = log_mel(NOISE[:n])
    for window in streamed(PaperWindows(), in_chunks(NOISE[:n], [5000, 20_000]), n_steps_of(n)):
        first = max(0, window.step - 2)
        last = min(COLUMNS_PER_STEP * (window.step + 1), columns.shape[1])
        expected = columns[:, COLUMNS_PER_STEP * first : last]
        np.testing.assert_allclose(window.window, expected, rtol=0, atol=ROUNDING)
        assert window.output == window.step - first


@pytest.mark.parametrize("n", [1, 700, 8192, 8193, 16_000, 40_000, 49_152, 55_555, 60_000])
def test_paper_windows_give_the_scores_of_the_whole_file(n: int) -> None:
    torch = pytest.importorskip("torch")
    sound = pytest.importorskip("playspot.models.sound")
    torch.manual_seed(20185)
    net = sound.SoundNet(width=0.1)
    for module in net.modules():  # as if trained: zero padding differs from silence
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            module.bias.data.normal_()
    net.standardise.set(torch.full((384,), 2.0), torch.full((384,), 0.7))
    net.eval()

    def scores(columns: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return net.scores(torch.from_numpy(columns)[None])[0].numpy()  # type: ignore

    whole = scores(log_mel(NOISE[:n]))
    windows = streamed(PaperWindows(), in_chunks(NOISE[:n], [3001] * 9), n_steps_of(n))
    by_step = np.stack([scores(w.window)[:, w.output] for w in windows], axis=1)
    np.testing.assert_allclose(by_step, whole[:, : len(windows)], rtol=0, atol=1e-5)
    if n > STEP_SAMPLES:
        assert np.ptp(by_step, axis=1).max() > 1e-3  # else the comparison says nothing


def test_steps_after_the_end_of_the_sound_are_silent_and_missing() -> None:
    windows = streamed(PaperWindows(), in_chunks(NOISE[:10_000], []), 5)
    assert [window.missing for window in windows] == [False, False, True, True, True]
    assert all(not w.window.any() and w.output == 0 for w in windows[2:])
    windows = streamed(YamnetWindows(), in_chunks(NOISE[:10_000], []), 5)
    assert [window.missing for window in windows] == [False, False, True, True, True]
    np.testing.assert_allclose(windows[3].window, math.log(0.001), rtol=1e-6)


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_without_any_sound_every_step_is_missing(front_end: type[WindowStream]) -> None:
    windows = front_end().flush(3)
    assert [(window.step, window.missing) for window in windows] == [
        (0, True),
        (1, True),
        (2, True),
    ]
    assert front_end().flush(0) == []


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_step_is_missing_if_more_than_half_of_it_is(front_end: type[WindowStream]) -> None:
    # Step 2 stands for samples 12288 ... 20479, step 3 for those that follow.
    for n_missing, is_missing in [(4096, False), (4097, True)]:
        chunks = in_chunks(NOISE, [13_000, n_missing - 1000, 1000], missing=(1, 2))
        flags = [window.missing for window in streamed(front_end(), chunks, 8)]
        assert flags == [False, False, is_missing, False, False, False, False, False]


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_sound_that_starts_late_is_missing_before(front_end: type[WindowStream]) -> None:
    chunks = in_chunks(NOISE, [20_480], missing=(0,))
    flags = [window.missing for window in streamed(front_end(), chunks, 8)]
    assert flags == [True, True, True, False, False, False, False, False]


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_every_second_chunk_missing_is_not_more_than_half(front_end: type[WindowStream]) -> None:
    chunks = in_chunks(NOISE, [512] * 120, missing=range(1, 120, 2))
    assert not any(window.missing for window in streamed(front_end(), chunks, 7))


def yamnet_by_the_book(waveform: Waveform, step: int) -> NDArray[np.float32]:
    """The formulae of the public YAMNet code, number by number."""

    def mel(hz: float) -> float:
        return 1127.0 * math.log(1.0 + hz / 700.0)

    edges = [mel(125.0) + i * (mel(7500.0) - mel(125.0)) / 65 for i in range(66)]
    weights = np.zeros((257, 64))
    for i in range(1, 257):
        for band in range(64):
            low, centre, high = edges[band : band + 3]
            at = mel(i * 8000.0 / 256)
            weights[i, band] = max(
                0.0, min((at - low) / (centre - low), (high - at) / (high - centre))
            )
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * i / 400) for i in range(400)]
    patch = np.zeros((96, 64), np.float32)
    for row in range(96):
        start = STEP_SAMPLES * step - 7800 + 160 * row
        frame = [
            waveform[i] * hann[i - start] if 0 <= i < len(waveform) else 0.0
            for i in range(start, start + 400)
        ]
        magnitude = np.abs(np.fft.fft(frame, 512))[:257]
        patch[row] = np.log(magnitude @ weights + 0.001)
    return patch


@pytest.mark.parametrize("n", [100, 20_000])
def test_a_yamnet_patch_is_that_of_the_public_code(n: int) -> None:
    windows = streamed(YamnetWindows(), in_chunks(NOISE[:n], [777, 9000]), n_steps_of(n))
    for window in windows:
        expected = yamnet_by_the_book(NOISE[:n], window.step)
        np.testing.assert_allclose(window.window, expected, rtol=0, atol=1e-5)
        assert window.window.shape == (96, 64)
        assert window.window.dtype == np.float32
        assert window.output == 0


def test_a_click_at_the_time_of_a_step_is_in_the_middle_of_its_patch() -> None:
    waveform = np.zeros(40_000, np.float32)
    waveform[2 * STEP_SAMPLES] = 1.0
    window = streamed(YamnetWindows(), in_chunks(waveform, []), 5)[2].window
    loud = np.flatnonzero(window.max(axis=1) > math.log(0.002))
    assert (loud[0] + loud[-1]) / 2 == pytest.approx(47.5, abs=0.5)


def test_a_tone_peaks_in_its_yamnet_band() -> None:
    waveform = np.sin(2 * np.pi * 1000 * np.arange(15_600) / SAMPLE_RATE).astype(np.float32)
    band = (1127 * math.log(1 + 1000 / 700) - 1127 * math.log(1 + 125 / 700)) / (
        (1127 * math.log(1 + 7500 / 700) - 1127 * math.log(1 + 125 / 700)) / 65
    ) - 1
    assert np.all(np.abs(yamnet_patch(waveform).argmax(axis=1) - band) < 1)


@pytest.mark.parametrize(("name", "kind"), [("paper", PaperWindows), ("yamnet", YamnetWindows)])
def test_the_front_end_of_a_header_gives_its_stream(name: Any, kind: type) -> None:
    assert type(window_stream(name)) is kind


@pytest.mark.parametrize("name", ["vggish", None])
def test_an_unknown_front_end_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match='has "paper" or "yamnet"'):
        window_stream(name)


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_chunks_that_do_not_follow_are_refused(front_end: type[WindowStream]) -> None:
    stream = front_end()
    stream.push(AudioChunk(0, NOISE[:HOP_LENGTH]))
    with pytest.raises(ValueError, match="starts at sample 513; 512 would follow"):
        stream.push(AudioChunk(513, NOISE[:10]))
    with pytest.raises(ValueError, match="type int16"):
        stream.push(AudioChunk(512, np.zeros(10, np.int16)))


def test_a_patch_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(16000,\); give 15600 samples"):
        yamnet_patch(np.zeros(16_000, np.float32))
