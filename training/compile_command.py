"""The command `playspot compile`. Parse, call, print."""

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..engines.engine import ModelError
from ..engines.options import Backend, Precision
from .user_errors import check_folder, make_folder, user_errors

BEST_FIRST: tuple[Backend, ...] = ("tensorrt", "cuda", "openvino", "onnx")
LARGEST_BATCH, SMALLEST_SIDE, LARGEST_SIDE = 256, 32, 4096


def compile_models(
    models: Annotated[
        Path | None,
        typer.Argument(help="Folder of models, or one file. (default: as for detect)"),
    ] = None,
    engine: Annotated[
        Literal["tensorrt", "cuda", "openvino", "onnx"] | None,
        typer.Option(help="What is to run them. (default: the first of these that is there)"),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "bf16", "int8"] | None,
        typer.Option(help="(default: fp16 on a GPU, else int8)"),
    ] = None,
    batch: Annotated[
        str, typer.Option(metavar="MIN:OPT:MAX", help="Batches that a TensorRT plan takes.")
    ] = "1:4:16",
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH[,WxH...]",
            help="Sizes of the videos that a TensorRT plan is for, the usual one first. "
            "(default: any)",
        ),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(help="Recordings to calibrate int8 on, in place of rendered clips."),
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(help="Recordings to compare on, besides rendered clips.")
    ] = None,
    clips: Annotated[
        int,
        typer.Option(min=0, max=1000, help="Clips to render, to compare on, and to calibrate on."),
    ] = 18,
    fuse_flow: Annotated[
        bool,
        typer.Option("--fuse-flow", help="Put the optical flow in front of the action network."),
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for parity.json, .md and .png.")
    ] = Path("parity"),
    device: Annotated[int, typer.Option(min=0, help="Number of the GPU.")] = 0,
    is_listed: Annotated[
        bool, typer.Option("--list", help="Say what is compiled, and do nothing.")
    ] = False,
    is_removed: Annotated[
        bool, typer.Option("--remove", help="Remove all that is compiled, and do nothing else.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Compile the networks for this machine, and prove that they still say the same.

    What agrees with the original and is not slower, `detect` and `run` use from then on. Exit code
    1 if it does not agree.

    Example: playspot compile --engine onnx --precision int8
    """
    if is_listed or is_removed:
        with user_errors():
            _list(is_removed, as_json, device)
        return
    batches, sizes = _batch(batch), _sizes(size)
    with user_errors():
        backend, wanted = _engine(engine, precision, device)
    if fuse_flow and wanted == "bf16":
        raise typer.BadParameter("--fuse-flow --precision bf16: not supported; use fp16")
    if wanted == "int8" and calibrate is None and clips == 0:
        raise typer.BadParameter(
            "int8 needs clips to calibrate on: --calibrate FOLDER, or --clips 18"
        )
    if clips == 0 and compare is None:
        raise typer.BadParameter("nothing to compare on: --clips 18, or --compare FOLDER")
    with user_errors():
        for folder in (calibrate, compare):
            if folder is not None:
                check_folder(folder)
        make_folder(out)
        from .compile_run import Request, run
        from .parity_report import as_json as report_of
        from .parity_report import print_outcome, write_report

        request = Request(
            models, backend, wanted, batches, sizes, calibrate, compare, clips, device=device,
            fused=out / "models" if fuse_flow else None,
        )  # fmt: skip
        outcome = run(request)
        paths = write_report(request, outcome, out)
        if as_json:
            print(json.dumps(report_of(request, outcome), indent=2))
        else:
            print_outcome(outcome)
        for path in paths:
            print(path, file=sys.stderr)
        if outcome.faults:
            raise typer.Exit(1)


def _batch(text: str) -> tuple[int, int, int]:
    parts = text.split(":")
    if len(parts) == 3 and all(part.isdecimal() and len(part) < 9 for part in parts):
        low, usual, high = (int(part) for part in parts)
        if 1 <= low <= usual <= high <= LARGEST_BATCH:
            return low, usual, high
    raise typer.BadParameter(
        f"--batch {text}: give MIN:OPT:MAX, in this order, 1 to {LARGEST_BATCH}, such as 1:4:16"
    )


def _sizes(text: str | None) -> tuple[tuple[int, int], ...]:
    found = []
    for part in [] if text is None else text.split(","):
        match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", part.strip(), re.ASCII)
        sides = (int(match[1]), int(match[2])) if match else (0, 0)
        if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in sides):
            raise typer.BadParameter(
                f"--size {part}: give WIDTHxHEIGHT, {SMALLEST_SIDE} to {LARGEST_SIDE}, "
                "such as 256x144"
            )
        found.append(sides)
    return tuple(found)


def _engine(
    engine: Backend | None, precision: Precision | None, device: int
) -> tuple[Backend, Precision]:
    """Return what to compile for and how, or refuse it with the reason."""
    from ..engines.availability import availability

    there = [one for one in BEST_FIRST if availability(one, device).is_there]
    backend: Backend = engine if engine is not None else [*there, BEST_FIRST[-1]][0]
    wanted = precision or ("fp16" if backend in ("tensorrt", "cuda") else "int8")
    found = availability(backend, device)
    if not found.is_there:
        raise ModelError(f"the engine {backend} cannot be used: {found.why}")
    if reason := _refusal(backend, wanted):
        raise typer.BadParameter(f"--engine {backend} --precision {wanted}: {reason}")
    return backend, wanted


def _refusal(backend: Backend, precision: Precision) -> str | None:
    """Return why a backend that is there does not do a precision, or None."""
    if precision != "bf16" or backend in ("tensorrt", "cuda"):
        return None
    if backend == "onnx":
        return "ONNX Runtime has no bf16 on the CPU; use fp16 or int8"
    from ..engines.ov import load_openvino

    able = load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return None if "BF16" in able else "this processor has no bf16; use fp16 or int8"


def _list(is_removed: bool, as_json: bool, device: int) -> None:
    """Print what is compiled; then remove it, if so."""
    from ..engines import compiled as cache
    from ..engines.backends import standing

    found = list(cache.compiled_networks())
    if is_removed:
        for one in found:
            cache.remove(one)
        print(f"{cache.store()}: {len(found)} removed")
    elif as_json:
        rows = [one.model_dump(mode="json", exclude={"report"}) for one in found]
        told = [{"standing": standing(one, device)} for one in found]
        print(json.dumps([row | more for row, more in zip(rows, told, strict=True)]))
    elif not found:
        print(f"{cache.store()}: nothing is compiled; see `playspot compile --help`")
    else:
        for one in found:
            print(
                f"{one.kind} {one.model_name} ({one.model_hash}): {one.backend} {one.precision}, "
                f"{one.created:%Y-%m-%d %H:%M}, {standing(one, device)}"
            )
