"""`playspot data check` and `playspot data features`."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from playspot.training.data_commands import data_app

MakeClip = Callable[..., Path]


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "playspot.stream", "data", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def folder(tmp_path: Path, make_clip: MakeClip) -> Path:
    """Return a folder of a sound, a part that is too far and a broken video."""
    sound: dict[str, Any] = {"size": None, "audio_codec": "pcm_s16le"}
    make_clip("sound.wav", duration=3.6, **sound)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "tags.csv").write_text("file,labels\nsound,violin;cello\n")
    return tmp_path


def test_check_counts_labels_and_hours_and_says_what_is_skipped(folder: Path) -> None:
    done = run("check", str(folder), "--json", "--processes", "1")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["dataset"], found["clips"], found["hours"]) == ("folder", 1, 0.001)
    (split,) = found["splits"].values()
    assert split["labels"]["violin"] == split["labels"]["cello"] == 1
    assert split["labels"]["drum"] == 0
    assert found["n_skipped"] == 1
    assert found["skipped"][0]["name"] == "broken"
    assert "no video or sound" in found["skipped"][0]["reason"]


def test_check_prints_a_table(folder: Path) -> None:
    done = CliRunner().invoke(data_app, ["check", str(folder), "--processes", "1"])
    assert "folder: 1 clips" in done.stdout
    assert "violin" in done.stdout
    assert done.stderr.startswith("skipped 1:\n  1: is no video or sound")


def test_features_are_computed_once(folder: Path) -> None:
    times = []
    for _ in range(2):
        done = CliRunner().invoke(data_app, ["features", str(folder), "--processes", "2"])
        assert done.exit_code == 0, done.stderr
        assert "features of 1 clips" in done.stdout
        assert "skipped 1" in done.stderr
        (place,) = (folder / ".features").iterdir()
        times.append((place.name, place.stat().st_mtime_ns))
    assert times[0] == times[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check", "nowhere"), "nowhere: no such folder"),
        (("check", "tags.csv"), "tags.csv: a file; give the folder that it is in"),
        (("features", ".", "--cache", "tags.csv"), "there is a file of this name"),
        (("features", ".", "--dataset", "audioset"), "no table `*segments*.csv` in it"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tags.csv").write_text("file,labels\n")
    done = CliRunner().invoke(data_app, arguments)
    assert done.exit_code == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_data_set_that_is_none_is_a_wrong_use(tmp_path: Path) -> None:
    done = CliRunner().invoke(data_app, ["check", str(tmp_path), "--dataset", "kazoos"])
    assert done.exit_code == 2
    assert "--dataset kazoos: one of bandstand, folder" in " ".join(done.output.split())


@pytest.mark.parametrize("command", ["bandstand", "sounds"])
@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--duration", "inf", "less than or equal to 3600"),
        ("--level", "huge", "'huge' is not one of 'easy', 'normal'"),
        ("--seed", "99990", "20 clips from seed 99990 reach beyond 100000"),
    ],
)
def test_a_wrong_use_renders_nothing(
    tmp_path: Path, command: str, option: str, value: str, message: str
) -> None:
    out = tmp_path / "out"
    given = [command, "--out", str(out), "--clips", "20", option, value]
    done = CliRunner().invoke(data_app, given)
    assert done.exit_code == 2
    assert message in " ".join(done.output.replace("│", " ").split())
    assert not out.exists()
