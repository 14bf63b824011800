"""The report of a soak: a JSON document, a table, and a picture of memory, files and gaps."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

from .benchmark_report import machine, versions
from .evaluate_report import plain
from .soak_checks import Check
from .soak_records import OutputRecords, Records
from .soak_slopes import Curve
from .soak_watch import Witness

if TYPE_CHECKING:
    from .soak import Soak

SCHEMA: Final = "playspot/soak/1"
SIZE = (11.0, 9.0)  # inches
DPI = 80
MINUTE = 60.0


def document_of(
    soak: "Soak", records: Records, witness: Witness, found: list[Check]
) -> dict[str, Any]:
    """Return the JSON document of a soak."""
    sources = {}
    for name, steps in sorted(witness.steps.items()):
        status = witness.status.get(name)
        sources[name] = {
            "steps": steps.n,
            "complete": steps.n_complete,
            "skipped": steps.n_skipped,
            "statuses": {f"{m} {s}": n for (m, s), n in sorted(steps.statuses.items())},
            "gap_s": {f"p{q}": steps.gaps.quantile(q / 100) for q in (50, 95, 99)},
            "age_s": {f"p{q}": steps.ages.quantile(q / 100) for q in (50, 95, 99)},
            "events": records.events[name].n if name in records.events else 0,
            "captured": status.steps if status else None,
            "published": status.published if status else None,
            "dropped": status.dropped if status else {},
            "drops": status.drops if status else {},
            "sessions": status.sessions if status else None,
            "restarts": status.restarts if status else None,
            "clock": status.clock.model_dump() if status else None,
            "unaccounted": [
                witness.accounts.least.get(name),
                witness.accounts.most.get(name),
            ],
        }
    summaries = {
        f"{kind} {target}".strip(): {
            "n": summary.n,
            **{
                what: {"n": worst.n, "mean": worst.mean, "most": worst.most}
                for what, worst in (
                    ("noticed_s", summary.noticed),
                    ("recovered_s", summary.recovered),
                    ("beyond_announced_s", summary.over),
                    ("gap_of_others_s", summary.others),
                )
                if worst.n
            },
        }
        for (kind, target), summary in sorted(records.summaries.items())
    }
    document = {
        "schema": SCHEMA,
        "machine": machine(),
        "load": {"mean": witness.load.mean, "most": witness.load.most},
        "versions": versions(),
        "seconds": records.seconds,
        "seed": soak.seed,
        "n_sources": soak.n_sources,
        "n_rtsp": soak.n_rtsp,
        "left_out": soak.left_out,
        "checks": [asdict(check) for check in found],
        "faults": summaries,
        "sources": sources,
        "memory_mb": {role: _of(curve) for role, curve in _curves(witness, "memory")},
        "run": witness.run.model_dump(by_alias=True) if witness.run is not None else None,
        "n_foreign": witness.n_foreign,
        "n_overflows": witness.n_overflows,
        "outputs": _outputs(records.outputs) if records.outputs is not None else None,
    }
    made: dict[str, Any] = _without_infinity(plain(document))
    return made


def print_soak(document: dict[str, Any]) -> None:
    """Print the JSON document of a soak as tables."""
    console = Console(highlight=False)
    host = document["machine"]
    load = document["load"]
    console.print(
        f"{host['cpu']}, {host['cores']} cores, {host['date']}; load {load['mean']:.1f} on "
        f"average, {load['most']:.1f} at most"
    )
    title = (
        f"{document['seconds'] / MINUTE:.1f} minutes, {document['n_sources']} sources, "
        f"{document['n_rtsp']} of them RTSP; seed {document['seed']}"
    )
    table = Table(title=title, title_justify="left")
    for heading in ("", "check", "found", "asked for", "n"):
        table.add_column(heading, justify="right" if heading == "n" else "left")
    for check in document["checks"]:
        mark = "ok" if check["is_ok"] else "[bold red]FAILED[/]"
        table.add_row(mark, check["name"], check["figure"], check["bound"], str(check["n"]))
    console.print(table)
    for kind, reason in document["left_out"].items():
        console.print(f"left out: {kind} ({reason})")
    failed = sum(not check["is_ok"] for check in document["checks"])
    console.print(f"{failed} of {len(document['checks'])} checks failed")


def draw(path: Path, witness: Witness, marks: list[tuple[float, str]]) -> None:
    """Write the picture: memory and open files by role, gaps by source, faults as lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    for axes, (what, label) in zip(
        figure.subplots(3, 1, sharex=True),
        (("memory", "resident MB"), ("files", "open files"), ("gap", "s between steps")),
        strict=True,
    ):
        for role, curve in _curves(witness, what):
            times = [time / MINUTE for time, _ in curve.points]
            axes.plot(times, [value for _, value in curve.points], ".", markersize=2, label=role)
        for at, _ in marks:
            axes.axvline(at / MINUTE, color="0.8", linewidth=0.5, zorder=0)
        axes.set_ylabel(label)
        axes.set_yscale("log" if what == "gap" else "linear")
        if axes.has_data():
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7, markerscale=4)
    figure.axes[-1].set_xlabel("minutes; grey lines: faults")
    figure.savefig(path)


def _outputs(records: OutputRecords) -> dict[str, Any]:
    places = {
        place: {"events": x.n, "repeated": x.n_repeated, "late": x.n_late, "foreign": x.n_foreign}
        for place, x in sorted(records.copies.items())
    }
    return {
        "places": places,
        "journal": records.journal.n,
        "rows": len(records.rows.rows),
        "replayed": records.n_replayed,
        "next_run": records.n_next_run,
        "live_pictures": records.n_pictures,
        "recordings": records.n_recordings,
    }


def _curves(witness: Witness, what: str) -> list[tuple[str, Curve]]:
    return [(role, curve) for (kind, role), curve in sorted(witness.curves.items()) if kind == what]


def _of(curve: Curve) -> dict[str, float]:
    values = [value for _, value in curve.points]
    return {"first": values[0], "last": values[-1], "most": max(values)} if values else {}


def _without_infinity(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_infinity(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinity(item) for item in value]
    return None if value in (float("inf"), float("-inf")) else value
