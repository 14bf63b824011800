"""Clips of sound alone: what is rendered, and that training can read it."""

import json
from pathlib import Path

import numpy as np
import pytest

from playspot.models.labels import LABELS
from playspot.stream.timeline import SAMPLE_RATE
from playspot.training.bandstand import make_sound, render_clip
from playspot.training.cache import cache_clips
from playspot.training.clips import index_clips
from playspot.training.orchestra import SoundError, can_play
from playspot.training.scene import make_scene
from playspot.training.sound_clips import make_sounds, render_sounds
from playspot.training.stage_sound import stage_sound

needs_fluidsynth = pytest.mark.skipif(not can_play(), reason="FluidSynth or a soundfont is missing")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sounds")
    return render_sounds(folder, 9, duration=3.0, synth="builtin")


def test_clips_are_indexed_and_cached_without_pictures(clips: list[Path], tmp_path: Path) -> None:
    index = index_clips(clips[0].parent)
    assert len(index.clips) == 9
    cached, skipped = cache_clips(index.clips[:2], tmp_path)
    assert not skipped
    assert cached[0].has_sound
    assert not cached[0].has_pictures
    assert cached[0].log_mel.shape[0] == 384


def test_some_clips_have_one_of_the_nine_and_some_none(clips: list[Path]) -> None:
    heard = [json.loads(path.with_suffix(".json").read_text())["heard"] for path in clips]
    assert any(heard)
    assert not all(heard)
    assert all(set(labels) <= set(LABELS) for labels in heard)


def test_the_truth_has_an_interval_of_each_label_heard(clips: list[Path]) -> None:
    for path in clips:
        truth = json.loads(path.with_suffix(".json").read_text())
        assert {p["label"] for p in truth["players"] if p["playing"]} == set(truth["heard"])
        assert all(0 <= a < b <= 3.0 for p in truth["players"] for a, b in p["playing"])
        assert truth["synth"] == "builtin"


def test_what_is_there_is_not_rendered_again(clips: list[Path]) -> None:
    before = [path.stat().st_mtime_ns for path in clips]
    render_sounds(clips[0].parent, 9, duration=3.0, synth="builtin")
    assert [path.stat().st_mtime_ns for path in clips] == before


def test_the_same_seed_gives_the_same_sound() -> None:
    (one, truth), (two, again) = (make_sounds(5, "hard", 2.0, "builtin") for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert truth == again


@needs_fluidsynth
def test_the_same_seed_gives_the_same_sound_by_fluidsynth() -> None:
    (one, truth), (two, again) = (make_sounds(2, "normal", 2.0, "fluidsynth") for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert truth == again
    assert truth["synth"].startswith("fluidsynth ")


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(SoundError, match="none of easy"):
        make_sounds(0, "loud")
    with pytest.raises(SoundError, match="at least 2 s"):
        make_sounds(0, duration=0.5)


@needs_fluidsynth
def test_the_notes_of_a_scene_decide_when_fluidsynth_plays() -> None:
    scene = make_scene(3, "easy", 5.0, ["violin"])
    sound, source = stage_sound(scene, "fluidsynth")
    part = scene.players[0].part
    assert part is not None
    assert source["timbres"][0].startswith("violin: ")
    time = np.arange(sound.size) / SAMPLE_RATE
    playing = np.zeros(sound.size, bool)
    for start, end in part.intervals:
        playing |= (time >= start) & (time < end)
    before = time < part.intervals[0][0] - 0.1
    assert np.mean(sound[playing] ** 2) > 30 * np.mean(sound[before] ** 2)


def test_a_rendered_clip_says_what_played_it(tmp_path: Path) -> None:
    truth = render_clip(tmp_path / "a.mp4", seed=4, level="easy", duration=2.0, size=(64, 36))
    assert truth["sound"]["synth"] == "builtin"
    scene = make_scene(4, "easy", 2.0)
    np.testing.assert_array_equal(make_sound(scene), stage_sound(scene)[0])
