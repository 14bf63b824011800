"""YAML in, a configuration out, or a line for everything that is wrong with it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from playspot.models.labels import LABELS
from playspot.stream.config import Config, SourceConfig, Zone
from playspot.stream.configuration import ConfigError, read_config
from playspot.stream.marked_yaml import read_yaml
from playspot.stream.output_config import (
    DatabaseConfig,
    JsonLinesConfig,
    MqttConfig,
    RecordingsConfig,
    WebConfig,
    WebhookConfig,
)

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "playspot.yaml"
OUTPUTS = (
    DatabaseConfig,
    JsonLinesConfig,
    MqttConfig,
    RecordingsConfig,
    WebConfig,
    WebhookConfig,
)
SECRET = "hunter2"
Write = Callable[[str | bytes], Path]


def read(path: Path) -> Config:
    return read_config(path, labels=LABELS)


def lines_of(path: Path) -> list[str]:
    """Return what is said of a configuration that is wrong."""
    with pytest.raises(ConfigError) as error:
        read(path)
    assert str(error.value) == "\n".join(error.value.lines)
    assert all(line.isprintable() for line in error.value.lines)
    return list(error.value.lines)


def of_source(line: str) -> str:
    return f"sources:\n  stage:\n    url: clip.mp4\n    {line}\n"


def test_a_small_configuration_is_read(write: Write) -> None:
    config = read(write("sources: {stage: {url: clip.mp4, threshold: 0.7}}\nbudget: 3"))
    assert config.budget == 3
    assert config.sources["stage"].threshold == 0.7


def test_the_example_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGE_PASSWORD", SECRET)
    config = read(EXAMPLE)
    assert list(config.sources) == ["stage", "rehearsal", "demo"]
    assert config.sources["stage"].url == f"rtsp://viewer:{SECRET}@192.168.1.20:554/stream1"


def test_the_example_is_valid_with_all_that_is_commented_out(
    monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    for name in ("STAGE_PASSWORD", "MQTT_PASSWORD", "HOOK_SECRET"):
        monkeypatch.setenv(name, f"{SECRET}{SECRET}")
    text = EXAMPLE.read_text(encoding="utf-8")
    for part in ("mqtt", "webhooks", "recordings"):
        block = text[text.index(f"# {part}:") :].partition("\n\n")[0]
        text = text.replace(block, block.replace("\n# ", "\n")[2:])
    config = read(write(text))
    assert config.mqtt is not None
    assert config.recordings is not None
    assert config.webhooks["stage-door"].labels == ("piano",)
    assert SECRET not in repr(config)


def test_the_example_shows_every_key() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    parts = (Config, SourceConfig, Zone, *OUTPUTS)
    keys = [key for part in parts for key in part.model_fields]
    assert [key for key in keys if f"{key}:" not in text] == []
    assert text.startswith("# yaml-language-server: $schema=")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            of_source("tresholds: {drum: 0.5}"),
            "4: sources.stage.tresholds: unknown key; did you mean 'thresholds'?",
        ),
        (
            of_source("transport: tpc"),
            "4: sources.stage.transport: 'tpc' is unknown; did you mean 'tcp'?",
        ),
        (
            of_source("mode: sound"),
            "4: sources.stage.mode: 'sound' is unknown; give action or action*object or "
            "action*sound or action*object*sound",
        ),
        (of_source("timeout: 99"), "4: sources.stage.timeout: 99 is too much; give at most 60"),
        (of_source("timeout: 0"), "4: sources.stage.timeout: 0 is too small; give more than 0"),
        (
            of_source("min_duration: 2s"),
            "4: sources.stage.min_duration: '2s' is not a number; durations are seconds without a "
            "unit, such as 90",
        ),
        (of_source("threshold: .nan"), "4: sources.stage.threshold: '.nan' is not a number"),
        (of_source("threshold: nan"), "4: sources.stage.threshold: 'nan' is not a number"),
        (of_source("loop: maybe"), "4: sources.stage.loop: 'maybe' is neither true nor false"),
        (
            of_source("labels: violin"),
            "4: sources.stage.labels: is not a list; write [violin]",
        ),
        (
            of_source("labels: [violin, celo]"),
            "4: sources.stage.labels[1]: 'celo' is unknown; did you mean 'cello'?",
        ),
        (
            of_source("labels:\n    - violin\n    - 'no'"),
            f"6: sources.stage.labels[1]: 'no' is unknown; give some of {', '.join(LABELS)}",
        ),
        (
            of_source("thresholds:\n      drmu: 0.5"),
            "5: sources.stage.thresholds.drmu: 'drmu' is unknown; did you mean 'drum'?",
        ),
        (
            of_source("thresholds: {drum: 1.5}"),
            "4: sources.stage.thresholds.drum: 1.5 is too much; give at most 1",
        ),
        (
            of_source("schedule: [Mon 08:00-18:00, Tue 8-18]"),
            "4: sources.stage.schedule: 'Tue 8-18': '8-18' is not hours such as 08:00-18:00; "
            'write it as "Mon-Fri 08:00-18:00", "Sat,Sun" or "22:00-02:00"',
        ),
        (
            of_source("zones: {a: {polygon: [[0, 0], [1, 0]]}}"),
            "4: sources.stage.zones.a.polygon: has 2; give at least 3",
        ),
        (
            of_source("zones: {a: {polygon: [[0, 0], [1, 0], [2, 1]]}}"),
            "4: sources.stage.zones.a.polygon[2][0]: 2 is too much; give at most 1",
        ),
        (
            of_source("zones: {a: {polygon: [[0, 0], [1, 0], [1]]}}"),
            "4: sources.stage.zones.a.polygon[2][1]: a corner is two numbers, [x, y]",
        ),
        (
            of_source("zones:\n      a:\n        polygon: [[0, 0], [1, 1], [1, 0], [0, 1]]"),
            "6: sources.stage.zones.a.polygon: its sides from corner 1 and from corner 3 meet; "
            "list the corners in order around the zone",
        ),
        (of_source("zones: left"), "4: sources.stage.zones: takes keys of its own, on lines below "
         "it that are indented"),
        (of_source("labels:"), "4: sources.stage.labels: is empty; give it a value, or remove it"),
        ("sources:\n  stage:\n    loop: yes", "2: sources.stage.url: is missing"),
        ("sources:\n  stage:", "2: sources.stage: is empty; give it a value, or remove it"),
        ("sources: {}", "1: sources: there is no source; give at least one"),
        ("budget: 2", "1: sources: is missing"),
        (
            "sources:\n  my stage: {url: a.mp4}",
            "2: sources.my stage: a name has letters, digits, - _ . only, begins with none of - . "
            "and has at most 64",
        ),
        (
            "sources:\n  stage: {url: rstp://camera/1}",
            "2: sources.stage.url: rstp://camera/1: unknown scheme 'rstp'; did you mean 'rtsp'?",
        ),
        (
            of_source("loop: yes") + "timezone: Europe/Berlni",
            "5: timezone: 'Europe/Berlni' is not a time zone; did you mean 'Europe/Berlin'?",
        ),
        (
            of_source("loop: yes") + "publish: tcp://0.0.0.0:1",
            "5: publish: endpoint 'tcp://0.0.0.0:1' is not on loopback: events would be open to "
            "the network; use tcp://127.0.0.1:7773, give `keys` (playspot keygen), or say "
            "insecure: true",
        ),
        (
            of_source("loop: yes") + "mqtt: {prot: 1883}",
            "5: mqtt.prot: unknown key; did you mean 'port'?",
        ),
        (
            of_source("loop: yes") + "mqtt: {port: 0}",
            "5: mqtt.port: 0 is too small; give at least 1",
        ),
        (
            of_source("loop: yes") + "web: {listen: 0.0.0.0:8773}",
            "5: web: listen '0.0.0.0:8773' is not on loopback: give token, certificate and "
            "private_key, or say insecure: true",
        ),
        (
            of_source("loop: yes") + "webhooks: {mine: {url: example.org}}",
            "5: webhooks.mine.url: the URL of a webhook looks like https://host/path",
        ),
        (
            of_source("loop: yes") + "cameras: {}",
            "5: cameras: unknown key; there are sources, models, keys, insecure, publish, budget, "
            "latency, engine, precision, flow, gpu, journal, memory_limit_mb, timezone, web, "
            "database, jsonl, mqtt, webhooks, recordings",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_its_place(
    write: Write, content: str, expected: str
) -> None:
    assert lines_of(write(content)) == [f"playspot.yaml:{expected}"]


def test_everything_that_is_wrong_is_told_at_once_in_order(write: Write) -> None:
    told = lines_of(
        write(
            "sources:\n  stage:\n    url: clip.mp4\n    url: clip.mp4\n    labels: [celo]\n"
            "    timeout: ${NOT_SET_ANYWHERE}\n  hall:\n    urll: x.mp4\nbudget: 99\n"
        )
    )
    assert [line.split(": ")[0] + " " + line.split(": ")[1] for line in told] == [
        "playspot.yaml:4 sources.stage.url",
        "playspot.yaml:5 sources.stage.labels[0]",
        "playspot.yaml:6 sources.stage.timeout",
        "playspot.yaml:7 sources.hall.url",
        "playspot.yaml:8 sources.hall.urll",
        "playspot.yaml:9 budget",
    ]
    assert told[0].endswith("is there twice (line 3); remove one")


TAG = "a tag; a text that begins with ! needs quotes around it"
TOO_MUCH = "more than 20000 values, or nested deeper than 20"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "1: empty; begin with `sources:`, see examples/playspot.yaml"),
        ("# nothing\n", "1: empty; begin with `sources:`, see examples/playspot.yaml"),
        ("- a\n", "1: no list of `key: value` lines; begin with `sources:`, see "
         "examples/playspot.yaml"),
        ("sources:\n\tstage:\n", "2: a tab; indent with spaces"),
        ("a: 1\nb: 'x\n", "2: a quote is not closed"),
        ("a: 1\nb: [x\n", "2: a bracket is not closed, or a comma is missing"),
        ("a: b: c", "1: a second ': ', or wrong indentation; quote texts that hold ': '"),
        ("a: @x", "1: a text that begins with this character needs quotes around it"),
        ("a: 1\n---\nb: 2", "2: a second document begins here; one file is one configuration"),
        ("a:\n  - b\n c: d", "3: the indentation does not fit the lines before it"),
        (b"a: 1\nb: \xff\n", "2: not UTF-8; save the file in that encoding"),
        ("sources: {}".encode("utf-16"), "1: not UTF-8; save the file in that encoding"),
        ("a: 1\nb: \x01", "2: a control character; remove it"),
        (of_source("loop: no") + "? [a]\n: b\n", "5: a key that is no text; write `key: value`"),
        (f"a: *{SECRET}", "1: a text that begins with * needs quotes around it"),
        (of_source("loop: no") + f"budget: !{SECRET} x", f"5: budget: {TAG}"),
        (of_source("loop: !!python/object/apply:os.getpid []"), f"4: sources.stage.loop: {TAG}"),
        (f"a: !{SECRET}!x y", "1: a text that begins with ! needs quotes around it"),
        ("[" * 2000, f"1: {TOO_MUCH}"),
        ("a: &a [*a]", f"1: {TOO_MUCH}"),
        ("a: &a {<<: *a}", f"1: {TOO_MUCH}"),
    ],
)  # fmt: skip
def test_what_is_no_yaml_says_where(write: Write, content: str | bytes, expected: str) -> None:
    assert lines_of(write(content)) == [f"playspot.yaml:{expected}"]


@pytest.mark.parametrize("merge", ["[{}]", "{{<<: [{}]}}"])
def test_aliases_cannot_multiply_without_end(merge: str) -> None:
    text = "a: &a {x: 1}\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True):
        text += f"{name}: &{name} " + merge.format(",".join([f"*{before}"] * 10)) + "\n"
    problem = read_yaml(text).problems[0]
    assert problem.message == TOO_MUCH


@pytest.mark.usefixtures("write")
def test_what_is_no_file_says_so(tmp_path: Path) -> None:
    told = lines_of(Path("nothing.yaml"))
    assert told == ["nothing.yaml: No such file or directory; give a file such as playspot.yaml"]
    assert lines_of(tmp_path) == [f"{tmp_path}: a folder; give the file in it"]
    os.mkfifo("pipe.yaml")
    assert "give a file of up to" in lines_of(Path("pipe.yaml"))[0]


def test_a_file_above_a_megabyte_is_refused(write: Write) -> None:
    told = lines_of(write("#" * 1_000_001))
    assert told == ["playspot.yaml: 1000001 bytes; give a file of up to 1000000"]


@pytest.mark.parametrize("word", ["on", "yes", "true", "On", "TRUE"])
def test_every_way_to_say_yes_is_yes(write: Write, word: str) -> None:
    assert read(write(of_source(f"loop: {word}"))).sources["stage"].loop is True


@pytest.mark.parametrize("word", ["off", "no", "false", "Off"])
def test_every_way_to_say_no_is_no(write: Write, word: str) -> None:
    assert read(write(of_source(f"enabled: {word}"))).sources["stage"].enabled is False


def test_off_is_a_text_where_a_text_is_wanted(write: Write) -> None:
    assert read(write(of_source("loop: no") + "publish: off")).publish == "off"


def test_names_that_yaml_takes_for_something_else_are_names(write: Write) -> None:
    names = ["on", "no", "010", "1.5", "2026-01-01"]
    text = "sources:\n" + "".join(f"  {name}: {{url: a.mp4}}\n" for name in names)
    assert list(read(write(text)).sources) == names


def test_a_number_with_a_zero_in_front_is_not_octal(write: Write) -> None:
    assert read(write(of_source("timeout: 010"))).sources["stage"].timeout == 10


def test_hours_without_quotes_are_not_sexagesimal(write: Write) -> None:
    config = read(write(of_source("schedule: [22:30-23:30, 08:00-12:00]") + "timezone: UTC"))
    assert config.sources["stage"].schedule == ("22:30-23:30", "08:00-12:00")


def test_minutes_and_seconds_are_not_taken_for_seconds(write: Write) -> None:
    told = lines_of(write(of_source("timeout: 1:30")))
    assert "durations are seconds without a unit, such as 90" in told[0]


def test_a_byte_order_mark_and_windows_lines_do_no_harm(write: Write) -> None:
    text = of_source("timeout: 99").replace("\n", "\r\n").encode("utf-8-sig")
    assert lines_of(write(text))[0].startswith("playspot.yaml:4: sources.stage.timeout")


def test_a_merge_gives_what_is_not_there_already(write: Write) -> None:
    text = (
        "sources:\n"
        "  a: &common {url: a.mp4, loop: yes, labels: [violin, drum]}\n"
        "  b:\n    <<: *common\n    url: b.mp4\n    labels: [cello]\n"
    )
    b = read(write(text)).sources["b"]
    assert (b.url, b.loop, b.labels) == ("b.mp4", True, ("cello",))


def test_labels_are_those_of_the_models_that_the_file_names(write: Write) -> None:
    assert read_config(write(of_source("labels: [violin]")))
    with pytest.raises(ConfigError, match="'celo' is unknown; did you mean 'cello'"):
        read_config(write(of_source("labels: [celo]")))


def test_models_that_are_not_there_are_an_error_at_their_line(write: Write) -> None:
    with pytest.raises(ConfigError) as error:
        read_config(write(of_source("labels: [celo]") + "models: nowhere"))
    assert error.value.lines == (
        "playspot.yaml:5: models: nowhere: no such folder; give one that holds .onnx files",
    )


def test_the_page_of_the_manual_names_every_key() -> None:
    page = (EXAMPLE.parents[1] / "docs" / "configuration.md").read_text(encoding="utf-8")
    for key in (key for part in (Config, SourceConfig, *OUTPUTS) for key in part.model_fields):
        assert f"`{key}`" in page, key
