"""Sources and options on the command line, and the commands about configurations."""

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import typer
from typer.testing import CliRunner

import playspot.models
from playspot.stream import commands
from playspot.stream.config import Config
from playspot.stream.config_commands import validate
from playspot.stream.configuration import (
    ConfigError,
    config_of_sources,
    is_config_file,
    source_name,
)

SECRET = "hunter2"
Write = Callable[[str], Path]


def of_source(line: str) -> str:
    return f"sources:\n  stage:\n    url: clip.mp4\n    {line}\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("rtsp://admin:secret@192.168.1.20:554/stream1?token=secret", "192.168.1.20"),
        ("https://www.example.org/live/stream.m3u8", "www.example.org"),
        ("rtsp://[fe80::1]:554/1", "fe80-1"),
        ("rtmp://live/app/key", "live"),
        ("v4l2:///dev/video0", "video0"),
        ("/dev/video2", "video2"),
        ("v4l2:///dev/video0+mic://default", "video0"),
        ("mic://", "mic"),
        ("mic://USB Audio (hw:1,0)", "USB-Audio-hw-1-0"),
        ("recordings/Käse & Brot.mp4", "Kase-Brot"),
        ("file:///a/b%20c.mp4", "b-c"),
        ("日本.mp4", "file"),
        ("x" * 99 + ".mp4", "x" * 60),
        ("???", "file"),
    ],
)
def test_a_source_gets_the_name_of_its_host_file_or_device(text: str, name: str) -> None:
    assert source_name(text) == name
    assert Config.model_validate({"sources": {name: {"url": text}}})


def test_names_of_sources_are_unique() -> None:
    texts = ["a/x.mp4", "b/x.mp4", "x-2.mp4", "c/x.mp4"]
    config = config_of_sources(texts)
    assert list(config.sources) == ["x", "x-2", "x-2-2", "x-3"]
    assert [source.url for source in config.sources.values()] == texts


def test_options_hold_for_every_source() -> None:
    config = config_of_sources(
        ["a.mp4", "b.mp4"],
        settings={"budget": 3, "latency": None},
        of_sources={"loop": True, "threshold": None},
    )
    assert [source.loop for source in config.sources.values()] == [True, True]
    assert (config.budget, config.latency) == (3, "normal")


def test_options_stand_over_the_file(write: Write) -> None:
    write(of_source("threshold: 0.7") + "budget: 4\nlatency: low")
    config = config_of_sources(
        ["playspot.yaml"], settings={"budget": 3}, of_sources={"loop": True, "threshold": None}
    )
    assert (config.budget, config.latency) == (3, "low")
    assert (config.sources["stage"].threshold, config.sources["stage"].loop) == (0.7, True)


def test_models_of_the_command_line_decide_which_labels_are_known(write: Write) -> None:
    write(of_source("labels: [celo]") + "models: nowhere")
    folder = Path(playspot.models.__file__).parent
    with pytest.raises(ConfigError, match="'celo' is unknown") as error:
        config_of_sources(["playspot.yaml"], settings={"models": folder})
    assert len(error.value.lines) == 1


@pytest.mark.parametrize(
    ("texts", "settings", "words"),
    [
        ([], {}, "there is no source"),
        (["a.yaml", "b.mp4"], {}, "'a.yaml' is a configuration; give it alone"),
        (["a.mp4"], {"budget": -1}, "^budget: -1 is too small; give more than 0$"),
        (["a.mp4"], {"latency": "lwo"}, "'lwo' is unknown; did you mean 'low'"),
        ([f"rstp://me:{SECRET}@camera"], {}, r"^rstp://\*\*\*@camera: unknown scheme 'rstp'"),
        (["nothing.yml"], {}, "nothing.yml: No such file"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(
    texts: list[str], settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        config_of_sources(texts, settings=settings)
    assert len(error.value.lines) == 1
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a.yaml", True), ("A.YML", True), ("a.mp4", False), ("http://host/a.yaml", False)],
)
def test_a_yaml_file_is_a_configuration(text: str, expected: bool) -> None:
    assert is_config_file(text) is expected


app = typer.Typer()
app.command()(validate)
app.command()(commands.schema)
runner = CliRunner()


def test_validate_says_in_one_line_what_there_is(write: Write) -> None:
    text = "sources:\n  a: {url: a.mp4}\n  b: {url: b.mp4, enabled: no}\n"
    result = runner.invoke(app, ["validate", str(write(text))])
    assert result.exit_code == 0
    assert result.stdout == (
        "playspot.yaml: 2 sources, 1 enabled; "
        "models: bandstand-action, bandstand-object, bandstand-sound\n"
    )


def test_validate_prints_every_error_on_its_own_line(write: Write) -> None:
    result = runner.invoke(app, ["validate", str(write("sources: {}\nbudget: 0"))])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "playspot.yaml:1: sources: there is no source; give at least one",
        "playspot.yaml:2: budget: 0 is too small; give more than 0",
    ]


def test_validate_can_be_read_by_programs(write: Write) -> None:
    result = runner.invoke(app, ["validate", str(write(of_source("loop: no"))), "--json"])
    told = json.loads(result.stdout)
    assert (result.exit_code, told["valid"], told["errors"]) == (0, True, [])
    assert told["enabled"] == told["sources"] == ["stage"]
    result = runner.invoke(app, ["validate", str(write("sources: {}")), "--json"])
    told = json.loads(result.stdout)
    assert (result.exit_code, told["valid"], len(told["errors"])) == (1, False, 1)


def test_validate_without_secrets_needs_no_variables(write: Write) -> None:
    path = str(write("sources: {stage: {url: 'rtsp://me:${NOT_SET}@camera/1'}}"))
    assert runner.invoke(app, ["validate", path]).exit_code == 1
    assert runner.invoke(app, ["validate", path, "--no-secrets"]).exit_code == 0


def test_validate_without_a_file_is_a_usage_error() -> None:
    assert runner.invoke(app, ["validate"]).exit_code == 2


@pytest.mark.parametrize("name", ["event", "step", "status", "config"])
def test_a_schema_is_printed(name: str) -> None:
    schema = json.loads(runner.invoke(app, ["schema", name]).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "$defs" in schema


def test_the_schema_of_a_configuration_asks_for_nothing_but_sources() -> None:
    schema = json.loads(runner.invoke(app, ["schema", "config"]).stdout)
    assert schema["required"] == ["sources"]
