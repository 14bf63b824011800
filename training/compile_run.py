"""The work behind `playspot compile`: convert, build, keep, compare, and mark what agrees.

Shows progress; `compile_command` parses and prints. Nothing is left half: what is kept is written
whole, and is used only once it is marked as passed.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..engines import compiled as cache
from ..engines.backends import standing
from ..engines.catalogue import Model, ModelSet, find_models, identify
from ..engines.compiled import Compiled
from ..engines.engine import Engine, ModelError
from ..engines.machine import machine
from ..engines.metadata import model_hash, read_model
from ..engines.network import Network
from ..engines.options import Backend, Precision
from ..engines.ort import OrtNetwork
from ..engines.precision import convert
from ..engines.profiles import BATCH, SIDE, Range
from ..engines.settings import Decoding
from ..stream.pictures import fit_size
from .calibration import Recorder, feed, inputs_of, read, recordings, rendered
from .clips import Clip, ClipError, load_truth
from .compile_network import InBatches, Size, build, open_compiled, shapes_of
from .compile_speed import SECONDS, Speed, measure_speeds
from .fused_models import write_fused
from .parity import BOUNDS, Parity
from .parity_torch import TorchNetwork, rebuild
from .scores import score_clip, takes_frames

CLIPS = 18  # two for each instrument


@dataclass(frozen=True)
class Request:
    """What `playspot compile` was asked for.

    Attributes
    ----------
    models : Path or None
        Folder of models, or one file; those of `detect` if None.
    backend, precision : str
    batch : tuple of int
        Smallest, usual, largest.
    sizes : tuple of (width, height)
        Of the videos that a plan is for; empty: any.
    calibrate, compare : Path or None
        Folders of recordings: to choose the scales of int8, in place of rendered clips; to compare
        on, besides rendered clips.
    n_clips : int
        Rendered, of each of both.
    duration : float
        Of each, s.
    device : int
        Number of the GPU.
    fused : Path or None
        Folder for the set in which the action model has the optical flow in front of it.
    seconds : float
        In which the speed of a network is measured.
    """

    models: Path | None = None
    backend: Backend = "onnx"
    precision: Precision = "fp32"
    batch: Range = BATCH
    sizes: tuple[Size, ...] = ()
    calibrate: Path | None = None
    compare: Path | None = None
    n_clips: int = CLIPS
    duration: float = 10.0
    device: int = 0
    fused: Path | None = None
    seconds: float = SECONDS

    @property
    def video_size(self) -> Size:
        """Of the clips that are rendered: of the usual aspect, with even sides."""
        width, height = fit_size(*self.sizes[0], SIDE) if self.sizes else (256, 144)
        return max(32, width // 2 * 2), max(32, height // 2 * 2)


@dataclass
class Outcome:
    """What came of it.

    Attributes
    ----------
    compiled : dict of kind to Compiled
    parities : list of Parity
        The first is of what was compiled.
    clips : dict of str to int
        How many were compared on, by where they are from.
    notes : list of str
        What could not be compared, and why.
    speeds : dict of kind to Speed
        Of what was compiled; not of what is the original itself, or that no clip has inputs for.
    standings : dict of kind to str
        Whether `auto` uses it, and why: `backends.standing`.
    fused : Path or None
        Folder of the set in which the action model has the optical flow in front of it.
    """

    compiled: dict[str, Compiled]
    parities: list[Parity]
    clips: dict[str, int]
    notes: list[str] = field(default_factory=list)
    speeds: dict[str, Speed] = field(default_factory=dict)
    standings: dict[str, str] = field(default_factory=dict)
    fused: Path | None = None

    @property
    def faults(self) -> list[str]:
        """What is beyond the bounds."""
        return [fault for parity in self.parities for fault in parity.faults()]


def model_set(models: Path | None) -> ModelSet:
    """Return the set of a folder, of `detect`, or of one file alone.

    Raises
    ------
    ModelError
        If a model cannot be used.
    """
    if models is None or not models.is_file():
        return find_models(models)
    found = identify(models, "file")
    if found is None:
        raise ModelError(f"{models}: an unknown model; describe it in {models.stem}.toml beside it")
    return ModelSet({found.header.kind: found}, Decoding())


def networks(found: ModelSet) -> dict[str, Model]:
    """Return the models of a set that are networks."""
    chosen: dict[str, Model] = {
        kind: model for kind, model in found.models.items() if model.path is not None
    }
    if not chosen:
        raise ModelError("none of these models is a network; there is nothing to compile")
    return chosen


def run(request: Request) -> Outcome:
    """Compile the networks of a set and compare them with what they were.

    Returns
    -------
    outcome : Outcome
        Everything in it is in the cache; what is within the bounds is marked as passed.

    Raises
    ------
    ValueError
        If the models, the clips or the engine cannot be used: one line.
    """
    found = model_set(request.models)
    models = networks(found)
    originals = {kind: read_model(_path(model)) for kind, model in models.items()}
    clips = _clips(request)
    feeds = _feeds(request, models, originals) if request.precision == "int8" else {}
    signed = request.backend == "tensorrt"  # it takes no other integers
    contents = {
        kind: convert(original, request.precision, calibration=feeds.get(kind), signed=signed)
        for kind, original in originals.items()
    }
    targets = dict(models)
    if request.fused is not None:
        targets["action"] = _fuse(request.fused, found, originals, contents)
    kept: dict[str, Compiled] = {}
    for kind, model in targets.items():
        kept[kind], contents[kind] = _compile(request, model, originals[kind], contents[kind])
    with ExitStack() as stack:
        opened: dict[str, Network] = {}
        candidates: dict[str, Engine] = {}
        for kind, model in targets.items():
            opened[kind] = open_compiled(kept[kind], contents[kind], request.device)
            engine = stack.enter_context(_engine(model, opened[kind]))
            candidates[kind] = InBatches(engine, *_limits(request))
        outcome = _compare(request, found, candidates, clips)
        timed = {kind: network for kind, network in opened.items() if not kept[kind].is_original}
        outcome.speeds = measure_speeds(
            targets,
            originals,
            timed,
            [*clips["bandstand"], *clips["recordings"]],
            n=_limits(request)[0],
            device=request.device,
            seconds=request.seconds,
        )
    parity = outcome.parities[0]
    for kind, one in kept.items():
        judged: dict[str, Any] = {"passed": not parity.faults(kind), "report": parity.report()}
        if speed := outcome.speeds.get(kind):
            judged |= {"speed_up": speed.speed_up, "against": speed.against}
        saved = cache.save(one.model_copy(update=judged), contents[kind])
        outcome.compiled[kind] = saved
    for kind, saved in outcome.compiled.items():
        outcome.standings[kind] = standing(saved, request.device)
    if request.fused is not None:
        outcome.fused = request.fused
        if request.backend in ("onnx", "openvino"):
            outcome.notes.append("on a CPU OpenCV's flow is 3 to 5 times as fast as a fused one")
    return outcome


def _path(model: Model) -> Path:
    assert model.path is not None
    return model.path


def _reference(model: Model, content: bytes) -> Network:
    return OrtNetwork(content, str(model.path), as_it_is=True)


@contextmanager
def _engine(model: Model, network: Network) -> Iterator[Engine]:
    engine = model.load(network=network)
    try:
        yield engine
    finally:
        engine.close()


def _limits(request: Request) -> tuple[int, int]:
    """Return the smallest and the largest batch that what is compiled takes."""
    least, _, most = request.batch if request.backend == "tensorrt" else BATCH
    return least, most


def _feeds(
    request: Request, chosen: Mapping[str, Model], originals: Mapping[str, bytes]
) -> dict[str, list[dict[str, Any]]]:
    """Return what each network is fed on a few steps of the clips that calibrate."""
    clips = (
        rendered("training", request.n_clips, request.duration, request.video_size)
        if request.calibrate is None
        else recordings(request.calibrate)
    )
    if not clips:
        raise ClipError("int8 needs clips to calibrate on: --calibrate FOLDER, or --clips 18")
    with ExitStack() as stack:
        recorders = {
            kind: Recorder(_reference(model, originals[kind])) for kind, model in chosen.items()
        }
        engines = {
            kind: stack.enter_context(_engine(model, recorders[kind]))
            for kind, model in chosen.items()
        }
        feed(engines, clips)
    for kind, recorder in recorders.items():
        if not recorder.feeds:
            raise ClipError(
                f"no clip has anything for the {kind} model to calibrate on; "
                "give videos with sound by --calibrate FOLDER"
            )
    return {kind: recorder.feeds for kind, recorder in recorders.items()}


def _fuse(
    folder: Path, found: ModelSet, originals: dict[str, bytes], contents: dict[str, bytes]
) -> Model:
    """Put the flow in front of the action model: into a folder, and in both dictionaries."""
    from ..engines.fuse import fuse_flow

    model = write_fused(found, folder).models["action"]
    # Flow needs single precision, so it is put in front of what has been converted.
    is_same = contents["action"] == originals["action"]
    originals["action"] = read_model(_path(model))
    contents["action"] = originals["action"] if is_same else fuse_flow(contents["action"])
    return model


def _compile(
    request: Request, model: Model, original: bytes, converted: bytes
) -> tuple[Compiled, bytes]:
    """Return what is compiled, not passed yet, and its content; a plan is in the cache already."""
    wanted = Compiled(
        model_hash=model_hash(original),
        model_name=model.header.name,
        kind=model.header.kind,
        backend=request.backend,
        precision=request.precision,
        machine=machine(request.backend, request.device),
    )
    if request.backend != "tensorrt":
        return wanted, converted
    network = _reference(model, original)
    network.close()
    shapes = shapes_of(model, network.inputs, request.batch, request.sizes)
    built = build(wanted.model_copy(update={"shapes": shapes}), converted, request.device)
    return built, built.read()


def _compare(
    request: Request,
    found: ModelSet,
    candidates: Mapping[str, Engine],
    clips: Mapping[str, list[Clip]],
) -> Outcome:
    """Return how the candidates, and PyTorch where it can be asked, agree with the reference."""
    notes: list[str] = []
    reference: dict[str, Engine] = {}
    by_torch: dict[str, Engine] = {}
    with ExitStack() as stack:
        for kind, model in found.models.items():
            if model.path is None:
                reference[kind] = model.load()
                continue
            content = read_model(model.path)
            plain = _reference(model, content)
            reference[kind] = stack.enter_context(_engine(model, plain))
            try:
                network = TorchNetwork(rebuild(content), model.header, plain)
            except ValueError as error:
                notes.append(f"{kind}: not compared with PyTorch: {error}")
            else:
                by_torch[kind] = stack.enter_context(_engine(model, network))
        pairs = [(f"{request.backend} {request.precision}", request.precision, dict(candidates))]
        if by_torch:
            pairs.append(("torch fp32", "fp32", by_torch))
        sets = []
        for what, precision, engines in pairs:
            names = {kind: engine.header.name for kind, engine in engines.items()}
            is_fused = takes_frames(engines) and not takes_frames(reference)
            parity = Parity(
                what, BOUNDS[precision], names, found.labels, found.decoding, has_flow=is_fused
            )
            sets.append((parity, {**reference, **engines}))
        counts = {
            whence: _add(some, reference, sets, f"comparing, {whence}")
            for whence, some in clips.items()
        }
    return Outcome({}, [parity for parity, _ in sets], counts, notes)


def _clips(request: Request) -> dict[str, list[Clip]]:
    """Return the clips to compare on, by where they are from."""
    clips = {
        "bandstand": rendered("test", request.n_clips, request.duration, request.video_size),
        "recordings": [] if request.compare is None else recordings(request.compare),
    }
    if not any(clips.values()):
        raise ClipError("nothing to compare on: --clips 18, or --compare FOLDER")
    return clips


def _add(
    clips: list[Clip],
    reference: dict[str, Engine],
    sets: list[tuple[Parity, dict[str, Engine]]],
    what: str,
) -> int:
    """Compare on clips; return how many could be."""
    n = 0
    for clip, inputs in inputs_of(clips, reference, what):
        n += 1
        truth = None if clip.truth is None else load_truth(clip.truth)
        expected = score_clip(reference, inputs)
        for parity, engines in sets:
            seen = inputs
            if parity.has_flow:
                seen = replace(inputs, stacks=read(clip, {"action": engines["action"]}).stacks)
            parity.add(clip.name, truth, expected, score_clip(engines, seen))
    return n
