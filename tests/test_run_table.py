"""The table of a live run: what is known, and how it is drawn on terminals of any size."""

import io
from itertools import product
from typing import Any, Literal

import pytest
from rich.console import Console
from rich.text import Text

from playspot.stream.events import Event, LiveStep, ModelInfo
from playspot.stream.run_table import RunTable, SourceRow
from playspot.stream.run_view import summary, view
from playspot.stream.status import (
    Clock,
    Failure,
    JournalStatus,
    RunStatus,
    SinkStatus,
    SourceState,
    SourceStatus,
    WorkerStatus,
)

MODEL = ModelInfo(name="m", hash="h", engine="e", precision="fp32")
NOW = 1000.0
STEP = 0.512


def run_status(sources: dict[str, SourceState], **changes: Any) -> RunStatus:
    known: dict[str, Any] = {
        "endpoint": "tcp://127.0.0.1:7773",
        "web": "http://127.0.0.1:8773/",
        **changes,
    }
    return RunStatus(
        system_id="x",
        wall_time=0,
        uptime=754,
        model=MODEL,
        budget=2,
        latency="normal",
        look_ahead=0.7,
        sources=sources,
        **known,
    )


def step(source: str, number: int, **scores: float) -> LiveStep:
    return LiveStep(
        step=number,
        time=number * STEP,
        scores={"drum": 0.02, "violin": 0.02, **scores},
        points={},
        source=source,
        system_id="x",
        base=0,
        captured=0,
        latency_ms=800 if number < 50 else 900,
    )


def event(
    kind: Literal["new", "update", "end"], source: str = "stage", label: str = "violin", **more: Any
) -> Event:
    values: dict[str, Any] = {"id": f"{source}.{label}", "start_time": 10.0, "time": 24.0, **more}
    return Event(
        type=kind,
        source=source,
        label=label,
        score=0.93,
        top_score=0.97,
        wall_time=0,
        step=48,
        seq=0,
        system_id="x",
        model=MODEL,
        **values,
    )


def status(source: str, state: SourceState = "live", **more: Any) -> SourceStatus:
    return SourceStatus(source=source, wall_time=0, state=state, since=0, **more)


def table_of(states: dict[str, SourceState], *, n_steps: int = 60, **changes: Any) -> RunTable:
    table = RunTable()
    table.take(run_status(states, **changes), NOW)
    for name, state in states.items():
        table.take(status(name, state), NOW)
        for number in range(n_steps if state == "live" else 0):
            at = NOW - (n_steps - 1 - number) * STEP
            table.take(step(name, number, violin=number / 60), at)
    return table


def text_of(lines: list[Text]) -> str:
    return "\n".join(line.plain for line in lines)


def test_a_source_shows_its_state_instrument_curve_latency_steps_drops_and_offset() -> None:
    table = table_of({"stage": "live"})
    clock = Clock(av_offset_ms=-24.0, uncertainty_ms=8.0)
    table.take(status("stage", dropped={"late": 12, "lost": 3}, clock=clock), NOW)
    table.take(event("new"), NOW)
    text = text_of(view(table, NOW, 120, 30))
    row, curve = text.splitlines()[2:4]
    assert row.split() == [
        *("●", "stage", "live", "0.80/0.90", "s", "1.95/s", "12", "late,", "3", "lost"),
        *("-24", "±8", "ms"),
    ]
    assert curve.split()[:3] == ["violin", "0.93", "0:14"]
    assert curve.endswith("█")
    assert "▁▁" in curve
    assert "up 12:34" in text
    assert "tcp://127.0.0.1:7773" in text
    assert "http://127.0.0.1:8773/" in text


def test_only_the_scores_of_the_last_half_minute_are_known() -> None:
    table = table_of({"stage": "live"}, n_steps=200)
    table.forget_before(NOW)
    scores = table.rows["stage"].curve("violin", 100)
    assert len(scores) == 59
    assert None not in scores
    table.forget_before(NOW + 100)
    assert table.rows["stage"].latencies() is None
    assert table.rows["stage"].rate(NOW + 100) == 0


def test_a_gap_in_the_steps_is_a_gap_in_the_curve() -> None:
    row = SourceRow("stage")
    for number in (0, 1, 4):
        row.take_step(step("stage", number, drum=0.5), NOW)
    assert row.curve("drum", 60)[-5:] == [0.5, 0.5, None, None, 0.5]


def test_a_column_of_several_steps_shows_the_best() -> None:
    row = SourceRow("stage")
    for number in range(8):
        row.take_step(step("stage", number, drum=number / 10), NOW)
    assert row.curve("drum", 20)[-4:] == [0.1, 0.3, 0.5, 0.7]


def test_instruments_that_are_played_come_before_those_that_only_score() -> None:
    table = table_of({"stage": "live"})
    table.take(event("new", label="drum"), NOW)
    assert table.rows["stage"].strongest() == ["drum", "violin"]


def test_what_scores_next_to_nothing_has_no_curve() -> None:
    assert table_of({"stage": "live"}, n_steps=5).rows["stage"].strongest() == []


def test_the_total_of_an_instrument_grows_when_a_part_ends() -> None:
    table = table_of({"stage": "live"})
    table.take(event("new"), NOW)
    table.take(event("end", end_time=73.0), NOW)
    assert table.rows["stage"].playing == {}
    assert text_of(summary(table)) == "stage: 0 steps, dropped none; violin 1:03 (1x, best 0.97)"


def test_two_players_of_one_instrument_are_one_line() -> None:
    table = table_of({"stage": "live"})
    table.take(event("new", id="a"), NOW)
    table.take(event("new", id="b", start_time=5.0), NOW)
    (playing,) = table.rows["stage"].now_playing
    assert playing.seconds == 19.0


def test_why_a_source_does_not_play_is_said_without_repeating_its_url() -> None:
    table = table_of({"hall": "retrying"})
    error = Failure(kind="refused", message="rtsp://camera/1: connection refused")
    table.take(status("hall", "retrying", url="rtsp://camera/1", error=error, retry_in=4.2), NOW)
    assert "  connection refused; again in 4 s" in text_of(view(table, NOW, 80, 24)).splitlines()


def test_what_is_not_well_is_told_below() -> None:
    worker = WorkerStatus(name="detector", state="waiting", restarts=3, reason="killed by signal 9")
    well = WorkerStatus(name="flow", state="running", pid=1, restarts=1)
    sinks = {
        "jsonl": SinkStatus(state="ok"),
        "mqtt": SinkStatus(state="retrying", error="connection refused", behind=12_000, lost=2),
    }
    journal = JournalStatus(folder="j", error="No space left on device", unsaved=7)
    table = table_of({"stage": "live"}, workers=(worker, well), sinks=sinks, journal=journal)
    lines = text_of(view(table, NOW, 120, 30)).splitlines()
    assert "! process detector is waiting, restarted 3x: killed by signal 9" in lines
    assert "! mqtt is retrying: connection refused; 12 KB wait; 2 events lost" in lines
    assert "! journal: No space left on device, 7 wait" in lines
    assert "events go to tcp://127.0.0.1:7773, jsonl" in lines
    assert not any("flow" in line for line in lines)


@pytest.mark.parametrize("n", [0, 1, 3, 48])
def test_the_table_fits_a_terminal_of_any_size(n: int) -> None:
    states: list[SourceState] = ["live", "retrying", "live", "off", "failed"]
    table = table_of({f"camera in hall {i} 楽器": states[i % 5] for i in range(n)}, n_steps=20)
    for name in table.rows:
        table.take(event("new", source=name), NOW)
    for width, height in product((1, 10, 24, 40, 60, 80, 120, 300), (1, 2, 5, 12, 24, 60)):
        lines = view(table, NOW, width, height)
        assert len(lines) <= max(height - 1, 1)
        assert max(line.cell_len for line in lines) <= max(width - 1, 1)


def test_of_too_many_sources_the_most_interesting_come_first() -> None:
    states: dict[str, SourceState] = dict.fromkeys((f"cam{i}" for i in range(48)), "live")
    states["cam30"] = "failed"
    table = table_of(states, n_steps=0)
    table.take(event("new", source="cam40"), NOW)
    lines = text_of(view(table, NOW, 80, 24)).splitlines()
    assert [line.split()[1] for line in lines[2:5]] == ["cam30", "cam40", "cam0"]
    assert "violin" in lines[3]
    assert "and 30 more: 30 live" in lines


def test_sources_keep_their_places_as_long_as_all_have_room() -> None:
    table = table_of({"a": "live", "b": "failed", "c": "live"})
    table.take(event("new", source="c"), NOW)
    lines = text_of(view(table, NOW, 80, 24)).splitlines()
    assert [line.split()[1] for line in lines if line.startswith("●")] == ["a", "b", "c"]


def test_a_source_that_was_removed_goes_from_the_table_and_stays_in_the_summary() -> None:
    table = table_of({"a": "live", "b": "live"})
    table.take(run_status({"b": "live"}), NOW)
    assert [row.name for row in table.sources] == ["b"]
    assert text_of(summary(table)).splitlines()[0].startswith("a: ")


def test_control_characters_of_names_and_messages_do_not_reach_the_terminal() -> None:
    evil = "a\x1b[2Jb\r\n"
    table = table_of({evil: "failed"}, sinks={evil: SinkStatus(state="stopped", error=evil)})
    table.take(status(evil, "failed", error=Failure(kind="x", message=evil)), NOW)
    table.take(event("end", source=evil, label=evil, end_time=20.0), NOW)
    text = text_of([*view(table, NOW, 80, 24), *summary(table)])
    assert not {"\x1b", "\r"} & set(text)


def test_without_colours_the_state_is_still_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with console.capture() as capture:
        for line in view(table_of({"hall": "failed"}), NOW, 80, 24):
            console.print(line, soft_wrap=True)
    assert "failed" in capture.get()
    assert "\x1b[31m" not in capture.get()
    assert "38;2" not in capture.get()


def test_a_terminal_without_blocks_gets_letters_only() -> None:
    table = table_of({"stage": "live"})
    clock = Clock(av_offset_ms=1.0)
    table.take(status("stage", clock=clock), NOW)
    table.take(event("new"), NOW)
    text_of(view(table, NOW, 80, 24, is_ascii=True)).encode("ascii")


def test_the_first_line_tells_how_much_of_the_plans_is_built() -> None:
    table = RunTable()
    table.take(run_status({"stage": "live"}, building=0.5), 0.0)
    assert "building plans 50%" in text_of(view(table, 0.0, 120, 30)).splitlines()[0]
