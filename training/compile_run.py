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
from ..stream.whole_file import whole_file
from .calibration import Recorder, feed, inputs_of, read, recordings, rendered
from .clips import Clip, ClipError, load_truth
from .compile_network import InBatches, Size, build, open_compiled, shapes_of
from .parity import BOUNDS, Parity
from .parity_torch import TorchNetwork, rebuild
from .scores import score_clip, takes_frames
from .user_errors import make_folder

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
        Folder in which the action model gets the optical flow in front of it.
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
    """

    compiled: dict[str, Compiled]
    parities: list[Parity]
    clips: dict[str, int]
    notes: list[str] = field(default_factory=list)

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
    feeds = _feeds(request, models, originals) if request.precision == "int8" else {}
    signed = request.backend == "tensorrt"  # it takes no other integers
    contents = {
        kind: convert(original, request.precision, calibration=feeds.get(kind), signed=signed)
        for kind, original in originals.items()
    }
    targets = dict(models)
    if request.fused is not None:
        targets["action"] = _fuse(request.fused, originals, contents)
    kept: dict[str, Compiled] = {}
    for kind, model in targets.items():
        kept[kind], contents[kind] = _compile(request, model, originals[kind], contents[kind])
    with ExitStack() as stack:
        candidates = {
            kind: stack.enter_context(_candidate(request, model, kept[kind], contents[kind]))
            for kind, model in targets.items()
        }
        outcome = _compare(request, found, candidates)
    for kind, one in kept.items():
        passed = not outcome.parities[0].faults(kind)
        told = outcome.parities[0].report()
        judged = one.model_copy(update={"passed": passed, "report": told})
        outcome.compiled[kind] = cache.save(judged, contents[kind])
    if request.fused is not None:
        outcome.notes.append(f"{targets['action'].path}: use it with --models {request.fused}")
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


@contextmanager
def _candidate(request: Request, model: Model, kept: Compiled, content: bytes) -> Iterator[Engine]:
    with _engine(model, open_compiled(kept, content, request.device)) as engine:
        least, _, most = request.batch if kept.backend == "tensorrt" else BATCH
        yield InBatches(engine, least, most)


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


def _fuse(folder: Path, originals: dict[str, bytes], contents: dict[str, bytes]) -> Model:
    """Put the flow in front of the action model: into a folder, and in both dictionaries."""
    from ..engines.fuse import fuse_flow

    if "action" not in originals:
        raise ModelError("--fuse-flow: no action network in this set; give --models with one")
    fused = fuse_flow(originals["action"])
    # Flow needs single precision, so it is put in front of what has been converted.
    is_same = contents["action"] == originals["action"]
    contents["action"] = fused if is_same else fuse_flow(contents["action"])
    originals["action"] = fused
    make_folder(folder)
    path = folder / "action.onnx"
    with whole_file(path) as partial:
        partial.write_bytes(fused)
    model = identify(path, "fused")
    assert model is not None
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


def _compare(request: Request, found: ModelSet, candidates: Mapping[str, Engine]) -> Outcome:
    """Return how the candidates, and PyTorch where it can be asked, agree with the reference."""
    clips = rendered("test", request.n_clips, request.duration, request.video_size)
    real = [] if request.compare is None else recordings(request.compare)
    if not clips and not real:
        raise ClipError("nothing to compare on: --clips 18, or --compare FOLDER")
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
            "bandstand": _add(clips, reference, sets, "comparing, bandstand"),
            "recordings": _add(real, reference, sets, "comparing, recordings"),
        }
    return Outcome({}, [parity for parity, _ in sets], counts, notes)


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
