"""Folders of clips, and the features of clips that are computed once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from playspot.training.cache import cache_clips, compute_features
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

    def fake(path: Path) -> dict[str, Any]:
        calls.append(path.name)
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


def test_a_clip_without_sound_is_refused_for_training(tmp_path: Path) -> None:
    pytest.importorskip("playspot.stream.features")
    path = write_video(tmp_path / "silent.mp4", has_sound=False)
    with pytest.raises(ValueError, match="needs both picture and sound"):
        compute_features(path)


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
