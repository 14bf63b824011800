"""The report of `doctor --gpu`: on the terminal, and as Markdown to send to somebody."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

COLOURS = {"pass": "green", "fail": "red", "skipped": "yellow"}


def markdown(report: dict[str, Any]) -> str:
    """Return the report as Markdown.

    Examples
    --------
    >>> report = {"gpu": {"name": "A"}, "machine": {"cpu": "B", "cores": 4, "date": "today"},
    ...           "versions": {"python": "3.11"}, "seconds": 60.0, "checks": []}
    >>> markdown(report).splitlines()[0]
    '# Acceptance run on A'
    """
    lines = [f"# Acceptance run on {report['gpu']['name']}", "", verdict(report), ""]
    lines += [f"* {name}: {value}" for name, value in report["gpu"].items()]
    machine = report["machine"]
    lines.append(f"* {machine['cpu']}, {machine['cores']} cores, {machine['date']}")
    known = ", ".join(f"{name} {value}" for name, value in report["versions"].items() if value)
    lines += [f"* {known}", "", "| check | | figure | bound | s |", "|---|---|---|---|---|"]
    for check in report["checks"]:
        cells = (check["name"], check["state"], check["figure"], check["bound"])
        told = " | ".join(cell.replace("|", "\\|") for cell in cells)
        lines.append(f"| {told} | {check['seconds']:.1f} |")
    return "\n".join([*lines, ""])


def verdict(report: dict[str, Any]) -> str:
    """Return how many checks there were of each state, as one sentence.

    Examples
    --------
    >>> verdict({"checks": [{"state": "pass"}, {"state": "fail"}], "seconds": 3.0})
    '1 passed, 1 failed, 0 skipped in 3 s.'
    """
    states = [check["state"] for check in report["checks"]]
    counts = (states.count(state) for state in ("pass", "fail", "skipped"))
    passed, failed, skipped = counts
    return f"{passed} passed, {failed} failed, {skipped} skipped in {report['seconds']:.0f} s."


def print_gpu(report: dict[str, Any], out: Path) -> None:
    """Print the report, a line a check, and where it is."""
    console = Console(highlight=False, soft_wrap=True)
    gpu = report["gpu"]
    console.print(f"{gpu['name']}, compute capability {gpu['compute_capability']}")
    width = max((len(check["name"]) for check in report["checks"]), default=0)
    for check in report["checks"]:
        line = Text(f"{check['state']:7}  ", style=COLOURS[check["state"]])
        bound = f"  [{check['bound']}]" if check["bound"] else ""
        line.append(f"{check['name']:{width}}  {check['figure']}{bound}", style="default")
        console.print(line)
    console.print(f"{verdict(report)} Report: {out / 'report.md'}, {out / 'report.json'}")
