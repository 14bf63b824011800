import numpy as np
import pytest

from playspot.engines.engine import Header
from playspot.engines.replay import ReplayEngine
from playspot.engines.settings import Decoding
from playspot.stream.detector import Detector, StepResult
from playspot.stream.flow import FlowStack
from playspot.stream.media import Picture, SourceInfo
from playspot.stream.windows import SoundWindow

LABELS = ("drum", "violin")
BOTH = SourceInfo("clip", has_video=True, has_audio=True)


def at(x: float, y: float, label: int = 1) -> np.ndarray:
    """Return one score map (1, K, 5, 8) of our nets' geometry with a hill near (x, y)."""
    columns, rows = (32 * np.arange(8) + 0.5) / 256, (32 * np.arange(5) + 0.5) / 144
    d2 = ((columns[None] - x) * 256) ** 2 + ((rows[:, None] - y) * 144) ** 2
    scores = np.full((1, 2, 5, 8), 0.01, np.float32)
    scores[0, label] = 0.01 + 0.94 * np.exp(-d2 / (2 * 40.0**2))
    return scores


def detector(
    *, sound: float = 0.9, x: float = 0.5, wanted: frozenset[str] = frozenset()
) -> Detector:
    def header(kind: str) -> Header:
        return Header(kind=kind, name=kind, labels=LABELS)  # type: ignore[arg-type]

    return Detector(
        engines={
            "object": ReplayEngine(header("object"), at(x, 0.5).repeat(9, axis=0)),
            "action": ReplayEngine(header("action"), at(x, 0.5).repeat(9, axis=0)),
            "sound": ReplayEngine(header("sound"), np.full((9, 2, 1), sound, np.float32)),
        },
        decoding=Decoding(min_duration=0),
        labels=LABELS,
        wanted=wanted,
    )


def run(
    this: Detector, info: SourceInfo = BOTH, *, n: int = 1, size: tuple[int, int] = (144, 256)
) -> list[StepResult]:
    this.open(1, info)
    aligner = this.sources[1].aligner
    for step in range(n):
        if info.has_video:
            aligner.put("object", step, Picture(step, np.zeros((*size, 3), np.uint8)))
            aligner.put("action", step, FlowStack(step, np.zeros((10, *size), np.float32)))
        if info.has_audio:
            aligner.put("sound", step, SoundWindow(step, np.zeros((384, 16), np.float32), 0, False))
    return list(this.results(1))


@pytest.mark.parametrize("x", [0.2, 0.5, 0.8])
def test_the_point_lies_where_the_maps_have_their_top(x: float) -> None:
    (result,) = run(detector(x=x))
    point = result.step.points["violin"]
    assert point is not None
    assert point[0] == pytest.approx(x, abs=0.03)
    assert point[1] == pytest.approx(0.5, abs=0.03)


def test_a_detection_says_what_each_model_said() -> None:
    (result,) = run(detector(sound=0.9))
    (detection,) = result.step.detections
    assert detection.label == "violin"
    assert detection.modalities.sound.score == pytest.approx(0.9)
    assert detection.modalities.action.status == "ok"
    assert detection.modalities.action.score == pytest.approx(0.95, abs=0.1)


def test_every_label_has_a_score_and_a_point_in_every_step() -> None:
    (result,) = run(detector())
    assert set(result.step.scores) == set(result.step.points) == set(LABELS)
    assert result.step.scores["drum"] < 0.1


def test_without_sound_the_status_is_missing_and_the_scale_stays() -> None:
    (result,) = run(detector(), SourceInfo("clip", has_video=True, has_audio=False))
    (detection,) = result.step.detections
    assert detection.modalities.sound.status == "missing"
    assert detection.modalities.sound.score is None
    assert detection.score == pytest.approx(0.93, abs=0.05)


def test_sound_alone_gives_who_and_when_and_no_where() -> None:
    (result,) = run(detector(sound=0.9), SourceInfo("clip", has_video=False, has_audio=True))
    assert result.step.points == {"drum": None, "violin": None}
    assert {detection.box for detection in result.step.detections} == {None}
    assert result.step.scores["drum"] == pytest.approx(0.9)


def test_a_step_with_nothing_scores_zero() -> None:
    this = detector()
    this.open(1, BOTH)
    for modality in ("object", "action", "sound"):
        this.sources[1].aligner.end(modality, 1)
    (result,) = this.results(1)
    assert result.playing is None
    assert result.step.scores == {"drum": 0.0, "violin": 0.0}
    assert result.step.detections == ()


def test_only_the_wanted_labels_are_detected_and_all_are_scored() -> None:
    (result,) = run(detector(wanted=frozenset({"drum"})))
    assert result.step.detections == ()
    assert result.changes == []
    assert result.step.scores["violin"] > 0.8


def test_closing_ends_the_open_events() -> None:
    this = detector()
    assert [change.type for change in run(this)[0].changes] == ["new"]
    assert [change.type for change in this.close(1, "shutdown")] == ["end"]


def test_models_of_other_labels_are_refused() -> None:
    engines = detector().engines
    with pytest.raises(ValueError, match="the object model 'object' has the labels drum, violin"):
        Detector(engines, Decoding(), ("drum", "piano"))


def test_models_that_see_other_sizes_meet_on_one_grid() -> None:
    """A teacher's picture has sides rounded to 32: 448x64 of a strip of 1840x200."""
    this = detector()
    this.open(1, BOTH)
    aligner = this.sources[1].aligner
    aligner.put("object", 0, Picture(0, np.zeros((64, 448, 3), np.uint8)))
    aligner.put("action", 0, FlowStack(0, np.zeros((10, 27, 256), np.float32)))
    aligner.put("sound", 0, SoundWindow(0, np.zeros((384, 16), np.float32), 0, False))
    (result,) = this.results(1)
    assert result.playing is not None
    assert result.playing.shape == (2, 3, 32)
