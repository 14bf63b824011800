"""Sound of any kind becomes mono at 16 kHz, at its place."""

import itertools
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from playspot.stream.media import AudioChunk
from playspot.stream.resample import MonoResampler, SoundPlacer
from playspot.stream.timeline import SAMPLE_RATE, TICK_SAMPLES

MakeClip = Callable[..., Path]
Read = Callable[..., Any]


def expected(media: ModuleType, duration: float = 2.0) -> NDArray[np.float64]:
    """Return the tone of `make_clip`, mono at 16 kHz."""
    tone: NDArray[np.float64] = media.tone(np.arange(round(duration * SAMPLE_RATE)) / SAMPLE_RATE)
    return tone


@pytest.mark.parametrize(
    ("codec", "rate"),
    [
        ("pcm_u8", 8000),
        ("pcm_mulaw", 8000),
        ("pcm_s16le", 11_025),
        ("pcm_s16le", 16_000),
        ("pcm_f32le", 16_000),
        ("pcm_s24le", 22_050),
        ("flac", 44_100),
        ("pcm_f64le", 48_000),
        ("pcm_s32le", 96_000),
        ("pcm_s16le", 192_000),
    ],
)
def test_a_tone_keeps_its_level_and_phase(
    read: Read, make_clip: MakeClip, media: ModuleType, codec: str, rate: int
) -> None:
    name = "tone.flac" if codec == "flac" else "tone.wav"
    waveform = read(
        make_clip(name, size=None, audio_codec=codec, sample_rate=rate, layout="stereo")
    ).waveform
    middle = slice(400, -400)  # the filter rings at the ends
    error = (waveform - expected(media)[: len(waveform)])[middle]
    assert len(waveform) == pytest.approx(2 * SAMPLE_RATE, abs=1)
    # Half a step of the coarsest code here: 8 bit, and mu-law at this level.
    assert np.abs(error).max() < (0.02 if codec in ("pcm_u8", "pcm_mulaw") else 0.001)


def channels(**levels: float) -> Callable[[Any], Any]:
    """Return a sound of the six channels of 5.1, each a tone of its own."""
    names = ("FL", "FR", "FC", "LFE", "BL", "BR")

    def sound(times: Any) -> Any:
        return np.stack([levels.get(name, 0.0) * np.sin(2e3 * np.pi * times) for name in names])

    return sound


def test_of_5_1_the_centre_is_kept_and_nothing_clips(read: Read, make_clip: MakeClip) -> None:
    options: dict[str, Any] = {"size": None, "audio_codec": "pcm_s16le", "layout": "5.1"}
    centre = read(make_clip("a.wav", **options, sound=channels(FC=0.9))).waveform
    left = read(make_clip("b.wav", **options, sound=channels(FL=0.9))).waveform
    everything = dict.fromkeys(("FL", "FR", "FC", "LFE", "BL", "BR"), 0.99)
    loud = read(make_clip("c.wav", **options, sound=channels(**everything))).waveform
    assert 0.2 < centre.max() < 0.9
    assert centre.max() == pytest.approx(left.max() * 2**0.5, rel=0.01)
    assert loud.max() == pytest.approx(0.99, rel=0.01)  # flattened peaks would still be at 1
    mean = np.abs(np.sin(2 * np.pi * np.arange(16) / 16)).mean()  # of 1 kHz at 16 kHz
    assert np.abs(loud).mean() == pytest.approx(0.99 * mean, rel=0.01)


def test_stereo_is_mixed_to_the_mean(read: Read, make_clip: MakeClip) -> None:
    def sides(times: Any) -> Any:
        return np.stack([np.full_like(times, 0.8), np.full_like(times, -0.2)])

    path = make_clip("a.wav", size=None, audio_codec="pcm_f32le", layout="stereo", sound=sides)
    np.testing.assert_allclose(read(path).waveform, 0.3, atol=1e-4)


@pytest.mark.parametrize("n_channels", [1, 2, 3, 6, 8, 9, 16, 40])
def test_any_number_of_channels_is_mixed(read: Read, tmp_path: Path, n_channels: int) -> None:
    path = tmp_path / "many.wav"
    path.write_bytes(wav(np.full((16_000, n_channels), 0.6).astype(np.float32)))
    np.testing.assert_allclose(read(path).waveform, 0.6, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "codec", "layout"),
    [
        ("a.mp4", "aac", "7.1"),
        ("a.mka", "flac", "7.1"),
        ("a.mka", "ac3", "5.1(side)"),
        ("a.wav", "pcm_s16le", "hexadecagonal"),
        ("a.wav", "pcm_f32le", "22.2"),
    ],
)
def test_many_channels_are_mixed_whatever_the_code(
    read: Read, make_clip: MakeClip, media: ModuleType, name: str, codec: str, layout: str
) -> None:
    options = {"audio_codec": codec, "layout": layout, "sample_rate": 48_000}
    reading = read(make_clip(name, size=None, duration=1.0, **options))
    middle = slice(1600, 12_800)
    assert reading.source.info.channels == av.AudioLayout(layout).nb_channels
    level = np.sqrt(np.mean(reading.waveform[middle] ** 2))  # coders shift by some samples
    assert level == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def test_channels_that_stand_for_no_place_are_averaged(read: Read, tmp_path: Path) -> None:
    samples = np.tile(np.arange(9) / 10, (16_000, 1))
    (tmp_path / "nine.wav").write_bytes(wav(samples.astype(np.float32)))
    np.testing.assert_allclose(read(tmp_path / "nine.wav").waveform, 0.4, atol=1e-4)


def wav(samples: NDArray[np.float32], rate: int = SAMPLE_RATE) -> bytes:
    """Return a WAV file of 32-bit floats, (T, channels), without a channel mask."""
    data = samples.astype("<f4").tobytes()
    n_channels = samples.shape[1]
    form = np.array([3 | n_channels << 16, rate, rate * 4 * n_channels], "<u4").tobytes()
    form += np.array([4 * n_channels, 32], "<u2").tobytes()
    size = np.array([len(form), len(data), 4 + 8 + len(form) + 8 + len(data)], "<u4")
    head = b"RIFF" + size[2:].tobytes() + b"WAVEfmt " + size[:1].tobytes() + form
    return head + b"data" + size[1:2].tobytes() + data


def test_channels_in_an_odd_order_do_not_end_the_process(tmp_path: Path) -> None:
    # QuickTime's order of 5.1, with the effects channel last. PyAV 18 frees such a layout twice.
    labels = (1, 2, 3, 5, 6, 4)
    form = struct.pack(">d4s5I", 48_000, b"lpcm", 0, 12, 1, 6, 16)
    order = struct.pack(">3I", 0, 0, 6) + b"".join(struct.pack(">I16x", k) for k in labels)
    data = bytes(4) + np.full((48_000, 6), 8192, ">i2").tobytes()
    path = tmp_path / "odd.caf"
    path.write_bytes(
        struct.pack(">4s2H", b"caff", 1, 0)
        + b"".join(
            struct.pack(">4sq", kind, len(content)) + content
            for kind, content in ((b"desc", form), (b"chan", order), (b"data", data))
        )
    )
    program = "import sys; from playspot.stream.sources import FileSource; "
    program += "print(list(FileSource(sys.argv[1]))[1].waveform.mean())"
    run = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) == pytest.approx(0.25, abs=0.001)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_samples_that_are_no_numbers_become_zero(read: Read, tmp_path: Path, rate: int) -> None:
    samples = np.full((rate, 1), 0.25, np.float32)
    samples[5000], samples[6000], samples[7000] = np.nan, np.inf, -np.inf
    samples[8000] = 17.0
    path = tmp_path / "nan.wav"
    path.write_bytes(wav(samples, rate))
    waveform = read(path).waveform
    assert np.isfinite(waveform).all()
    assert waveform.max() == 1
    assert np.mean(np.abs(waveform - 0.25) < 1e-3) > 0.98  # the filter rings around each


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mov"])
def test_late_sound_is_preceded_by_missing_zeros(
    read: Read, make_clip: MakeClip, name: str
) -> None:
    reading = read(make_clip(name, audio_start=0.7, audio_codec="pcm_s16le"))
    assert reading.missing == [(0.0, 0.7)]
    assert not reading.waveform[: int(0.7 * SAMPLE_RATE)].any()
    assert np.abs(reading.waveform[int(0.7 * SAMPLE_RATE) :]).max() > 0.4


def test_sound_that_ends_early_is_followed_by_missing_zeros(
    read: Read, make_clip: MakeClip
) -> None:
    reading = read(make_clip("clip.mkv", audio_duration=0.5, audio_codec="pcm_s16le"))
    assert reading.missing == [(0.5, 2.0)]
    assert reading.end.duration == 2


def test_gaps_in_the_sound_are_filled(read: Read, make_clip: MakeClip, media: ModuleType) -> None:
    gaps = [(0.5, 0.8), (1.2, 1.3)]
    reading = read(make_clip("clip.mkv", gaps=gaps, audio_codec="pcm_s16le"))
    # Packets of 1024 samples are left out whole; Matroska rounds to milliseconds.
    np.testing.assert_allclose(reading.missing, [(0.512, 0.832), (1.216, 1.344)], atol=0.001)
    sounding = np.flatnonzero(np.abs(reading.waveform - expected(media)) < 0.02)
    assert len(sounding) / len(reading.waveform) > 0.77
    assert reading.end.duration == 2


def moved(shifts: Callable[[int], float]) -> Callable[[Any], Any]:
    """Return an edit of packets: the n-th of the sound is moved by `shifts(n)` seconds."""
    count = iter(range(100_000))

    def edit(packet: Any) -> Any:
        if packet.stream.type == "audio":
            packet.pts += round(shifts(next(count)) / packet.time_base)
            packet.dts = packet.pts
        return packet

    return edit


def test_jitter_of_the_timestamps_is_ignored(read: Read, make_clip: MakeClip) -> None:
    options: dict[str, Any] = {"size": None, "audio_codec": "pcm_s16le"}
    steady = read(make_clip("a.mkv", **options))
    shaking = moved(lambda n: 0.015 * (n % 2))
    jittery = read(make_clip("b.mkv", **options, edit_packet=shaking))
    np.testing.assert_array_equal(steady.waveform, jittery.waveform)
    assert not jittery.missing


def test_sound_that_is_there_twice_is_trimmed(read: Read, make_clip: MakeClip) -> None:
    overlapping = moved(lambda n: -0.05 * (n >= 16))
    options: dict[str, Any] = {"audio_codec": "pcm_s16le", "sound": lambda t: t / 2 - 0.5}
    reading = read(make_clip("a.mkv", size=None, **options, edit_packet=overlapping))
    assert not reading.missing
    assert reading.end.duration == pytest.approx(1.95, abs=0.001)
    ramp = np.arange(31_200) / SAMPLE_RATE / 2 - 0.5
    np.testing.assert_allclose(reading.waveform[:16_000], ramp[:16_000], atol=1e-3)
    np.testing.assert_allclose(
        reading.waveform[17_000:31_000], ramp[17_000:31_000] + 0.025, atol=1e-3
    )


def whole_decode(path: Path) -> NDArray[np.float32]:
    """Return the sound of a file decoded at once, by other means than the source's."""
    with av.open(path) as container:
        stream = container.streams.audio[0]
        parts = []
        for frame in container.decode(stream):
            part = frame.to_ndarray()
            if not frame.format.is_planar:
                part = part.reshape(-1, frame.layout.nb_channels).T
            scale = {"u1": 2**7, "i2": 2**15, "i4": 2**31}.get(part.dtype.str[1:], 1)
            parts.append((part - (128.0 if part.dtype == np.uint8 else 0.0)) / scale)
        rate = stream.sample_rate
    mono = np.concatenate(parts, axis=1).mean(axis=0, keepdims=True).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(mono, "fltp", "mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    frames = resampler.resample(frame) + resampler.resample(None)
    return np.concatenate([f.to_ndarray()[0] for f in frames if f is not None])


@pytest.mark.parametrize("rate", [8000, 44_100, 48_000])
@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_sound_equals_an_independent_decode(
    read: Read, make_clip: MakeClip, rng: np.random.Generator, codec: str, rate: int
) -> None:
    def noise(times: Any) -> Any:
        return rng.normal(0, 0.1, (2, len(times)))

    path = make_clip("noise.mov", audio_codec=codec, sample_rate=rate, layout="stereo", sound=noise)
    waveform, whole = read(path).waveform, whole_decode(path)
    np.testing.assert_allclose(waveform[: len(whole)], whole, atol=1e-5)


def test_sound_of_real_clips_equals_an_independent_decode(read: Read, shared: Path) -> None:
    paths = sorted((shared / "data/video").glob("*.mp4"))[:5]
    for path in paths:
        reading = read(path)
        whole = whole_decode(path)
        first = round(reading.missing[0][1] * SAMPLE_RATE) if reading.missing else 0
        heard = reading.waveform[first : first + len(whole)]
        np.testing.assert_allclose(heard, whole[: len(heard)], atol=1e-5)


# The classes by themselves


def frame_of(samples: NDArray[np.float32], rate: int = SAMPLE_RATE) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), "fltp", "mono")
    frame.sample_rate = rate
    return frame


def placed(samples: NDArray[np.float32], cuts: list[int], rate: int) -> list[AudioChunk]:
    placer = SoundPlacer()
    edges = [0, *sorted(cuts), len(samples)]
    chunks: list[AudioChunk] = []
    for start, end in itertools.pairwise(edges):
        if end > start:
            chunks += placer.push(start / rate, frame_of(samples[start:end], rate))
    return chunks + list(placer.flush())


@settings(max_examples=25, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 20_000), max_size=12),
    rate=st.sampled_from([8000, 16_000, 44_100]),
)
def test_chunks_are_the_same_however_the_frames_are_cut(cuts: list[int], rate: int) -> None:
    samples = np.random.default_rng(3).uniform(-0.5, 0.5, 20_000).astype(np.float32)
    whole, parts = placed(samples, [], rate), placed(samples, cuts, rate)
    assert [chunk.start for chunk in whole] == [chunk.start for chunk in parts]
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one.waveform, other.waveform)


def test_chunks_end_on_the_tick_grid(media: ModuleType) -> None:
    samples = expected(media).astype(np.float32)
    chunks = placed(samples, [7, 5000], SAMPLE_RATE)
    assert [chunk.start for chunk in chunks] == list(range(0, len(samples), TICK_SAMPLES))
    np.testing.assert_array_equal(np.concatenate([c.waveform for c in chunks]), samples)


def test_a_resampler_starts_afresh_after_flush() -> None:
    samples = np.random.default_rng(4).uniform(-0.5, 0.5, 4410).astype(np.float32)
    resampler = MonoResampler()
    runs = [
        np.concatenate([resampler.push(frame_of(samples, 44_100)), resampler.flush()])
        for _ in range(2)
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert len(runs[0]) == pytest.approx(1600, abs=1)
    assert not len(resampler.flush())


def test_the_rate_may_change_on_the_way(media: ModuleType) -> None:
    resampler = MonoResampler()
    parts = []
    for rate, start in ((44_100, 0.0), (8000, 0.5), (16_000, 1.0)):
        times = start + np.arange(rate // 2) / rate
        parts.append(resampler.push(frame_of(media.tone(times).astype(np.float32), rate)))
    waveform = np.concatenate([*parts, resampler.flush()])
    assert len(waveform) == pytest.approx(1.5 * SAMPLE_RATE, abs=2)
    error = np.abs(waveform[:23_900] - expected(media)[:23_900])
    assert np.mean(error < 0.01) > 0.95  # all but the filter's ends at the changes


def test_a_long_gap_comes_in_small_chunks() -> None:
    placer = SoundPlacer()
    silence = np.zeros(100, np.float32)
    list(placer.push(0.0, frame_of(silence)))
    lengths = [len(chunk.waveform) for chunk in placer.push(500.0, frame_of(silence))]
    assert max(lengths) == TICK_SAMPLES
    assert placer.n_samples == pytest.approx(500 * SAMPLE_RATE, abs=200)
