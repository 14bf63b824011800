"""A part of a file is as if it had been cut out, and what lies before it is not decoded."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from playspot.stream.features import features
from playspot.stream.sources import FileSource, SourceError
from playspot.stream.timeline import STEP

MakeClip = Callable[..., Path]
Read = Callable[..., Any]

START, END = 5, 8  # steps


def moving(index: int, width: int, height: int) -> Any:
    """Return a picture with a bright square that goes 2 px to the right each frame."""
    image = np.full((height, width, 3), 60, np.uint8)
    first = 2 * index % (width - 20)
    image[20:40, first : first + 20] = 220
    return image


def noise(times: Any) -> Any:
    return 0.3 * np.random.default_rng(0).standard_normal(times.shape)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("late.mp4", {"video_codec": "libx264", "start": 3.0}),
        ("a.ts", {"audio_codec": "mp2", "video_codec": "mpeg2video"}),
        ("a.mp3", {"audio_codec": "libmp3lame", "size": None}),
    ],
)
def test_a_part_has_the_features_of_these_steps(
    make_clip: MakeClip, name: str, options: dict[str, Any]
) -> None:
    path = make_clip(name, duration=5.0, image=moving, sound=noise, **options)
    whole = features(path, has_windows=False)
    part = features(path, start=START * STEP, end=END * STEP, has_windows=False)
    assert part.n_steps == END - START
    assert whole.log_mel is not None
    assert part.log_mel is not None
    if whole.pictures is not None:
        assert whole.stacks is not None
        assert part.pictures is not None
        assert part.stacks is not None
        np.testing.assert_array_equal(part.pictures, whole.pictures[START:END])
        inner = slice(START + 1, END - 1)  # at its ends a part has no frames from beyond it
        np.testing.assert_array_equal(part.stacks[1:-1], whole.stacks[inner])
    inner = slice(16 * START + 8, 16 * END - 8)  # columns that see only the part
    assert part.log_mel.shape[1] == 16 * (END - START) + 1
    np.testing.assert_allclose(part.log_mel[:, 8:-9], whole.log_mel[:, inner], atol=0.02)


@pytest.mark.parametrize(
    ("name", "codec", "rate"), [("a.wav", "pcm_s16le", 48_000), ("a.flac", "flac", 16_000)]
)
def test_a_part_of_a_sound_is_that_of_the_cut_sound(
    make_clip: MakeClip, name: str, codec: str, rate: int
) -> None:
    options: dict[str, Any] = {"size": None, "audio_codec": codec, "sample_rate": rate}
    path = make_clip(name, duration=8.0, sound=noise, **options)
    part = features(path, start=2.5, end=4.5, has_windows=False)

    def cut_noise(times: Any) -> Any:
        return noise(np.zeros(8 * rate))[int(2.5 * rate) :][: len(times)]

    cut = features(make_clip(f"cut-{name}", duration=2.0, sound=cut_noise, **options))
    assert part.n_steps == cut.n_steps == 4
    assert part.log_mel is not None
    assert cut.log_mel is not None
    assert np.abs(part.log_mel - cut.log_mel).mean() < 0.01


def test_what_lies_before_a_part_is_not_decoded(read: Read, make_clip: MakeClip) -> None:
    options = {"audio_codec": "pcm_s16le", "video_options": {"g": "25"}, "video_codec": "libx264"}
    path = make_clip("a.mkv", duration=20.0, **options)
    good = read(path, start=15.0, end=16.0)
    content = bytearray(path.read_bytes())
    half = slice(len(content) // 4, len(content) // 2)  # the index is at the end
    content[half] = bytes(len(content[half]))
    path.write_bytes(content)
    damaged = read(path, start=15.0, end=16.0)
    assert damaged.source.n_corrupt == 0
    assert damaged.numbers == good.numbers
    np.testing.assert_array_equal(damaged.waveform, good.waveform)


def test_a_part_begins_at_media_time_0(read: Read, make_clip: MakeClip) -> None:
    reading = read(make_clip(duration=4.0), start=2.0, end=3.0)
    assert reading.numbers[0] == 50  # of 25 frames per second
    assert reading.end.duration == 1.0
    assert len(reading.waveform) == 16_000


def test_a_part_ends_where_the_file_ends(read: Read, make_clip: MakeClip) -> None:
    assert read(make_clip(duration=3.0), start=2.0, end=9.0).end.duration == pytest.approx(
        1, abs=0.1
    )


@pytest.mark.parametrize(
    ("start", "end"), [(3.0, 3.0), (3.0, 1.0), (-1.0, 2.0), (float("nan"), 2.0), (0, float("nan"))]
)
def test_a_part_that_is_none_is_refused(make_clip: MakeClip, start: float, end: float) -> None:
    with pytest.raises(SourceError, match="give a start of at least 0 and an end after it"):
        FileSource(make_clip(duration=0.2), start=start, end=end)


def test_a_part_of_streams_one_after_the_other_is_read_twice_from_there(
    read: Read, make_clip: MakeClip, media: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playspot.stream.demux.QUEUE_BYTES", 2000)
    options = {"is_interleaved": False, "audio_codec": "pcm_s16le"}
    reading = read(make_clip("a.mkv", duration=6.0, **options), start=4.0, end=5.0)
    assert reading.numbers[0] == 100
    assert reading.end.duration == 1.0
    tone = media.tone(4.0 + np.arange(16_000) / 16_000)
    np.testing.assert_allclose(reading.waveform, tone, atol=1e-3)
