"""The bandstand: scenes, their truth, their pictures and their files."""

import itertools
import json
import math
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import av
import cv2
import numpy as np
import pytest

from playspot.models.labels import LABELS
from playspot.stream.timeline import SAMPLE_RATE, TICK, n_steps, step_time
from playspot.training.actors import IDLE
from playspot.training.bandstand import (
    SHARD_CLIPS,
    clip_path,
    make_sound,
    render_clip,
    render_set,
)
from playspot.training.camera import Camera, Shot
from playspot.training.canvas import Picture
from playspot.training.gallery import write_gallery
from playspot.training.instruments import INSTRUMENTS
from playspot.training.motion import PLAY, RESTS
from playspot.training.music import Part
from playspot.training.render import Renderer, draw_actor, instrument_box
from playspot.training.render_plan import make_plan
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
    assert truth["schema"] == "playspot/bandstand/2"
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
            assert inside or not entry["points"]
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
    moved = []
    for seed in (11, 100_011, 200_011):
        scene = make_scene(seed, "easy", 4.0, [label])
        renderer = Renderer(scene, SIZE)
        actor = scene.players[0]
        assert actor.part is not None
        start, end = actor.part.intervals[0]
        for k in range(int((end - start) / TICK / 2) - 1):
            time = start + 2 * k * TICK
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
                assert not edge


@pytest.mark.parametrize("label", LABELS)
def test_boxes_are_around_the_instruments_in_all_views(label: str) -> None:
    for seed, level in ((3, "hard"), (4, "wild"), (100_004, "wild"), (200_005, "wild")):
        scene = make_scene(seed, level, 4.0, [label])
        actor = scene.players[0]
        assert actor.finish is not None
        form = 0 if label == "piano" else actor.finish.form  # its lid is no part of the box
        size = scene.film.size
        for time in (0.3, 1.9, 3.6):
            pictures = []
            for colour in ((0.0, 0.0, 0.0), (255.0, 0.0, 255.0)):
                picture = np.full((size[1], size[0], 3), 128, np.uint8)
                finish = replace(actor.finish, body=colour, second=colour, form=form)
                stage = scene.camera.stage(picture, time)
                draw_actor(stage, replace(actor, finish=finish), time)
                pictures.append(picture)
            own = replace(actor, finish=replace(actor.finish, form=form))
            rows, columns = np.nonzero(cv2.absdiff(*pictures).max(axis=2))
            if not len(rows):
                continue
            x0, y0, x1, y1 = instrument_box(stage, own, time)
            slack = 1 + 2.5 * stage.scale * actor.size  # rims
            assert columns.min() >= x0 - slack
            assert columns.max() <= x1 + slack
            assert rows.min() >= y0 - slack
            assert rows.max() <= y1 + slack


def test_a_cut_changes_the_view_and_the_truth() -> None:
    scene = make_scene(1, "easy", 6.0, ["cello"])
    near = Shot(3.0, *scene.players[0].spot, 2.0, 0.2, True)
    camera = Camera(shots=(Shot(), near))
    scene = replace(scene, film=replace(scene.film, camera=camera))
    steps = make_truth(scene, SIZE)["steps"]
    boxes = [step["players"][0]["box"] for step in steps]
    assert np.std([box[2] - box[0] for box in boxes[:5]]) < 0.02
    assert boxes[7][2] - boxes[7][0] > 1.4 * (boxes[4][2] - boxes[4][0])
    renderer = Renderer(scene, SIZE)
    one, two, three = (renderer.frame(time).astype(int) for time in (2.9, 2.99, 3.01))
    assert np.abs(three - two).mean() > 10 * np.abs(two - one).mean()


def test_the_backdrop_moves_with_the_stage() -> None:
    scene = make_scene(1, "easy", 4.0)
    scene = replace(
        scene, actors=(), film=replace(scene.film, camera=Camera(shots=(Shot(x=138.0),)))
    )
    moved = Renderer(scene, SIZE).frame(0.0)
    still = Renderer(replace(scene, film=replace(scene.film, camera=Camera())), SIZE).frame(0.0)
    light = still[:, :1].astype(int)  # the wall of the level easy is even from left to right
    assert np.abs(moved.astype(int) - light).max() <= 1
    floors = [np.abs(np.diff(picture[:, 9].astype(int).sum(axis=1))).argmax()
              for picture in (still, moved)]  # fmt: skip
    assert floors[0] == floors[1]


def test_wild_scenes_are_of_many_kinds() -> None:
    films = [make_scene(seed, "wild").film for seed in range(60)]
    assert {film.size for film in films} >= {(256, 144), (256, 192), (144, 256)}
    assert len({film.video_rate for film in films}) >= 4
    assert {film.codec for film in films} == {"libx264", "mpeg4"}
    for share in (
        np.mean([len(film.camera.shots) > 1 for film in films]),
        np.mean([film.shutter > 0 for film in films]),
        np.mean([film.camera.shake > 0 for film in films]),
        np.mean([film.noise > 2 for film in films]),
    ):
        assert 0.1 < share < 0.9
    kinds = {kind for seed in range(60) for actor in make_scene(seed, "wild").players
             for _, _, kind in actor.idle}  # fmt: skip
    assert kinds == set(IDLE)


def test_instruments_are_seen_near_and_far_in_wild_scenes() -> None:
    areas = []
    for seed in range(60):
        scene = make_scene(seed, "wild", 3.0)
        for step in make_truth(scene, scene.film.size)["steps"]:
            boxes = [entry["box"] for entry in step["players"] if entry["box"]]
            areas += [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes]
    low, high = np.quantile(areas, (0.1, 0.9))
    assert low < 0.04
    assert high > 0.4


def test_who_is_never_in_the_picture_is_heard_only() -> None:
    scene = make_scene(2, "easy", 6.0, ["drum"])
    away = Camera(shots=(Shot(x=-900.0, size=3.0),))
    truth = make_truth(replace(scene, film=replace(scene.film, camera=away)), SIZE)
    assert (truth["heard"], truth["played"], truth["visible"]) == (["drum"], [], [])
    assert truth["players"] == []


def test_a_wild_clip_is_as_its_film_says(tmp_path: Path) -> None:
    seed = next(s for s in itertools.count() if make_scene(s, "wild", 2.0).film.codec == "mpeg4")
    film = make_scene(seed, "wild", 2.0).film
    truth = render_clip(tmp_path / "a.mp4", seed=seed, level="wild", duration=2.0)
    assert (truth["width"], truth["height"]) == film.size
    with av.open(str(tmp_path / "a.mp4")) as container:
        video = container.streams.video[0]
        assert (video.width, video.height) == film.size
        assert video.codec_context.name == "mpeg4"
        assert sum(1 for _ in container.decode(video=0)) == round(2 * film.video_rate)


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
    truths = [make_truth(make_scene(seed, "hard", 4.0), SIZE) for seed in range(60)]
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


def test_a_run_that_was_killed_leaves_no_half_clip_and_goes_on(tmp_path: Path) -> None:
    code = (
        "from playspot.training.bandstand import render_set; import sys;"
        "render_set(sys.argv[1], 3, first_seed=9, level='normal', duration=20.0)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) as process:
        while not list(tmp_path.glob("*/.*.mp4.*")):
            assert process.poll() is None
            sleep(0.02)
        process.kill()
    assert not list(tmp_path.glob("*/*_*.mp4"))
    paths = render_set(tmp_path, 1, first_seed=9, level="normal", duration=2.0)
    left = sorted(path.name for path in paths[0].parent.iterdir())
    assert left == ["normal_000009.json", "normal_000009.mp4"]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into Linux's /proc")
def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    code = (
        "from playspot.training.bandstand import render_set; import sys;"
        "render_set(sys.argv[1], 2, first_seed=9, level='easy', duration=60.0, processes=2)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) as process:
        while not list(tmp_path.glob("*/.*.mp4.*")):
            assert process.poll() is None
            sleep(0.02)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
    assert len(children) >= 2

    def is_alive(child: str) -> bool:
        try:
            return ") Z " not in Path(f"/proc/{child}/stat").read_text()
        except OSError:
            return False

    end = monotonic() + 20
    while any(map(is_alive, children)):
        assert monotonic() < end
        sleep(0.05)


def test_a_set_lies_in_folders_of_bounded_size() -> None:
    folders = Counter(clip_path(Path("x"), "mixed", seed).parent.name for seed in range(1000))
    assert folders == {f"shard-{k:04d}": SHARD_CLIPS for k in range(4)}


def test_shares_of_machines_are_disjoint_and_whole() -> None:
    plans = [
        make_plan(clips=None, hours=0.5, first_seed=100, level="wild", duration=7.0, shard=f"{k}/3")
        for k in (1, 2, 3)
    ]
    seeds = [s for plan in plans for s in range(plan.first_seed, plan.first_seed + plan.n_clips)]
    assert seeds == list(range(100, 100 + math.ceil(1800 / 7)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clips": 3, "hours": 1.0}, "--clips or --hours, not both"),
        ({"hours": math.nan}, "--hours nan"),
        ({"level": "heavy"}, "none of easy, normal, hard, wild, mixed"),
        ({"shard": "3/2"}, "--shard 3/2"),
        ({"shard": "x"}, "--shard x"),
        ({"first_seed": 99_990}, "reach beyond 100000"),
    ],
)
def test_a_bad_plan_is_one_clear_line(arguments: dict[str, Any], message: str) -> None:
    usual = {"clips": None, "hours": None, "first_seed": 0, "level": "easy", "duration": 10.0}
    with pytest.raises(SceneError, match=message):
        make_plan(**{**usual, **arguments})


def test_a_plan_that_does_not_fit_on_the_disk_is_refused(tmp_path: Path) -> None:
    plan = make_plan(clips=100, hours=None, first_seed=0, level="easy", duration=10.0)
    with pytest.raises(SceneError, match="GB are free"):
        replace(plan, size=10**18).check_room(tmp_path)


def test_a_gallery_is_a_picture(tmp_path: Path) -> None:
    write_gallery(tmp_path / "a.png", columns=3, is_marked=True)
    sheet = cv2.imread(str(tmp_path / "a.png"))
    assert sheet is not None
    assert sheet.shape == (9 * 146 + 18, 3 * 258, 3)
    with pytest.raises(SceneError, match="one of training, validation, test"):
        write_gallery(tmp_path / "a.png", split="demo")
    with pytest.raises(SceneError, match=r"a\.txt"):
        write_gallery(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": "heavy"}, "level 'heavy' is none of easy, normal, hard, wild"),
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
