"""The bandstand: scenes, their truth, their pictures and their files."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from playspot.models.labels import LABELS
from playspot.stream.timeline import SAMPLE_RATE, TICK, n_steps, step_time
from playspot.training.bandstand import make_sound, render_clip, render_set
from playspot.training.canvas import Picture
from playspot.training.instruments import INSTRUMENTS
from playspot.training.motion import PLAY, RESTS
from playspot.training.music import Part
from playspot.training.render import Renderer
from playspot.training.scene import LEVELS, SceneError, make_scene, plan_intervals
from playspot.training.truth import make_truth

SIZE = (256, 144)


def flow(one: Picture, two: Picture) -> np.ndarray:
    """Return the length of the optical flow between two pictures, in pixels, shape (H, W)."""
    greys = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (one, two)]
    uv = cv2.calcOpticalFlowFarneback(greys[0], greys[1], np.zeros((0,)), 0.5, 3, 15, 3, 5, 1.2, 0)
    return np.hypot(uv[..., 0], uv[..., 1])


def check_truth(truth: dict[str, Any]) -> None:
    """Check a truth against the schema that readers rely on."""
    assert truth["schema"] == "playspot/bandstand/1"
    for key in ("played", "visible", "heard"):
        assert truth[key] == [label for label in LABELS if label in truth[key]]
    assert set(truth["played"]) <= set(truth["heard"])
    assert [s["step"] for s in truth["steps"]] == list(range(n_steps(truth["duration"])))
    for player in truth["players"]:
        assert player["label"] in LABELS
        for start, end in player["playing"] + player["visible"]:
            assert 0 <= start < end <= truth["duration"]
    for step in truth["steps"]:
        assert step["time"] == step_time(step["step"])
        assert [p["label"] for p in step["players"]] == [p["label"] for p in truth["players"]]
        for entry, player in zip(step["players"], truth["players"], strict=True):
            inside = any(a <= step["time"] < b for a, b in player["playing"])
            assert entry["playing"] == inside
            assert bool(entry["points"]) == inside
            assert all(0 <= v <= 1 for point in entry["points"] for v in point)
            if entry["box"] is not None:
                x0, y0, x1, y1 = entry["box"]
                assert 0 <= x0 < x1 <= 1
                assert 0 <= y0 < y1 <= 1


@pytest.mark.parametrize("level", LEVELS)
def test_truth_follows_its_schema(level: str) -> None:
    for seed in range(20):
        check_truth(json.loads(json.dumps(make_truth(make_scene(seed, level), SIZE))))


def test_the_table_of_instruments_has_the_nine() -> None:
    assert set(INSTRUMENTS) == set(PLAY) == set(RESTS) == set(LABELS)


@pytest.mark.parametrize("label", LABELS)
def test_every_instrument_moves_where_its_key_points_are(label: str) -> None:
    scene = make_scene(11, "easy", 6.0, [label])
    renderer = Renderer(scene, SIZE)
    actor = scene.players[0]
    assert actor.part is not None
    start, end = actor.part.intervals[0]
    moved = []
    for k in range(int((end - start) / TICK) - 1):
        time = start + k * TICK
        frame = renderer.frame(time)
        lengths = flow(frame, renderer.frame(time + TICK))
        stage = scene.camera.stage(frame, time)
        for x, y in actor.canvas(stage, time).pixels(np.array(actor.points(time))):
            x0, y0 = int(np.clip(x, 6, 249)), int(np.clip(y, 6, 137))
            moved.append(lengths[y0 - 6 : y0 + 7, x0 - 6 : x0 + 7].mean())
    assert np.mean(moved) > 0.5  # px per tick


@pytest.mark.parametrize("label", LABELS)
def test_a_still_player_hardly_moves(label: str) -> None:
    scene = make_scene(12, "easy", 6.0, [label])
    silent = Part(label, (), (), 0.5, ((0,) * 8,))
    scene = replace(scene, actors=(replace(scene.players[0], part=silent, idle=(), walks=()),))
    renderer = Renderer(scene, SIZE)
    for time in (1.0, 2.0, 3.0):
        lengths = flow(renderer.frame(time), renderer.frame(time + TICK))
        assert np.percentile(lengths, 99) < 0.4  # px per tick: breathing alone


@pytest.mark.parametrize("label", LABELS)
def test_key_points_of_a_player_lie_in_the_picture(label: str) -> None:
    for seed in range(12):
        truth = make_truth(make_scene(seed, "normal", 8.0, [label]), SIZE)
        for step in truth["steps"]:
            for entry in step["players"]:
                edge = [p for p in entry["points"] if not 0 < p[0] < 1 or not 0 < p[1] < 1]
                assert len(edge) <= 1  # at most one is cut off and so lies on the edge


def test_the_same_seed_gives_the_same_truth_and_pictures() -> None:
    one, two = (make_scene(77, "hard") for _ in range(2))
    assert make_truth(one, SIZE) == make_truth(two, SIZE)
    for time in (0.0, 3.3, 9.9):
        np.testing.assert_array_equal(
            Renderer(one, SIZE).frame(time), Renderer(two, SIZE).frame(time)
        )
    np.testing.assert_array_equal(make_sound(one), make_sound(two))


def test_pictures_do_not_depend_on_what_was_drawn_before() -> None:
    scene = make_scene(78, "hard")
    renderer = Renderer(scene, SIZE)
    renderer.frame(1.0)
    np.testing.assert_array_equal(renderer.frame(2.0), Renderer(scene, SIZE).frame(2.0))


def test_other_seeds_give_other_scenes() -> None:
    assert make_truth(make_scene(1), SIZE) != make_truth(make_scene(10), SIZE)


def test_the_first_label_goes_round_the_nine() -> None:
    first = [
        {actor.label for actor in make_scene(seed, "easy").players} for seed in range(len(LABELS))
    ]
    assert first == [{label} for label in LABELS]


def test_about_half_of_the_time_is_played() -> None:
    shares = []
    for seed in range(200):
        for actor in make_scene(seed, "normal").players:
            intervals = actor.part.intervals if actor.part else ()
            shares.append(sum(end - start for start, end in intervals) / 10)
    assert 0.35 < np.mean(shares) < 0.65
    assert 0.08 < np.mean(np.array(shares) == 0) < 0.35  # some never play


def test_hard_scenes_have_sounds_from_off_the_stage() -> None:
    truths = [make_truth(make_scene(seed, "hard"), SIZE) for seed in range(60)]
    unseen = [t for t in truths if set(t["heard"]) - set(t["visible"])]
    assert 3 <= len(unseen) <= 35


def test_rests_last_as_long_as_promised(rng: np.random.Generator) -> None:
    for _ in range(50):
        plan = plan_intervals(rng, 20.0)
        gaps = [b[0] - a[1] for a, b in itertools.pairwise(plan)]
        assert all(1.5 <= gap <= 4.0 for gap in gaps)


def test_playing_intervals_agree_with_the_energy_of_the_sound() -> None:
    for seed in range(9):
        scene = make_scene(seed, "easy", 8.0, [LABELS[seed]])
        sound = make_sound(scene)
        part = scene.players[0].part
        assert part is not None
        time = np.arange(sound.size) / SAMPLE_RATE
        playing = np.zeros(sound.size, bool)
        rest = np.ones(sound.size, bool)
        for start, end in part.intervals:
            playing |= (time >= start) & (time < end)
            rest &= (time < start) | (time > end + 0.5)  # the room rings on
        assert np.mean(sound[playing] ** 2) > 100 * np.mean(sound[rest] ** 2)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("bandstand") / "clip.mp4"
    truth = render_clip(path, seed=2, level="normal", duration=3.0, labels=["guitar"])
    return path, truth


def test_a_clip_has_video_and_sound_of_its_length(clip: tuple[Path, dict[str, Any]]) -> None:
    path, _ = clip
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert len(times) == 90
    assert times[0] == 0
    with av.open(str(path)) as container:
        audio = container.streams.audio[0]
        assert audio.rate == SAMPLE_RATE
        n_samples = sum(frame.samples for frame in container.decode(audio=0))
    assert n_samples == pytest.approx(3 * SAMPLE_RATE, abs=2048)


def test_the_sound_of_a_clip_is_where_the_scene_has_it(clip: tuple[Path, dict[str, Any]]) -> None:
    path, _ = clip
    sound = make_sound(make_scene(2, "normal", 3.0, ["guitar"]))
    decoded = np.zeros(4 * SAMPLE_RATE, np.float32)
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            assert frame.time is not None
            at = round(frame.time * SAMPLE_RATE)
            block = frame.to_ndarray()[0]
            if at < 0:
                block, at = block[-at:], 0
            decoded[at : at + block.size] = block
    n_fft = 1 << 17
    product = np.fft.rfft(decoded, n_fft) * np.conj(np.fft.rfft(sound, n_fft))
    lag = int(np.argmax(np.fft.irfft(product, n_fft)))
    lag -= n_fft * (lag > n_fft // 2)
    assert abs(lag) <= 8


def test_the_truth_lies_beside_the_clip(clip: tuple[Path, dict[str, Any]]) -> None:
    path, truth = clip
    stored = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert stored == json.loads(json.dumps(truth))
    assert stored["played"] == ["guitar"]
    check_truth(stored)


def test_a_clip_of_another_size_has_the_same_truth() -> None:
    scene = make_scene(6, "easy")
    small, large = make_truth(scene, SIZE), make_truth(scene, (640, 360))
    for a, b in zip(small["steps"], large["steps"], strict=True):
        for one, two in zip(a["players"], b["players"], strict=True):
            np.testing.assert_allclose(
                np.array(one["points"]).ravel(), np.array(two["points"]).ravel(), atol=2e-4
            )


def test_a_set_is_rendered_by_several_processes_and_goes_on_where_it_stopped(
    tmp_path: Path,
) -> None:
    calls: list[tuple[int, int]] = []
    paths = render_set(
        tmp_path, 2, first_seed=5, level="easy", duration=2.0, processes=2,
        progress=lambda done, total: calls.append((done, total)),
    )  # fmt: skip
    assert calls == [(1, 2), (2, 2)]
    stamps = [path.stat().st_mtime_ns for path in paths]
    again = render_set(tmp_path, 2, first_seed=5, level="easy", duration=2.0)
    assert [path.stat().st_mtime_ns for path in again] == stamps
    assert [json.loads(p.with_suffix(".json").read_text("utf-8"))["seed"] for p in paths] == [5, 6]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": "heavy"}, "level 'heavy' is none of easy, normal, hard"),
        ({"labels": ["banjo"]}, "label 'banjo' is none of accordion"),
        ({"labels": []}, "0 labels were given"),
        ({"duration": 0.5}, "duration 0.5 s is too short"),
        ({"duration": math.nan}, "too short"),
        ({"size": (255, 144)}, "both sides must be even"),
        ({"video_rate": 0.0}, "video rate 0.0 is outside"),
    ],
)
def test_a_bad_argument_is_one_clear_line(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(SceneError, match=message):
        render_clip(tmp_path / "x.mp4", seed=0, **arguments)
    assert not list(tmp_path.iterdir())
