"""`playspot doctor`: is this machine fine, and what would make it better."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .doctor_machine import Finding

MARKS = {"ok": ("ok", "green"), "could": ("--", "yellow"), "fault": ("!!", "red")}


def doctor(
    models: Annotated[
        Path | None, typer.Option(help="Folder of models; without it, as for detect.")
    ] = None,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="The acceptance run of a GPU: minutes, and a report.")
    ] = False,
    device: Annotated[int, typer.Option(min=0, help="Number of the GPU.")] = 0,
    out: Annotated[
        Path, typer.Option("--out", help="With --gpu: folder for report.json and report.md.")
    ] = Path("doctor-gpu"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say whether this machine is fine and what would make it better; exit code 1 if it is not.

    Example: playspot doctor
    """
    from .user_errors import user_errors

    if gpu:
        from .doctor_gpu import examine_gpu
        from .doctor_gpu_report import print_gpu

        with user_errors():
            report = examine_gpu(out, models, device)
        if as_json:
            print(json.dumps(report, indent=2))
        else:
            print_gpu(report, out)
        if not report["is_fine"]:
            raise typer.Exit(1)
        return
    from .doctor import document_of, examine, is_fine

    findings = examine(models, device)
    if as_json:
        print(json.dumps(document_of(findings), indent=2))
    else:
        _print(findings)
    if not is_fine(findings):
        raise typer.Exit(1)


def _print(findings: "list[Finding]") -> None:
    from rich.console import Console
    from rich.text import Text

    from .doctor import is_fine

    console = Console(highlight=False, soft_wrap=True)
    width = max(len(found.what) for found in findings)
    for found in findings:
        mark, colour = MARKS[found.state]
        line = Text(f"{mark}  ", style=colour)
        line.append(f"{found.what:{width}}  {found.says}", style="default")
        if found.do:
            line.append(f"  -> {found.do}", style="bold")
        console.print(line)
    n_better = sum(found.state == "could" for found in findings)
    if is_fine(findings):
        more = f"; {n_better} things could be better (--)" if n_better else ""
        console.print(f"detect will work{more}")
    else:
        console.print("detect will not work: see what is marked !!")
