"""Files in any order, damaged files, and files that are no media."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest

from playspot.stream import demux
from playspot.stream.media import End, Picture
from playspot.stream.sources import FileSource, SourceError
from playspot.stream.timeline import SAMPLE_RATE, tick_time

MakeClip = Callable[..., Path]
Read = Callable[..., Any]


@pytest.mark.parametrize("audio_first", [False, True])
@pytest.mark.parametrize("queue_bytes", [64 * 2**20, 20_000])
def test_one_stream_after_the_other_comes_out_in_the_order_of_time(
    read: Read,
    make_clip: MakeClip,
    monkeypatch: pytest.MonkeyPatch,
    audio_first: bool,
    queue_bytes: int,
) -> None:
    monkeypatch.setattr(demux, "QUEUE_BYTES", queue_bytes)
    options: dict[str, Any] = {"duration": 12.0, "video_rate": 10}
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
    read: Read, make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch
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
def test_one_hour_takes_no_more_memory_than_a_minute(tmp_path: Path, media: ModuleType) -> None:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("needs /proc to read the memory in use")
    with (tmp_path / "hour.ts").open("wb") as hour:
        for minute in range(60):
            options = {"duration": 60.0, "start": 60.0 * minute, "video_rate": 5}
            part = media.make_clip(tmp_path / "part.ts", audio_codec="mp2", **options)
            hour.write(part.read_bytes())

    def memory() -> int:
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1])  # kB

    used = {}
    for item in FileSource(tmp_path / "hour.ts"):
        if isinstance(item, Picture) and item.step in (100, 7000):
            used[item.step] = memory()
    assert isinstance(item, End)
    assert item.duration == pytest.approx(3600, abs=0.1)
    assert used[7000] - used[100] < 10_000


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


def test_corrupt_frames_are_left_out_and_counted(read: Read, make_clip: MakeClip) -> None:
    edit = spoiled("video", lambda n: n in (8, 9, 30))
    reading = read(make_clip("clip.mkv", video_codec="ffv1", edit_packet=edit))
    seen = reading.numbers
    assert seen[3] == 7  # 0.384 s: frame 9 would be on
    assert seen[4] == 12
    assert reading.source.n_corrupt == 3
    assert reading.source.notes == ["left out what could not be decoded: 3 packets"]


def test_corrupt_sound_becomes_a_gap(read: Read, make_clip: MakeClip, media: ModuleType) -> None:
    edit = spoiled("audio", lambda n: 10 <= n < 15)
    reading = read(make_clip("clip.mkv", audio_codec="flac", edit_packet=edit))
    assert reading.source.n_corrupt == 5
    ((start, end),) = reading.missing
    assert end - start > 0.1
    assert reading.end.duration == pytest.approx(2, abs=0.001)
    right = media.tone(np.arange(len(reading.waveform)) / SAMPLE_RATE)
    assert np.abs(reading.waveform - right)[int(end * SAMPLE_RATE) + 100 :].max() < 0.01


def test_a_corrupt_stream_leaves_the_other(read: Read, make_clip: MakeClip) -> None:
    edit = spoiled("video", lambda n: True)
    reading = read(make_clip("clip.mkv", video_codec="ffv1", edit_packet=edit))
    assert not reading.source.info.has_video
    assert reading.source.info.has_audio
    assert "the picture (ffv1) cannot be decoded" in reading.source.notes


def test_a_file_of_which_nothing_can_be_decoded_is_an_error(make_clip: MakeClip) -> None:
    path = make_clip(
        "clip.mkv", video_codec="ffv1", sample_rate=None,
        edit_packet=spoiled("video", lambda n: True),
    )  # fmt: skip
    assert "nothing in it can be decoded" in error_of(path)


@pytest.mark.parametrize("name", ["clip.mkv", "clip.ts", "clip.avi", "clip.mp4"])
def test_of_a_truncated_file_what_is_there_is_delivered(
    read: Read, make_clip: MakeClip, name: str
) -> None:
    front = {"movflags": "faststart"} if name.endswith("mp4") else {}
    path = make_clip(name, duration=6.0, audio_codec="mp2", container_options=front)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    reading = read(path)
    assert 2 < reading.end.duration < 4
    seen = reading.numbers
    expected = [int((tick_time(n) + 0.0010001) * 25) for n in range(8)]
    np.testing.assert_allclose([seen[n] for n in range(8)], expected, atol=1)  # sound may be first


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
    [
        *("with space.mp4", "Geräusch 音.mp4", "100%.mp4", "%03d.mp4", "a:b.mp4", "http:x.mp4"),
        *("-y.mp4", "file:x.mp4", "pipe:0.mp4", "line\nbreak.mp4", "'q\".mp4", "?.mp4", "a|b.mp4"),
    ],
)
def test_any_file_name_will_do(
    read: Read, make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = make_clip("plain.mp4", duration=0.2)
    path.rename(path.with_name(name))
    monkeypatch.chdir(path.parent)
    for given in (path.with_name(name), Path(name), name):
        reading = read(given)
        assert reading.source.info.name == name.removesuffix(".mp4")


def test_a_name_that_is_no_text_will_do(read: Read, make_clip: MakeClip) -> None:
    path = make_clip(duration=0.2)
    other = path.with_name(os.fsdecode(b"caf\xe9.mp4"))
    path.rename(other)
    assert read(other).end.n_steps == 1
    other.unlink()
    with pytest.raises(SourceError, match="no such file"):
        FileSource(other)
