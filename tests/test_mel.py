"""The three-scale log-mel spectrogram: law, causality, physics, librosa."""

import pickle
import warnings
from itertools import pairwise

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playspot.stream.media import Waveform
from playspot.stream.mel import N_BANDS, LogMel, MelStream, log_mel, mel_filters
from playspot.stream.timeline import HOP_LENGTH, N_MELS, SAMPLE_RATE, WIN_LENGTHS

# Blocks of other sizes give other orders of summation: a few roundings of float32 at values to 20.
ROUNDING = 1e-5
NOISE = (0.3 * np.random.default_rng(20182).standard_normal(40_000)).astype(np.float32)

CHUNKS = st.lists(
    st.sampled_from([0, 1, 511, 512, 513, 4095, 4096, 4097]) | st.integers(0, 9001), max_size=14
)


def in_chunks(waveform: Waveform, sizes: list[int]) -> list[Waveform]:
    ends = np.cumsum([0, *sizes])
    return [*(waveform[a:b] for a, b in pairwise(ends)), waveform[ends[-1] :]]


def streamed(stream: MelStream, chunks: list[Waveform]) -> LogMel:
    return np.concatenate([*(stream.push(chunk) for chunk in chunks), stream.flush()], axis=1)


def tone(hz: float, n: int = SAMPLE_RATE) -> Waveform:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(n) / SAMPLE_RATE)).astype(np.float32)


@settings(deadline=None, max_examples=60)
@given(n=st.integers(0, len(NOISE)) | st.integers(0, 9000), sizes=CHUNKS)
def test_chunks_of_any_length_give_what_the_whole_gives(n: int, sizes: list[int]) -> None:
    waveform = NOISE[:n]
    stream = MelStream()
    whole = log_mel(waveform)
    assert whole.shape == (N_BANDS, 1 + n // HOP_LENGTH if n else 0)
    np.testing.assert_allclose(
        streamed(stream, in_chunks(waveform, sizes)), whole, rtol=0, atol=ROUNDING
    )


@settings(deadline=None, max_examples=20)
@given(n_before=st.integers(0, 12_000), sizes=CHUNKS)
def test_after_reset_nothing_of_earlier_sound_is_left(n_before: int, sizes: list[int]) -> None:
    stream = MelStream()
    stream.push(NOISE[::-1][:n_before])
    stream.reset()
    chunks = in_chunks(NOISE[:12_345], sizes)
    first = streamed(stream, chunks)
    np.testing.assert_array_equal(first, streamed(MelStream(), chunks))
    np.testing.assert_array_equal(first, streamed(stream, chunks))  # flush starts afresh as well


@settings(deadline=None, max_examples=30)
@given(n=st.integers(0, 20_000))
def test_later_sound_never_changes_columns_already_given(n: int) -> None:
    given_early = MelStream().push(NOISE[:n])
    other_future = np.concatenate([NOISE[:n], -NOISE[:8192]])
    n_columns = given_early.shape[1]
    np.testing.assert_allclose(
        given_early, log_mel(other_future)[:, :n_columns], rtol=0, atol=ROUNDING
    )


@settings(deadline=None, max_examples=30)
@given(n=st.integers(0, 20_000))
def test_a_column_comes_4096_samples_after_its_centre(n: int) -> None:
    expected = 0 if n < 4096 else 1 + (n - 4096) // HOP_LENGTH
    assert MelStream().push(NOISE[:n]).shape == (N_BANDS, expected)


def test_each_column_is_computed_once_at_each_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    n_rows = dict.fromkeys(WIN_LENGTHS, 0)
    rfft = np.fft.rfft

    def counted(frames: np.ndarray, *args: object) -> np.ndarray:
        n_rows[frames.shape[1]] += frames.shape[0]
        return rfft(frames)

    monkeypatch.setattr(np.fft, "rfft", counted)
    n_columns = streamed(MelStream(), in_chunks(NOISE, [700] * 50)).shape[1]
    assert n_rows == dict.fromkeys(WIN_LENGTHS, n_columns)


@pytest.mark.parametrize("size", [1000, 1024, 200_000])
def test_the_state_stays_small_however_long_the_sound(size: int) -> None:
    stream = MelStream()
    for _ in range(5):
        stream.push(np.zeros(size, np.float32))
    assert len(pickle.dumps(stream)) < 40_000  # 8192 samples of 4 bytes and a little


def test_the_whole_gives_all_columns_in_blocks_too() -> None:
    # More columns than are computed at a time.
    long = np.tile(NOISE, 2)
    n_columns = 1 + len(long) // HOP_LENGTH
    whole = log_mel(long)
    assert whole.shape == (N_BANDS, n_columns)
    middle = log_mel(long[HOP_LENGTH * 60 :])  # starts elsewhere in a block
    np.testing.assert_allclose(whole[:, 70:], middle[:, 10:], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("hz", [110.0, 440.0, 1000.0, 4000.0])
@pytest.mark.parametrize("scale", [0, 1, 2])
def test_a_tone_peaks_in_its_band(hz: float, scale: int) -> None:
    rows = log_mel(tone(hz))[scale * N_MELS : (scale + 1) * N_MELS, 8:-8]
    # Centres of the bands, equally spaced in mel (librosa's numbers, not ours).
    centres = librosa.mel_frequencies(N_MELS + 2, fmin=0, fmax=8000)[1:-1]
    # The shortest window resolves 62 Hz, wider than the low bands: a neighbour may win there.
    allowed = 31.25 + np.diff(centres)[np.abs(centres[:-1] - hz).argmin()]
    assert np.all(np.abs(centres[rows.argmax(axis=0)] - hz) <= allowed)


def test_a_click_is_seen_only_by_windows_that_hold_it() -> None:
    waveform = np.zeros(32_768, np.float32)
    waveform[16_384] = 1.0  # the centre of column 32
    columns = log_mel(waveform)
    for scale, n_fft in enumerate(WIN_LENGTHS):
        heard = columns[scale * N_MELS : (scale + 1) * N_MELS].max(axis=0) > 0
        reach = n_fft // 2 // HOP_LENGTH
        first = 32 - max(0, reach - 1)  # at the very edge the weight of the window is 0
        np.testing.assert_array_equal(np.flatnonzero(heard), np.arange(first, 65 - first))


def test_silence_is_exactly_zero() -> None:
    assert not log_mel(np.zeros(20_000, np.float32)).any()


def test_filters_equal_librosa() -> None:
    for n_fft in WIN_LENGTHS:
        expected = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=n_fft, n_mels=N_MELS)
        np.testing.assert_allclose(mel_filters(n_fft), expected, rtol=1e-5, atol=1e-8)


def librosa_log_mel(waveform: Waveform, *, center: bool) -> LogMel:
    scales = []
    for n_fft in WIN_LENGTHS:
        padded = waveform if center else np.pad(waveform, n_fft // 2, mode="reflect")
        with warnings.catch_warnings():  # "n_fft is too large" for the short ones
            warnings.simplefilter("ignore", UserWarning)
            power = librosa.feature.melspectrogram(
                y=padded, sr=SAMPLE_RATE, n_fft=n_fft, hop_length=HOP_LENGTH, n_mels=N_MELS,
                power=2.0, center=center, pad_mode="reflect",
            )  # fmt: skip
        scales.append(np.log1p(10_000 * power))
    return np.concatenate(scales)


@pytest.mark.parametrize("n", [1, 100, 511, 513, 4000, 4097, 8191, 39_999])
def test_equals_librosa(n: int) -> None:
    np.testing.assert_allclose(
        log_mel(NOISE[:n]), librosa_log_mel(NOISE[:n], center=True), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("n", [2, 512, 2048, 4096, 8192, 20_480])
def test_equals_librosa_of_the_mirrored_waveform(n: int) -> None:
    # For whole numbers of columns librosa 0.11 mirrors its last frame with one sample wrong (that
    # of the smallest weight: 1e-4 in the result); NumPy's mirror image is right.
    np.testing.assert_allclose(
        log_mel(NOISE[:n]), librosa_log_mel(NOISE[:n], center=False), rtol=0, atol=1e-4
    )


def test_equals_librosa_where_loud_and_quiet_meet() -> None:
    # A full-scale tone beside bands 90 dB below: errors of single precision would show.
    waveform = tone(440.0) + np.float32(1e-5) * NOISE[:SAMPLE_RATE]
    np.testing.assert_allclose(
        log_mel(waveform), librosa_log_mel(waveform, center=True), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("n", [0, 1, 100, 4000])
def test_short_sound_works(n: int) -> None:
    columns = log_mel(NOISE[:n])
    assert columns.shape == (N_BANDS, 1 + n // HOP_LENGTH if n else 0)
    assert columns.dtype == np.float32
    assert np.isfinite(columns).all()


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros((2, 100), np.float32), r"shape \(2, 100\); give mono"),
        (np.zeros(100, np.int16), r"type int16; give float32 in \[-1, 1\]"),
    ],
)
def test_what_is_not_a_waveform_is_refused(waveform: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MelStream().push(waveform)
