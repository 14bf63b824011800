"""`features`: the whole file at once gives what the streaming classes give."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from playspot.stream.features import features
from playspot.stream.flow import stack_flow
from playspot.stream.mel import log_mel
from playspot.stream.sources import SourceError

MakeClip = Callable[..., Path]
Read = Callable[..., Any]


def moving(index: int, width: int, height: int) -> Any:
    """Return a picture with a bright square that goes 1 px to the right each frame."""
    image = np.full((height, width, 3), 60, np.uint8)
    image[20:40, 10 + index : 30 + index] = 220
    return image


def test_features_are_those_of_the_source(read: Read, make_clip: MakeClip) -> None:
    path = make_clip(image=moving)
    reading, found = read(path), features(path)
    assert found.n_steps == reading.end.n_steps == 4
    assert found.duration == reading.end.duration
    assert found.info == reading.source.info
    assert found.pictures is not None
    assert found.stacks is not None
    np.testing.assert_array_equal(found.pictures, np.stack(list(reading.pictures.values())))
    np.testing.assert_array_equal(found.stacks, stack_flow(list(reading.greys.values())))
    assert found.stacks.max() > 1
    assert not found.picture_missing.any()
    assert not found.sound_missing.any()


def test_the_log_mel_is_that_of_the_whole_sound(read: Read, make_clip: MakeClip) -> None:
    path = make_clip()
    found = features(path)
    assert found.log_mel is not None
    np.testing.assert_allclose(found.log_mel, log_mel(read(path).waveform), atol=1e-4)
    assert found.windows is not None
    assert [window.step for window in found.windows] == list(range(found.n_steps))
    for window in found.windows:
        first = 16 * max(0, window.step - 2)
        columns = found.log_mel[:, first : 16 * window.step + 16]
        np.testing.assert_allclose(window.window, columns, atol=1e-4)


def test_the_front_end_chooses_the_windows(make_clip: MakeClip) -> None:
    found = features(make_clip(), front_end="yamnet")
    assert found.log_mel is None
    assert found.windows is not None
    assert {window.window.shape for window in found.windows} == {(96, 64)}


def test_pictures_have_the_size_asked_for(make_clip: MakeClip) -> None:
    found = features(make_clip(), picture_side=448, picture_multiple=32)
    assert found.pictures is not None
    assert found.pictures.shape == (4, 352, 448, 3)


def test_without_sound_there_are_no_windows(make_clip: MakeClip) -> None:
    found = features(make_clip(sample_rate=None))
    assert (found.windows, found.log_mel) == (None, None)
    assert found.sound_missing.all()
    assert len(found.sound_missing) == found.n_steps


def test_without_video_there_are_no_pictures(make_clip: MakeClip) -> None:
    found = features(make_clip("sound.wav", size=None, audio_codec="pcm_s16le"))
    assert (found.pictures, found.stacks) == (None, None)
    assert found.picture_missing.all()
    assert found.n_steps == 4


def test_a_step_without_frames_is_flagged_and_still(make_clip: MakeClip, media: ModuleType) -> None:
    options = {"start": 1.1, "audio_start": -1.1, "audio_duration": 4.0, "image": moving}
    found = features(make_clip("late.mkv", audio_codec="pcm_s16le", **options))
    assert found.pictures is not None
    assert found.stacks is not None
    assert found.n_steps == 8
    # The video is there from 1.1 s to 3.1 s, and half a step longer.
    assert found.picture_missing.tolist() == [k in (0, 1, 2, 7) for k in range(8)]
    np.testing.assert_array_equal(found.pictures[0], found.pictures[3])
    np.testing.assert_array_equal(found.pictures[7], found.pictures[6])
    assert not found.stacks[[0, 1, 2, 7]].any()


def test_missing_sound_is_flagged(make_clip: MakeClip) -> None:
    found = features(make_clip("clip.mkv", audio_codec="pcm_s16le", audio_duration=1.0))
    # Step 2 stands for 0.768 s to 1.280 s: 0.232 s of sound, 0.280 s without.
    assert found.sound_missing.tolist() == [False, False, True, True]


def test_notes_are_passed_on(make_clip: MakeClip) -> None:
    path = make_clip("clip.ts", duration=1.0, audio_codec="mp2")
    path.write_bytes(
        path.read_bytes() + make_clip("b.ts", start=99.0, audio_codec="mp2").read_bytes()
    )
    assert "leapt" in features(path).notes[0]


def test_what_is_no_media_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        features(tmp_path / "nothing.mp4")
