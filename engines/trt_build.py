"""From an ONNX file to a serialised TensorRT plan, in this process.

The builder is told which sizes the plan is for, what earlier builds have measured, and how much
memory a layer may take; it is told nothing of precision, as the network's own types say that. In
a process of its own and into the cache: `build_process.py`, which this file runs as a program.
"""

import hashlib
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cuda import Gpu, cuda_errors
from .engine import ModelError
from .metadata import one_line
from .private_file import write_private_bytes
from .profiles import Shapes
from .trt_graph import for_tensorrt
from .trt_log import the_log

if TYPE_CHECKING:
    import tensorrt as trt

OnProgress = Callable[[str, float], None]  # phase, and how much of all is done: 0 to 1

# What a layer may take, while it is timed and while it runs: of all memory at most that part, as
# it is shared with the networks that run meanwhile, and on a Jetson with everything else.
WORKSPACE_BYTES = 2 * 2**30
WORKSPACE_PART = 8
LEVEL = 3  # of 0 to 5: TensorRT's own default
MAX_TIMINGS_BYTES = 256 * 2**20
TIMINGS = b"PLAYSPOT TIMINGS 1\n"
MAX_TOLD = 3  # errors in one line


class BuildCancelledError(ModelError):
    """A build that was given up because somebody asked for it."""


def build_plan(
    model: bytes,
    shapes: Shapes,
    *,
    device: int = 0,
    timing_cache: Path | None = None,
    on_progress: OnProgress = lambda _phase, _fraction: None,
    is_cancelled: Callable[[], bool] = lambda: False,
    level: int = LEVEL,
) -> bytes:
    """Return the serialised plan of an ONNX network, for one GPU of this machine.

    Parameters
    ----------
    model : bytes
        An ONNX file that `parse_model` has accepted. Its types are the plan's: what is to run in
        fp16 or int8 says so itself (`precision.convert`). TF32 is off: fp32 means fp32.
    shapes : dict
        See `profiles.shapes_for`.
    device : int
        Number of the GPU.
    timing_cache : Path, optional
        What earlier builds have measured; read if it is there and fits, and written again.
    on_progress : callable
        Told the phase and how much of all is done, 0 to 1; from any thread.
    is_cancelled : callable
        Asked after each step of the builder; from any thread.
    level : int
        0 to 5: how long it looks for something quicker.

    Raises
    ------
    ModelError
        If TensorRT or the GPU cannot be used, or the network cannot be built: one line.
    BuildCancelledError
        If it was cancelled.
    """
    try:
        import tensorrt  # noqa: F401 - if it cannot be loaded, that is told here
    except Exception as error:  # the bindings without their library, or for another Python
        raise ModelError(f"TensorRT cannot be used ({one_line(error)}); see docs/gpu.md") from None
    progress = _Progress(on_progress, is_cancelled)
    with _current(device) as gpu:
        workspace = min(WORKSPACE_BYTES, gpu.n_bytes // WORKSPACE_PART)
        try:
            content = _build(model, shapes, timing_cache, progress, level, workspace)
        except BaseException as error:
            # The frames that raised hold on to what lives in the context, and is to go now.
            traceback.clear_frames(error.__traceback__)
            raise
    on_progress("built", 1.0)
    return content


def _build(
    model: bytes,
    shapes: Shapes,
    timing_cache: Path | None,
    progress: "_Progress",
    level: int,
    workspace: int,
) -> bytes:
    import tensorrt as trt

    log = the_log()
    try:
        builder = trt.Builder(log)
    except TypeError:  # no object was made: the log says why
        raise ModelError(f"TensorRT cannot be used: {log.told()}") from None
    # Release 10 would choose types by itself without it; 11 ignores it, and is always so.
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(for_tensorrt(model)):
        raise ModelError(f"TensorRT cannot read the network: {_parser_errors(parser)}")
    config = builder.create_builder_config()
    config.builder_optimization_level = level
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    config.clear_flag(trt.BuilderFlag.TF32)
    config.max_aux_streams = 0  # one stream a network, which takes the least memory
    config.progress_monitor = monitor = _monitor(progress)
    config.add_optimization_profile(_profile(builder, network, shapes))
    timings = _timings(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        if progress.is_cancelled():
            raise BuildCancelledError("the build was cancelled")
        raise ModelError(f"TensorRT cannot build the network: {log.told()}")
    if timing_cache is not None:
        _keep_timings(timings, timing_cache)
    content = _bytes(plan)
    # In this order: each lives in those after it, and all of them in the context. The monitor is
    # to outlive them.
    del plan, timings, config, parser, network, builder
    del monitor
    return content


def _profile(
    builder: "trt.Builder", network: "trt.INetworkDefinition", shapes: Shapes
) -> "trt.IOptimizationProfile":
    profile = builder.create_optimization_profile()
    names = {network.get_input(n).name for n in range(network.num_inputs)}
    if names != shapes.keys():
        given = ", ".join(sorted(shapes)) or "none"
        raise ModelError(f"it takes {', '.join(sorted(names))}; sizes are given of {given}")
    for name, (low, usual, high) in shapes.items():
        try:
            profile.set_shape(name, low, usual, high)
        except ValueError as error:
            raise ModelError(f"TensorRT refuses the sizes of {name}: {one_line(error)}") from None
    if not profile:
        raise ModelError("TensorRT refuses the sizes; give others, or the model as it was made")
    return profile


def _parser_errors(parser: "trt.OnnxParser") -> str:
    told = []
    for n in range(min(parser.num_errors, MAX_TOLD)):
        error = parser.get_error(n)
        operator, name = error.node_operator(), error.node_name()
        at = f"node {error.node()} {operator} {name}".rstrip() if operator or name else "the file"
        told.append(f"{at}: {error.desc()}")
    return one_line(ValueError("; ".join(told) or "it does not say why"))


def _timings(config: "trt.IBuilderConfig", path: Path | None) -> "trt.ITimingCache":
    """Attach what earlier builds have measured to a build; an empty one if there is none."""
    timings = config.create_timing_cache(b"" if path is None else _read_timings(path))
    if timings is None or not config.set_timing_cache(timings, False):  # another GPU's, or version
        timings = config.create_timing_cache(b"")
        config.set_timing_cache(timings, False)
    return timings


def _read_timings(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_TIMINGS_BYTES:
            return b""
        content = path.read_bytes()
    except OSError:
        return b""
    at = len(TIMINGS) + hashlib.sha256().digest_size
    digest, timings = content[len(TIMINGS) : at], content[at:]
    is_whole = content.startswith(TIMINGS) and hashlib.sha256(timings).digest() == digest
    return timings if is_whole else b""


def _keep_timings(timings: "trt.ITimingCache", path: Path) -> None:
    content = _bytes(timings.serialize())
    with suppress(OSError):  # the next build measures again
        write_private_bytes(path, TIMINGS + hashlib.sha256(content).digest() + content)


@contextmanager
def _current(device: int) -> Iterator[Gpu]:
    """Make a GPU's primary context, which is the one that TensorRT uses, the current one."""
    with cuda_errors(f"GPU {device}"):
        gpu = Gpu(device)
        try:
            with gpu:
                yield gpu
        finally:
            gpu.close()


def _bytes(memory: Any) -> bytes:
    return bytes(memory)  # an `IHostMemory` has the buffer protocol, which its types do not say


class _Progress:
    """How much of nested phases is done: of each its own steps, and of a step its inner phase."""

    def __init__(self, on_progress: OnProgress, is_cancelled: Callable[[], bool]) -> None:
        self._on_progress, self.is_cancelled = on_progress, is_cancelled
        self._lock = threading.Lock()  # the builder calls from its own threads
        self._phases: dict[str, tuple[str | None, int, int]] = {}  # parent, steps, of them done
        self._most = 0.0

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        with self._lock:
            self._phases[phase] = (parent, max(1, steps), 0)

    def step(self, phase: str, step: int) -> bool:
        with self._lock:
            if phase in self._phases:
                parent, steps, _ = self._phases[phase]
                self._phases[phase] = (parent, steps, step + 1)
            self._tell(phase)
        return not self.is_cancelled()

    def finish(self, phase: str) -> None:
        with self._lock:
            self._phases.pop(phase, None)

    def _tell(self, phase: str) -> None:
        fraction, at, seen = 0.0, phase, set[str]()
        while at in self._phases and at not in seen:
            seen.add(at)
            parent, steps, done = self._phases[at]
            fraction = min(1.0, (done + (fraction if at != phase else 0.0)) / steps)
            at = parent or ""
        self._most = max(self._most, min(fraction, 0.99))  # phases may follow each other
        self._on_progress(phase, self._most)


def _monitor(progress: _Progress) -> Any:
    import tensorrt as trt

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return progress.step(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            progress.finish(phase_name)

    return Monitor()


if __name__ == "__main__":
    from .build_process import main

    main()
