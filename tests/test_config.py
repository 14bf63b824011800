"""The configuration as such: bounds, decoding of a source, what a reload has to do, the schema."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from playspot.engines.settings import Decoding
from playspot.stream.config import (
    Changes,
    Config,
    SourceConfig,
    Zone,
    changes,
    decoding_of,
)

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "playspot.yaml"
MODELS = Decoding(on=0.5, off=0.25, label_on={"drum": 0.8}, label_off={"drum": 0.2})


def source(**fields: Any) -> SourceConfig:
    return SourceConfig(**{"url": "clip.mp4", **fields})


def config(**fields: Any) -> Config:
    return Config(**{"sources": {"stage": source()}, **fields})


def test_a_source_needs_nothing_but_a_url() -> None:
    assert decoding_of(source(), MODELS) == MODELS
    assert source().enabled


@pytest.mark.parametrize(
    "fields",
    [
        {"url": ""},
        {"url": "rstp://camera/1"},
        {"timeout": 0},
        {"timeout": 61},
        {"timeout": float("nan")},
        {"av_offset": -5.1},
        {"threshold": 1.1},
        {"thresholds": {"drum": -0.1}},
        {"min_duration": -1},
        {"gap_merge": float("inf")},
        {"mode": "sound"},
        {"schedule": ["Mno"]},
        {"zones": {"a b": {"polygon": [[0, 0], [1, 0], [1, 1]]}}},
        {"zones": {"a": {"polygon": [[0, 0], [1.1, 0], [1, 1]]}}},
        {"zones": {"a": {"polygon": [[0, 0], [1, 1], [1, 0], [0, 1]]}}},
        {"colour": "red"},
    ],
)
def test_a_source_out_of_bounds_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        source(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"sources": {}},
        {"budget": 0},
        {"latency": "medium"},
        {"memory_limit_mb": 100},
        {"publish": "tcp://0.0.0.0:7773"},
        {"timezone": "Berlin"},
        {"timezone": "../../etc/passwd"},
    ],
)
def test_a_configuration_out_of_bounds_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**fields)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "käse", ".", "..", "-a", "x" * 65, "a\n"])
def test_a_name_that_cannot_be_a_topic_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        Config(sources={name: source()})


def test_zones_that_leave_nothing_are_refused() -> None:
    everything = Zone(polygon=((0, 0), (1, 0), (1, 1), (0, 1)), kind="exclude")
    with pytest.raises(ValidationError, match="leave nothing of the picture"):
        source(zones={"all": everything})


def test_a_schedule_without_any_time_zone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "nowhere")
    assert config().timezone is None
    with pytest.raises(ValidationError, match="set `timezone`"):
        config(sources={"stage": source(schedule=["Mon"])})
    assert config(sources={"stage": source(schedule=["Mon"])}, timezone="UTC")


def test_a_folder_may_begin_with_the_home_folder() -> None:
    assert config(journal="~/events").journal == Path.home() / "events"


def test_no_text_of_a_configuration_shows_a_password() -> None:
    secret = source(url="rtsp://me:hunter2@camera/1?token=hunter2")
    whole = Config(sources={"stage": secret})
    with pytest.raises(ValidationError) as error:
        Config.model_validate({"sources": {"stage": {"url": "rstp://me:hunter2@camera"}}})
    shown = f"{secret} {secret!r} {whole} {whole!r} {secret.public()} {error.value} {error.value!r}"
    assert "hunter2" not in shown


def test_other_processes_can_read_what_is_public() -> None:
    zone = Zone(polygon=((0, 0), (1, 0), (1, 1)))
    secret = source(url="rtsp://me:hunter2@camera/1", zones={"a": zone}, schedule=["Mon"])
    text = json.dumps(secret.public())
    assert SourceConfig(**json.loads(text), url="-") == secret.model_copy(update={"url": "-"})
    assert "hunter2" not in text


def test_a_threshold_takes_off_with_it_and_clears_the_models_exceptions() -> None:
    decoding = decoding_of(source(threshold=0.8), MODELS)
    assert (decoding.on_of("violin"), decoding.off_of("violin")) == (0.8, 0.4)
    assert (decoding.on_of("drum"), decoding.off_of("drum")) == (0.8, 0.4)


def test_a_threshold_of_a_label_changes_that_label_only() -> None:
    decoding = decoding_of(source(thresholds={"drum": 0.4}), MODELS)
    assert (decoding.on_of("drum"), decoding.off_of("drum")) == (0.4, 0.1)
    assert (decoding.on_of("violin"), decoding.off_of("violin")) == (0.5, 0.25)


def test_a_threshold_of_a_label_stands_over_the_general_one() -> None:
    decoding = decoding_of(source(threshold=0.9, thresholds={"piano": 0.2}), MODELS)
    assert (decoding.on_of("piano"), decoding.off_of("piano")) == (0.2, 0.1)
    assert decoding.on_of("drum") == 0.9


@pytest.mark.parametrize("on", [0.0, 1.0])
def test_off_never_lies_above_on(on: float) -> None:
    for models in (MODELS, Decoding(on=0, off=0), Decoding(on=0.2, off=0.9)):
        decoding = decoding_of(source(threshold=on, thresholds={"drum": on}), models)
        for label in ("drum", "violin"):
            assert 0 <= decoding.off_of(label) <= decoding.on_of(label) == on


def test_mode_and_durations_are_the_sources_own() -> None:
    own = source(mode="action*sound", min_duration=0, gap_merge=3)
    decoding = decoding_of(own, MODELS)
    assert (decoding.mode, decoding.min_duration, decoding.gap_merge) == ("action*sound", 0, 3)
    assert decoding.label_on == MODELS.label_on


def test_a_reload_names_what_is_new_gone_and_different() -> None:
    old = config(sources={"a": source(), "b": source(), "c": source()})
    new = config(sources={"d": source(), "c": source(loop=True), "b": source()})
    assert changes(old, new) == Changes(added=("d",), removed=("a",), changed=("c",))


def test_a_reload_without_a_difference_does_nothing() -> None:
    assert changes(config(), config()) == Changes()


def test_a_password_that_changed_is_a_change() -> None:
    old, new = (config(sources={"a": source(url=f"rtsp://me:{p}@cam/1")}) for p in ("x", "y"))
    assert changes(old, new).changed == ("a",)


@pytest.mark.parametrize(
    ("field", "value", "needs_restart"),
    [
        ("models", "models", True),
        ("publish", "off", True),
        ("budget", 3, True),
        ("latency", "low", True),
        ("journal", "events", True),
        ("memory_limit_mb", 2000, False),
        ("timezone", "Europe/Berlin", False),
    ],
)
def test_a_reload_says_which_keys_need_a_restart(
    field: str, value: object, needs_restart: bool
) -> None:
    expected = (field,) if needs_restart else ()
    assert changes(config(), config(**{field: value})).needs_restart == expected


def test_every_field_of_the_schema_is_described() -> None:
    schema = Config.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for model in (schema, *schema["$defs"].values()):
        for name, field in model["properties"].items():
            assert field.get("description") or field["$ref"], name
            assert field.get("title") or field["anyOf"], name  # a part of its own has its title


def test_every_number_of_the_schema_is_bounded() -> None:
    schema = Config.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        for name, field in model["properties"].items():
            for kind in (field, *field.get("anyOf", ())):
                if kind.get("type") == "number":
                    assert {"minimum", "exclusiveMinimum"} & set(kind), name
                    assert "maximum" in kind, name


def test_the_examples_of_the_schema_are_valid() -> None:
    for name, field in SourceConfig.model_fields.items():
        for value in field.examples or ():
            source(**{name: value})
    for name, field in Config.model_fields.items():
        for value in field.examples or ():
            config(**{name: value})


def test_an_editor_accepts_the_example_and_finds_a_typo() -> None:
    validator = jsonschema.Draft202012Validator(Config.model_json_schema())
    data = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    assert list(validator.iter_errors(data)) == []
    data["sources"]["stage"]["tresholds"] = {}
    assert len(list(validator.iter_errors(data))) == 1
