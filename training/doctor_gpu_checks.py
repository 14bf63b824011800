"""The checks of `doctor --gpu` that run networks: builds, parity, flow, graphs, latency.

Each takes what is `Given` and returns its findings. Whatever it raises is a failed check.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ..engines.compiled import Compiled, save
from ..engines.engine import ModelError
from ..engines.metadata import model_hash, one_line
from ..engines.network import Network
from ..engines.options import EngineOptions, Precision
from ..engines.plan import PlanMismatch, key_for, read_plan, write_plan
from ..engines.profiles import shapes_for
from .benchmark_inputs import batch_of
from .benchmark_rounds import figures, time_rounds
from .parity import BOUNDS

SAME: Final = 1e-5  # of a score: kernels may sum in another order from run to run
STEP_MS: Final = 512.0  # a step of the detector: nothing may take longer
FLOW_MEAN, FLOW_P99 = 0.005, 0.05  # px of end-point difference to OpenCV's Farneback
SIZES: Final = ((144, 256), (192, 256), (256, 192), (96, 128))  # height, width
FLOW_FRAMES: Final = 6


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes
    ----------
    name : str
    state : {"pass", "fail", "skipped"}
    figure : str
        What was measured, or why there is nothing.
    bound : str
        What it is judged by; empty if it is only told.
    seconds : float
        What the check took.
    """

    name: str
    state: Literal["pass", "fail", "skipped"]
    figure: str
    bound: str = ""
    seconds: float = 0.0


class NoPlanError(ModelError):
    """There is no plan to be checked, because it could not be built."""


@dataclass(frozen=True)
class Given:
    """What the checks work on; can be sent to another process.

    Attributes
    ----------
    work : Path
        Folder that is theirs: plans, and what the networks see.
    models : dict of kind to Path
    device : int
    cycles : int
        Of the check of leaks.
    seconds : float
        For each latency, after the warm-up.
    batches : tuple of int
        Smallest, usual, largest.
    """

    work: Path
    models: dict[str, Path]
    device: int
    cycles: int = 1
    seconds: float = 0.0
    batches: tuple[int, int, int] = (1, 4, 16)

    def model(self, kind: str) -> bytes:
        """Return an ONNX file; "flow" is the flow network."""
        if kind == "flow":
            from ..engines.flow_net import flow_model

            return flow_model()
        return self.models[kind].read_bytes()

    def inputs(self, kind: str) -> NDArray[Any]:
        """Return what a network sees, a row a step; "grey": frames, uint8 (N, H, W)."""
        rows: NDArray[Any] = np.load(self.work / f"{kind}.npy", allow_pickle=False)
        return rows

    def plan(self, kind: str, precision: Precision) -> Path:
        """Return where the plan of a network lies."""
        return self.work / f"{kind}-{precision}.plan"

    def load(self, kind: str, precision: Precision) -> Network:
        """Return a network on TensorRT, from the plan that was built.

        Raises
        ------
        NoPlanError
            If the plan was not built.
        """
        from ..engines.trt import TrtNetwork

        self.need_plan(kind, precision)
        model = self.model(kind)
        key = key_for(model_hash(model), precision, self.shapes(kind, model), self.device)
        try:
            plan = read_plan(self.plan(kind, precision), key)
        except PlanMismatch as error:
            raise ModelError(f"the plan {error}") from None
        network: Network = TrtNetwork(plan, kind, device=self.device, precision=precision)
        return network

    def need_plan(self, kind: str, precision: Precision = "fp32") -> None:
        """Raise `NoPlanError` if a plan was not built."""
        if not self.plan(kind, precision).exists():
            raise NoPlanError("its plan was not built")

    def shapes(self, kind: str, model: bytes) -> Any:
        """Return the sizes that plans are built for."""
        reference = reference_of(kind, model)
        try:
            return shapes_for(reference.inputs, kind, self.batches)
        finally:
            reference.close()


def reference_of(kind: str, model: bytes) -> Network:
    """Return a network on ONNX Runtime, on the CPU, in fp32: what all is compared with."""
    from ..engines.ort import OrtNetwork

    return OrtNetwork(model, kind)


@contextmanager
def opened(network: Network) -> Iterator[Callable[[NDArray[Any]], NDArray[Any]]]:
    """Yield a call from a batch to the only output; the network is closed in the end."""
    place, result = network.inputs[0].name, network.outputs[0].name
    try:
        yield lambda batch: network.run({place: batch})[result]
    finally:
        network.close()


def build(given: Given, kind: str, precision: Precision) -> list[Check]:
    """Build a plan and keep it for the other checks."""
    from ..engines.precision import convert
    from ..engines.trt_build import build_plan

    model = given.model(kind)
    shapes = given.shapes(kind, model)
    converted = model
    if precision != "fp32":
        [place] = shapes
        rows = given.inputs(kind)
        calibration = [{place: rows[k : k + 1]} for k in range(len(rows))]
        converted = convert(model, precision, calibration=calibration, signed=True)
    began = time.monotonic()
    plan = build_plan(converted, shapes, device=given.device, timing_cache=given.work / "timings")
    seconds = time.monotonic() - began
    key = key_for(model_hash(model), precision, shapes, given.device)
    write_plan(given.plan(kind, precision), key, plan)
    told = f"{seconds:.1f} s, {len(plan) / 1e6:.1f} MB"
    return [Check(f"build {kind}, {precision}", "pass", told, "it is built")]


def parity(given: Given, kind: str, precision: Precision) -> list[Check]:
    """Compare a plan with ONNX Runtime on the CPU, on real inputs, in batches of all sizes."""
    name = f"parity {kind}, {precision}"
    bounds = BOUNDS[precision]
    if kind == "action" and given.inputs(kind).dtype == np.uint8:
        bounds = bounds.with_flow()
    with (
        opened(reference_of(kind, given.model(kind))) as ours,
        opened(given.load(kind, precision)) as theirs,
    ):
        return [_difference(name, given.inputs(kind), ours, theirs, bounds, given.batches)]


def _difference(
    name: str,
    rows: NDArray[Any],
    ours: Callable[[NDArray[Any]], NDArray[Any]],
    theirs: Callable[[NDArray[Any]], NDArray[Any]],
    bounds: Any,
    batches: tuple[int, ...],
) -> Check:
    found: list[NDArray[Any]] = []
    for n in dict.fromkeys(batches):
        batch = batch_of(rows, n)
        found.append(np.abs(theirs(batch) - ours(batch)).ravel())
    difference = np.concatenate(found)
    largest, mean = float(difference.max()), float(difference.mean())
    limits = [("largest", largest, bounds.largest), ("mean", mean, bounds.mean)]
    is_good = all(limit is None or value <= limit for _, value, limit in limits)
    return Check(
        name,
        "pass" if is_good and np.isfinite(difference).all() else "fail",
        f"largest {largest:.1e}, mean {mean:.1e} (n = {difference.size})",
        ", ".join(f"{what} {limit:g}" for what, _, limit in limits if limit is not None),
    )


def flow(given: Given, backend: Literal["tensorrt", "cuda"]) -> list[Check]:
    """Compare the flow network with OpenCV's Farneback at four sizes."""
    import cv2

    from ..engines.ort import OrtNetwork
    from ..stream.flow_method import farneback

    checks = []
    what = "TensorRT" if backend == "tensorrt" else "CUDA provider"
    network: Network
    if backend == "tensorrt":
        network = given.load("flow", "fp32")
    else:
        network = OrtNetwork(given.model("flow"), "flow", device="cuda", gpu=given.device)
    greys = given.inputs("grey")
    with opened(network) as run:
        for height, width in SIZES:
            frames = [
                cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA) for grey in greys
            ]
            found: list[NDArray[Any]] = []
            for first in range(0, len(frames) - FLOW_FRAMES + 1, FLOW_FRAMES - 1):
                some = frames[first : first + FLOW_FRAMES]
                flows = run(np.stack(some)[None])[0]  # (5, 2, H, W)
                expected = np.stack([farneback(a, b) for a, b in pairwise(some)])
                found.append(np.hypot(*(flows - expected).transpose(1, 0, 2, 3)).ravel())
            differences = np.concatenate(found)
            mean, p99 = float(differences.mean()), float(np.percentile(differences, 99))
            checks.append(
                Check(
                    f"flow {width}x{height}, {what}",
                    "pass" if mean <= FLOW_MEAN and p99 <= FLOW_P99 else "fail",
                    f"mean {mean:.1e} px, 99 % {p99:.1e} px ({len(found) * 5} pairs)",
                    f"mean {FLOW_MEAN:g} px, 99 % {FLOW_P99:g} px",
                )
            )
    return checks


def cuda_provider(given: Given, kind: str) -> list[Check]:
    """Compare ONNX Runtime on the GPU with itself on the CPU, and time it."""
    from ..engines.ort import OrtNetwork

    model = given.model(kind)
    rows = given.inputs(kind)
    theirs = OrtNetwork(model, kind, device="cuda", gpu=given.device)
    with opened(reference_of(kind, model)) as ours, opened(theirs) as run:
        # Without TF32 (`ort.CUDA_OPTIONS`), but its kernels sum in another order.
        checks = [
            _difference(f"CUDA provider {kind}", rows, ours, run, BOUNDS["fp16"], given.batches)
        ]
        for n in dict.fromkeys(given.batches):
            name = f"CUDA provider {kind}, batch {n}"
            checks.append(_latency(name, run, batch_of(rows, n), given.seconds))
    return checks


def graphs(given: Given, kind: str) -> list[Check]:
    """Compare runs by CUDA graphs with runs without: the same scores, how much faster."""
    with_graphs: Any = given.load(kind, "fp32")
    without: Any = given.load(kind, "fp32")
    without.uses_graphs = False
    batch = batch_of(given.inputs(kind), 1)
    with opened(with_graphs) as fast, opened(without) as slow:
        for _ in range(2):  # the second run is captured
            fast(batch)
        is_same = np.allclose(fast(batch), slow(batch), rtol=0, atol=SAME)
        failed: dict[str, str] = {}
        calls = {"with": partial(fast, batch), "without": partial(slow, batch)}
        times = time_rounds(calls, given.seconds, failed)
        is_captured = bool(with_graphs.uses_graphs)
    if failed:
        return [Check(f"CUDA graphs {kind}", "fail", "; ".join(failed.values()))]
    on, off = (figures(times[name]) for name in ("with", "without"))
    told = f"p50 {on['p50_ms']:.3f} ms with, {off['p50_ms']:.3f} without (n = {on['n']})"
    if not is_captured:
        told = f"the work cannot be captured; {told}"
    state: Literal["pass", "fail"] = "pass" if is_same and is_captured else "fail"
    return [Check(f"CUDA graphs {kind}", state, told, "captured, and the same scores")]


def latency(given: Given, kind: str, precision: Precision) -> list[Check]:
    """Time a plan, copies included, by batch."""
    with opened(given.load(kind, precision)) as run:
        return [
            _latency(
                f"latency {kind}, {precision}, batch {n}",
                run,
                batch_of(given.inputs(kind), n),
                given.seconds,
            )
            for n in dict.fromkeys(given.batches)
        ]


def _latency(
    name: str,
    run: Callable[[NDArray[Any]], NDArray[Any]],
    batch: NDArray[Any],
    seconds: float,
) -> Check:
    failed: dict[str, str] = {}
    times = time_rounds({name: partial(run, batch)}, seconds, failed)
    if failed:
        return Check(name, "fail", failed[name])
    found = figures(times[name], len(batch))
    told = (
        f"p50 {found['p50_ms']:.3f}, p95 {found['p95_ms']:.3f}, p99 {found['p99_ms']:.3f} ms, "
        f"{found['per_second']:.0f} inputs/s (n = {found['n']})"
    )
    state: Literal["pass", "fail"] = "pass" if found["p99_ms"] < STEP_MS else "fail"
    return Check(name, state, told, f"p99 {STEP_MS:g} ms, a step")


def corrupt(given: Given, kind: str) -> list[Check]:
    """See that a corrupt plan is one line, and that `auto` goes on without it."""
    from ..engines.backends import open_network
    from ..engines.trt import TrtNetwork

    model = given.model(kind)
    shapes = given.shapes(kind, model)
    key = key_for(model_hash(model), "fp32", shapes, given.device)
    given.need_plan(kind)
    whole = given.plan(kind, "fp32").read_bytes()
    plan = read_plan(given.plan(kind, "fp32"), key)
    checks = []
    broken = given.work / "broken.plan"
    for what, content in (
        ("cut short", whole[: len(whole) // 2]),
        ("one bit", whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]),
    ):
        broken.write_bytes(content)
        checks.append(_refused(f"corrupt plan, file {what}", lambda: read_plan(broken, key)))
    bad = bytes(len(plan))
    checks.append(_refused("corrupt plan, TensorRT", lambda: TrtNetwork(bad, kind)))
    batch = batch_of(given.inputs(kind), 1)
    before = os.environ.get("PLAYSPOT_ENGINES")
    os.environ["PLAYSPOT_ENGINES"] = str(given.work / "store")
    try:
        record = Compiled(
            model_hash=model_hash(model),
            model_name=kind,
            kind=kind,
            backend="tensorrt",
            precision="fp32",
            shapes=shapes,
            passed=True,
        )
        save(record, b"no plan")
        with (
            opened(reference_of(kind, model)) as ours,
            opened(
                open_network(model, kind, EngineOptions(device=given.device, builds=True))
            ) as theirs,
        ):
            largest = float(np.abs(ours(batch) - theirs(batch)).max())
    finally:
        if before is None:
            del os.environ["PLAYSPOT_ENGINES"]
        else:
            os.environ["PLAYSPOT_ENGINES"] = before
    bound = BOUNDS["fp16"].largest or 0.0
    state: Literal["pass", "fail"] = "pass" if largest <= bound else "fail"
    told = f"`auto` runs on; largest difference {largest:.1e}"
    return [*checks, Check("corrupt plan, fall-back", state, told, f"it runs, {bound:g}")]


def _refused(name: str, work: Callable[[], Any]) -> Check:
    bound = "refused in one line"
    try:
        work()
    except ModelError as error:
        state: Literal["pass", "fail"] = "fail" if "\n" in str(error) else "pass"
        return Check(name, state, one_line(error), bound)
    return Check(name, "fail", "it was taken", bound)
