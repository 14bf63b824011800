"""Every way to compute flow through the real processes, and a model that computes it itself."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from playspot.engines.catalogue import ModelSet, bundled, bundled_models, find_models
from playspot.engines.fuse import fuse_flow
from playspot.engines.options import EngineOptions, FlowWish
from playspot.stream.config import Config, SourceConfig
from playspot.stream.events import Step
from playspot.stream.features import features
from playspot.stream.flow import FlowStack
from playspot.stream.flow_choice import open_flow
from playspot.stream.flow_network import NetworkFlow
from playspot.stream.inputs import item_of, stack_message
from playspot.stream.live_run import LiveRun
from playspot.stream.messages import pack
from playspot.stream.pipeline import Pipeline
from playspot.stream.supervisor import WorkerError
from playspot.stream.whole import steps_of
from playspot.training.bandstand import render_clip

pytestmark = pytest.mark.live

ON_CPU = EngineOptions(engine="onnx")
ROUNDING = 5e-4  # of scores: the sums of networks are made in another order


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.mp4"
    render_clip(path, seed=300_008, duration=2.0)
    return path


@pytest.fixture(scope="module")
def models() -> ModelSet:
    return replace(bundled_models(), options=ON_CPU)


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> ModelSet:
    """Return the bundled models, the flow network in front of the action model."""
    folder = tmp_path_factory.mktemp("fused")
    action = bundled()["action"].path
    assert action is not None
    (folder / "action.onnx").write_bytes(fuse_flow(action.read_bytes()))
    return replace(find_models(folder), decoding=bundled_models().decoding, options=ON_CPU)


@pytest.fixture(scope="module")
def network() -> Iterator[NetworkFlow]:
    method = NetworkFlow(ON_CPU)
    yield method
    method.close()


@pytest.fixture(scope="module")
def expected(scene: Path, models: ModelSet) -> list[Step]:
    """Return the steps of the scene by Farneback, in this process."""
    return [result.step for result in steps_of(scene, models)]


def detected(models: ModelSet, path: Path, flow: FlowWish = "auto") -> tuple[list[Step], str]:
    """Return the steps of a file by the real processes, and what they say of the flow."""
    with Pipeline(models, flow=flow) as pipeline:
        return [output.step for output in pipeline.open(path)], pipeline.flow


def assert_same(steps: list[Step], expected: list[Step], tolerance: float = ROUNDING) -> None:
    assert len(steps) == len(expected) > 3
    for one, other in zip(steps, expected, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=tolerance)


def test_dis_through_the_processes_gives_what_the_file_gives(
    scene: Path, models: ModelSet, expected: list[Step]
) -> None:
    steps, flow = detected(models, scene, "dis")
    assert flow == "flow: dis (opencv-cpu)"
    with_dis = [result.step for result in steps_of(scene, models, flow=open_flow("dis"))]
    assert_same(steps, with_dis)
    assert [step.scores for step in with_dis] != [step.scores for step in expected]


def test_the_network_through_the_processes_gives_what_farneback_gives(
    scene: Path, models: ModelSet, expected: list[Step]
) -> None:
    steps, flow = detected(models, scene, "network")
    assert flow == "flow: network (onnxruntime-cpu)"
    assert_same(steps, expected)


def test_a_model_that_computes_the_flow_gives_the_scores_of_stacks(
    scene: Path, fused: ModelSet, expected: list[Step]
) -> None:
    steps, flow = detected(fused, scene)
    assert flow == "flow: inside the action model"
    assert_same(steps, [result.step for result in steps_of(scene, fused)])
    assert_same(steps, expected)


def test_features_by_the_network_are_those_of_farneback(scene: Path, network: NetworkFlow) -> None:
    ours, theirs = features(scene, flow=network).stacks, features(scene).stacks
    assert ours is not None
    assert theirs is not None
    distance = np.hypot(ours[:, 0::2] - theirs[:, 0::2], ours[:, 1::2] - theirs[:, 1::2])
    assert distance.mean() < 0.005
    assert np.quantile(distance, 0.99) < 0.05


def test_features_for_a_model_that_computes_the_flow_are_frames(scene: Path) -> None:
    frames = features(scene, flow=None).stacks
    assert frames is not None
    assert frames.dtype == np.uint8
    assert frames.shape[1:] == (6, 144, 256)


def test_the_frames_of_a_step_are_a_seventh_of_its_stack(scene: Path) -> None:
    frames, stacks = features(scene, flow=None).stacks, features(scene).stacks
    assert frames is not None
    assert stacks is not None
    sizes = [
        sum(len(part) for part in pack(stack_message(1, FlowStack(2, one), {})))
        for one in (frames[2], stacks[2])
    ]
    assert sizes[1] / sizes[0] == pytest.approx(40 / 6, rel=0.01)
    item: Any = item_of(stack_message(1, FlowStack(2, frames[2]), {}))
    np.testing.assert_array_equal(item.stack, frames[2])


def test_a_gpu_that_was_asked_for_and_is_not_there_ends_it_with_one_line(
    models: ModelSet,
) -> None:
    on_gpu = replace(models, options=EngineOptions(engine="tensorrt"))
    with pytest.raises(WorkerError, match="tensorrt cannot be used: ") as error:
        detected(on_gpu, Path("never.mp4"), "network")
    assert "\n" not in str(error.value)


def test_a_live_run_says_which_flow_it_uses(scene: Path, models: ModelSet, tmp_path: Path) -> None:
    with LiveRun(live_config(scene, tmp_path, "dis"), models) as run:
        assert "flow: dis (opencv-cpu)" in run.describe()


def test_a_live_run_without_the_gpu_that_was_asked_for_ends_with_one_line(
    scene: Path, models: ModelSet, tmp_path: Path
) -> None:
    config = live_config(scene, tmp_path, "network", engine="cuda")
    with (
        pytest.raises(WorkerError, match="cuda cannot be used: ") as error,
        LiveRun(config, models),
    ):
        pass
    assert "\n" not in str(error.value)


def live_config(path: Path, folder: Path, flow: FlowWish, **options: Any) -> Config:
    sources = {"stage": SourceConfig(url=str(path))}
    return Config(sources=sources, flow=flow, publish="off", journal=folder / "journal", **options)


def test_another_flow_than_that_of_the_model_ends_it_with_one_line(fused: ModelSet) -> None:
    with pytest.raises(WorkerError, match="flow: dis cannot be: the action model takes frames"):
        detected(fused, Path("never.mp4"), "dis")
