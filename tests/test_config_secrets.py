"""Environment variables in a configuration: put in, and never shown."""

from collections.abc import Callable
from pathlib import Path

import pytest

from playspot.models.labels import LABELS
from playspot.stream.config import Config
from playspot.stream.configuration import ConfigError, read_config

SECRET = "hunter2"
Write = Callable[[str], Path]


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


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("rtsp://me:${PASSWORD}@camera/1", f"rtsp://me:{SECRET}@camera/1"),
        ("rtsp://${USER_NAME:-admin}:${PASSWORD}@camera/1", f"rtsp://admin:{SECRET}@camera/1"),
        ("rtsp://${NOTHING:-}camera/1", "rtsp://camera/1"),
        ("${EMPTY:-clip}.mp4", "clip.mp4"),
        ("${EMPTY}clip.mp4", "clip.mp4"),
        ("$${PASSWORD}.mp4", "${PASSWORD}.mp4"),
        ("a$b.mp4", "a$b.mp4"),
    ],
)
def test_variables_are_put_in(
    write: Write, monkeypatch: pytest.MonkeyPatch, text: str, value: str
) -> None:
    monkeypatch.setenv("PASSWORD", SECRET)
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("USER_NAME", raising=False)
    config = read(write(f"sources: {{stage: {{url: '{text}'}}}}"))
    assert config.sources["stage"].url == value


def test_a_number_may_be_a_variable(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDGET", "3.5")
    assert read(write(of_source("loop: no") + "budget: ${BUDGET}")).budget == 3.5


def test_a_variable_that_is_not_set_is_named(write: Write) -> None:
    told = lines_of(write("sources:\n  stage:\n    url: rtsp://me:${NOT_SET}@camera/1"))
    assert told == [
        "playspot.yaml:3: sources.stage.url: the environment variable NOT_SET is not set; set it"
    ]


@pytest.mark.parametrize("text", ["${}", "${A B}", "${1A}", "${A", "${A-x}"])
def test_what_is_no_variable_says_how_to_write_one(write: Write, text: str) -> None:
    told = lines_of(write(f"sources: {{stage: {{url: 'x{text}'}}}}"))
    assert len(told) == 1
    assert "write ${NAME} or ${NAME:-default}; $${ stands for ${ itself" in told[0]


@pytest.mark.parametrize("value", ["p@ss", "a/b", "a#b", "a?b", "100%", "a\n", "a b"])
def test_a_password_that_breaks_the_url_says_so_without_showing_it(
    write: Write, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("PASSWORD", value)
    told = lines_of(write("sources: {stage: {url: 'rtsp://me:${PASSWORD}@camera/1'}}"))
    assert told == [
        "playspot.yaml:1: sources.stage.url: the value of PASSWORD has a character that means "
        "something else in a URL; percent-encode it, such as %40 for @"
    ]


def test_a_password_that_is_percent_encoded_is_left_as_it_is(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", "p%40ss")
    config = read(write("sources: {stage: {url: 'rtsp://me:${PASSWORD}@camera/1'}}"))
    assert config.sources["stage"].url == "rtsp://me:p%40ss@camera/1"


@pytest.mark.parametrize(
    "content",
    [
        of_source("timeout: ${PASSWORD}"),
        of_source("transport: ${PASSWORD}"),
        of_source("loop: ${PASSWORD}"),
        of_source("labels: ['${PASSWORD}']"),
        of_source("labels: '${PASSWORD}'"),
        of_source("schedule: ['Mon ${PASSWORD}']"),
        of_source("schedule: ['${PASSWORD}']"),
        of_source("loop: no") + "timezone: ${PASSWORD}",
        of_source("loop: no") + "publish: tcp://${PASSWORD}:1",
        of_source("loop: no") + "latency: ${PASSWORD}",
        of_source("loop: no") + "models: ${PASSWORD}",
        "sources: {stage: {url: 'rstp://me:${PASSWORD}@camera/${PASSWORD}'}}",
        "sources: {stage: {url: 'rtsp:///${PASSWORD}'}}",
        f"sources: {{stage: {{url: 'rstp://me:{SECRET}@camera/1'}}}}",
        f"sources:\n  rtsp://me:{SECRET}@camera/1:\n    loop: yes",
        of_source(f"labels: ['rtsp://me:{SECRET}@camera/1']"),
        of_source(f"labels: rtsp://me:{SECRET}@camera/1"),
        of_source(f"rtsp://me:{SECRET}@camera/1: yes"),
        of_source(f"timeout: rtsp://me:{SECRET}@camera/1"),
        f"- rtsp://me:{SECRET}@camera/1",
        f"sources: {{stage: {{url: rtsp://me:{SECRET}@camera/1, url: b: c}}}}",
        f"sources:\n  stage:\n   url: rtsp://me:{SECRET}@camera/1\n  url: 'x",
    ],
)
def test_no_message_shows_a_password(
    write: Write, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setenv("PASSWORD", SECRET)
    with pytest.raises(ConfigError) as error:
        read_config(write(content))
    assert SECRET not in str(error.value)
    assert SECRET not in repr(error.value)


def test_a_wrong_value_from_a_variable_still_says_what_is_wrong(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", SECRET)
    told = lines_of(write("sources: {stage: {url: 'rstp://me:${PASSWORD}@camera/1'}}"))
    assert "unknown scheme 'rstp'; did you mean 'rtsp'?" in told[0]
    monkeypatch.setenv("WHEN", "Mno")
    told = lines_of(write(of_source("schedule: ['${WHEN}']")))
    assert "'${WHEN}' is not a day of the week" in told[0]


def test_without_secrets_a_configuration_can_still_be_checked(write: Write) -> None:
    url = "rtsp://${NOT_SET}:${NOT_SET_TOO}@${NO_HOST}:${NO_PORT}/1"
    path = write(f"sources: {{stage: {{url: '{url}'}}}}\nbudget: ${{NO_BUDGET}}")
    assert read_config(path, labels=LABELS, may_lack_secrets=True)
    assert len(lines_of(path)) == 2
