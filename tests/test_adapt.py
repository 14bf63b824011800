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
from typer.testing import CliRunner

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
from playspot.training.bandstand import render_clip
from playspot.training.cache import CachedClip
from playspot.training.clips import Clip, ClipError

SMALL = ["--width", "0.1", "--steps", "6", "--threads", "1", "--processes", "1"]
SCRIPT = "import typer; from playspot.training.adapt_command import adapt; typer.run(adapt)"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", SCRIPT, *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PLAYSPOT_MODELS": os.devnull}  # no pulled models
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done


def last_line(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> str:
    """Return the last line on standard error of a command that fails, run in this process."""
    monkeypatch.setenv("PLAYSPOT_MODELS", os.devnull)
    app = typer.Typer()
    app.command()(adapt)
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    return result.stderr.strip().splitlines()[-1]


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
def adapted(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run that was killed in training, and what the second one said."""
    out = tmp_path_factory.mktemp("adapted")
    arguments = (folder, "--out", out, "--target", "SOT0302", *SMALL)
    first = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PLAYSPOT_MODELS": os.devnull},
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


def test_it_goes_on_where_it_was_killed(
    adapted: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, done = adapted
    assert "training action: step 6 of 6" in done.stderr
    features = list((out / "work" / "features").rglob("*.npy"))
    assert features
    assert all(path.stat().st_mtime == 1 for path in features)


def test_what_cannot_be_read_is_told_and_left_out(
    adapted: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    assert "left out 1 of 3 recordings, the first: " in adapted[1].stderr
    assert "notes.mp4" in adapted[1].stderr


def test_the_disk_and_the_targets_are_told_before(
    adapted: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    assert "disk: about 0.2 GB in " in adapted[1].stderr
    assert "targets SOT0302, steps in the training part: " in adapted[1].stderr


def test_the_models_are_a_set_of_their_own(
    adapted: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    models = find_models(adapted[0])
    assert {model.origin for model in models.models.values()} == {str(adapted[0])}
    assert models.headers["action"].name == "adapted-action"
    assert models.headers["action"].provenance["supervision"].startswith("SOT0302: ")
    assert sum(models.decoding.weights.values()) == pytest.approx(1, abs=0.01)


def test_detect_uses_the_models(
    adapted: tuple[Path, subprocess.CompletedProcess[str]], folder: Path, tmp_path: Path
) -> None:
    flags = ["--no-timeline", "--no-video", "--publish", "off", "--json"]
    detect = [sys.executable, "-m", "playspot.stream", "detect", str(folder / "take <3>.mp4")]
    done = subprocess.run(
        [*detect, "--models", str(adapted[0]), "--out", str(tmp_path), *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = (tmp_path / "take <3>.steps.jsonl").read_text().splitlines()
    assert len(steps) == 12
    scores = np.array([list(json.loads(line)["scores"].values()) for line in steps])
    assert np.isfinite(scores).all()


def test_a_second_run_computes_nothing_twice(
    adapted: tuple[Path, subprocess.CompletedProcess[str]], folder: Path
) -> None:
    targets = list((adapted[0] / "work" / "targets").glob("*.npy"))
    assert targets
    before = {path: path.stat().st_mtime_ns for path in targets}
    model = (adapted[0] / "action.onnx").read_bytes()
    again = run(folder, "--out", adapted[0], "--target", "SOT0302", *SMALL)
    assert "training action: step" not in again.stderr
    assert {path: path.stat().st_mtime_ns for path in targets} == before
    assert (adapted[0] / "action.onnx").read_bytes() == model
    assert again.stdout == adapted[1].stdout


def test_the_report_needs_nothing_and_escapes_names(
    adapted: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
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
    adapted: tuple[Path, subprocess.CompletedProcess[str]],
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


def no_sound(path: Path, make: Callable[..., Path]) -> None:
    shutil.move(make(sample_rate=None), path / "mute.mp4")


def only_garbage(path: Path, make: Callable[..., Path]) -> None:
    (path / "a.mp4").write_bytes(bytes(1000))


def too_short(path: Path, make: Callable[..., Path]) -> None:
    shutil.move(make(duration=2.0), path / "short.mp4")


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        (no_video, "no video in it; give a folder of recordings"),
        (no_sound, "none of 1 recordings can serve, the first: mute.mp4: has no sound"),
        (only_garbage, "none of 1 recordings can serve, the first: "),
        (too_short, "are too few to be split in three; give a minute at least"),
    ],
)
def test_a_folder_that_cannot_serve_is_one_line(
    fill: Callable[..., None],
    said: str,
    tmp_path: Path,
    make_clip: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = tmp_path / "given"
    place.mkdir()
    fill(place, make_clip)
    assert said in last_line(monkeypatch, place, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--sound", "nothing.onnx"], "--sound nothing.onnx: no such file"),
        (["--target", "SOT9"], "target"),
        (["--target", "VT"], "needs tags"),
        (["--config", "bad.yaml"], "unknown"),
        (["--config", "none.yaml"], "none.yaml: no readable YAML (No such file or directory)"),
    ],
)
def test_wrong_options_are_one_line(
    options: list[str], said: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text("stepps: 5\n")
    assert said in last_line(monkeypatch, folder, "--out", tmp_path / "out", *options)
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
    from playspot.training.datasets import TeacherScores

    np.save(tmp_path / "flows.npy", np.ones((9, 2, 144, 256), np.float16))
    np.save(tmp_path / "pictures.npy", np.ones((2, 144, 256, 3), np.uint8))
    clip = CachedClip(Clip(Path("a.mp4"), None, (), (), ()), tmp_path)
    maps = np.ones((2, 9, 5, 8), np.float16)
    (wide,), scores = framed([clip], {"a": TeacherScores(None, maps)}, 192, 256)
    assert wide.n_steps == 2
    assert wide.stack(1).shape == (10, 192, 256)
    assert wide.stack(1)[:, 144:].max() == 0
    assert wide.pictures.shape == (2, 192, 256, 3)
    assert scores["a"].object_map.shape == (2, 9, 6, 8)
    assert scores["a"].object_map[:, :, 5].max() == 0
    assert framed([clip], {"a": TeacherScores(None, maps)}, 144, 256)[0] == [clip]
