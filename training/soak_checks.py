"""What a soak is judged by: records in, one `Check` each out, with its figure and its bound.

A check without anything to look at fails: what was not seen was not shown.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..stream.timeline import STEP
from .soak_ledger import EventLedger
from .soak_records import OutputRecords, Records, Worst

NOTICED = 2.0  # s, from kill or stop until the supervisor has cleared the process away
RECOVERED = 5.0  # s, to the next complete step of every source concerned
UNDISTURBED = 1.5  # s between steps of a source that is not concerned: one step may be late
COMPLETE = 0.98  # of all steps while nothing is broken
STOPPED = 3.0  # s, from Ctrl-C to the end
GROWTH_MB = 8.0  # of a process in the whole run, that are sure
GROWTH_FILES = 2.0
TOO_SHORT = 600.0  # s; a shorter soak says nothing of growth
ONCE = ("jsonl", "listen", "dozing")  # places that must get each event once only
PAGES = ("sse", "ws")  # places that need not hear the last words of a run
ON_THEIR_WAY = 3.0  # s of steps that are captured and not yet published: budget and a status old


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes
    ----------
    name : str
    is_ok : bool
    figure, bound : str
        What was found, and what is asked for.
    n : int
        How many things were looked at.
    """

    name: str
    is_ok: bool
    figure: str
    bound: str
    n: int


def checks(records: Records) -> list[Check]:
    """Return all checks of a soak."""
    return [
        *_seen(records),
        *_faults(records),
        *_events(records),
        *(_outputs(records.outputs) if records.outputs is not None else ()),
        *_accounts(records),
        *_growth(records),
        *_end(records),
    ]


def _seen(records: Records) -> list[Check]:
    n_steps = {name: records.steps[name].n for name in records.sources if name in records.steps}
    silent = [name for name in records.sources if not n_steps.get(name)]
    happened = {kind for kind, _ in records.summaries}
    lacking = [kind for kind in records.wanted if kind not in happened]
    n_quiet = records.quiet.total()
    share = records.quiet["complete"] / n_quiet if n_quiet else 0.0
    return [
        Check(
            "every source gave steps",
            not silent and bool(n_steps),
            f"silent: {', '.join(silent)}" if silent else "all",
            "all",
            sum(n_steps.values()),
        ),
        Check(
            "every kind of fault happened",
            not lacking,
            f"not: {', '.join(lacking)}" if lacking else "all",
            "all",
            sum(summary.n for summary in records.summaries.values()),
        ),
        Check(
            "steps complete while nothing is broken",
            share >= COMPLETE,
            f"{share:.2%}",
            f">= {COMPLETE:.0%}",
            n_quiet,
        ),
    ]


def _faults(records: Records) -> list[Check]:
    found = []
    for (kind, target), summary in sorted(records.summaries.items()):
        name = f"{kind} {target}".strip()
        if summary.noticed.n:
            found.append(_at_most(f"{name}: noticed", summary.noticed, NOTICED))
        if summary.recovered.n:
            over, recovered = summary.over, summary.recovered
            waited = f", {over.most:.2f} s beyond the wait announced"
            found.append(
                Check(
                    f"{name}: service back",
                    over.most <= RECOVERED,
                    f"most {recovered.most:.2f} s, mean {recovered.mean:.2f} s"
                    + (waited if over.mean < recovered.mean else ""),
                    f"<= {RECOVERED:g} s",
                    recovered.n,
                )
            )
        if summary.others.n:
            found.append(_at_most(f"{name}: gap of the others", summary.others, UNDISTURBED))
    return found


def _events(records: Records) -> list[Check]:
    journal, heard = list(records.journalled.values()), list(records.events.values())
    n = sum(ledger.n for ledger in journal)
    lost = 0
    for name, ledger in records.events.items():
        kept = records.journalled.get(name, EventLedger())
        lost += sum(seq in kept.missing or seq >= kept.next_seq for seq in ledger.missing)
        lost += ledger.n_missing - len(ledger.missing)
    unheard = sum(
        max(0, ledger.n - (records.events[name].n if name in records.events else 0))
        for name, ledger in records.journalled.items()
    )
    n_heard = sum(ledger.n for ledger in heard)

    def count(name: str, value: int, of: int = n) -> Check:
        return Check(name, value == 0 and of > 0, str(value), "0", of)

    return [
        count("events lost (neither heard nor in the journal)", lost, n_heard),
        count("events that a subscriber did not hear (but can replay)", unheard),
        count(
            "events heard twice with different content",
            sum(ledger.n_conflicting for ledger in heard),
            n_heard,
        ),
        count("numbers missing in the journal", sum(ledger.n_missing for ledger in journal)),
        count("numbers twice in the journal", sum(x.n_conflicting + x.n_repeated for x in journal)),
        count("ids used twice", sum(ledger.n_reused for ledger in journal)),
        count("events of no open id", sum(ledger.n_orphans for ledger in journal)),
        count("times that go backwards", sum(ledger.n_backwards for ledger in journal)),
        count("events left open at the end", sum(len(ledger.open) for ledger in journal)),
        count("lines of the journal that are torn", records.n_torn),
        count(
            "steps whose time goes backwards",
            sum(steps.n_backwards for steps in records.steps.values()),
            sum(steps.n for steps in records.steps.values()),
        ),
    ]


def _outputs(records: OutputRecords) -> list[Check]:
    found = []

    def count(name: str, wrong: Sequence[object] | int, of: int) -> None:
        n = wrong if isinstance(wrong, int) else len(wrong)
        some = f": {', '.join(map(str, wrong[:3]))}" if n and not isinstance(wrong, int) else ""
        found.append(Check(name, n == 0 and of > 0, f"{n}{some}", "0", of))

    for place, copies in sorted(records.copies.items()):
        until = records.until if place in PAGES else None
        wrong = [f"{x} {seq}" for x, seq in records.journal.differences(copies, until)]
        count(f"{place}: events that are not those of the journal", wrong, copies.n)
        broken = copies.n_late + copies.n_conflicting + copies.n_foreign
        count(f"{place}: events out of order or broken", broken, copies.n)
        if place in ONCE:
            count(f"{place}: events twice", copies.n_repeated, copies.n)
    n_rows = len(records.rows.rows)
    count("database: rows that are not what the journal says", records.database, n_rows)
    count("history over HTTP: the same", records.history, n_rows)
    count("live pictures that are broken", records.n_broken_pictures, records.n_pictures)
    count("snapshots and clips that are broken", records.broken_recordings, records.n_recordings)
    return found


def _accounts(records: Records) -> list[Check]:
    allowed = math.ceil(ON_THEIR_WAY / STEP)
    drained = list(records.drained.values())
    live = list(records.on_their_way.values())
    return [
        Check(
            "steps without account, sources turned off",
            bool(drained) and not any(drained),
            _spread(drained),
            "0",
            len(drained),
        ),
        Check(
            "steps without account, sources live",
            bool(live) and all(0 <= n <= allowed for n in live),
            _spread(live),
            f"0 to {allowed} on their way",
            len(live),
        ),
    ]


def _growth(records: Records) -> list[Check]:
    hours = records.seconds / 3600
    found: list[Check] = []
    if records.seconds < TOO_SHORT:
        return found
    for what, unit, trends, most in (
        ("memory", "MB", records.memory, GROWTH_MB),
        ("open files", "", records.files, GROWTH_FILES),
    ):
        for role, trend in sorted(trends.items()):
            slope, half = trend.slope
            sure = max(0.0, slope - half) * hours
            figure = f"{slope:+.2f} ± {half:.2f} {unit}/h" if math.isfinite(half) else "too short"
            found.append(
                Check(
                    f"{what} of {role}",
                    math.isfinite(half) and sure <= most,
                    figure,
                    f"surely grown <= {most:g} {unit}".strip(),
                    trend.n,
                )
            )
    return found


def _end(records: Records) -> list[Check]:
    left = records.leftovers
    return [
        Check(
            "Ctrl-C ends it",
            records.stop_seconds <= STOPPED,
            f"{records.stop_seconds:.2f} s",
            f"<= {STOPPED:g} s",
            1,
        ),
        Check("exit code", records.exit_code in (0, 130), str(records.exit_code), "0 or 130", 1),
        Check("left behind", not left, f"{len(left)}: {left[:3]}" if left else "0", "0", 1),
        Check("tracebacks in the log", not records.n_tracebacks, str(records.n_tracebacks), "0", 1),
    ]


def _at_most(name: str, worst: Worst, bound: float) -> Check:
    figure = f"most {worst.most:.2f} s, mean {worst.mean:.2f} s"
    return Check(name, worst.most <= bound, figure, f"<= {bound:g} s", worst.n)


def _spread(values: list[int]) -> str:
    return f"{min(values)} to {max(values)}" if values else "nothing seen"
