"""`playspot probe`: what is found out of a source, and how it is told."""

import json
from collections.abc import Callable
from fractions import Fraction
from io import StringIO
from pathlib import Path

import cv2
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from playspot.stream.failures import SourceFailure
from playspot.stream.probe import Probe, examine, probe
from playspot.stream.probe_report import half_blocks, print_probe, write_thumbnail
from playspot.stream.sources import SourceError
from playspot.training.rtsp_server import RtspServer

MakeClip = Callable[..., Path]
H264 = {"video_codec": "libx264", "video_options": {"bf": "0", "g": "5", "preset": "ultrafast"}}

app = typer.Typer()
app.command()(probe)


def test_a_file_is_described(make_clip: MakeClip) -> None:
    path = make_clip("clip.mkv", audio_start=0.5, pixel_aspect=Fraction(2), audio_codec="mp2")
    found = examine(str(path))
    video, audio = found.streams
    assert (video.codec, video.width, video.height, video.rate) == ("mpeg4", 80, 60, 25)
    assert (audio.codec, audio.rate, audio.channels) == ("mp2", 16_000, 1)
    assert video.pixel_aspect == "2:1"
    assert found.av_offset == pytest.approx(0.5, abs=0.05)
    assert found.duration == pytest.approx(2.5, abs=0.1)
    assert not found.is_live
    assert video.bit_rate is not None
    assert video.bit_rate > 1000
    assert found.thumbnail is not None
    assert found.thumbnail.shape == (96, 256, 3)


def test_a_turned_picture_is_shown_upright(make_clip: MakeClip) -> None:
    found = examine(str(make_clip("clip.mp4", rotation=90, sample_rate=None)))
    assert found.streams[0].is_turned
    assert found.thumbnail is not None
    assert found.thumbnail.shape == (256, 192, 3)
    assert found.av_offset is None


def test_a_stream_is_described(make_clip: MakeClip) -> None:
    with RtspServer(make_clip(**H264)) as server:
        found = examine(server.url.replace("//", "//u:hunter2@"), seconds=0.5)
    assert found.is_live
    assert found.duration is None
    assert found.clock == "rtcp"
    assert [stream.codec for stream in found.streams] == ["h264", "aac"]
    assert found.seconds_to_picture is not None
    assert 0 < found.seconds_to_picture < 5
    assert "hunter2" not in json.dumps(found.to_json()) + repr(found)


def test_a_synthetic_source_is_described() -> None:
    found = examine("bandstand://", seconds=0.5)
    assert found.is_live
    assert [stream.kind for stream in found.streams] == ["video", "audio"]
    assert found.thumbnail is not None


def test_json_holds_everything_but_the_picture(make_clip: MakeClip) -> None:
    result = CliRunner().invoke(app, [str(make_clip()), "--json"])
    assert result.exit_code == 0
    data = json.loads(result.output)
    assert data["streams"][0]["width"] == 80
    assert "thumbnail" not in data


def test_the_thumbnail_is_written(make_clip: MakeClip, tmp_path: Path) -> None:
    png = tmp_path / "picture.png"
    result = CliRunner().invoke(app, [str(make_clip()), "--thumbnail", str(png)])
    assert result.exit_code == 0
    assert "80x60" in result.output
    image = cv2.imread(str(png))
    assert image is not None
    assert image.shape == (192, 256, 3)


def test_sound_alone_has_no_thumbnail(make_clip: MakeClip, tmp_path: Path) -> None:
    found = examine(str(make_clip("clip.wav", size=None, audio_codec="pcm_s16le")))
    with pytest.raises(SourceError, match="leave out --thumbnail"):
        write_thumbnail(found, tmp_path / "picture.png")


def test_a_source_that_is_not_there_is_a_typed_failure() -> None:
    with pytest.raises(SourceFailure, match=r"rtsp://\*\*\*@127\.0\.0\.1:1/x") as caught:
        examine("rtsp://u:hunter2@127.0.0.1:1/x")
    assert caught.value.kind == "refused"
    result = CliRunner().invoke(app, ["nowhere.mp4"])
    assert isinstance(result.exception, SourceError)


def test_an_unknown_transport_is_a_usage_error(make_clip: MakeClip) -> None:
    assert CliRunner().invoke(app, [str(make_clip()), "--transport", "tpc"]).exit_code == 2


def test_a_terminal_gets_a_small_picture(make_clip: MakeClip) -> None:
    found: Probe = examine(str(make_clip()))
    shown, plain = StringIO(), StringIO()
    print_probe(found, console=Console(file=shown, force_terminal=True, width=60))
    print_probe(found, console=Console(file=plain, width=60))
    assert shown.getvalue().count("▀") == 48 * 18
    assert "▀" not in plain.getvalue()


def test_half_blocks_show_two_rows_a_line(make_clip: MakeClip) -> None:
    found = examine(str(make_clip()))
    assert found.thumbnail is not None
    lines = half_blocks(found.thumbnail, 40).plain.splitlines()
    assert {len(line) for line in lines} == {40}
    assert len(lines) == 15
