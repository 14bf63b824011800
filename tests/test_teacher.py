"""Teachers: descriptions, class mapping, calibration, and which models are found."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from playspot.engines import ModelError, load
from playspot.engines.catalogue import cache_folder, find_models
from playspot.engines.description import read_class_names, shipped_descriptions
from playspot.engines.motion import motion_map
from playspot.engines.teacher import MIDDLE, TeacherEngine, focus
from playspot.engines.teacher import load as load_teacher
from playspot.models import LABELS
from playspot.stream.fusion import fuse
from playspot.stream.whole import steps_of

OBJECT = """
kind = "object"
name = "colours"
picture_side = 64
smoothing = 1
labels_file = "classes.txt"
[input]
scale = 0.00392156862745098
[labels.drum]
classes = ["red"]
[labels.violin]
classes = ["blue thing"]
"""
SOUND = """
kind = "sound"
name = "bands"
competition = 1.0
[output]
activation = "none"
[labels.drum]
classes = [0]
competitors = [2]
[labels.violin]
classes = [1]
slope = 2.0
bias = 1.0
"""
RED = np.zeros((1, 64, 96, 3), np.uint8)
RED[:, :, :32] = (255, 0, 0)


def save(
    path: Path, nodes: list[Any], given: list[Any], out: list[Any], weights: dict[str, Any]
) -> None:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A classifier of 32 px cells by their colour, and a tagger that hands on three numbers."""
    kernel = np.zeros((4, 3, 32, 32), np.float32)
    for colour in range(3):
        kernel[colour + 1, colour] = 10 / 32**2  # class 0 is background
    conv = helper.make_node("Conv", ["x", "w"], ["y"], strides=[32, 32])
    save(tmp_path / "eyes.onnx", [conv], ["n", 3, "h", "w"], ["n", 4, "fh", "fw"], {"w": kernel})
    (tmp_path / "eyes.toml").write_text(OBJECT)
    (tmp_path / "classes.txt").write_text("nothing\nred\ngreen\nblue thing, azure\n")
    pick = [
        helper.make_node("Slice", ["x", "start", "end", "axes"], ["s"]),
        helper.make_node("Flatten", ["s"], ["y"], axis=1),
    ]
    ints = {"start": [0, 0], "end": [1, 3], "axes": [2, 3]}
    path = tmp_path / "ears.onnx"
    save(path, pick, ["n", 1, 96, 64], ["n", 3], {})
    model = onnx.load(path)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.array(v, np.int64), k) for k, v in ints.items()
    )
    onnx.save(model, path)
    (tmp_path / "ears.toml").write_text(SOUND)
    return tmp_path


def patch(*scores: float) -> np.ndarray:
    window = np.zeros((1, 96, 64), np.float32)
    window[0, 0, :3] = scores
    return window


def test_the_map_is_high_where_the_class_is(folder: Path) -> None:
    scores = load_teacher(folder / "eyes.onnx")(RED)
    assert scores.shape == (1, 2, 2, 3)
    assert scores[0, 0, :, 0] == pytest.approx(np.e**10 / (np.e**10 + 3), abs=1e-3)
    assert scores[0, 0, :, 1:].max() < 0.3


def test_classes_are_found_by_any_of_their_names(folder: Path) -> None:
    blue = RED[..., ::-1].copy()
    assert load_teacher(folder / "eyes.onnx")(blue)[0, 1, 0, 0] > 0.99


def test_an_unknown_class_name_is_one_clear_line(folder: Path) -> None:
    (folder / "eyes.toml").write_text(OBJECT.replace('"red"', '"pink"'))
    with pytest.raises(ModelError, match="no class 'pink'"):
        load_teacher(folder / "eyes.onnx")


def test_smoothing_spreads_the_evidence(folder: Path) -> None:
    (folder / "eyes.toml").write_text(OBJECT.replace("smoothing = 1", "smoothing = 3"))
    assert load_teacher(folder / "eyes.onnx")(RED)[0, 0, 0, 1] > 0.5


def test_a_dark_picture_is_lightened(folder: Path) -> None:
    dark = RED // 8
    before = load_teacher(folder / "eyes.onnx")(dark)[0, 0, 0, 0]
    (folder / "eyes.toml").write_text(OBJECT.replace("smoothing", "lighten_to = 180\nsmoothing"))
    assert load_teacher(folder / "eyes.onnx")(dark)[0, 0, 0, 0] > before + 0.3


def test_a_smaller_scale_changes_how_surely_but_not_where(folder: Path) -> None:
    picture = np.zeros((1, 128, 192, 3), np.uint8)
    picture[:, 32:64, 64:96] = (255, 0, 0)  # a cell of its own; a quarter of one at half the size
    one = load_teacher(folder / "eyes.onnx")(picture)[0, 0]
    (folder / "eyes.toml").write_text(OBJECT.replace("smoothing", "scales = [1, 0.5]\nsmoothing"))
    two = load_teacher(folder / "eyes.onnx")(picture)[0, 0]
    assert one.argmax() == two.argmax() == 8
    assert 0.5 < two.max() < one.max()


def test_slope_and_bias_act_on_log_odds(folder: Path) -> None:
    scores = load_teacher(folder / "ears.onnx")(patch(0.5, 0.5, 0.0))
    assert scores.shape == (1, 2, 1)
    assert scores[0, :, 0] == pytest.approx([0.5, 1 / (1 + np.exp(-1))], abs=1e-4)


def test_a_stronger_competitor_takes_off_its_lead(folder: Path) -> None:
    engine = load_teacher(folder / "ears.onnx")
    weak, strong = engine(patch(0.5, 0, 0.3)), engine(patch(0.5, 0, 0.9))
    assert weak[0, 0, 0] == pytest.approx(0.5, abs=1e-4)
    assert strong[0, 0, 0] == pytest.approx(0.1, abs=1e-4)


def test_a_pause_within_a_window_is_told_from_sound(rng: np.random.Generator) -> None:
    sound = rng.normal(0, 1, (1, 96, 64)).astype(np.float32)
    pause = sound.copy()
    pause[:, MIDDLE] -= 4.0  # 35 dB
    assert focus(sound, 12.0)[0] > 0.9
    assert focus(pause, 12.0)[0] < 0.05


def test_a_closed_engine_says_so(folder: Path) -> None:
    engine = load_teacher(folder / "ears.onnx")
    engine.close()
    engine.close()
    with pytest.raises(ValueError, match="closed"):
        engine(patch(0, 0, 0))


def test_pictures_of_another_type_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"uint8 \(B, H, W, 3\); given is float64"):
        load_teacher(folder / "eyes.onnx")(np.zeros((1, 64, 64, 3)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("slope = 2.0", "slop = 2.0"), "labels.violin.slop: Extra inputs"),
        (("slope = 2.0", "slope = -1"), "labels.violin.slope: .*greater than 0"),
        (('name = "bands"', "name ="), "no readable TOML"),
    ],
)
def test_a_wrong_description_is_one_clear_line(
    folder: Path, change: tuple[str, str], message: str
) -> None:
    (folder / "ears.toml").write_text(SOUND.replace(*change))
    with pytest.raises(ModelError, match=message) as caught:
        find_models(folder)
    assert "\n" not in str(caught.value)


def test_load_takes_a_described_model(folder: Path) -> None:
    assert isinstance(load(folder / "ears.onnx", "sound"), TeacherEngine)


def test_a_csv_of_classes_is_read_by_its_column(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    path.write_text('index,display_name\n0,Speech\n1,"Violin, fiddle"\n')
    assert read_class_names(path)["Violin, fiddle"] == 1


def test_shipped_descriptions_know_every_label() -> None:
    assert {d.kind for d in shipped_descriptions()} == {"object", "sound"}
    for description in shipped_descriptions():
        assert description.header.labels == LABELS


def test_a_folder_of_teachers_is_completed_by_motion(folder: Path) -> None:
    found = find_models(folder)
    assert [header.name for header in found.headers.values()] == ["motion", "colours", "bands"]
    assert found.labels == ("drum", "violin")
    assert "object: colours" in "\n".join(found.describe())


def test_a_set_can_be_sent_to_another_process(folder: Path) -> None:
    found = pickle.loads(pickle.dumps(find_models(folder)))
    assert set(found.load()) == {"action", "object", "sound"}


def test_the_settings_beside_the_models_win(folder: Path) -> None:
    (folder / "playspot.toml").write_text("[decoding]\non = 0.7\n")
    assert find_models(folder).decoding.on == 0.7


def test_wrong_settings_are_one_clear_line(folder: Path) -> None:
    (folder / "playspot.toml").write_text("[decoding]\nonn = 0.7\n")
    with pytest.raises(ModelError, match=r"decoding\.onn"):
        find_models(folder)


def test_models_of_other_labels_do_not_go_together(folder: Path) -> None:
    (folder / "ears.toml").write_text(SOUND.replace("labels.violin", "labels.viola"))
    with pytest.raises(ModelError, match="drum, viola"):
        find_models(folder)


def test_an_empty_folder_says_how_to_get_models(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="playspot models pull"):
        find_models(tmp_path)


def test_other_readings_of_a_network_are_another_model(folder: Path) -> None:
    ears, eyes = load(folder / "ears.onnx").hash, load(folder / "eyes.onnx").hash
    (folder / "ears.toml").write_text(SOUND.replace("slope = 2.0", "slope = 3.0"))
    (folder / "classes.txt").write_text("nothing\nblue thing\ngreen\nred\n")
    assert load(folder / "ears.onnx").hash != ears
    assert load(folder / "eyes.onnx").hash != eyes
    assert load(folder / "eyes.onnx").hash == load(folder / "eyes.onnx").hash


def test_a_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        find_models(tmp_path / "nothing")


def test_pulled_models_are_used_without_being_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYSPOT_MODELS", str(folder))
    assert cache_folder() == folder
    assert find_models().headers["object"].name == "colours"


def test_the_public_teachers_are_known_without_a_description(shared: Path) -> None:
    found = find_models(shared / "data" / "teachers")
    assert [header.name for header in found.headers.values()] == [
        "motion",
        "MobileNetV2 (ImageNet)",
        "YAMNet (AudioSet)",
    ]
    assert found.decoding.weights["sound"] == 0.4


def test_a_still_picture_with_sound_stays_below_on(shared: Path) -> None:
    decoding = find_models(shared / "data" / "teachers").decoding
    sure = np.full((1, 4, 4), 0.999, np.float32)
    still = np.asarray(motion_map(np.zeros((10, 32, 32), np.float32)))[None]
    playing = fuse({"action": still, "object": sure, "sound": sure[:, 0, 0]}, ("drum",), decoding)
    assert playing is not None
    assert playing.max() < 0.5 * decoding.on_of("drum")


def test_the_public_teachers_name_what_a_clip_shows(shared: Path) -> None:
    clip = shared / "data" / "video" / "maskvat_violin.mp4"
    results = list(steps_of(clip, find_models(shared / "data" / "teachers")))
    best = [max(r.step.scores, key=lambda label: r.step.scores[label]) for r in results]
    assert best.count("violin") >= 15
    x, y = results[8].step.points["violin"] or (0, 0)
    assert 0.45 < x < 0.65
    assert 0.4 < y < 0.65  # the violin's body and bridge
