"""Whether an action model, which sees flow alone, fires on real players and on nothing else.

    python benchmarks/real_action.py ../shared/data --models DIR [DIR ...]

The folder holds `manifest.json` (a JSON list: `file`, `instruments`, `playing_s`), clips in
`video/` and photographs in `image/`. Each DIR holds an `action.onnx`; the motion measure is always
there. Prints Markdown; the figures in real_action.md are made with it.

Still and moving cameras are made here: a real photograph or frame is given sensor noise, moved,
coded as H.264 and read back by the same code as every other clip. A step's score is the maximum of
the model's map over places and labels: "anything is played". Steps count so that clips weigh alike.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from playspot.engines import Engine, load
from playspot.engines.motion import MotionEngine
from playspot.engines.options import ORIGINAL
from playspot.models.labels import LABELS
from playspot.stream.features import features

MARGIN = 0.3  # s, at the ends of playing
STEP = 0.512  # s
SECONDS, RATE = 3.0, 25  # of a made clip
SIDE = 256  # px, longer side of a made clip
THRESHOLDS = (0.3, 0.5)
CAMERAS = {  # px a second at the edge of a picture 256 px wide; see `camera_path`
    "still, little noise": ("still", 0.0, 1.5),
    "still, much noise": ("still", 0.0, 5.0),
    "pan, slow": ("pan", 8.0, 2.0),
    "pan, fast": ("pan", 60.0, 2.0),
    "zoom, slow": ("zoom", 8.0, 2.0),
    "zoom, fast": ("zoom", 40.0, 2.0),
    "turn": ("turn", 15.0, 2.0),
    "hand, calm": ("shake", 1.5, 2.0),
    "hand, hard": ("shake", 6.0, 2.0),
}
Flow = NDArray[np.float32]


@dataclass
class Case:
    """A clip to score.

    Attributes
    ----------
    name, group : str
        Group: `playing`, `others` (instruments outside of the nine), `negative`, `still`, `moving`.
    stacks : float32, shape (n, 10, H, W)
    played : set of str
        Of the nine; empty where unknown or none.
    boxes : list of list of float
        x0, y0, x1, y1 of what sounds, 0 to 1.
    """

    name: str
    group: str
    stacks: Flow
    played: set[str] = field(default_factory=set)
    boxes: list[list[float]] = field(default_factory=list)


def main() -> None:
    """Parse, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, nargs="+", default=[])
    parser.add_argument("--pictures", type=int, default=12, help="of which cameras are made")
    given = parser.parse_args()
    engines: dict[str, Engine] = {"motion": MotionEngine(LABELS)}
    for folder in given.models:
        engines[str(folder)] = load(folder / "action.onnx", "action", options=ORIGINAL)
    cases = list(read_cases(given.data, given.pictures))
    print(f"{len(cases)} clips, {sum(len(case.stacks) for case in cases)} steps.\n")
    for name, engine in engines.items():
        report(name, cases, [score(engine, case.stacks) for case in cases])


def read_cases(data: Path, n_pictures: int) -> Iterator[Case]:
    """Yield real clips, then cameras that look at real pictures."""
    manifest = json.loads((data / "manifest.json").read_text())
    frames = []
    for entry in manifest:
        if not entry["file"].startswith("video/") or "playing_s" not in entry:
            continue
        found = features(data / entry["file"])
        assert found.stacks is not None
        assert found.pictures is not None
        frames.append(found.pictures[len(found.pictures) // 2])
        times = STEP * np.arange(len(found.stacks))
        playing = [
            any(a + MARGIN <= time <= b - MARGIN for a, b in entry["playing_s"]) for time in times
        ]
        quiet = [
            all(time < a - MARGIN or time > b + MARGIN for a, b in entry["playing_s"])
            for time in times
        ]
        name, played = Path(entry["file"]).stem, {one.lower() for one in entry["instruments"]}
        boxes = entry.get("vggss", {}).get("bbox", [])
        if any(playing):
            group = "playing" if played else "others"
            yield Case(name, group, found.stacks[playing], played, boxes)
        if any(quiet):
            name += " (quiet part)" if any(playing) else ""
            yield Case(name, "negative", found.stacks[quiet])
    photographs = [entry["file"] for entry in manifest if is_photograph(entry["file"])]
    half = n_pictures // 2
    chosen = [photographs[i] for i in np.linspace(0, len(photographs) - 1, half).astype(int)]
    pictures = [cv2.imread(str(data / file), cv2.IMREAD_COLOR) for file in chosen]
    pictures += [frame[:, :, ::-1] for frame in frames[: n_pictures - half]]
    with tempfile.TemporaryDirectory() as folder:
        for number, picture in enumerate(pictures):
            for name, (kind, speed, noise) in CAMERAS.items():
                rng = np.random.default_rng([number, list(CAMERAS).index(name)])
                path = Path(folder) / "made.mp4"
                film(path, np.asarray(picture), camera_path(kind, speed, rng), noise, rng)
                stacks = features(path).stacks
                assert stacks is not None
                yield Case(name, "still" if kind == "still" else "moving", stacks)


def is_photograph(file: str) -> bool:
    """Whether a file of the manifest is a picture that we can read."""
    return file.startswith("image/") and file.endswith((".jpg", ".png")) and "avsbench" not in file


def camera_path(kind: str, speed: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return shift x, shift y (px), enlargement and turn (radians) of each frame, (n, 4).

    `speed` is px a second at the edge of the picture; of a shaking hand the standard deviation
    of the shift, px.
    """
    time = np.arange(round(SECONDS * RATE)) / RATE
    path = np.zeros((len(time), 4))
    if kind == "pan":
        angle = rng.uniform(0, 2 * np.pi)
        path[:, :2] = np.outer(time - SECONDS / 2, [np.cos(angle), np.sin(angle)]) * speed
    elif kind == "zoom":
        path[:, 2] = time * speed / (SIDE / 2)
    elif kind == "turn":
        path[:, 3] = (time - SECONDS / 2) * speed / (SIDE / 2)
    elif kind == "shake":
        white = rng.standard_normal((len(time), 4)) * [speed, speed, 0, speed / SIDE]
        path = np.asarray(cv2.GaussianBlur(white, (1, 25), sigmaX=0.1, sigmaY=3)) * 3.3
    return path


def film(
    path: Path,
    picture: NDArray[np.uint8],
    camera: NDArray[np.float64],
    noise: float,
    rng: np.random.Generator,
) -> None:
    """Write what a camera sees of a picture: moved, with sensor noise, coded as H.264."""
    height, width = picture.shape[:2]
    scale = SIDE / max(height, width)
    size = (round(width * scale) // 2 * 2, round(height * scale) // 2 * 2)
    large = cv2.resize(picture, None, fx=2 * scale, fy=2 * scale, interpolation=cv2.INTER_AREA)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "28"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for x, y, grow, turn in camera:
            # The view is 1 / 1.3 of the picture; what lies beyond its edge is mirrored.
            rotate = cv2.getRotationMatrix2D((0, 0), np.degrees(turn), 0.65 * np.exp(grow))
            rotate[:, 2] = [size[0] / 2 + x, size[1] / 2 + y]
            rotate[:, 2] -= rotate[:, :2] @ [large.shape[1] / 2, large.shape[0] / 2]
            seen = cv2.warpAffine(large, rotate, size, borderMode=cv2.BORDER_REFLECT).astype(float)
            seen += noise * rng.standard_normal(seen.shape)
            frame = av.VideoFrame.from_ndarray(np.clip(seen, 0, 255).astype(np.uint8), "bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def score(engine: Engine, stacks: Flow) -> NDArray[np.float32]:
    """Return the maps of all steps, (n, K, h, w)."""
    return np.concatenate([engine(stacks[i : i + 8]) for i in range(0, len(stacks), 8)])


def auc(positive: list[NDArray[Any]], negative: list[NDArray[Any]]) -> float:
    """Return the chance that a step of a random positive clip scores above one of a negative."""
    above = [
        ((p[:, None] > n).mean() + (p[:, None] == n).mean() / 2) for p in positive for n in negative
    ]
    return float(np.mean(above)) if above else np.nan


def report(name: str, cases: list[Case], maps: list[NDArray[np.float32]]) -> None:
    """Print the tables of one model."""
    best = [found.max(axis=(1, 2, 3)) for found in maps]  # (n,) each
    print(f"## {name}\n\n| clips | steps | median | lowest tenth | highest tenth | ", end="")
    print(" | ".join(f"at {limit}" for limit in THRESHOLDS), "| top of nine | peak in box |")
    print("|" + "---|" * (7 + len(THRESHOLDS)))
    for row in dict.fromkeys(case.name for case in cases):
        mine = [i for i, case in enumerate(cases) if case.name == row]
        values = np.concatenate([best[i] for i in mine])
        found = np.concatenate([maps[i].max(axis=(2, 3)).argmax(axis=1) for i in mine])
        case = cases[mine[0]]
        low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
        cells = [f"{case.group}: {row}", str(len(values)), f"{middle:.2f}", f"{low:.2f}"]
        cells += [f"{high:.2f}", *(f"{(values >= limit).mean():.2f}" for limit in THRESHOLDS)]
        right = np.mean([LABELS[k] in case.played for k in found])
        cells.append(f"{right:.2f}" if case.played else "")
        inside = [peak_in_box(one, case.boxes) for i in mine for one in maps[i]]
        cells.append(f"{np.mean(inside):.2f}" if case.boxes and case.group != "negative" else "")
        print(f"| {' | '.join(cells)} |")
    groups = {
        group: [best[i] for i, case in enumerate(cases) if case.group == group]
        for group in ("playing", "others", "still", "moving", "negative")
    }
    print("\n| | against still | moving | negative | mean | ", end="")
    print(" | ".join(f"fires at {limit}" for limit in THRESHOLDS), "|")
    print("|" + "---|" * (5 + len(THRESHOLDS)))
    for group, values_of in groups.items():
        fires = [
            f"{np.mean([(one >= limit).mean() for one in values_of]):.2f}" for limit in THRESHOLDS
        ]
        areas = [auc(values_of, groups[other]) for other in ("still", "moving", "negative")]
        is_played = group in ("playing", "others")
        shown = [f"{area:.3f}" for area in [*areas, np.mean(areas)]] if is_played else [""] * 4
        print(f"| {group} | {' | '.join([*shown, *fires])} |")
    shares = [
        np.mean([LABELS[k] in case.played for k in found.max(axis=(2, 3)).argmax(axis=1)])
        for case, found in zip(cases, maps, strict=True)
        if case.played
    ]
    print(f"\nTop of nine right, mean of {len(shares)} clips: {np.mean(shares):.2f}.\n")


def peak_in_box(maps: NDArray[np.float32], boxes: list[list[float]]) -> bool:
    """Whether the highest place of a step's maps (K, h, w) lies in a box."""
    rows, columns = maps.shape[1:]
    row, column = divmod(int(maps.max(axis=0).argmax()), columns)
    x, y = column / max(1, columns - 1), row / max(1, rows - 1)
    return any(a <= x <= c and b <= y <= d for a, b, c, d in boxes)


if __name__ == "__main__":
    main()
