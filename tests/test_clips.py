"""Folders of clips, and the features of clips that are computed once."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from playspot.training.cache import cache_clips
from playspot.training.clips import Clip, ClipError, index_clips

WriteClip = Callable[..., None]


def test_a_folder_is_indexed_with_tags_in_label_order(
    tmp_path: Path, write_clip: WriteClip
) -> None:
    write_clip(tmp_path, "b", heard=["violin", "drum"], seed=5)
    write_clip(tmp_path, "a", visible=["flute"])
    index = index_clips(tmp_path)
    assert [clip.name for clip in index.clips] == ["a", "b"]
    assert index.clips[1].heard == ("drum", "violin")
    assert index.skipped == ()


def test_broken_clips_are_skipped_with_a_reason(tmp_path: Path, write_clip: WriteClip) -> None:
    write_clip(tmp_path, "good")
    write_clip(tmp_path, "kazoo", heard=["kazoo"])
    (tmp_path / "lonely.mp4").write_bytes(b"video")
    write_clip(tmp_path, "empty")
    (tmp_path / "empty.mp4").write_bytes(b"")
    write_clip(tmp_path, "garbage")
    (tmp_path / "garbage.json").write_text("{")
    index = index_clips(tmp_path)
    assert [clip.name for clip in index.clips] == ["good"]
    assert sorted(name for name, _ in index.skipped) == [
        "empty.mp4",
        "garbage.mp4",
        "kazoo.mp4",
        "lonely.mp4",
    ]
    assert "unknown label 'kazoo'" in dict(index.skipped)["kazoo.mp4"]
    assert dict(index.skipped)["lonely.mp4"] == "lonely.mp4: no JSON of this name beside it"


def test_a_folder_without_clips_is_an_error_that_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match=r"expected <name>\.mp4 with <name>\.json"):
        index_clips(tmp_path)


@pytest.mark.parametrize(
    ("seed", "split"),
    [(0, "training"), (100_000, "validation"), (200_000, "test"), (300_000, "demo")],
)
def test_a_rendered_clip_is_split_by_its_seed(seed: int, split: str) -> None:
    assert Clip(Path("a.mp4"), Path("a.json"), (), (), (), seed).split == split


def test_a_recording_keeps_its_split_and_most_are_for_training() -> None:
    splits = [Clip(Path(f"{i}.mp4"), Path(), (), (), ()).split for i in range(1000)]
    assert 740 < splits.count("training") < 860
    assert 60 < splits.count("test") < 140


# Cache ------------------------------------------------------------------------------------------


def test_a_cache_gives_the_features_of_the_clip(tmp_path: Path) -> None:
    pytest.importorskip("playspot.stream.features")
    from playspot.stream.features import features

    path = write_video(tmp_path / "moving.mp4")
    clip = Clip(path, path, (), (), ())
    cached, skipped = cache_clips([clip], tmp_path / "cache")
    found = features(path)
    assert skipped == []
    assert found.pictures is not None
    assert found.stacks is not None
    assert found.log_mel is not None
    assert cached[0].n_steps == found.n_steps
    assert np.array_equal(cached[0].pictures, found.pictures)
    assert np.array_equal(cached[0].stack(1), found.stacks[1].astype(np.float16))
    assert np.array_equal(cached[0].stack(found.n_steps - 1), found.stacks[-1].astype(np.float16))
    assert np.array_equal(cached[0].log_mel, found.log_mel.astype(np.float16))


def test_a_clip_is_decoded_once_and_again_when_it_changed(
    write_clip: WriteClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def fake(clip: Clip) -> dict[str, Any]:
        calls.append(clip.path.name)
        return {"pictures": np.zeros((1, 2, 2, 3), np.uint8)}

    monkeypatch.setattr("playspot.training.cache.compute_features", fake)
    write_clip(tmp_path, "a")
    clips = index_clips(tmp_path).clips
    for _ in range(2):
        cache_clips(clips, tmp_path / "cache")
    assert calls == ["a.mp4"]
    (tmp_path / "a.mp4").write_bytes(b"another video")
    cache_clips(clips, tmp_path / "cache")
    assert calls == ["a.mp4", "a.mp4"]


def test_a_clip_that_cannot_be_decoded_is_skipped(tmp_path: Path, write_clip: WriteClip) -> None:
    pytest.importorskip("playspot.stream.features")
    write_clip(tmp_path, "garbage")
    cached, skipped = cache_clips(index_clips(tmp_path).clips, tmp_path / "cache")
    assert cached == []
    assert skipped[0][0] == "garbage"
    assert "\n" not in skipped[0][1]


def test_a_clip_without_sound_is_cached_without(tmp_path: Path) -> None:
    path = write_video(tmp_path / "silent.mp4", has_sound=False)
    cached, _ = cache_clips([Clip(path, None, (), (), ())], tmp_path / "cache")
    assert (cached[0].has_pictures, cached[0].has_flows, cached[0].has_sound) == (True, True, False)


def test_a_sound_is_cached_without_pictures(tmp_path: Path, make_clip: Callable[..., Path]) -> None:
    path = make_clip("a.flac", duration=2.1, size=None, audio_codec="flac")
    cached, _ = cache_clips([Clip(path, None, (), (), ())], tmp_path / "cache")
    assert (cached[0].has_pictures, cached[0].has_flows, cached[0].has_sound) == (
        *(False, False),
        True,
    )
    assert cached[0].n_steps == 5
    assert cached[0].log_mel.shape == (384, 66)


def test_a_still_picture_is_cached_as_one_step(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), np.full((300, 512, 3), (0, 0, 200), np.uint8))
    cached, _ = cache_clips([Clip(path, None, (), (), ())], tmp_path / "cache")
    assert (cached[0].n_steps, cached[0].has_flows, cached[0].has_sound) == (1, False, False)
    assert cached[0].pictures.shape == (1, 150, 256, 3)
    assert cached[0].pictures[0, 0, 0, 0] > 190  # red comes first


def test_parts_of_a_recording_are_cached_each(
    tmp_path: Path, make_clip: Callable[..., Path]
) -> None:
    path = make_clip(duration=4.0)
    parts = [Clip(path, None, (), (), (), start=s, end=s + 1.024) for s in (1.024, 2.048, 90.0)]
    cached, skipped = cache_clips(parts, tmp_path / "cache")
    assert [(clip.clip.name, clip.n_steps) for clip in cached] == [
        ("clip_1.024-2.048", 2),
        ("clip_2.048-3.072", 2),
    ]
    assert [name for name, _ in skipped] == ["clip_90-91.024"]
    assert not np.array_equal(cached[0].pictures, cached[1].pictures)


def test_a_clip_that_takes_too_long_is_skipped_and_nothing_is_left_of_it(
    tmp_path: Path, make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playspot.training.cache.SECONDS_PER_CLIP", 0.0)
    monkeypatch.setattr("playspot.training.cache.SECONDS_PER_MB", 0.0)
    clip = Clip(make_clip(duration=9.0), None, (), (), ())
    cached, skipped = cache_clips([clip], tmp_path / "cache", processes=2)
    assert cached == []
    assert skipped == [("clip", "clip.mp4: took more than 0 s, given up")]
    assert list((tmp_path / "cache").glob("*")) == []


def test_several_processes_give_what_one_gives(
    tmp_path: Path, make_clip: Callable[..., Path]
) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    paths = [make_clip("a.mp4"), tmp_path / "bad.mp4", make_clip("b.mp4", sample_rate=None)]
    clips = [Clip(path, None, (), (), ()) for path in paths]
    done: list[tuple[int, int]] = []

    def note(count: int, total: int) -> None:
        done.append((count, total))

    one, skipped_by_one = cache_clips(clips, tmp_path / "one")
    two, skipped = cache_clips(clips, tmp_path / "two", processes=2, progress=note)
    assert [clip.clip.name for clip in two] == ["a", "b"]
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert skipped == skipped_by_one
    np.testing.assert_array_equal(one[0].flows, two[0].flows)


def test_a_video_that_would_fill_the_memory_is_skipped(
    tmp_path: Path, make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playspot.training.cache.LONGEST_VIDEO", 1.5)
    path = make_clip(duration=2.0)
    clips = [Clip(path, None, (), (), ()), Clip(path, None, (), (), (), start=1.0)]
    cached, skipped = cache_clips(clips, tmp_path / "cache")
    assert [clip.clip.name for clip in cached] == ["clip_1-"]
    assert [name for name, _ in skipped] == ["clip"]
    assert "cut it into parts" in skipped[0][1]


def test_a_full_disk_is_an_error_of_one_line(
    tmp_path: Path, make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numpy.save", full)
    clip = Clip(make_clip("a.wav", size=None, audio_codec="pcm_s16le"), None, (), (), ())
    with pytest.raises(ClipError, match="no space left; give --cache"):
        cache_clips([clip], tmp_path / "cache")


def write_video(path: Path, has_sound: bool = True) -> Path:
    """Write 1.3 s of a moving square, with a tone."""
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
        sound = container.add_stream("aac", rate=16000, layout="mono") if has_sound else None
        for i in range(33):
            image = np.zeros((96, 128, 3), np.uint8)
            image[20:60, 10 + 2 * i : 40 + 2 * i] = 200
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode())
        if sound is not None:
            tone = np.sin(np.arange(21000) * 0.2).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate = 16000
            container.mux(sound.encode(frame))
            container.mux(sound.encode())
    return path
