"""Settings of a run: bounds, recipes, files; everything wrong is a line that says what to do."""

from pathlib import Path
from typing import Any

import pytest

from playspot.stream.configuration import ConfigError
from playspot.training.config import PAPER, RECIPES, SMALL, TrainConfig, TrainingError
from playspot.training.config_file import read_settings, save_config
from playspot.training.jobs import TrainJob, config_of


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    return tmp_path / "settings.yaml"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps: 0 is too small; give at least 1"),
        ({"lr": -1}, "lr: -1 is too small; give more than 0"),
        ({"lr": float("nan")}, "lr: 'nan' is not a number"),
        ({"dropout": 1}, "dropout: 1 is too much; give less than 1"),
        ({"pool": "men"}, "pool: 'men' is unknown; did you mean 'mean'?"),
        ({"stepz": 3}, "stepz: unknown key; did you mean 'steps'?"),
        ({"epochs": "two"}, "epochs: 'two' is not a number"),
    ],
)
def test_a_setting_out_of_bounds_is_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError) as error:
        SMALL["sound"].replace(**change)
    assert str(error.value) == message


def test_every_setting_has_a_description() -> None:
    fields = TrainConfig.model_fields
    assert [
        name for name, field in fields.items() if not field.description and name != "kind"
    ] == []


def test_every_number_has_bounds() -> None:
    for name, schema in TrainConfig.model_json_schema()["properties"].items():
        for option in schema.get("anyOf", [schema]):
            if option.get("type") in ("integer", "number"):
                assert {"minimum", "exclusiveMinimum"} & set(option), name
                assert {"maximum", "exclusiveMaximum"} & set(option), name


def test_the_recipe_of_the_paper_is_that_of_section_iv_d() -> None:
    sound, object_, action = (PAPER[kind] for kind in ("sound", "object", "action"))
    assert (sound.optimiser, sound.lr, sound.epochs) == ("adagrad", 0.01, 100)
    assert (object_.epochs, object_.frozen_epochs, action.epochs) == (50, 20, 100)
    for config in (object_, action):
        assert (config.optimiser, config.momentum, config.lr) == ("sgd", 0.9, 0.001)
        assert (config.clips_per_batch, config.frames_per_clip) == (1, 10)
        assert config.consecutive
    for config in PAPER.values():
        assert (config.width, config.schedule, config.weight_decay) == (1, "constant", 0)
        assert (config.dropout, config.init, config.validate_every) == (0.5, "xavier", 0)
        changes = (config.flip, config.zoom, config.mix, config.light, config.gain)
        assert not any(changes)


def test_epochs_become_steps_of_the_clips_there_are() -> None:
    plan = PAPER["object"].in_steps(200)
    assert (plan.steps, plan.frozen_steps, plan.validate_every) == (10_000, 4000, 200)


def test_a_number_of_steps_puts_away_that_of_epochs() -> None:
    assert PAPER["sound"].replace(steps=30).in_steps(200).steps == 30


def test_settings_survive_a_file(settings_file: Path) -> None:
    for recipe in RECIPES.values():
        for kind, config in recipe.items():
            changed = config.replace(epochs=3, init_from="a: b #'ü.pt", lr=1e-7, seed=5)
            save_config(settings_file, changed)
            read = SMALL[kind].replace(**read_settings(settings_file, SMALL[kind]))
            assert read == changed


def test_a_file_goes_over_the_recipe_and_options_over_both(settings_file: Path) -> None:
    settings_file.write_text("steps: 40\nlr: 0.5\nflip: no\n")
    job = TrainJob("object", Path(), Path(), settings={"lr": 0.25}, config=settings_file)
    config = config_of(job)
    assert (config.steps, config.lr, config.flip) == (40, 0.25, False)
    assert config.mosaic == SMALL["object"].mosaic


def test_steps_as_an_option_go_over_epochs_of_a_file(settings_file: Path) -> None:
    settings_file.write_text("epochs: 7\n")
    job = TrainJob("sound", Path(), Path(), settings={"steps": 9}, config=settings_file)
    assert config_of(job).in_steps(100).steps == 9


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("lr: 0.1\nsteps: -3\n", ":2: steps: -3 is too small; give at least 1"),
        ("\n\nlearning: 1\n", ":3: learning: unknown key; there are kind, seed, "),
        ("kind: action\n", ":1: kind: is 'action', but a sound network is to be trained"),
        ("- 1\n", ":1: no list of `key: value` lines, such as `steps: 500`"),
        ("steps: [1, 2]\n", ":1: steps: is not one number"),
        ("lr: !!python/object:os.system x\n", ":1: lr: a tag; "),
        ("lr: 1\nlr: 2\n", ":2: lr: is there twice (line 1); remove one"),
        ("lr: {a: 1\n", "is not closed"),
        ("pool:\n", ":1: pool: is empty; give it a value, or remove it"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_line(
    settings_file: Path, text: str, line: str
) -> None:
    settings_file.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_settings(settings_file, SMALL["sound"])
    assert line in error.value.lines[0]
    assert error.value.lines[0].startswith(str(settings_file))


def test_all_that_is_wrong_in_a_file_is_said_at_once(settings_file: Path) -> None:
    settings_file.write_text("lr: 0\nsteps: 0\nwidth: 99\n")
    with pytest.raises(ConfigError) as error:
        read_settings(settings_file, SMALL["sound"])
    assert len(error.value.lines) == 3


def test_an_empty_file_changes_nothing(settings_file: Path) -> None:
    settings_file.write_text("# nothing yet\n")
    assert read_settings(settings_file, SMALL["sound"]) == {}


@pytest.mark.parametrize("content", [b"\xff\xfe\x00lr", b"\x00\x01"])
def test_garbage_is_no_settings_file(settings_file: Path, content: bytes) -> None:
    settings_file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"^[^\n]+$"):
        read_settings(settings_file, SMALL["sound"])
