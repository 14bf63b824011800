"""`playspot adapt`: from recordings without labels to models that `detect` uses."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

pytest.importorskip("torch", reason="needs PyTorch (pip install 'playspot[train]')")

from playspot.engines.catalogue import find_models
from playspot.engines.settings import Decoding
from playspot.models.labels import LABELS
from playspot.training.adapt import AdaptJob
from playspot.training.adapt_agreement import Heard, agreement
from playspot.training.adapt_calibrate import calibrate, fit
from playspot.training.adapt_command import adapt
from playspot.training.adapt_disk import plan_disk
from playspot.training.adapt_filters import paths, steps_to_path
from playspot.training.adapt_models import write_decoding
from playspot.training.adapt_parts import Part, split_recordings
from playspot.training.alone import alone
from playspot.training.bandstand import render_clip
from playspot.training.cache import CachedClip
from playspot.training.clips import Clip, ClipError

SETTINGS = "width: 0.05\nsteps: 6\nclips_per_batch: 2\nstill: 0\n"
SCRIPT = "import typer; from playspot.training.adapt_command import adapt; typer.run(adapt)"
NO_MODELS = {"PLAYSPOT_MODELS": os.devnull}  # pulled ones

app = typer.Typer()
app.command()(adapt)


def run(*arguments: object) -> Result:
    """Return what a command says that works, run in this process: PyTorch is loaded once."""
    done = CliRunner().invoke(app, [*map(str, arguments)], env=NO_MODELS)
    assert done.exit_code == 0, done.output
    return done


def last_line(*arguments: object) -> str:
    """Return the last line on standard error of a command that fails."""
    result = CliRunner().invoke(app, [*map(str, arguments)], env=NO_MODELS)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    return result.stderr.strip().splitlines()[-1]


def files_of(*folders: Path) -> dict[Path, int]:
    """Return when each array below some folders was written."""
    found = [path for folder in folders for path in folder.rglob("*.npy")]
    assert found
    return {path: path.stat().st_mtime_ns for path in found}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short recordings, and a file that is none."""
    folder = tmp_path_factory.mktemp("recordings")
    for seed in (3, 5):
        render_clip(folder / f"take <{seed}>.mp4", seed=seed, level="easy", duration=6.0)
    for path in folder.glob("*.json"):
        path.unlink()
    (folder / "notes.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of a run of a second."""
    file = tmp_path_factory.mktemp("settings") / "small.yaml"
    file.write_text(SETTINGS)
    options = ["--config", str(file), "--target", "SOT0302"]
    return [*options, "--threads", "1", "--processes", "1"]


@pytest.fixture(scope="module")
def adapted(
    folder: Path, small: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Result]:
    """A run that was killed in training, and what the second one said."""
    out = tmp_path_factory.mktemp("adapted")
    arguments = [str(folder), "--out", str(out), *small]
    first = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | NO_MODELS,
    )
    deadline = time.monotonic() + 60
    while not list((out / "work").glob("targets/object-*.json")) and time.monotonic() < deadline:
        assert first.poll() is None
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    for path in (out / "work" / "features").rglob("*.npy"):
        os.utime(path, (1, 1))  # what is computed again is newer
    return out, run(*arguments)


def test_it_goes_on_where_it_was_killed(adapted: tuple[Path, Result]) -> None:
    out, done = adapted
    assert "training action: step 6 of 6" in done.stderr
    assert set(files_of(out / "work" / "features").values()) == {10**9}


def test_what_cannot_be_read_is_told_and_left_out(adapted: tuple[Path, Result]) -> None:
    assert "skipped 1 of the clips, the first: " in adapted[1].stderr
    assert "notes.mp4" in adapted[1].stderr


def test_the_disk_and_the_targets_are_told_before(adapted: tuple[Path, Result]) -> None:
    assert "disk: about 0.2 GB in " in adapted[1].stderr
    assert "targets SOT0302, steps in the training part: " in adapted[1].stderr


def test_the_models_are_a_set_of_their_own(adapted: tuple[Path, Result]) -> None:
    models = find_models(adapted[0])
    assert {model.origin for model in models.models.values()} == {str(adapted[0])}
    assert models.headers["action"].name == "adapted-action"
    assert models.headers["action"].provenance["supervision"].startswith("SOT0302: ")
    assert sum(models.decoding.weights.values()) == pytest.approx(1, abs=0.01)


def test_detect_uses_the_models(adapted: tuple[Path, Result], folder: Path, tmp_path: Path) -> None:
    from playspot.stream.__main__ import app as playspot

    flags = ["--no-timeline", "--no-video", "--publish", "off", "--json"]
    detect = ["detect", str(folder / "take <3>.mp4"), "--models", str(adapted[0])]
    done = CliRunner().invoke(playspot, [*detect, "--out", str(tmp_path), *flags])
    assert done.exit_code == 0, done.output
    steps = (tmp_path / "take <3>.steps.jsonl").read_text().splitlines()
    assert len(steps) == 12
    scores = np.array([list(json.loads(line)["scores"].values()) for line in steps])
    assert np.isfinite(scores).all()


def test_a_second_run_computes_nothing_twice(
    adapted: tuple[Path, Result], folder: Path, small: list[str]
) -> None:
    out, first = adapted
    before = files_of(out / "work")
    model = (out / "action.onnx").read_bytes()
    again = run(folder, "--out", out, *small)
    assert "training action: step" not in again.stderr
    assert files_of(out / "work") == before
    assert (out / "action.onnx").read_bytes() == model
    assert again.stdout == first.stdout


def test_more_steps_compute_neither_features_nor_targets_again(
    adapted: tuple[Path, Result],
    folder: Path,
    small: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = shutil.copytree(adapted[0], tmp_path / "out")
    before = files_of(out / "work")

    def stop(*_: object) -> None:
        raise ClipError("trained")

    monkeypatch.setattr("playspot.training.adapt_train.exported", stop)
    assert last_line(folder, "--out", out, *small, "--steps", "7") == "playspot: trained"
    assert len(list((out / "work").glob("run-*/action.last.pt"))) == 1  # of 7 steps, not of 6
    assert files_of(out / "work") == before


def test_two_at_once_in_one_folder_are_refused(
    adapted: tuple[Path, Result], folder: Path, small: list[str]
) -> None:
    with alone(adapted[0] / "work" / ".lock"):
        said = last_line(folder, "--out", adapted[0], *small)
    assert said.endswith("another adaptation is at work there; give another --out")


def test_a_folder_with_models_of_its_own_is_refused(
    folder: Path, small: list[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.onnx").write_bytes(b"of years of work")
    said = last_line(folder, "--out", tmp_path, *small)
    assert said.endswith("has models of its own, such as mine.onnx; give another --out")


def test_the_report_needs_nothing_and_escapes_names(adapted: tuple[Path, Result]) -> None:
    page = (adapted[0] / "report.html").read_text(encoding="utf-8")
    assert "take &lt;3&gt;.mp4" in page
    assert "take <3>" not in page
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    for part in ("Before and after", "Examples", "Targets", "Training", "Filters", "Settings"):
        assert f"<h2>{part}</h2>" in page
    pictures = {path.name for path in (adapted[0] / "report").iterdir()}
    assert {"targets-01.png", "training.png", "filters.png", "own-filters.png"} <= pictures


def test_the_page_fits_a_phone_and_says_nothing_on_the_console(
    adapted: tuple[Path, Result],
) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip("needs /usr/bin/chromium")
    with sync_api.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.goto((adapted[0] / "report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        sizes = page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth)")
        browser.close()
    assert said == []
    assert min(sizes) > 0


def test_too_little_to_learn_from_is_one_line() -> None:
    from playspot.training.adapt_train import check_counts

    clip = Clip(Path("a.mp4"), None, (), (), (), given_split="training")
    found = np.zeros((40, 9), bool)
    found[:3, LABELS.index("drum")] = True
    found[5, LABELS.index("flute")] = True
    job = AdaptJob(Path("takes"), Path("out"))
    said = r"^takes: nothing of the nine is heard and seen .* drum 3, flute 1; needed 4.*SOT0302$"
    with pytest.raises(ClipError, match=said):
        check_counts(job, [CachedClip(clip, Path("a"))], {"a": found})
    found[3] = found[2]
    assert check_counts(job, [CachedClip(clip, Path("a"))], {"a": found}).endswith(
        "drum 4, flute 1"
    )


def no_video(path: Path, make: Callable[..., Path]) -> None:
    (path / "readme.txt").write_text("no video")


def only_sound(path: Path, make: Callable[..., Path]) -> None:
    (path / "a.wav").write_bytes(b"RIFF")


def no_sound(path: Path, make: Callable[..., Path]) -> None:
    shutil.move(make(sample_rate=None), path / "mute.mp4")


def only_garbage(path: Path, make: Callable[..., Path]) -> None:
    (path / "a.mp4").write_bytes(bytes(1000))


def too_short(path: Path, make: Callable[..., Path]) -> None:
    shutil.move(make(duration=2.0), path / "short.mp4")


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        (no_video, "no video, sound or picture in it"),
        (only_sound, "no video in it; give a folder of recordings"),
        (no_sound, "none of 1 recordings has both picture and sound"),
        (only_garbage, "none of 1 recordings has both picture and sound"),
        (too_short, "are too few to be split in three; give a minute at least"),
    ],
)
def test_a_folder_that_cannot_serve_is_one_line(
    fill: Callable[..., None],
    said: str,
    tmp_path: Path,
    make_clip: Callable[..., Path],
) -> None:
    place = tmp_path / "given"
    place.mkdir()
    fill(place, make_clip)
    assert said in last_line(place, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sound", "nothing.onnx"], "--sound nothing.onnx: no such file"),
        (["--target", "SOT9"], "target"),
        (["--target", "VT"], "needs tags"),
        (["--config", "bad.yaml"], "bad.yaml:1: stepps: unknown key"),
        (["--config", "none.yaml"], "none.yaml: No such file or directory"),
    ],
)
def test_wrong_options_are_one_line(
    options: list[str], said: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text("stepps: 5\n")
    assert said in last_line(folder, "--out", tmp_path / "out", *options)
    assert not (tmp_path / "out" / "work" / "features").exists()  # said before the long work


def test_a_small_disk_is_refused() -> None:
    with pytest.raises(ClipError, match=r"needs about 14\.6 GB .* and 5\.0 GB are free; make room"):
        plan_disk(Path("out"), 2 * 7031, free=5_000_000_000)


def seconds_of(parts: list[Part]) -> set[tuple[str, int]]:
    return {(part.path.name, step) for part in parts for step in range(part.first, part.end)}


@pytest.mark.parametrize("lengths", [[100], [12, 900], [40] * 5, [7, 300, 41, 90, 2, 5000, 60]])
def test_no_step_is_in_two_parts_and_every_split_has_some(lengths: list[int]) -> None:
    recordings = [(Path(f"{i}.mp4"), n) for i, n in enumerate(lengths)]
    parts = split_recordings(recordings)
    assert parts == split_recordings(list(recordings))
    assert {part.split for part in parts} == {"training", "validation", "test"}
    assert sum(part.end - part.first for part in parts) == len(seconds_of(parts))
    assert max(part.end - part.first for part in parts) <= 40


def test_a_recording_among_many_is_in_one_split() -> None:
    parts = split_recordings([(Path(f"{i}.mp4"), 90) for i in range(20)])
    for number in range(20):
        assert len({part.split for part in parts if part.path.name == f"{number}.mp4"}) == 1
    shares = [sum(p.end - p.first for p in parts if p.split == s) for s in ("validation", "test")]
    assert shares == [270, 270]


def test_the_scale_of_before_is_handed_on(rng: np.random.Generator) -> None:
    odds = rng.normal(-2, 2, 5000)
    slope, bias = fit(odds, 1 / (1 + np.exp(-(1.7 * odds - 0.6))))
    assert slope == pytest.approx(1.7, abs=0.02)
    assert bias == pytest.approx(-0.6, abs=0.02)


def test_settings_are_read_as_they_were_written(tmp_path: Path) -> None:
    from playspot.engines.catalogue import read_decoding

    decoding = Decoding(
        weights={"action": 0.1, "sound": 0.9}, slope={"drum": 1.5}, on=0.4, mode="action*sound"
    )
    write_decoding(decoding, "two\nlines", tmp_path)
    assert read_decoding(tmp_path / "playspot.toml") == decoding


def test_a_filter_is_a_path_of_five_movements() -> None:
    import torch

    from playspot.models import ActionNet

    net = ActionNet(width=0.1)
    with torch.no_grad():
        net.conv1.weight.zero_()
        net.conv1.weight[0, 0::2] = 1.0  # to the right, five times
    assert paths(net)[0].tolist() == [[float(n), 0.0] for n in range(6)]
    assert steps_to_path(np.ones((3, 5, 2))).shape == (3, 6, 2)


def heard(action: np.ndarray, playing: np.ndarray, recording: str = "a") -> Heard:
    """A part whose teachers are sure of the steps of `playing` (N, K), in the upper left corner."""
    sound = np.where(playing, 0.9, 0.05).astype(np.float32)
    seen = np.full(action.shape, 0.05, np.float32)
    seen[:, :, 0, 0] = sound
    return Heard(recording, sound, seen, action.astype(np.float32), playing, playing)


def test_an_action_model_that_agrees_is_measured_so_and_earns_its_weight() -> None:
    playing = np.zeros((20, 9), bool)
    playing[5:12, 2] = True
    playing[8:, 7] = True
    good = np.full((20, 9, 9, 16), 0.05)
    good[:, :, 0, 0] += 0.8 * playing
    part = heard(good, playing)
    found = agreement([part], Decoding())
    assert found["temporal_auc"] == {"average": 1.0, "n": 2}
    assert found["spatial_px"]["average"] == 0
    assert found["spatial_px"]["centre"] > 100
    assert found["top1"] == {"average": 1.0, "n": 15}
    decoding, told = calibrate({"a": part}, {"a": part}, Decoding())
    assert decoding.weights["action"] == pytest.approx(1 / 3, abs=0.001)
    assert "AUC 1.00" in told


def test_an_action_model_that_says_nothing_has_next_to_no_say() -> None:
    playing = np.zeros((20, 9), bool)
    playing[5:12, 2] = True
    part = heard(np.full((20, 9, 9, 16), 0.3), playing)
    found = agreement([part], Decoding())
    assert found["temporal_auc"]["average"] == 0.5
    assert found["top1"]["average"] == pytest.approx(1 / 9)
    assert calibrate({"a": part}, {"a": part}, Decoding())[0].weights["action"] == 0.05


def test_a_label_that_was_not_learnt_is_left_undecided() -> None:
    import torch

    from playspot.models import ActionNet
    from playspot.training.adapt_train import UNDECIDED, leave_undecided

    net = ActionNet(width=0.1).eval()
    stacks = torch.randn(2, 10, 64, 96, generator=torch.Generator().manual_seed(0))
    before = net.scores(stacks)
    leave_undecided(net, ["flute"])
    after = net.scores(stacks)
    flute = LABELS.index("flute")
    assert torch.allclose(after[:, flute], torch.tensor(UNDECIDED))
    others = [k for k in range(len(LABELS)) if k != flute]
    assert torch.equal(after[:, others], before[:, others])


def test_clips_of_two_sizes_share_a_canvas_with_nothing_around(tmp_path: Path) -> None:
    from playspot.training.adapt_clips import framed
    from playspot.training.batches import TeacherScores

    np.save(tmp_path / "flows.npy", np.ones((9, 2, 144, 256), np.float16))
    np.save(tmp_path / "pictures.npy", np.ones((2, 144, 256, 3), np.uint8))
    clip = CachedClip(Clip(Path("a.mp4"), None, (), (), ()), tmp_path)
    maps = np.ones((2, 9, 5, 8), np.float32)
    (wide,), scores = framed([clip], {"a": TeacherScores(None, maps)}, 192, 256)
    assert wide.n_steps == 2
    assert wide.stack(1).shape == (10, 192, 256)
    assert wide.stack(1)[:, 144:].max() == 0
    assert wide.pictures.shape == (2, 192, 256, 3)
    found = scores["a"].object_map
    assert found is not None
    assert found.shape == (2, 9, 6, 8)
    assert found[:, :, 5].max() == 0
    assert framed([clip], {"a": TeacherScores(None, maps)}, 144, 256)[0] == [clip]
