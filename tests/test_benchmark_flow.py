"""`playspot benchmark flow`: cost, difference to OpenCV's Farneback, and the action model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from playspot.training.benchmark_commands import benchmark_app
from playspot.training.benchmark_flow import REFERENCE, FlowJob, difference, measure, resized
from playspot.training.benchmark_flow_report import draw, print_flow
from playspot.training.benchmark_inputs import greys_of


@pytest.fixture(scope="module")
def greys() -> NDArray[np.uint8]:
    """Return three frames of a smooth texture that moves by two pixels."""
    y, x = np.mgrid[0:64, 0:96]
    return np.stack(
        [
            (128 + 60 * np.sin((x - 2 * k) / 5) * np.cos((y + k) / 7)).astype(np.uint8)
            for k in range(3)
        ]
    )


@pytest.fixture(scope="module")
def document(greys: NDArray[np.uint8]) -> dict[str, Any]:
    """Return a document as the command makes it, of one size."""
    rows, skipped = measure(greys, FlowJob(batches=(1, 2), seconds=0.0))
    quality = {
        "n_clips": 3, "auc": 0.7, "auc_interval": [0.6, 0.8], "n_auc": 9,
        "px": 20.0, "px_interval": [15.0, 25.0], "n_px": 90,
    }  # fmt: skip
    return {
        "machine": {"cpu": "A", "cores": 2, "system": "B", "load": 0.0, "date": "today"},
        "versions": {"python": "3"},
        "rows": rows,
        "skipped": skipped,
        "difference": {"rendered": difference([greys])},
        "quality": [{"way": REFERENCE, **quality}],
    }


def test_every_way_is_timed_for_each_batch(document: dict[str, Any]) -> None:
    found = {(row["way"], row["batch"]) for row in document["rows"]}
    ways = {way for way, _ in found}
    assert {REFERENCE, "DIS ultrafast", "DIS fast", "DIS medium"} < ways
    assert "network, ONNX Runtime" in ways
    assert found == {(way, batch) for way in ways for batch in (1, 2)}


def test_the_network_is_opencv_and_dis_is_not(document: dict[str, Any]) -> None:
    rows = {row["way"]: row for row in document["difference"]["rendered"]}
    network = next(row for way, row in rows.items() if way.startswith("network"))
    assert network["mean"] <= 0.005  # the bounds that the network is accepted by
    assert network["p99"] <= 0.05
    assert rows["DIS fast"]["mean"] > network["mean"]
    assert network["n_pairs"] == 2


def test_the_report_has_its_three_tables(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    print_flow(document)
    told = capsys.readouterr().out
    assert "ms a pair of frames" in told
    assert "rendered, 2 pairs of 1 scenes" in told
    assert "on 3 clips it has not seen" in told


def test_what_one_clip_cannot_tell_is_left_out(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    none = {"auc_interval": [None, None], "px": None, "px_interval": [None, None]}
    print_flow(document | {"quality": [row | none for row in document["quality"]]})
    assert "None" not in capsys.readouterr().out


def test_the_picture_is_drawn(document: dict[str, Any], tmp_path: Path) -> None:
    draw(tmp_path / "a.png", document)
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_frames_are_brought_to_another_size(greys: NDArray[np.uint8]) -> None:
    assert resized(greys, (32, 40)).shape == (3, 32, 40)


def test_a_video_without_motion_pictures_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"a\.mp4"):
        greys_of(path)


def test_a_folder_without_recordings_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(benchmark_app, ["flow", "--clips", str(tmp_path)])
    assert result.exit_code == 1
    assert "no recording in it" in result.output
