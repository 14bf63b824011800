"""The soak: every check can fail, ledgers find what is lost or doubled, and a short one passes."""

import json
import math
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from playspot.stream.events import Event, LiveStep, ModelInfo
from playspot.training.benchmark_commands import soak
from playspot.training.soak_checks import Check, checks
from playspot.training.soak_faults import KINDS, Faults, is_gone
from playspot.training.soak_ledger import REMEMBERED, Copies, EventLedger, Rows, StepLedger
from playspot.training.soak_outputs import Outputs
from playspot.training.soak_places import Hook
from playspot.training.soak_records import FaultRecord, OutputRecords, Records
from playspot.training.soak_run import RunUnderTest
from playspot.training.soak_slopes import WARM_UP, Curve, Trend
from playspot.training.soak_watch import JournalFollower

pytestmark = [pytest.mark.live, pytest.mark.clock]

MODEL = ModelInfo(name="m", hash="h", engine="e", precision="fp32")
MINUTES = 20
SEED = "16"  # of the short soak: sinks, web and publisher are killed first


def event(seq: int, kind: Any, id_: str, *, source: str = "a", step: int | None = None) -> Event:
    return Event(
        type=kind,
        id=id_,
        source=source,
        label="drum",
        score=0.9,
        top_score=0.9,
        start_time=1.0,
        end_time=2.0 if kind == "end" else None,
        time=0.512 * (seq if step is None else step),
        wall_time=0.0,
        step=seq if step is None else step,
        seq=seq,
        system_id="s",
        model=MODEL,
    )


def told(*events: Event) -> EventLedger:
    ledger = EventLedger()
    for one in events:
        ledger.add(one, one.model_dump_json().encode())
    return ledger


def whole() -> tuple[Event, ...]:
    return event(0, "new", "x"), event(1, "update", "x"), event(2, "end", "x")


def step(number: int, *, stale: bool = False, captured: float | None = None) -> LiveStep:
    return LiveStep(
        step=number,
        time=0.512 * number,
        scores={},
        points={},
        source="a",
        system_id="s",
        base=0,
        captured=1000.0 + 0.512 * number if captured is None else captured,
        latency_ms=800,
        status={"object": "ok", "action": "stale" if stale else "ok", "sound": "ok"},
    )


def stepped(n: int = 10) -> StepLedger:
    ledger = StepLedger()
    for number in range(n):
        ledger.add(step(number), 0.512 * number)
    return ledger


def trend(slope: float, noise: float = 0.05, life_seconds: float = 60.0 * MINUTES) -> Trend:
    """Return the trend of something that grows by `slope` an hour, with several lives."""
    rng, found = random.Random(4), Trend()
    for life in range(2):
        for k in range(int(life_seconds / 2)):
            value = 50 + 30 * life + slope * k * 2 / 3600 + rng.gauss(0, noise)
            found.add(life=life, age=2.0 * k, value=value)
        found.end(life)
    return found


def fault(**changes: Any) -> FaultRecord:
    good = FaultRecord(
        kind="stop",
        target="flow",
        at=10.0,
        noticed=1.5,
        recovered={"a": 2.5, "b": 2.0},
        announced=0.0,
        others=0.6,
    )
    return replace(good, **changes)


def good() -> Records:
    records = Records(60.0 * MINUTES, ("a", "b"), ("stop",))
    records.add(fault())
    records.events = {"a": told(*whole())}
    records.journalled = {"a": told(*whole())}
    records.steps = {"a": stepped(), "b": stepped()}
    records.quiet = Counter({"complete": 99, "not": 1})
    records.drained, records.on_their_way = {"a": 0}, {"b": 3}
    records.memory, records.files = {"flow": trend(0.0)}, {"flow": trend(0.0, noise=0.0)}
    records.stop_seconds, records.exit_code = 0.5, 130
    records.outputs = all_places()
    return records


def copied(*events: Event) -> Copies:
    copies = Copies()
    for one in events:
        copies.add(one.model_dump_json(by_alias=True))
    return copies


def rows(*events: Event) -> Rows:
    found = Rows()
    for one in events:
        found.add(one)
    return found


def all_places() -> OutputRecords:
    places = {name: copied(*whole()) for name in ("jsonl", "mqtt", "ws")}
    return OutputRecords(
        *(copied(*whole()), rows(*whole()), places, {"a": 3}), n_pictures=9, n_recordings=2
    )


def failed(records: Records) -> list[str]:
    return [check.name for check in checks(records) if not check.is_ok]


def test_good_records_pass_every_check() -> None:
    assert failed(good()) == []


def spoil_events(ledger: EventLedger) -> Callable[[Records], None]:
    def spoil(records: Records) -> None:
        records.journalled = {"a": ledger}

    return spoil


def spoil_place(place: str, *events: Event) -> Callable[[Records], None]:
    def spoil(records: Records) -> None:
        assert records.outputs is not None
        records.outputs.copies[place] = copied(*events)

    return spoil


def spoil_outputs(**changes: Any) -> Callable[[Records], None]:
    def spoil(records: Records) -> None:
        assert records.outputs is not None
        records.outputs = replace(records.outputs, **changes)

    return spoil


def lose_event(records: Records) -> None:
    records.events = {"a": told(event(0, "new", "x"), event(2, "end", "x"))}
    records.journalled = {"a": told(event(0, "new", "x"), event(2, "end", "x"))}


def not_hear(records: Records) -> None:
    records.events = {"a": told(event(0, "new", "x"), event(2, "end", "x"))}


def hear_another(records: Records) -> None:
    records.events["a"].add(event(1, "update", "x"), b"something else")


SPOILT: dict[str, tuple[str, Callable[[Records], object]]] = {
    "silent source": ("every source gave steps", lambda r: r.steps.pop("b")),
    "no fault": ("every kind of fault happened", lambda r: r.summaries.clear()),
    "stale steps": (
        "steps complete while nothing is broken",
        lambda r: r.quiet.update({"not": 9}),
    ),
    "nothing quiet": ("steps complete while nothing is broken", lambda r: r.quiet.clear()),
    "noticed late": ("stop flow: noticed", lambda r: r.add(fault(noticed=2.1))),
    "never noticed": ("stop flow: noticed", lambda r: r.add(fault(noticed=math.inf))),
    "back late": ("stop flow: service back", lambda r: r.add(fault(recovered={"a": 5.1}))),
    "one not back": (
        "stop flow: service back",
        lambda r: r.add(fault(recovered={"a": 1.0, "b": math.inf})),
    ),
    "others disturbed": ("stop flow: gap of the others", lambda r: r.add(fault(others=1.6))),
    "event lost": ("events lost (neither heard nor in the journal)", lose_event),
    "event not heard": ("events that a subscriber did not hear (but can replay)", not_hear),
    "another content": ("events heard twice with different content", hear_another),
    "journal with a hole": (
        "numbers missing in the journal",
        spoil_events(told(event(0, "new", "x"), event(2, "end", "x"))),
    ),
    "journal with a double": (
        "numbers twice in the journal",
        spoil_events(told(*whole(), event(2, "end", "x"))),
    ),
    "id again": ("ids used twice", spoil_events(told(*whole(), event(3, "new", "x")))),
    "end twice": ("events of no open id", spoil_events(told(*whole(), event(3, "end", "x")))),
    "update of nothing": ("events of no open id", spoil_events(told(event(0, "update", "x")))),
    "time back": (
        "times that go backwards",
        spoil_events(told(event(0, "new", "x", step=9), event(1, "update", "x", step=8))),
    ),
    "left open": ("events left open at the end", spoil_events(told(event(0, "new", "x")))),
    "nothing seen": ("ids used twice", lambda r: r.journalled.clear()),
    "torn line": ("lines of the journal that are torn", lambda r: setattr(r, "n_torn", 1)),
    **{
        f"{place} lacks one": (
            f"{place}: events that are not those of the journal",
            spoil_place(place, *whole()[:2]),
        )
        for place in ("jsonl", "mqtt", "ws")
    },
    **{
        f"{place} out of order": (
            f"{place}: events out of order or broken",
            spoil_place(place, *whole()[::-1]),
        )
        for place in ("jsonl", "mqtt", "ws")
    },
    "place with another content": (
        "mqtt: events that are not those of the journal",
        spoil_place("mqtt", *whole()[:2], event(2, "end", "y")),
    ),
    "place with one too many": (
        "mqtt: events that are not those of the journal",
        spoil_place("mqtt", *whole(), event(3, "new", "y")),
    ),
    "file with a double": ("jsonl: events twice", spoil_place("jsonl", *whole(), *whole())),
    "nothing came": ("mqtt: events that are not those of the journal", spoil_place("mqtt")),
    "wrong row": (
        "database: rows that are not what the journal says",
        spoil_outputs(database=["x"]),
    ),
    "wrong history": ("history over HTTP: the same", spoil_outputs(history=["x"])),
    "no picture": ("live pictures that are broken", spoil_outputs(n_pictures=0)),
    "broken clip": (
        "snapshots and clips that are broken",
        spoil_outputs(broken_recordings=["x.mp4"]),
    ),
    "step back": (
        "steps whose time goes backwards",
        lambda r: r.steps["a"].add(step(3), 9.0),
    ),
    "no account": (
        "steps without account, sources turned off",
        lambda r: r.drained.update(a=1),
    ),
    "too many accounts": (
        "steps without account, sources turned off",
        lambda r: r.drained.update(a=-1),
    ),
    "too many on their way": (
        "steps without account, sources live",
        lambda r: r.on_their_way.update(b=40),
    ),
    "memory grows": ("memory of flow", lambda r: r.memory.update(flow=trend(60.0))),
    "memory unknown": ("memory of flow", lambda r: r.memory.update(flow=Trend())),
    "files grow": ("open files of flow", lambda r: r.files.update(flow=trend(30.0, noise=0.5))),
    "does not stop": ("Ctrl-C ends it", lambda r: setattr(r, "stop_seconds", 3.1)),
    "exit code": ("exit code", lambda r: setattr(r, "exit_code", 1)),
    "left behind": ("left behind", lambda r: r.leftovers.append("process 7")),
    "traceback": ("tracebacks in the log", lambda r: setattr(r, "n_tracebacks", 1)),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_check_fails_on_records_that_are_bad(case: str) -> None:
    name, spoil = SPOILT[case]
    records = good()
    spoil(records)
    assert name in failed(records)


def test_every_check_is_shown_to_fail() -> None:
    assert {check.name for check in checks(good())} == {name for name, _ in SPOILT.values()}


def test_a_wait_that_was_announced_is_not_held_against_it() -> None:
    records = good()
    records.add(fault(kind="cut", target="a", recovered={"a": 8.0}, announced=4.0))
    assert failed(records) == []


def test_a_short_soak_says_nothing_of_growth() -> None:
    records = replace(good(), seconds=40.0, memory={"flow": Trend()})
    assert not any(check.name.startswith("memory") for check in checks(records))


def test_what_a_new_publisher_repeats_is_no_double() -> None:
    ledger = told(*whole(), event(1, "update", "x"), event(2, "end", "x"))
    assert (ledger.n, ledger.n_repeated, ledger.n_conflicting, ledger.n_orphans) == (3, 2, 0, 0)


def test_an_event_that_comes_late_is_not_missing() -> None:
    ledger = told(event(0, "new", "x"), event(2, "update", "x"), event(1, "update", "x", step=2))
    assert (ledger.n, ledger.n_missing, ledger.missing) == (3, 0, set())


def test_an_end_may_tell_of_an_earlier_step() -> None:
    ledger = told(event(0, "new", "x", step=5), event(1, "end", "x", step=4))
    assert ledger.n_backwards == 0


def test_a_ledger_does_not_grow() -> None:
    ledger = EventLedger()
    for number in range(0, 12_000, 2):
        for one in (event(number, "new", f"x{number}"), event(number + 1, "end", f"x{number}")):
            ledger.add(one, b"")
    assert len(ledger._recent) <= REMEMBERED
    assert len(ledger._ended) <= REMEMBERED


def test_repetitions_of_a_broker_are_no_error() -> None:
    records = good()
    spoil_place("mqtt", *whole()[:2], *whole())(records)
    assert failed(records) == []


def test_a_live_page_need_not_have_the_last_words_of_a_run() -> None:
    records = good()
    spoil_place("ws", *whole()[:2])(records)
    spoil_outputs(until={"a": 2})(records)
    assert failed(records) == []
    spoil_outputs(until={"a": 3})(records)
    assert failed(records) == ["ws: events that are not those of the journal"]


def test_what_differs_is_named() -> None:
    journal, place = copied(*whole(), event(0, "new", "y", source="b")), copied(whole()[0])
    place.add(event(1, "update", "z").model_dump_json(by_alias=True))
    assert journal.differences(place) == [("a", 1), ("a", 2), ("b", 0)]
    assert place.add("no event") is None
    assert (place.n, place.n_conflicting, place.n_foreign, place.n_late) == (2, 0, 1, 0)


def test_rows_are_compared_as_far_as_a_database_could_know() -> None:
    known = rows(*whole())
    right = {"x": ("a", "drum", 0, 2, 1.0, 2.0, "ended", 0.9)}
    assert known.differences(right) == []
    for column, wrong in enumerate(("b", "cello", 1, 1, 0.0, None, "open", 0.8)):
        values = list(right["x"])
        values[column] = wrong
        assert known.differences({"x": tuple(values)}) == ["x"]  # type: ignore[dict-item]
    assert known.differences({}) == ["x"]
    assert known.differences({}, since=1.0) == []
    assert known.differences(right | {"y": right["x"]}) == ["y"]


def test_a_webhook_without_the_right_signature_does_not_count() -> None:
    taken: list[str] = []
    Hook(taken.append).receive(b"{}", {"webhook-signature": "v1,nothing"})
    assert taken == [""]


def test_steps_are_counted_with_their_gaps() -> None:
    ledger = StepLedger()
    complete = [ledger.add(step(k, stale=k == 4), 0.5 * k) for k in (0, 1, 4)]
    assert complete == [True, True, False]
    assert (ledger.n, ledger.n_complete, ledger.n_skipped) == (3, 2, 2)
    assert ledger.gap(now=2.0) == 1.5
    assert ledger.gap(now=9.0) == 7.0


@pytest.mark.parametrize("slope", [0.0, 4.0, -3.0])
def test_the_slope_is_that_within_lives(slope: float) -> None:
    found, half = trend(slope).slope
    assert abs(found - slope) < 3 * half
    assert 0 < half < 1


def test_the_warm_up_of_a_life_does_not_count() -> None:
    found = Trend()
    for k in range(600):
        found.add(life=1, age=2.0 * k, value=min(2.0 * k, WARM_UP))
    slope, _ = found.slope
    assert abs(slope) < 1e-9


def test_a_curve_keeps_its_peaks() -> None:
    curve = Curve()
    for k in range(100_000):
        curve.add(k, 9.0 if k == 77 else 1.0)
    assert max(value for _, value in curve.points) == 9.0


def test_a_journal_is_read_as_it_grows(tmp_path: Path) -> None:
    first, second, last = (one.model_dump_json(by_alias=True).encode() for one in whole())
    follower = JournalFollower(tmp_path)
    path = tmp_path / "events-00000001.jsonl"
    path.write_bytes(b'{"schema":"playspot/journal/1","open":[]}\n' + first + b"\n" + second[:40])
    follower.turn()
    assert follower.ledgers["a"].n == 1
    path.write_bytes(path.read_bytes() + second[40:] + b"\n")
    (tmp_path / "events-00000002.jsonl").write_bytes(last + b"\n{torn\n")
    follower.turn()
    assert follower.ledgers["a"].n == 3
    assert follower.ledgers["a"].open == set()
    assert follower.n_torn == 1


def faults(
    tmp_path: Path, kinds: tuple[str, ...], seed: int = 1, outputs: Outputs | None = None
) -> Faults:
    run = RunUnderTest(tmp_path, {"band0": {"url": "bandstand://"}})
    names = ("flow", "mel", "detector", "publisher", "sinks", "recorder", "web", "reader band0")
    return Faults(kinds, run, {}, lambda: dict.fromkeys(names, 1), seed, outputs)


def test_faults_come_in_rounds_and_are_the_same_for_a_seed(tmp_path: Path) -> None:
    rounds = []
    for seed in (1, 1, 2):
        made = iter(faults(tmp_path, ("kill", "stop", "slow"), seed))
        rounds.append([(one.kind, one.target) for one, _ in zip(made, range(11), strict=False)])
    assert rounds[0] == rounds[1] != rounds[2]
    assert sorted(rounds[0]) == sorted(rounds[2])
    assert len(set(rounds[0])) == 11


def test_a_fault_that_cannot_be_is_left_out_with_the_reason(tmp_path: Path) -> None:
    made = faults(tmp_path, ("stall", "shm", "unlink"))
    assert list(made) == []
    assert set(made.left_out) == {"stall", "shm", "unlink"}


def test_processes_of_outputs_fail_as_well_and_concern_no_source(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path, ("band0",), 60.0, may_mount=False, left_out={"mqtt": "not here"})
    made = iter(faults(tmp_path, ("kill", "full", "broker"), outputs=outputs))
    found = {one.target: one.concerned for one, _ in zip(made, range(8), strict=False)}
    assert found["sinks"] == {"jsonl", "database", "webhook"}
    assert found["recorder"] == {"recorder"}
    assert found["web"] == {"web", "sse"}
    assert found["publisher"] == {"band0"}


def test_an_unknown_fault_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is kill, stop"):
        faults(tmp_path, ("flood",))


def test_a_process_is_gone_when_its_parent_knows() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert not is_gone(process.pid)
        process.send_signal(signal.SIGKILL)
    finally:
        process.communicate()
    assert is_gone(process.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="a soak needs /proc")
@pytest.mark.parametrize("options", [{"faults": "flood"}, {"sources": 1, "rtsp": 2}])
def test_an_impossible_soak_is_bad_usage(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match=r"^--\w+ \w+: [^\n]+$"):
        soak(**options, out=tmp_path)


def test_the_faults_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    soak(faults="list")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(KINDS)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a soak needs /proc")
@pytest.mark.timeout(120)
def test_a_short_soak_passes(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    options = ("--sources", "2", "--rtsp", "1", "--minutes", "0.2", "--seed", SEED, "--json")
    few = ("--faults", "kill,cut", "--pause", "0.2", "--out", str(tmp_path))
    done = playspot("benchmark", "soak", *options, *few, timeout=110)
    document = json.loads(done.stdout)
    found = [Check(**check) for check in document["checks"]]
    # In so short a time not every kind has its turn.
    bad = [c for c in found if not c.is_ok and c.name != "every kind of fault happened"]
    assert bad == [], done.stderr
    assert len(document["faults"]) >= 2
    assert {"jsonl", "listen", "webhook", "sse", "ws"} <= document["outputs"]["places"].keys()
    assert (tmp_path / "soak.png").stat().st_size > 10_000
    lines = next(tmp_path.glob("*/faults.jsonl")).read_text("utf-8").splitlines()
    assert all(json.loads(line)["at"] > 0 for line in lines)


def playspot(*args: str, timeout: float) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "playspot.stream", *args],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
