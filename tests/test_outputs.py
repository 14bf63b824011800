"""Which processes take detections where, and where these keep their files."""

from pathlib import Path
from typing import Any

import pytest

from playspot.stream.config import Config
from playspot.stream.outputs import Places, places_of
from playspot.stream.run_command import with_web

JOURNAL = Path("journal")


def config(**keys: Any) -> Config:
    return Config.model_validate({"sources": {"stage": {"url": "a.mp4"}}, **keys})


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, Places(JOURNAL, None, None)),
        ({"web": {}}, Places(JOURNAL, Path("journal.sqlite"), None)),
        ({"database": {}}, Places(JOURNAL, Path("journal.sqlite"), None)),
        ({"web": {}, "database": {"path": "x.db"}}, Places(JOURNAL, Path("x.db"), None)),
        ({"recordings": {}}, Places(JOURNAL, None, Path("journal-recordings"))),
        ({"recordings": {"folder": "r"}}, Places(JOURNAL, None, Path("r"))),
    ],
)
def test_files_lie_beside_the_journal_unless_told_otherwise(
    keys: dict[str, Any], expected: Places
) -> None:
    assert places_of(config(**keys), JOURNAL) == expected


def test_a_port_on_the_command_line_keeps_what_the_file_says_of_the_page() -> None:
    given = config(web={"listen": "[::1]:80", "token": "hunter2"})
    web = with_web(given, 8080).web
    assert web is not None
    assert (web.listen, web.token) == ("[::1]:8080", "hunter2")
