"""The bundled models on scenes of seeds that they were never trained on, through real processes."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from playspot.engines.catalogue import bundled_models
from playspot.stream.pipeline import FileRun, Pipeline, StepOutput
from playspot.stream.played import Played
from playspot.stream.timeline import STEP
from playspot.stream.whole import steps_of
from playspot.training.bandstand import render_clip

SEED = 300_008  # drums, twice, with a rest between
DUET = 300_007  # a cello and a violin


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("scene") / "scene.mp4"
    truth: dict[str, Any] = dict(render_clip(path, seed=SEED, duration=10.0))
    assert json.loads(path.with_suffix(".json").read_text()) == json.loads(json.dumps(truth))
    return path, truth


@pytest.fixture(scope="module")
def detected(scene: tuple[Path, dict[str, Any]]) -> tuple[FileRun, list[StepOutput]]:
    with Pipeline(bundled_models()) as pipeline:
        run = pipeline.open(scene[0])
        return run, list(run)


def test_the_stream_gives_what_the_file_gives(
    scene: tuple[Path, dict[str, Any]], detected: tuple[FileRun, list[StepOutput]]
) -> None:
    """The law, with real networks: processes and sockets against one process.

    The workers compute with one thread each, this process with several: sums are made in another
    order, which moves scores by some 1e-5.
    """
    expected = list(steps_of(scene[0], bundled_models()))
    assert len(expected) == len(detected[1]) == 20
    for output, result in zip(detected[1], expected, strict=True):
        for label, score in result.step.scores.items():
            assert output.step.scores[label] == pytest.approx(score, abs=5e-4)
        assert len(output.step.detections) == len(result.step.detections)
        assert len(output.events) == len(result.changes)


def test_it_says_who_plays_and_when(
    scene: tuple[Path, dict[str, Any]], detected: tuple[FileRun, list[StepOutput]]
) -> None:
    run, outputs = detected
    played = Played(bundled_models().labels)
    for output in outputs:
        played.add(output.step, output.events)
    played.add_events(run.final_events)
    (player,) = [p for p in scene[1]["players"] if p["playing"]]
    assert {part.label for part in played.parts} == {player["label"]}
    assert len(played.parts) == len(player["playing"])
    for part, (start, end) in zip(played.parts, player["playing"], strict=True):
        assert part.start == pytest.approx(start, abs=2 * STEP)
        assert part.end == pytest.approx(end, abs=2 * STEP)


def test_it_says_where(scene: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """The paper's spatial distance, from the max location to the nearest key point, of two clips.

    25 px is what the model card promises of the median; a single player may be worse.
    """
    models = bundled_models()
    duet = tmp_path / "duet.mp4"
    distances: list[float] = []
    for path, truth in (scene, (duet, render_clip(duet, seed=DUET, duration=10.0))):
        for result, step in zip(steps_of(path, models), truth["steps"], strict=True):
            for player in step["players"]:
                point = result.step.points[player["label"]]
                if player["playing"] and point is not None:
                    distances.append(
                        min(
                            math.hypot(256 * (point[0] - x), 144 * (point[1] - y))
                            for x, y in player["points"]
                        )
                    )
    assert len(distances) > 20
    assert np.median(distances) <= 25
