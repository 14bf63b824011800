"""`playspot evaluate` as a program: every data set, files and errors of one line."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer

from playspot.training.evaluate_command import evaluate
from playspot.training.evaluate_files import write_files
from playspot.training.evaluate_run import Request, run
from playspot.training.evaluate_table import rows

XML = (
    "<annotation><size><width>80</width><height>60</height></size><object>"
    "<name>n02992211</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>79</xmax><ymax>59</ymax>"
    "</bndbox></object></annotation>"
)


@pytest.fixture(scope="module")
def clips(media: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two short clips, and what is true of them."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(2):
        media.make_clip(folder / f"c{number}.mp4", duration=3.0, size=(64, 36))
        steps = [
            {
                "step": k,
                "players": [
                    {
                        "label": "violin",
                        "playing": k % 3 > 0,
                        "points": [[0.5, 0.5]] if k % 3 else [],
                        "box": [0.4, 0.4, 0.6, 0.6],
                    }
                ],
            }
            for k in range(6)
        ]
        tags = {name: ["violin"] for name in ("played", "visible", "heard")}
        truth = {**tags, "seed": 200_000 + number, "duration": 3.0, "steps": steps}
        (folder / f"c{number}.json").write_text(json.dumps(truth))
    (folder / "broken.mp4").write_bytes(b"no video")
    broken = {"played": [], "visible": [], "heard": [], "seed": 200_009}
    (folder / "broken.json").write_text(json.dumps(broken))
    (folder / "untrue.mp4").write_bytes((folder / "c0.mp4").read_bytes())
    (folder / "untrue.json").write_text(json.dumps({**broken, "steps": [1]}))
    return folder


@pytest.fixture(scope="module")
def measured(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run(Request(clips, cache=tmp_path_factory.mktemp("cache")))


def test_clips_are_measured_and_broken_ones_counted(measured: Any) -> None:
    report, _ = measured
    assert report["n_clips"] == 2
    assert report["n_skipped"] == 2
    assert report["outputs"]["action"]["paper"]["n"]["frames"]["violin"] == 8
    assert set(report["standard"]) >= {"hit_at", "clip", "frame", "confusion"}


def test_files_hold_the_figures_and_pictures(measured: Any, tmp_path: Path) -> None:
    report, standard = measured
    paths = write_files(report, standard, tmp_path / "new" / "out")
    assert [path.name for path in paths] == [
        "figures.csv",
        "figures.json",
        "labels.png",
        "curves.png",
        "confusion.png",
    ]
    with paths[0].open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(rows(measured[0]))
    row = next(r for r in table if (r["output"], r["metric"]) == ("action", "paper spatial_px"))
    paper = measured[0]["outputs"]["action"]["paper"]
    assert float(row["value"]) == paper["spatial_px"]["average"]
    assert "NaN" not in paths[1].read_text()
    assert all(cv2.imread(str(path)) is not None for path in paths[2:])
    assert len(list((tmp_path / "new" / "out").iterdir())) == 5  # nothing half-written is left


def test_the_command_prints_the_center_baseline_as_json(shared: Path) -> None:
    options = ("--dataset", "ipa", "--root", str(shared / "data/ipa"), "--predictor", "center")
    command = [sys.executable, "-m", "playspot.stream", "evaluate", *options, "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert round(report["spatial_px"]["average"], 2) == 37.25
    assert report["videos"]["violin"] == 15


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give the folder"),
        ({"root": Path("a"), "folder": Path("b")}, "give the folder"),
        ({"folder": Path("a"), "dataset": "kazoos"}, "--dataset kazoos: one of"),
        ({"folder": Path("a"), "predictor": "center"}, "for --dataset ipa"),
        ({"folder": Path("a"), "is_recorded": True}, "--record needs --models"),
    ],
)
def test_wrong_usage_says_what_to_do(options: dict[str, Any], message: str) -> None:
    with pytest.raises(typer.BadParameter, match=message):
        evaluate(**options)


def test_a_folder_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit):
        evaluate(tmp_path / "no", dataset="ipa", predictor="center")
    error = capsys.readouterr().err
    assert "no: no such folder" in error
    assert error.count("\n") == 1


def test_the_object_model_is_measured_on_pictures_with_boxes(tmp_path: Path) -> None:
    for name in ("n02992211_1", "n02992211_2"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((60, 80, 3), 128, np.uint8))
    (tmp_path / "n02992211_1.xml").write_text(XML)
    (tmp_path / "n02992211_2.xml").write_text("<!DOCTYPE a><a/>")
    report, _ = run(Request(tmp_path, "imagenet", cache=tmp_path / "cache"))
    paper = report["outputs"]["object"]["paper"]
    assert paper["n"]["hit_rate"]["cello"] == 1
    assert report["n_skipped"] == 1


def test_the_sound_model_is_measured_on_songs(
    make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    make_clip("Song_MIX.wav", duration=3.0, size=None, audio_codec="pcm_s16le")
    lab = "start_time,end_time,instrument_label\n0.5,1.5,flute\n0,3,electric bass\n"
    (tmp_path / "Song_SOURCEID.lab").write_text(lab)
    report, _ = run(Request(tmp_path, "medleydb", cache=tmp_path / "cache"))
    paper = report["outputs"]["sound"]["paper"]
    assert 0 <= paper["frame_auc"]["flute"] <= 1
    assert paper["n"]["frame_auc"]["flute"] == report["n_clips"] == 1
