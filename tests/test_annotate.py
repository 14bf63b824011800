"""The annotated video: the frames and the sound of the original at their times, and the drawing."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from playspot.stream import annotate as annotate_module
from playspot.stream.annotate import annotate
from playspot.stream.drawing import colour_of
from playspot.stream.jsonl import OutputError
from playspot.stream.played import Played
from playspot.stream.sources import SourceError
from playspot.stream.spool import MapSpool

MakeClip = Callable[..., Path]
MakePlayed = Callable[..., Played]
Image = NDArray[np.uint8]

BOX = (0.25, 0.25, 0.75, 0.75)
QUIET: tuple[Any, ...] = ()


def grey(index: int, width: int, height: int) -> Image:
    return np.full((height, width, 3), 128, np.uint8)


def corner(index: int, width: int, height: int) -> Image:
    """Return a picture that is bright in its upper left quarter."""
    image = np.full((height, width, 3), 32, np.uint8)
    image[: height // 2, : width // 2] = 224
    return image


def frames(path: Path) -> tuple[list[float], list[Image]]:
    """Return the times and the pictures, RGB, of a video."""
    times, images = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            times.append(frame.time)
            images.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
    return times, images


def sound(path: Path) -> tuple[float, NDArray[np.float32]]:
    """Return when the sound begins, and its samples, (T,)."""
    with av.open(str(path)) as container:
        parts = list(container.decode(audio=0))
    return float(parts[0].time or 0), np.concatenate([part.to_ndarray()[0] for part in parts])


def burst(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a tone that begins after half a second of silence."""
    return np.where(times >= 0.5, np.sin(2 * np.pi * 440 * times) / 2, 0)


def onset(path: Path) -> float:
    """Return when it is no longer silent, in the clock of the file."""
    with av.open(str(path)) as container:
        for part in container.decode(audio=0):
            loud = np.abs(part.to_ndarray()[0]) > 0.1
            if loud.any():
                return float((part.time or 0) + loud.argmax() / part.sample_rate)
    raise ValueError(f"{path} is silent")


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def near(image: Image, colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(image.astype(int) - colour).max(axis=2) < 48)


def test_frames_keep_their_number_content_and_times(
    make_clip: MakeClip, make_played: MakePlayed, media: ModuleType, tmp_path: Path
) -> None:
    times = [0.0, 0.04, 0.08, 0.2, 0.25, 0.9, 0.95, 1.6]
    clip = make_clip(times=times, duration=1.7)
    out = annotate(clip, tmp_path / "out.mp4", make_played(1.7, *QUIET))
    assert out == tmp_path / "out.mp4"
    found_times, images = frames(out)
    assert found_times == pytest.approx(times, abs=1e-3)
    assert [media.number(image) for image in images] == list(range(len(times)))


def test_sound_is_copied_packet_by_packet(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path
) -> None:
    clip = make_clip(duration=1.0)
    annotate(clip, tmp_path / "out.mp4", make_played(1.0))
    assert packets(tmp_path / "out.mp4") == packets(clip)
    before, after = sound(clip), sound(tmp_path / "out.mp4")
    assert after[0] == pytest.approx(before[0], abs=1e-3)
    np.testing.assert_array_equal(after[1], before[1])


@pytest.mark.parametrize(
    ("name", "codec", "layout", "sample_rate"),
    [
        ("clip.mkv", "pcm_s16le", "stereo", 44_100),
        ("clip.avi", "pcm_s16le", "mono", 8_000),
        ("clip.mkv", "flac", "5.1", 48_000),
        ("clip.mkv", "mp2", "stereo", 44_100),
    ],
)
def test_sound_that_mp4_cannot_hold_becomes_aac(
    make_clip: MakeClip,
    make_played: MakePlayed,
    tmp_path: Path,
    name: str,
    codec: str,
    layout: str,
    sample_rate: int,
) -> None:
    clip = make_clip(
        name,
        duration=1.0,
        audio_codec=codec,
        layout=layout,
        sample_rate=sample_rate,
        sound=burst,
        sample_format={"flac": "s16", "pcm_s16le": "s16"}.get(codec),
    )
    annotate(clip, tmp_path / "out.mp4", make_played(1.0))
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        rate = container.streams.audio[0].sample_rate
    assert onset(tmp_path / "out.mp4") == pytest.approx(0.5, abs=0.03)  # AAC has a pre-echo
    assert len(sound(tmp_path / "out.mp4")[1]) / rate == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("name", "audio_start"),
    [("clip.mp4", 0.0), ("clip.mp4", 0.75), ("clip.mkv", 0.75), ("clip.ts", 0.75)],
)
def test_the_offset_between_sound_and_picture_stays(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path, name: str, audio_start: float
) -> None:
    codec = "mpeg2video" if name.endswith("ts") else "mpeg4"
    clip = make_clip(
        name,
        duration=1.0,
        audio_start=audio_start,
        video_codec=codec,
        start=10.0,
        sound=burst,
    )
    annotate(clip, tmp_path / "out.mp4", make_played(1.8))
    offsets = [onset(path) - frames(path)[0][0] for path in (clip, tmp_path / "out.mp4")]
    assert offsets[1] == pytest.approx(offsets[0], abs=2e-3)
    assert frames(tmp_path / "out.mp4")[0][0] == pytest.approx(
        max(0.0, frames(clip)[0][0] - sound(clip)[0]), abs=2e-3
    )


def test_a_gap_in_encoded_sound_becomes_silence(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path
) -> None:
    clip = make_clip(
        "clip.mkv", duration=2.0, audio_codec="pcm_s16le", sample_format="s16", gaps=[(0.5, 1.5)]
    )
    annotate(clip, tmp_path / "out.mp4", make_played(2.0))
    _, samples = sound(tmp_path / "out.mp4")
    assert np.abs(samples[10_000:22_000]).max() < 0.01
    assert np.abs(samples[25_000:31_000]).max() > 0.3


def test_video_without_sound_gives_video_without_sound(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path
) -> None:
    annotate(make_clip(sample_rate=None), tmp_path / "out.mp4", make_played(2.0))
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio
    assert len(frames(tmp_path / "out.mp4")[0]) == 50


def test_sound_without_video_gives_no_file(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path
) -> None:
    clip = make_clip("clip.m4a", size=None)
    assert annotate(clip, tmp_path / "out.mp4", make_played(2.0)) is None
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_video_comes_out_upright(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path, rotation: int
) -> None:
    clip = make_clip(
        size=(96, 64), rotation=rotation, image=corner, duration=0.2, pixel_aspect=Fraction(4, 3)
    )
    annotate(clip, tmp_path / "out.mp4", make_played(0.2))
    _, images = frames(tmp_path / "out.mp4")
    expected = np.rot90(corner(0, 96, 64), rotation // 90)  # counter-clockwise, as players turn it
    assert images[0].shape == expected.shape
    assert np.abs(images[0].astype(int) - expected).mean() < 6
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert next(container.decode(video=0)).rotation == 0
        swapped = Fraction(3, 4) if rotation in (90, 270) else Fraction(4, 3)
        assert stream.sample_aspect_ratio == swapped


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (63, 48), (64, 47), (65, 49)])
def test_odd_sizes_gain_a_row_or_column(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path, size: tuple[int, int]
) -> None:
    clip = make_clip(
        "clip.mkv",
        size=size,
        video_codec="ffv1",
        pixel_format="yuv444p",
        image=corner,
        duration=0.2,
    )
    played = make_played(0.2, ("violin", 0, 9, (0.5, 0.5), BOX, 0.75))
    annotate(clip, tmp_path / "out.mp4", played)
    _, images = frames(tmp_path / "out.mp4")
    assert images[0].shape == (size[1] + size[1] % 2, size[0] + size[0] % 2, 3)


def test_one_frame_is_a_video(make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path) -> None:
    clip = make_clip(duration=0.04, sample_rate=None)
    annotate(clip, tmp_path / "out.mp4", make_played(0.04))
    assert len(frames(tmp_path / "out.mp4")[0]) == 1


@pytest.mark.parametrize(
    ("codec", "pixels"),
    [
        ("mjpeg", "yuvj422p"),
        ("ffv1", "yuv444p"),
        ("ffv1", "yuv420p10le"),
        ("ffv1", "gray"),
        ("png", "rgb24"),
        ("ffv1", "bgra"),
    ],
)
def test_colours_survive_from_any_pixel_format(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path, codec: str, pixels: str
) -> None:
    def image(index: int, width: int, height: int) -> Image:
        colour = (200, 200, 200) if pixels == "gray" else (200, 60, 30)
        return np.full((height, width, 3), colour, np.uint8)

    name = "clip.mov" if codec == "png" else "clip.mkv"
    clip = make_clip(
        name, video_codec=codec, pixel_format=pixels, image=image, duration=0.2, size=(64, 48)
    )
    annotate(clip, tmp_path / "out.mp4", make_played(0.2))
    before, after = (frames(path)[1][0] for path in (clip, tmp_path / "out.mp4"))
    assert np.abs(before.astype(int) - after).max() <= 8


def test_a_part_is_drawn_from_its_start_to_its_end_only(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path
) -> None:
    clip = make_clip(size=(320, 240), image=grey, duration=4.0, video_rate=10.0)
    played = make_played(4.0, ("violin", 3, 5, (0.5, 0.5), BOX, 0.75))
    (part,) = played.parts
    annotate(clip, tmp_path / "out.mp4", played)
    times, images = frames(tmp_path / "out.mp4")
    assert len(times) == 40
    for time, image in zip(times, images, strict=True):
        n_drawn = int(near(image[:220], colour_of("violin")).sum())  # above the strip
        assert (n_drawn > 100) == (part.start <= time < part.end), time


def test_box_point_and_tag_lie_where_they_were_detected(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path
) -> None:
    clip = make_clip(size=(640, 480), image=grey, duration=0.4)
    played = make_played(0.4, ("piano", 0, 9, (0.5, 0.625), (0.25, 0.5, 0.75, 0.75), 0.75))
    annotate(clip, tmp_path / "out.mp4", played)
    image = frames(tmp_path / "out.mp4")[1][2]
    rows, columns = np.nonzero(near(image[:460], colour_of("piano")))
    assert columns.min() == pytest.approx(160, abs=4)
    assert columns.max() == pytest.approx(480, abs=4)
    assert rows.max() == pytest.approx(360, abs=4)
    assert rows.min() == pytest.approx(240 - 26, abs=6)  # the tag stands on the box
    assert near(image[296:304, 316:324], colour_of("piano")).any()


def test_heat_lies_at_the_peak_of_the_map(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path
) -> None:
    clip = make_clip(size=(320, 240), image=grey, duration=0.4)
    played = make_played(0.4, ("trumpet", 0, 9, (0.9, 0.1), None, 0.75))
    maps = np.full((9, 24, 32), 0.02)
    maps[7, 15:18, 8:11] = 0.75
    with MapSpool(played.labels) as spool:
        spool.append(0, maps)
        annotate(clip, tmp_path / "out.mp4", played, spool)
    image = frames(tmp_path / "out.mp4")[1][2].astype(int)
    blue = image[..., 2] - image[..., 0]
    assert blue[155:175, 85:105].min() > 20
    assert abs(blue[60:120, :200]).max() <= 4


def test_a_file_that_takes_the_place_of_another_does_so_when_it_is_complete(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"old")
    seen = []
    annotate(
        make_clip(),
        out,
        make_played(2.0),
        progress=lambda fraction: seen.append(out.stat().st_size),
    )
    assert set(seen[:-1]) == {3}
    assert seen[-1] > 1000


def test_progress_grows_from_0_to_1(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path
) -> None:
    seen: list[float] = []
    annotate(make_clip(), tmp_path / "out.mp4", make_played(2.0), progress=seen.append)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0.0, 1.0)


def test_an_interrupt_leaves_nothing_behind(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path
) -> None:
    def interrupt(fraction: float) -> None:
        if fraction > 0.5:
            raise KeyboardInterrupt

    clip = make_clip()
    with pytest.raises(KeyboardInterrupt):
        annotate(clip, tmp_path / "out.mp4", make_played(2.0), progress=interrupt)
    assert list(tmp_path.iterdir()) == [clip]


def test_an_unwritable_place_is_named_in_one_line(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=r"out\.mp4: cannot be written") as caught:
        annotate(make_clip(), tmp_path / "missing" / "out.mp4", make_played(2.0))
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_named_and_nothing_is_left(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(drawing: Any, progress: Any, duration: float) -> None:
        raise av.error.OSError(28, "No space left on device")

    monkeypatch.setattr(annotate_module._Pass, "run", refuse)
    clip = make_clip()
    with pytest.raises(OutputError, match="disk is full"):
        annotate(clip, tmp_path / "out.mp4", make_played(2.0))
    assert list(tmp_path.iterdir()) == [clip]


def test_a_source_that_cannot_be_read_is_named(make_played: MakePlayed, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"missing\.mp4: no such file"):
        annotate(tmp_path / "missing.mp4", tmp_path / "out.mp4", make_played(2.0))


def test_a_name_with_spaces_and_other_letters_is_taken_as_it_is(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path
) -> None:
    out = tmp_path / "Übung 1: 50%d 笛?.mp4"
    assert annotate(make_clip("a: b%d é.mp4"), out, make_played(2.0)) == out
    assert out.exists()


def test_a_broken_end_keeps_the_frames_before_it(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path
) -> None:
    clip = make_clip("clip.mkv", duration=2.0)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    annotate(clip, tmp_path / "out.mp4", make_played(2.0))
    assert len(frames(tmp_path / "out.mp4")[0]) > 5


def test_damaged_sound_is_encoded_anew(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path
) -> None:
    n_packets = 0

    def damage(packet: Any) -> Any:
        nonlocal n_packets
        if packet.stream.type == "audio":
            n_packets += 1
            if n_packets == 8:
                packet.update(b"\xff\xf1" + bytes(packet.size - 2))  # the head of a frame, no more
        return packet

    clip = make_clip("clip.ts", video_codec="mpeg2video", edit_packet=damage)
    annotate(clip, tmp_path / "out.mp4", make_played(2.0))
    assert len(frames(tmp_path / "out.mp4")[0]) == 50
    assert len(packets(tmp_path / "out.mp4")) > 25


def test_timestamps_that_run_backwards_do_no_harm(
    make_clip: MakeClip, make_played: MakePlayed, tmp_path: Path
) -> None:
    n = {"audio": 0, "video": 0}

    def disturb(packet: Any) -> Any:
        n[packet.stream.type] += 1
        if packet.stream.type == "audio" and n["audio"] == 10:
            packet.pts = packet.dts = None
        return packet

    clip = make_clip("clip.mkv", edit_packet=disturb)
    annotate(clip, tmp_path / "out.mp4", make_played(2.0))
    times, _ = frames(tmp_path / "out.mp4")
    assert times == sorted(times)
    assert len(packets(tmp_path / "out.mp4")) >= 0.9 * n["audio"]
