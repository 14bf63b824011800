"""FileSource against media made on the spot, where every frame and every sample is known."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from playspot.stream import demux
from playspot.stream.media import AudioChunk, End, GreyFrame, MediaItem, Picture
from playspot.stream.sources import FileSource, SourceError
from playspot.stream.timeline import SAMPLE_RATE, STEP_SAMPLES, TICK_SAMPLES, n_steps, tick_time

MakeClip = Callable[..., Path]


@dataclass
class Reading:
    source: FileSource
    items: list[MediaItem]

    def __post_init__(self) -> None:
        self.chunks = [item for item in self.items if isinstance(item, AudioChunk)]
        self.greys = {item.tick: item.image for item in self.items if isinstance(item, GreyFrame)}
        self.pictures = {item.step: item.image for item in self.items if isinstance(item, Picture)}
        end = self.items[-1]
        assert isinstance(end, End)
        self.end = end

    @property
    def waveform(self) -> NDArray[np.float32]:
        return np.concatenate([chunk.waveform for chunk in self.chunks])

    @property
    def missing(self) -> list[tuple[float, float]]:
        """Seconds from and to which there was no sound."""
        flags = np.concatenate([np.full(len(c.waveform), c.missing) for c in self.chunks])
        edges = np.flatnonzero(np.diff(np.r_[False, flags, False]))
        return [(a / SAMPLE_RATE, b / SAMPLE_RATE) for a, b in edges.reshape(-1, 2)]


def sample_of(item: MediaItem) -> int:
    if isinstance(item, AudioChunk):
        return item.start
    return item.tick * TICK_SAMPLES if isinstance(item, GreyFrame) else item.step * STEP_SAMPLES


def read(path: str | Path, **options: Any) -> Reading:
    """Read a whole file, and check what holds for every file."""
    with FileSource(path, **options) as source:
        items = list(source)
    reading = Reading(source, items)
    places = [sample_of(item) for item in items[:-1]]
    assert places == sorted(places)
    assert sum(isinstance(item, End) for item in items) == 1
    end = reading.end
    assert end.n_steps == n_steps(end.duration)
    assert max(reading.greys, default=-1) < 4 * end.n_steps
    assert [tick // 4 for tick in reading.greys if tick % 4 == 0] == list(reading.pictures)
    start = 0
    for chunk in reading.chunks:
        assert chunk.start == start
        assert 0 < len(chunk.waveform) <= TICK_SAMPLES
        assert chunk.waveform.dtype == np.float32
        assert np.abs(chunk.waveform).max() <= 1
        start += len(chunk.waveform)
    if source.info.has_audio:
        assert start == pytest.approx(end.duration * SAMPLE_RATE, abs=1)
    assert all(image.dtype == np.uint8 and image.ndim == 2 for image in reading.greys.values())
    assert all(image.shape[2] == 3 for image in reading.pictures.values())
    return reading


def numbers(reading: Reading, media: ModuleType) -> dict[int, int]:
    return {tick: media.number(image) for tick, image in reading.greys.items()}


# Which frame at which tick


@pytest.mark.parametrize("rate", [10, 12.5, 25, 30_000 / 1001, 60, 120])
def test_the_frame_of_a_tick_is_the_last_one_not_later(
    make_clip: MakeClip, media: ModuleType, rate: float
) -> None:
    seen = numbers(read(make_clip(video_rate=rate)), media)
    assert seen == {n: int((tick_time(n) + 0.0010001) * rate) for n in range(16)}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.mp4", {"video_codec": "libx264"}),  # B-frames: decoded in another order
        ("clip.mkv", {"video_codec": "libx264"}),
        ("clip.mov", {"video_codec": "mjpeg", "pixel_format": "yuvj420p"}),
        ("clip.avi", {"audio_codec": "pcm_s16le"}),
        ("clip.webm", {"video_codec": "libvpx", "audio_codec": "libopus", "sample_rate": 48_000}),
        ("clip.flv", {"video_codec": "flv1", "sample_rate": 44_100}),
        ("clip.mkv", {"video_codec": "ffv1", "pixel_format": "yuv444p"}),
        ("clip.mp4", {"video_codec": "libx265", "sample_rate": 44_100}),
    ],
)
def test_containers_and_codecs_give_the_same_frames(
    make_clip: MakeClip, media: ModuleType, name: str, options: dict[str, Any]
) -> None:
    reading = read(make_clip(name, **options))
    first = {n: int((tick_time(n) + 0.0010001) * 25) for n in range(15)}
    assert {n: k for n, k in numbers(reading, media).items() if n < 15} == first
    assert set(reading.pictures) >= {0, 1, 2, 3}
    assert reading.source.notes == []


def test_a_picture_is_the_frame_of_its_step(make_clip: MakeClip, media: ModuleType) -> None:
    reading = read(make_clip())
    seen = numbers(reading, media)
    assert {k: media.number(image) for k, image in reading.pictures.items()} == {
        k: seen[4 * k] for k in range(4)
    }


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_frames_at_uneven_times_stay_until_the_next(
    make_clip: MakeClip, media: ModuleType, name: str
) -> None:
    times = [0.0, 0.1, 0.15, 0.9, 0.95, 1.9]
    seen = numbers(read(make_clip(name, times=times)), media)
    assert {n: k for n, k in seen.items() if n < 15} == {
        n: int(np.searchsorted(times, tick_time(n) + 0.001)) - 1 for n in range(15)
    }


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
@pytest.mark.parametrize("start", [3.0, 100_000.0])
def test_media_time_starts_with_the_source_whatever_its_timestamps(
    make_clip: MakeClip, media: ModuleType, name: str, start: float
) -> None:
    reading = read(make_clip(name, start=start, audio_codec="mp2"))
    seen = numbers(reading, media)
    assert seen[0] == 0
    assert seen[8] in (24, 25)
    assert reading.end.duration == pytest.approx(2, abs=0.05)


def test_timestamps_may_be_negative(make_clip: MakeClip, media: ModuleType) -> None:
    path = make_clip("clip.mov", start=-0.5, audio_codec="pcm_s16le")
    with av.open(path) as container:
        first = next(container.demux(video=0))
    assert first.dts is not None
    assert first.dts < 0
    assert numbers(read(path), media)[8] == 25


def test_a_video_that_starts_within_a_step_stands_for_its_start(
    make_clip: MakeClip, media: ModuleType
) -> None:
    seen = numbers(read(make_clip("clip.mkv", start=0.4, audio_start=-0.4)), media)
    assert [seen[n] for n in range(5)] == [0, 0, 0, 0, 2]


def test_a_video_that_starts_later_leaves_its_ticks_out(
    make_clip: MakeClip, media: ModuleType
) -> None:
    reading = read(make_clip("clip.mkv", start=0.7, audio_start=-0.7))
    seen = numbers(reading, media)
    assert min(seen) == 6
    assert seen[6] == 1
    assert min(reading.pictures) == 2
    assert reading.source.info.has_video


def test_frames_end_half_a_step_after_the_video(make_clip: MakeClip) -> None:
    # Tick 17 at 2.176 s is the last before 2.0 s + 0.256 s; step 4 exists thanks to the sound.
    reading = read(make_clip("clip.mkv", audio_duration=3))
    assert list(reading.greys) == list(range(18))
    assert reading.end.n_steps == 6


def test_no_tick_serves_a_step_that_does_not_exist(make_clip: MakeClip) -> None:
    reading = read(make_clip("clip.mkv", audio_duration=1))
    assert list(reading.greys) == list(range(16))
    assert reading.end.n_steps == 4


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi"])
def test_one_frame_makes_one_step(make_clip: MakeClip, name: str) -> None:
    reading = read(make_clip(name, times=[0.0], sample_rate=None))
    assert reading.end.n_steps == 1
    assert list(reading.pictures) == [0]


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg"])
def test_a_still_image_is_a_video_of_one_frame(
    tmp_path: Path, media: ModuleType, name: str
) -> None:
    codec, pixels = ("png", "rgb24") if name.endswith("png") else ("mjpeg", "yuvj420p")
    context: Any = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = 80, 60, pixels
    context.time_base = Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(media.bars(7, 80, 60), "rgb24").reformat(format=pixels)
    packets = context.encode(frame) + context.encode()
    (tmp_path / name).write_bytes(b"".join(bytes(packet) for packet in packets))
    reading = read(tmp_path / name)
    assert media.number(reading.pictures[0]) == 7
    assert reading.end.n_steps == 1


# Broken timestamps


def retimed(make_clip: MakeClip, name: str, times: dict[int, int]) -> Path:
    """Return a video at 25 Hz in which some frames have another timestamp, in ms."""
    plain = make_clip(
        "plain.mkv", video_codec="mjpeg", pixel_format="yuvj420p", sample_rate=None
    )
    path = plain.with_name(name)
    with av.open(plain) as source, av.open(path, "w") as target:
        stream: Any = target.add_stream_from_template(source.streams.video[0])
        for n, packet in enumerate(source.demux(video=0)):
            if packet.pts is None:
                continue
            packet.dts = packet.pts - 1000  # writers want it, and want it in order
            packet.pts = times.get(n, packet.pts)
            packet.stream = stream
            target.mux_one(packet)
    return path


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mov"])
@pytest.mark.parametrize("broken", [{10: 200}, {20: 90_000}, {10: 200, 20: 90_000}, {0: 90_000}])
def test_frames_with_wrong_timestamps_are_left_out_and_counted(
    make_clip: MakeClip, media: ModuleType, name: str, broken: dict[int, int]
) -> None:
    reading = read(retimed(make_clip, name, broken))
    right = [k for k in range(50) if k not in broken]
    start = right[0]
    seen = numbers(reading, media)
    assert {n: k for n, k in seen.items() if n < 15} == {
        n: max(k for k in right if (k - start) / 25 <= tick_time(n) + 0.001) for n in range(15)
    }
    assert reading.source.n_dropped == len(broken)
    assert "out of order" in reading.source.notes[0]


def test_a_bare_stream_without_timestamps_runs_at_its_rate(
    tmp_path: Path, media: ModuleType
) -> None:
    path = media.make_clip(tmp_path / "bare.m4v", sample_rate=None)
    with av.open(path) as container:
        assert next(container.demux()).pts is None
    assert numbers(read(path), media)[8] in (25, 26)


def test_frames_at_a_thousand_a_second_lose_no_tick(make_clip: MakeClip) -> None:
    # A frame of one millisecond at 0.48 s stands until the next one, at 0.52 s.
    path = make_clip("clip.avi", times=[n / 25 for n in range(50)], sample_rate=None)
    reading = read(path)
    assert list(reading.pictures) == [0, 1, 2, 3]


@pytest.mark.parametrize(("first", "second"), [(0.0, 50.0), (50.0, 0.0)])
def test_joined_transport_streams_go_on_without_a_hole(
    make_clip: MakeClip, media: ModuleType, first: float, second: float
) -> None:
    one = make_clip("one.ts", start=first, audio_codec="mp2")
    two = make_clip("two.ts", start=second, audio_codec="mp2")
    joined = one.with_name("joined.ts")
    joined.write_bytes(one.read_bytes() + two.read_bytes())
    reading = read(joined)
    assert reading.end.duration == pytest.approx(4, abs=0.1)
    assert len(reading.source.notes) == 1
    assert "leapt at 2.0 s" in reading.source.notes[0]
    assert numbers(reading, media)[24] == pytest.approx(3.072 * 25 - 50, abs=3)


# Sound


def expected_tone(duration: float, level: float = 0.5) -> NDArray[np.float64]:
    times = np.arange(round(duration * SAMPLE_RATE)) / SAMPLE_RATE
    tone: NDArray[np.float64] = level * np.sin(2 * np.pi * 440 * times)
    return tone


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize(
    "codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_f32le", "pcm_f64le", "pcm_mulaw", "flac"]
)
def test_a_tone_keeps_its_level_and_phase(make_clip: MakeClip, codec: str, rate: int) -> None:
    name = "tone.flac" if codec == "flac" else "tone.wav"
    waveform = read(
        make_clip(name, size=None, audio_codec=codec, sample_rate=rate, layout="stereo")
    ).waveform
    middle = slice(400, -400)  # the filter rings at the ends
    error = (waveform - expected_tone(2)[: len(waveform)])[middle]
    assert len(waveform) == pytest.approx(2 * SAMPLE_RATE, abs=1)
    # Half a step of the coarsest code here: 8 bit, and mu-law at this level.
    assert np.abs(error).max() < (0.02 if codec in ("pcm_u8", "pcm_mulaw") else 0.001)


def channels(**levels: float) -> Callable[[Any], Any]:
    """Return a sound of the six channels of 5.1, each a tone of its own."""
    names = ("FL", "FR", "FC", "LFE", "BL", "BR")

    def sound(times: Any) -> Any:
        return np.stack([levels.get(name, 0.0) * np.sin(2e3 * np.pi * times) for name in names])

    return sound


def test_of_5_1_the_centre_is_kept_and_nothing_clips(make_clip: MakeClip) -> None:
    options: dict[str, Any] = {"size": None, "audio_codec": "pcm_s16le", "layout": "5.1"}
    centre = read(make_clip("a.wav", **options, sound=channels(FC=0.9))).waveform
    left = read(make_clip("b.wav", **options, sound=channels(FL=0.9))).waveform
    everything = dict.fromkeys(("FL", "FR", "FC", "LFE", "BL", "BR"), 0.99)
    loud = read(make_clip("c.wav", **options, sound=channels(**everything))).waveform
    assert 0.2 < centre.max() < 0.9
    assert centre.max() == pytest.approx(left.max() * 2**0.5, rel=0.01)
    assert loud.max() == pytest.approx(0.99, rel=0.01)  # flattened peaks would still be at 1
    assert np.abs(loud).mean() == pytest.approx(0.99 * 2 / np.pi, rel=0.01)


def test_stereo_is_mixed_to_the_mean(make_clip: MakeClip) -> None:
    def sides(times: Any) -> Any:
        return np.stack([np.full_like(times, 0.8), np.full_like(times, -0.2)])

    path = make_clip("a.wav", size=None, audio_codec="pcm_f32le", layout="stereo", sound=sides)
    np.testing.assert_allclose(read(path).waveform, 0.3, atol=1e-4)


def test_channels_without_a_layout_are_mixed(tmp_path: Path) -> None:
    samples = np.tile(np.array([0.6, 0.0, 0.0], np.float32), (16_000, 1))
    path = tmp_path / "three.wav"
    path.write_bytes(wav(samples))
    with av.open(path) as container:
        assert "channels" in container.streams.audio[0].layout.name
    np.testing.assert_allclose(read(path).waveform, 0.2, atol=1e-4)


def wav(samples: NDArray[np.float32], rate: int = SAMPLE_RATE) -> bytes:
    """Return a WAV file of 32-bit floats, (T, channels), without a channel mask."""
    data = samples.astype("<f4").tobytes()
    n_channels = samples.shape[1]
    form = np.array([3 | n_channels << 16, rate, rate * 4 * n_channels], "<u4").tobytes()
    form += np.array([4 * n_channels, 32], "<u2").tobytes()
    size = np.array([len(form), len(data), 4 + 8 + len(form) + 8 + len(data)], "<u4")
    return b"".join(
        (b"RIFF", size[2:].tobytes(), b"WAVEfmt ", size[:1].tobytes(), form)
        + (b"data", size[1:2].tobytes(), data)
    )


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_samples_that_are_no_numbers_become_zero(tmp_path: Path, rate: int) -> None:
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
def test_late_sound_is_preceded_by_missing_zeros(make_clip: MakeClip, name: str) -> None:
    reading = read(make_clip(name, audio_start=0.7, audio_codec="pcm_s16le"))
    assert reading.missing == [(0.0, 0.7)]
    assert not reading.waveform[: int(0.7 * SAMPLE_RATE)].any()
    assert np.abs(reading.waveform[int(0.7 * SAMPLE_RATE) :]).max() > 0.4


def test_sound_that_ends_early_is_followed_by_missing_zeros(make_clip: MakeClip) -> None:
    reading = read(make_clip("clip.mkv", audio_duration=0.5, audio_codec="pcm_s16le"))
    assert reading.missing == [(0.5, 2.0)]
    assert reading.end.duration == 2


def test_gaps_in_the_sound_are_filled(make_clip: MakeClip) -> None:
    gaps = [(0.5, 0.8), (1.2, 1.3)]
    reading = read(make_clip("clip.mkv", gaps=gaps, audio_codec="pcm_s16le"))
    # Packets of 1024 samples are left out whole; Matroska rounds to milliseconds.
    expected = [(0.512, 0.832), (1.216, 1.344)]
    np.testing.assert_allclose(reading.missing, expected, atol=0.001)
    sounding = np.flatnonzero(np.abs(reading.waveform - expected_tone(2)) < 0.02)
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


def test_jitter_of_the_timestamps_is_ignored(make_clip: MakeClip) -> None:
    options: dict[str, Any] = {"size": None, "audio_codec": "pcm_s16le"}
    steady = read(make_clip("a.mkv", **options))
    shaking = moved(lambda n: 0.015 * (n % 2))
    jittery = read(make_clip("b.mkv", **options, edit_packet=shaking))
    np.testing.assert_array_equal(steady.waveform, jittery.waveform)
    assert not jittery.missing


def test_sound_that_is_there_twice_is_trimmed(make_clip: MakeClip) -> None:
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


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clip.mp4", {"sample_rate": 44_100}),
        ("clip.mov", {"video_codec": "libx264", "audio_codec": "pcm_s16le"}),
        ("clip.mkv", {"video_codec": "libx264"}),
        ("clip.mkv", {"start": 7.0, "audio_codec": "flac"}),
        ("clip.ts", {"video_codec": "libx264", "sample_rate": 48_000}),
        ("clip.webm", {"video_codec": "libvpx", "audio_codec": "libopus", "sample_rate": 48_000}),
        ("clip.avi", {"audio_codec": "libmp3lame", "sample_rate": 44_100}),
    ],
)
def test_a_flash_and_a_click_come_out_together(
    make_clip: MakeClip, name: str, options: dict[str, Any]
) -> None:
    def image(index: int, width: int, height: int) -> NDArray[np.uint8]:
        return np.full((height, width, 3), 235 if index >= 32 else 16, np.uint8)  # from 1.28 s

    def sound(times: Any) -> Any:
        return np.where(times >= 1.28, 0.8, 0.0) * np.sin(2 * np.pi * 1000 * times)

    reading = read(make_clip(name, image=image, sound=sound, **options))
    flash = min(n for n, grey in reading.greys.items() if grey.mean() > 127)
    click = np.flatnonzero(np.abs(reading.waveform) > 0.4)[0] / SAMPLE_RATE
    frame = 1 / 25
    # The click lies between the tick that first shows the flash and the one before. Coders smear
    # it by some milliseconds; AVI and TS do not say how many samples the coder put in front.
    slack = 0.07 if name.endswith(("avi", "ts")) else 0.005
    assert tick_time(flash - 1) - slack - frame < click < tick_time(flash) + slack


def test_without_sound_there_are_no_chunks(make_clip: MakeClip) -> None:
    reading = read(make_clip(sample_rate=None))
    assert not reading.chunks
    assert not reading.source.info.has_audio
    assert reading.source.info.sample_rate == 0


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.m4a", "a.ogg"])
def test_without_picture_there_is_only_sound(make_clip: MakeClip, name: str) -> None:
    codecs = {"wav": "pcm_s16le", "mp3": "libmp3lame", "m4a": "aac", "ogg": "libvorbis"}
    reading = read(make_clip(name, size=None, audio_codec=codecs[name[2:]]))
    assert not reading.greys
    info = reading.source.info
    assert (info.has_video, info.width, info.height, info.video_rate) == (False, 0, 0, 0.0)
    assert reading.end.duration == pytest.approx(2, abs=0.1)


def test_a_cover_picture_is_not_a_video(tmp_path: Path, media: ModuleType) -> None:
    plain = media.make_clip(tmp_path / "plain.mp3", size=None, audio_codec="libmp3lame")
    path = tmp_path / "cover.mp3"
    with av.open(plain) as source, av.open(path, "w") as target:
        sound: Any = target.add_stream_from_template(source.streams.audio[0])
        cover: Any = target.add_stream("mjpeg")
        cover.width, cover.height, cover.pix_fmt = 80, 60, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(media.bars(1, 80, 60), "rgb24")
        for packet in cover.encode(frame) + cover.encode():
            target.mux_one(packet)
        for packet in source.demux(audio=0):
            if packet.pts is not None:
                packet.stream = sound
                target.mux_one(packet)
    with av.open(path) as container:
        assert len(container.streams.video) == 1
    reading = read(path)
    assert not reading.source.info.has_video
    assert not reading.greys
    assert reading.end.duration == pytest.approx(2, abs=0.1)


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
    make_clip: MakeClip, rng: np.random.Generator, codec: str, rate: int
) -> None:
    def noise(times: Any) -> Any:
        return rng.normal(0, 0.1, (2, len(times)))

    path = make_clip("noise.mov", audio_codec=codec, sample_rate=rate, layout="stereo", sound=noise)
    waveform, whole = read(path).waveform, whole_decode(path)
    np.testing.assert_allclose(waveform[: len(whole)], whole, atol=1e-5)


def test_sound_of_real_clips_equals_an_independent_decode(shared: Path) -> None:
    paths = sorted((shared / "data/video").glob("*.mp4"))[:5]
    for path in paths:
        reading = read(path)
        whole = whole_decode(path)
        first = round(reading.missing[0][1] * SAMPLE_RATE) if reading.missing else 0
        heard = reading.waveform[first : first + len(whole)]
        np.testing.assert_allclose(heard, whole[: len(heard)], atol=1e-5)


# Order and memory


@pytest.mark.parametrize("audio_first", [False, True])
@pytest.mark.parametrize("queue_bytes", [64 * 2**20, 20_000])
def test_one_stream_after_the_other_comes_out_in_the_order_of_time(
    make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch, audio_first: bool, queue_bytes: int
) -> None:
    monkeypatch.setattr(demux, "QUEUE_BYTES", queue_bytes)
    options: dict[str, Any] = {"duration": 20.0, "video_rate": 10}
    even = read(make_clip("even.mkv", **options))
    apart = read(
        make_clip(
            "apart.mkv",
            **options,
            is_interleaved=False,
            audio_first=audio_first,
            container_options={"max_interleave_delta": "1"},
        )
    )
    np.testing.assert_array_equal(even.waveform, apart.waveform)
    assert even.end == apart.end
    assert [type(item) for item in even.items] == [type(item) for item in apart.items]
    for tick, image in even.greys.items():
        np.testing.assert_array_equal(image, apart.greys[tick])
    assert len(apart.source.notes) == (queue_bytes < 2**20)


def test_sound_that_ends_early_does_not_fill_the_memory(
    make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip("clip.mkv", duration=10.0, audio_duration=0.5, video_codec="mjpeg")
    queued = []
    take = demux._Feed.take

    def watched(feed: demux._Feed, index: int) -> demux.AnyPacket:
        queued.append(feed.n_bytes)
        return take(feed, index)

    monkeypatch.setattr(demux, "QUEUE_BYTES", 50_000)
    monkeypatch.setattr(demux._Feed, "take", watched)
    reading = read(path)
    assert max(queued) < 60_000
    assert len(reading.pictures) == reading.end.n_steps == 20


@pytest.mark.slow
def test_memory_stays_flat(tmp_path: Path, media: ModuleType) -> None:
    path = media.make_clip(
        tmp_path / "long.mkv", duration=1200.0, video_rate=10, sound=lambda t: 0.1 * np.sin(t * 2e3)
    )
    program = """
import sys
from playspot.stream.sources import FileSource
from playspot.stream.media import Picture
for item in FileSource(sys.argv[1]):
    if isinstance(item, Picture) and item.step in (200, 2300):
        print(next(x for x in open("/proc/self/status") if x.startswith("VmRSS")).split()[1])
"""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc to read the memory in use")
    run = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
    )
    early, late = map(int, run.stdout.split())
    assert late - early < 10_000  # kB, over 18 minutes


# Pictures


def corner(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """Return a grey picture, its upper left quarter white, its lower left red."""
    image = np.full((height, width, 3), 128, np.uint8)
    image[: height // 2, : width // 2] = 235
    image[height // 2 :, : width // 2] = (200, 30, 30)
    return image


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_pictures_are_upright(make_clip: MakeClip, name: str, rotation: int) -> None:
    reading = read(make_clip(name, rotation=rotation, image=corner, duration=0.2))
    upright = np.rot90(corner(0, 80, 60), rotation // 90)
    height, width = upright.shape[:2]
    info = reading.source.info
    assert (info.width, info.height) == (width, height)
    picture = reading.pictures[0]
    assert picture.shape == (
        256 * height // max(height, width),
        256 * width // max(height, width),
        3,
    )
    rows = np.array([1, 3]) * picture.shape[0] // 4
    columns = np.array([1, 3]) * picture.shape[1] // 4
    for row, y in zip(rows, (height // 4, 3 * height // 4), strict=True):
        for column, x in zip(columns, (width // 4, 3 * width // 4), strict=True):
            np.testing.assert_allclose(picture[row, column], upright[y, x], atol=8)
            assert reading.greys[0][row, column] == pytest.approx(
                upright[y, x] @ np.array([0.299, 0.587, 0.114]), abs=8
            )


def test_pixels_that_are_not_square_are_stretched(make_clip: MakeClip) -> None:
    reading = read(make_clip(pixel_aspect=Fraction(4, 3), duration=0.2))  # 80 x 60 shown as 16:9
    assert reading.greys[0].shape == (144, 256)
    assert reading.pictures[0].shape == (144, 256, 3)
    assert (reading.source.info.width, reading.source.info.height) == (80, 60)


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((1, 1), (256, 256)),
        ((2, 2), (256, 256)),
        ((81, 61), (192, 256)),
        ((1840, 200), (27, 256)),
        ((16, 2000), (256, 2)),
        ((256, 144), (144, 256)),
    ],
)
def test_any_size_comes_out_with_256_on_the_longer_side(
    make_clip: MakeClip, size: tuple[int, int], shape: tuple[int, int]
) -> None:
    def image(index: int, width: int, height: int) -> NDArray[np.uint8]:
        return np.full((height, width, 3), (200, 100, 50), np.uint8)

    path = make_clip(
        "clip.mkv", size=size, image=image, duration=0.2, video_codec="libx264",
        pixel_format="yuv444p",
    )  # fmt: skip
    reading = read(path)
    assert reading.greys[0].shape == shape
    assert reading.pictures[0].shape == (*shape, 3)
    np.testing.assert_allclose(reading.pictures[0][0, 0], (200, 100, 50), atol=4)
    assert (reading.source.info.width, reading.source.info.height) == size


def test_pictures_have_the_size_that_the_model_asks_for(make_clip: MakeClip) -> None:
    reading = read(make_clip(duration=0.2), picture_side=448, picture_multiple=32)
    assert reading.pictures[0].shape == (320, 448, 3)  # 336 goes to the nearest multiple: up
    assert reading.greys[0].shape == (192, 256)


def test_a_change_of_size_on_the_way_keeps_the_first(tmp_path: Path, media: ModuleType) -> None:
    parts = [
        media.make_clip(
            tmp_path / f"{width}.ts", size=(width, 48), start=start, video_codec="mpeg2video",
            pixel_format="yuv420p", sample_rate=None, duration=1.0,
        )
        for width, start in ((64, 0.0), (96, 1.0))
    ]  # fmt: skip
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    reading = read(path)
    assert {image.shape for image in reading.greys.values()} == {(192, 256)}
    assert {image.shape for image in reading.pictures.values()} == {(192, 256, 3)}
    seen = numbers(reading, media)
    assert seen[7] == 22
    assert seen[12] == pytest.approx(13, abs=1)  # 1.536 s: of the second part, 96 wide


def test_full_and_limited_range_give_the_same_picture(make_clip: MakeClip) -> None:
    def image(index: int, width: int, height: int) -> NDArray[np.uint8]:
        return np.broadcast_to(
            np.linspace(0, 255, width)[None, :, None], (height, width, 3)
        ).astype(np.uint8)

    limited = read(make_clip("a.mkv", size=(256, 144), image=image, duration=0.2))
    full = read(
        make_clip(
            "b.mkv",
            size=(256, 144),
            image=image,
            duration=0.2,
            video_codec="mjpeg",
            pixel_format="yuvj420p",
        )  # fmt: skip
    )
    for reading in (limited, full):
        ramp = np.linspace(0, 255, 256)
        np.testing.assert_allclose(reading.greys[0][72], ramp, atol=6)
        np.testing.assert_allclose(reading.pictures[0][72, :, 1], ramp, atol=6)


# Damage


def spoiled(kind: str, which: Callable[[int], bool]) -> Callable[[Any], Any]:
    """Return an edit of packets: some of a stream get other bytes."""
    count = iter(range(100_000))

    def edit(packet: Any) -> Any:
        if packet.stream.type != kind or not which(next(count)):
            return packet
        bad = av.Packet(b"\x5a" * packet.size)
        bad.pts, bad.dts, bad.time_base = packet.pts, packet.dts, packet.time_base
        bad.duration, bad.stream = packet.duration, packet.stream
        return bad

    return edit


def test_corrupt_frames_are_left_out_and_counted(make_clip: MakeClip, media: ModuleType) -> None:
    edit = spoiled("video", lambda n: n in (8, 9, 30))
    reading = read(
        make_clip("clip.mkv", video_codec="ffv1", pixel_format="yuv444p", edit_packet=edit)
    )
    seen = numbers(reading, media)
    assert seen[3] == 7  # 0.384 s: frame 9 would be on
    assert seen[4] == 12
    assert reading.source.n_corrupt == 3
    assert reading.source.notes == ["left out what could not be decoded: 3 packets"]


def test_corrupt_sound_becomes_a_gap(make_clip: MakeClip) -> None:
    edit = spoiled("audio", lambda n: 10 <= n < 15)
    reading = read(make_clip("clip.mkv", audio_codec="flac", edit_packet=edit))
    assert reading.source.n_corrupt == 5
    ((start, end),) = reading.missing
    assert end - start > 0.1
    assert reading.end.duration == pytest.approx(2, abs=0.001)
    right = expected_tone(2)[: len(reading.waveform)]
    assert np.abs(reading.waveform - right)[int(end * SAMPLE_RATE) + 100 :].max() < 0.01


def test_a_corrupt_stream_leaves_the_other(make_clip: MakeClip) -> None:
    edit = spoiled("video", lambda n: True)
    reading = read(
        make_clip("clip.mkv", video_codec="ffv1", pixel_format="yuv444p", edit_packet=edit)
    )
    assert not reading.source.info.has_video
    assert reading.source.info.has_audio
    assert "the picture (ffv1) cannot be decoded" in reading.source.notes


def test_a_file_of_which_nothing_can_be_decoded_is_an_error(make_clip: MakeClip) -> None:
    path = make_clip(
        "clip.mkv", video_codec="ffv1", pixel_format="yuv444p", sample_rate=None,
        edit_packet=spoiled("video", lambda n: True),
    )  # fmt: skip
    assert "nothing in it can be decoded" in error_of(path)


@pytest.mark.parametrize("name", ["clip.mkv", "clip.ts", "clip.avi", "clip.mp4"])
def test_of_a_truncated_file_what_is_there_is_delivered(
    make_clip: MakeClip, media: ModuleType, name: str
) -> None:
    front = {"movflags": "faststart"} if name.endswith("mp4") else {}
    path = make_clip(name, duration=6.0, audio_codec="mp2", container_options=front)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    reading = read(path)
    assert 2 < reading.end.duration < 4
    seen = numbers(reading, media)
    assert [seen[n] for n in range(8)] == [int((tick_time(n) + 0.0010001) * 25) for n in range(8)]


def test_damaged_files_write_nothing_to_the_terminal(make_clip: MakeClip) -> None:
    path = make_clip("clip.ts", duration=4.0, video_codec="libx264")
    data = bytearray(path.read_bytes())
    for place in range(5000, len(data), 997):
        data[place] ^= 0xFF
    path.write_bytes(data)
    program = "import sys; from playspot.stream.sources import FileSource; "
    program += "print(len(list(FileSource(sys.argv[1]))))"
    run = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True)
    assert run.stderr == ""
    assert int(run.stdout) > 20


# Files that are no media


def error_of(path: str | Path) -> str:
    with pytest.raises(SourceError) as caught:
        FileSource(path)
    message = str(caught.value)
    assert "\n" not in message
    assert Path(path).name.isprintable() is (Path(path).name in message)
    return message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "no such file; check the path" in error_of(tmp_path / "not here.mp4")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in error_of(tmp_path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    assert "is empty (0 bytes)" in error_of(tmp_path / "empty.mp4")


@pytest.mark.parametrize("name", ["garbage.mp4", "garbage.mkv", "garbage", "notes.txt", "a.mp3"])
def test_garbage_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "notes.txt":
        path.write_text("Dear diary,\n" * 500)
    else:
        path.write_bytes(np.random.default_rng(1).bytes(20_000))
    assert error_of(path)


def test_an_mp4_cut_off_before_its_index_is_refused(make_clip: MakeClip) -> None:
    path = make_clip()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "cut off" in error_of(path)


def test_a_file_with_neither_picture_nor_sound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "words.srt"
    path.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n\n")
    assert "neither picture nor sound" in error_of(path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(make_clip: MakeClip) -> None:
    path = make_clip()
    path.chmod(0)
    assert "change its permissions" in error_of(path)


def test_a_file_that_the_system_forbids_is_refused(
    make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    path = make_clip()
    monkeypatch.setattr(Path, "open", forbid)
    assert "change its permissions" in error_of(path)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "not a regular file" in error_of(tmp_path / "pipe.mp4")


@pytest.mark.parametrize("name", ["list.ffconcat", "list.txt", "list.mp4"])
def test_a_playlist_opens_no_other_file(make_clip: MakeClip, name: str) -> None:
    clip = make_clip()
    path = clip.with_name(name)
    path.write_text(f"ffconcat version 1.0\nfile {clip.name}\n")
    assert error_of(path)


def test_a_playlist_opens_no_network_connection(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        head = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"
        for name, text in (
            ("list.m3u8", f"{head}{url}\n#EXT-X-ENDLIST\n"),
            ("list.mp4", f"{head}{url}\n#EXT-X-ENDLIST\n"),
            ("list.ffconcat", f"ffconcat version 1.0\nfile {url}\n"),
            ("list.sdp", "v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"),
        ):
            (tmp_path / name).write_text(text)
            assert error_of(tmp_path / name)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_playlist_opens_no_local_file(make_clip: MakeClip) -> None:
    clip = make_clip("secret.ts", audio_codec="mp2")
    path = clip.with_name("list.m3u8")
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n{clip}\n#EXT-X-ENDLIST\n")
    assert error_of(path)


@pytest.mark.parametrize(
    "name",
    ["with space.mp4", "Geräusch – 音.mp4", "100%.mp4", "%03d.mp4", "a:b.mp4", "http:x.mp4"]
    + ["-y.mp4", "file:x.mp4", "pipe:0.mp4", "line\nbreak.mp4", "'q\".mp4", "?.mp4", "a|b.mp4"],
)
def test_any_file_name_will_do(
    make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = make_clip("plain.mp4", duration=0.2)
    path.rename(path.with_name(name))
    monkeypatch.chdir(path.parent)
    for given in (path.with_name(name), Path(name), name):
        reading = read(given)
        assert reading.source.info.name == name.removesuffix(".mp4")


def test_a_name_that_is_no_text_will_do(make_clip: MakeClip) -> None:
    path = make_clip(duration=0.2)
    other = path.with_name(os.fsdecode(b"caf\xe9.mp4"))
    path.rename(other)
    assert read(other).end.n_steps == 1
    other.unlink()
    with pytest.raises(SourceError, match="no such file"):
        FileSource(other)


# The source itself


def test_the_info_describes_the_file(make_clip: MakeClip) -> None:
    path = make_clip("clip.mkv", sample_rate=44_100, layout="stereo")
    with FileSource(path, name="stage") as source:
        info = source.info
    assert (info.name, info.width, info.height) == ("stage", 80, 60)
    assert (info.video_rate, info.sample_rate, info.channels) == (25.0, 44_100, 2)
    assert info.duration == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_the_number_of_threads_changes_nothing(make_clip: MakeClip, threads: int) -> None:
    path = make_clip("clip.mkv", video_codec="libx264")
    one, more = read(path), read(path, threads=threads)
    assert list(one.greys) == list(more.greys)
    for tick, grey in one.greys.items():
        np.testing.assert_array_equal(grey, more.greys[tick])


def test_the_file_is_closed_at_the_end_and_on_a_break(make_clip: MakeClip) -> None:
    path = make_clip()
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("needs /proc to see the open files")

    def n_open() -> int:
        return sum(os.path.realpath(link) == str(path.resolve()) for link in folder.iterdir())

    list(FileSource(path))
    assert n_open() == 0
    with FileSource(path) as source:
        for _ in source:
            break
        assert n_open() == 1
    assert n_open() == 0


def test_a_source_is_read_once(make_clip: MakeClip) -> None:
    with FileSource(make_clip()) as source:
        list(source)
        with pytest.raises(SourceError, match="open it again"):
            list(source)


def test_a_closed_source_cannot_be_read(make_clip: MakeClip) -> None:
    source = FileSource(make_clip())
    source.close()
    source.close()
    with pytest.raises(SourceError, match="open it again"):
        list(source)


def test_items_are_never_written_to_again(make_clip: MakeClip) -> None:
    kept, copies = [], []
    with FileSource(make_clip()) as source:
        for item in source:
            array = item.waveform if isinstance(item, AudioChunk) else getattr(item, "image", None)
            if array is not None:
                kept.append(array)
                copies.append(array.copy())
    for array, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_real_clips_come_out_whole(shared: Path) -> None:
    for path in sorted((shared / "data/video").glob("*.mp4")):
        reading = read(path)
        n = reading.end.n_steps
        assert list(reading.pictures) == list(range(n)), path.name
        assert list(reading.greys) == list(range(4 * n)), path.name
        assert reading.source.notes == [], path.name
