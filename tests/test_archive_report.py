"""`playspot report`: archives of events become one page that needs nothing else."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from typer.testing import CliRunner

from playspot.stream.__main__ import app
from playspot.stream.archive_reader import ArchiveError, read_archive
from playspot.stream.database_sink import DatabaseSink
from playspot.stream.events import Event
from playspot.stream.journal_reader import Position
from playspot.stream.output_config import DatabaseConfig
from playspot.stream.report_page import fair_share
from playspot.stream.timeline import STEP

MODEL = {"name": "m", "hash": "h", "engine": "e", "precision": "fp32"}
EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
DAY = 1_790_035_200.0  # 2026-09-22 00:00 UTC


def part(
    source: str,
    label: str,
    start: float,
    end: float,
    *,
    score: float = 0.9,
    wall: float = 0.0,
    system_id: str = "run1",
    is_over: bool = True,
    seq: int = 0,
) -> list[dict[str, Any]]:
    """Return the events of one part, `new` to `end`, of media that began at Unix time `wall`."""
    common = {
        "schema": "playspot/event/1",
        "id": f"{source}.{system_id}.{label}.{start:g}",
        "source": source,
        "label": label,
        "start_time": start,
        "system_id": system_id,
        "latency_ms": 500.0,
        "point": [0.25, 0.5],
        "box": [0.1, 0.2, 0.5, 0.8],
        "model": MODEL,
    }
    best = (start + end) / 2
    messages = [
        ("new", start + STEP / 2, score - 0.2, score - 0.2, None),
        ("update", best, score, score, None),
        ("update", end - STEP / 2, score - 0.1, score, None),
        ("end", end, 0.1, score, end),
    ]
    return [
        {
            **common,
            "type": kind,
            "time": time,
            "wall_time": wall + time + 0.5,
            "score": now,
            "top_score": top,
            "end_time": end_time,
            "step": max(0, round(time / STEP)),
            "seq": 4 * seq + i,
        }
        for i, (kind, time, now, top, end_time) in enumerate(messages[: 4 if is_over else 3])
    ]


def write(path: Path, *parts: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(event)}\n" for events in parts for event in events))
    return path


def report(*words: str | Path) -> tuple[int, str, dict[str, Any]]:
    """Return exit code, what is told, and the totals."""
    done = CliRunner().invoke(app, ["report", *map(str, words), "--json"])
    totals = json.loads(done.stdout) if done.stdout.strip() else {}
    told = done.stderr if done.exception is None or done.exit_code == 0 else repr(done.exception)
    return done.exit_code, told, totals


@pytest.fixture
def concert(tmp_path: Path, make_clip: Callable[..., Path]) -> Path:
    """Return a folder with a video and its events."""
    make_clip("concert.mp4", duration=6.0)
    events = tmp_path / "concert.events.jsonl"
    write(events, part("concert", "violin", 0.0, 2.0), part("concert", "drum", 1.0, 5.5, score=0.7))
    return tmp_path


class Page(HTMLParser):
    """The tags and addresses of a page; fails where tags do not match."""

    VOID = ("meta", "img", "input", "br", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def test_a_page_has_totals_pictures_and_links_to_the_second(concert: Path) -> None:
    code, told, totals = report(concert, "--out", concert / "report.html")
    assert code == 0
    assert totals["instruments"]["violin"] == {
        "parts": 1,
        "seconds": 2.0,
        "share": round(2 / 6, 4),
        "top_score": 0.9,
    }
    assert totals["files"] == 1
    assert totals["pictures"] == 2
    assert totals["bytes"] == (concert / "report.html").stat().st_size
    assert "2 parts, 2 pictures, 0.0 MB" in told
    page = Page((concert / "report.html").read_text())
    links = [link["href"] for link in page.all("a")]
    assert links.count("concert.mp4#t=0.0") == links.count("concert.mp4#t=1.0") == 3
    pictures = [str(image["src"]) for image in page.all("img")]
    assert all(source.startswith("data:image/jpeg;base64,/9j/") for source in pictures)


def test_a_page_loads_nothing_from_anywhere(concert: Path) -> None:
    report(concert, "--out", concert / "report.html")
    text = (concert / "report.html").read_text()
    page = Page(text)
    policies = [m["content"] for m in page.all("meta") if m.get("http-equiv")]
    assert policies
    assert str(policies[0]).startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "://" not in text
    assert not page.all("link")
    assert all("src" not in script for script in page.all("script"))
    assert not any("style" in attrs for _, attrs in page.tags)
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)


def test_the_same_archive_gives_the_same_bytes(concert: Path) -> None:
    report(concert, "--out", concert / "a.html")
    report(concert, "--out", concert / "b.html")
    assert (concert / "a.html").read_bytes() == (concert / "b.html").read_bytes()


def test_names_are_text_and_never_markup(tmp_path: Path, make_clip: Callable[..., Path]) -> None:
    name = EVIL.replace("/", "_")
    make_clip(f"{name}.mp4", duration=1.0)
    write(tmp_path / f"{name}.events.jsonl", part(EVIL, EVIL, 0.0, 1.0))
    write(tmp_path / "live.jsonl", part(EVIL, EVIL, 0.0, 1.0, wall=DAY))
    out = tmp_path / "report.html"
    code, _, totals = report(tmp_path, "--out", out, "--title", EVIL)
    assert (code, totals["parts"], totals["pictures"]) == (0, 2, 1)
    page = Page(out.read_text())
    assert len(page.all("script")) == 1
    assert [image for image in page.all("img") if image["src"] == "x"] == []
    assert any(
        "%22%3E%3Cscript%3E" in str(link["href"]) for link in page.all("a") if "href" in link
    )


@pytest.mark.parametrize("stem", ["javascript:alert(1)", "a b#c?d%e", "musik-é-楽器"])
def test_links_lead_to_files_of_any_name(
    stem: str, tmp_path: Path, make_clip: Callable[..., Path]
) -> None:
    make_clip("clip.mp4", duration=1.0).rename(tmp_path / f"{stem}.mp4")
    write(tmp_path / "sub" / f"{stem}.events.jsonl", part("x", "drum", 0.0, 1.0))
    out = tmp_path / "pages" / "report.html"
    report(tmp_path / "sub", "--media", tmp_path, "--out", out)
    address = str(Page(out.read_text()).all("a")[0]["href"])
    assert urlsplit(address).scheme == ""
    assert (out.parent / unquote(urlsplit(address).path)).resolve() == tmp_path / f"{stem}.mp4"


def test_a_file_whose_video_is_gone_has_no_pictures_and_says_so(tmp_path: Path) -> None:
    write(tmp_path / "gone.events.jsonl", part("gone", "drum", 0.0, 1.0))
    code, told, totals = report(tmp_path, "--out", tmp_path / "report.html")
    assert (code, totals["files_without_video"]) == (0, 1)
    assert "name their folder with --media" in told
    assert "the video was not found" in (tmp_path / "report.html").read_text()


def test_a_damaged_video_costs_its_pictures_only(concert: Path) -> None:
    (concert / "concert.mp4").write_bytes(b"no video")
    code, _, totals = report(concert, "--out", concert / "report.html")
    assert (code, totals["parts"], totals["pictures"]) == (0, 2, 0)


def test_broken_lines_are_counted_said_and_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.events.jsonl", part("a", "drum", 0.0, 1.0))
    path.write_bytes(b'{"half": \n\xff\xfe\n' + b"x" * (3 << 20) + b"\n" + path.read_bytes())
    code, told, totals = report(path, "--out", tmp_path / "report.html")
    assert (code, totals["broken_lines"], totals["parts"]) == (0, 3, 1)
    assert "3 lines are no events (line 1); left out" in told


def test_rotated_files_and_a_run_that_was_cut_off_make_whole_parts(tmp_path: Path) -> None:
    first, second = (part("stage", "violin", 10.0, 20.0, wall=DAY) for _ in range(2))
    write(tmp_path / "events-1.jsonl", first[:2])
    write(tmp_path / "events-2.jsonl", second[1:], part("stage", "drum", 5, 9, is_over=False))
    archive = read_archive([tmp_path])
    parts = [p for section in archive.sections for p in section.parts]
    assert [(p.label, round(p.end - p.start, 3), p.is_over) for p in parts] == [
        ("drum", 4.0, False),
        ("violin", 10.0, True),
    ]


@pytest.mark.usefixtures("utc")
def test_live_events_are_shown_by_day_and_time_of_day(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    write(
        path,
        part("stage", "violin", 3600.0, 3660.0, wall=DAY),
        part("stage", "violin", 86_400.0 + 60, 86_400.0 + 120, wall=DAY),
    )
    archive = read_archive([path])
    assert [(s.name, s.day) for s in archive.sections] == [
        ("stage", "2026-09-22"),
        ("stage", "2026-09-23"),
    ]
    report(path, "--out", tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "01:00:00.0 to 01:01:00.0" in text
    assert "00:01:00.0 to 00:02:00.0" in text


def test_state_lines_of_a_journal_and_steps_are_no_broken_lines(tmp_path: Path) -> None:
    state = '{"schema": "playspot/journal/1", "seq": {}}\n'
    path = write(tmp_path / "events-00000001.jsonl", part("stage", "drum", 0.0, 1.0, wall=DAY))
    path.write_text(state + path.read_text())
    (tmp_path / "a.steps.jsonl").write_text('{"step": 0}\n')
    archive = read_archive([tmp_path])
    assert (archive.n_inputs, archive.n_broken, archive.n_parts) == (1, 0, 1)


def test_the_length_of_a_file_is_that_of_its_steps_where_the_video_is_gone(tmp_path: Path) -> None:
    write(tmp_path / "a.events.jsonl", part("a", "drum", 0.0, 1.0))
    (tmp_path / "a.steps.jsonl").write_text('{"step":0,"time":0}\n{"step":9,"time":59.744}\n')
    assert read_archive([tmp_path]).length == pytest.approx(60.0)


def test_two_players_at_once_count_their_time_once(tmp_path: Path) -> None:
    write(
        tmp_path / "a.events.jsonl",
        part("a", "drum", 0.0, 4.0),
        part("a", "drum", 2.0, 6.0, seq=1),
    )
    total = read_archive([tmp_path]).totals()["drum"]
    assert (total.n, total.seconds) == (2, 6.0)


def test_a_file_in_which_nothing_is_played_is_named(tmp_path: Path) -> None:
    (tmp_path / "still.events.jsonl").write_text("")
    code, _, totals = report(tmp_path, "--out", tmp_path / "report.html")
    assert (code, totals["files"], totals["parts"]) == (0, 1, 0)
    assert "<li>still</li>" in (tmp_path / "report.html").read_text()


def test_a_database_of_a_live_run_is_read(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    sink = DatabaseSink(DatabaseConfig(path=path), tmp_path)
    events = [Event(**event) for event in part("stage", "drum", 1.0, 3.0, wall=DAY)]
    sink.take(events, Position())
    sink.close()
    (section,) = read_archive([path]).sections
    (found,) = section.parts
    assert (section.name, found.label, round(found.end - found.start, 3)) == ("stage", "drum", 2.0)
    again = read_archive([path, write(tmp_path / "b.jsonl", part("stage", "drum", 1, 3, wall=DAY))])
    assert again.n_parts == 1


def test_what_is_no_database_of_ours_is_said(tmp_path: Path) -> None:
    (tmp_path / "other.sqlite").write_bytes(b"SQLite format 3\0" + b"\0" * 100)
    write(tmp_path / "a.events.jsonl", part("a", "drum", 0.0, 1.0))
    archive = read_archive([tmp_path])
    assert archive.n_parts == 1
    assert any("other.sqlite" in note for note in archive.notes)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nowhere",), "no such file or folder"),
        (("empty",), "no events found"),
        (("a.events.jsonl", "--media", "nowhere"), "check --media"),
        (("a.events.jsonl", "--out", "a.events.jsonl"), "would replace events"),
        (("a.events.jsonl", "--out", "empty"), "is a folder"),
    ],
)
def test_what_is_wrong_is_one_line(
    words: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write(tmp_path / "a.events.jsonl", part("a", "drum", 0.0, 1.0))
    with pytest.raises(ArchiveError, match=re.escape(told)) as error:
        CliRunner().invoke(app, ["report", *words], catch_exceptions=False)
    assert "\n" not in str(error.value)


def test_pictures_are_of_the_best_parts_and_no_more_than_asked_for(
    tmp_path: Path, make_clip: Callable[..., Path]
) -> None:
    make_clip("a.mp4", duration=6.0)
    parts = [part("a", "drum", i, i + 0.9, score=0.9 - i / 10, seq=i) for i in range(5)]
    write(tmp_path / "a.events.jsonl", *parts)
    _, _, totals = report(tmp_path, "--out", tmp_path / "report.html", "--thumbnails", "2")
    assert totals["pictures"] == 2
    page = Page((tmp_path / "report.html").read_text())
    assert [str(image["alt"])[:14] for image in page.all("img")] == [
        "drum at 0:00.4",
        "drum at 0:01.4",
    ]


def test_limits_are_shared_evenly() -> None:
    assert fair_share([1000] * 3000, 20_000) == 6
    assert fair_share([], 10) == 1


def test_a_large_archive_stays_a_page_of_some_megabytes(tmp_path: Path) -> None:
    parts = (part("a", "drum", 2.0 * i, 2.0 * i + 1, seq=i) for i in range(3000))
    write(tmp_path / "a.events.jsonl", *parts)
    _, _, totals = report(tmp_path, "--out", tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert totals["parts"] == 3000
    assert totals["bytes"] < 500_000
    assert "List of the best 500 of 3000 parts" in text
    path = re.search(r'<path class="rest [^"]+" data-s="\d+" d="([^"]+)"', text)
    assert path is not None
    assert path[1].count("M") + text.count('class="bar') == 3000  # each is drawn


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return a Chromium; skip where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = Path("/usr/bin/chromium")
    if not path.exists():
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(path), args=["--no-sandbox"])
        yield browser
        browser.close()


def test_in_a_browser_the_page_filters_and_nothing_is_refused_by_its_policy(
    concert: Path, browser: Any
) -> None:
    report(concert, "--out", concert / "report.html")
    page = browser.new_page(viewport={"width": 360, "height": 800})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((concert / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("figure:visible").count() == 2
    page.get_by_role("checkbox", name="drum").uncheck()
    assert page.locator("figure:visible b").all_text_contents() == ["violin"]
    page.get_by_role("slider").fill("95")
    assert page.locator("section.file:visible").count() == 0
    assert page.locator("#shown").text_content() == "0 of 1 shown"
    page.close()
    assert said == []


def test_without_scripts_the_page_shows_everything(concert: Path, browser: Any) -> None:
    report(concert, "--out", concert / "report.html")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((concert / "report.html").as_uri())
    assert page.locator("figure:visible").count() == 2
    assert page.locator("form:visible").count() == 0
    bar = page.locator("a.bar").first
    bar.focus()
    assert bar.locator("text").is_visible()
    context.close()


def test_the_program_ends_well_and_tells_where_the_page_is(concert: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "playspot.stream", "report", ".", "--thumbnails", "0"],
        cwd=concert,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("wrote report.html: 1 files and days, 2 parts, 0 pictures")
