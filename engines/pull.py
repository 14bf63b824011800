"""The public models that `playspot models pull` fetches, and how they become models of ours."""

import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from .download import ATTEMPTS, PAUSE, TIMEOUT, download
from .engine import ModelError
from .metadata import parse_model, read_model
from .ort import make_session
from .tflite import convert_file

BASE_URL = "https://raw.githubusercontent.com"
DOWNLOADS = "downloads"  # in the folder of models: what was fetched, as it was

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class RemoteFile:
    """A file at a commit of a public repository.

    Attributes
    ----------
    repository, commit, path : str
    sha256 : str
    n_bytes : int
    """

    repository: str
    commit: str
    path: str
    sha256: str
    n_bytes: int

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.rpartition("/")[2]

    def url(self, base: str) -> str:
        """Return where it lies under a base address.

        Examples
        --------
        >>> RemoteFile("a/b", "c0ffee", "net.tflite", "", 0).url("https://example.org/")
        'https://example.org/a/b/c0ffee/net.tflite'
        """
        place = urllib.parse.quote(f"{self.repository}/{self.commit}/{self.path}")
        return f"{base.rstrip('/')}/{place}"


@dataclass(frozen=True)
class PublicModel:
    """A public network that we know.

    Attributes
    ----------
    name, licence : str
    kind : {"object", "sound"}
    network, labels : RemoteFile
        The TFLite file, and the names of its classes.
    file : str
        What its ONNX file is called.
    strongest : tuple of int and float
        Class and output for a made-up input: what the conversion must give, see `check`.
    """

    name: str
    licence: str
    kind: Literal["object", "sound"]
    network: RemoteFile
    labels: RemoteFile
    file: str
    strongest: tuple[int, float]

    @property
    def n_bytes(self) -> int:
        """Size of what is fetched."""
        return self.network.n_bytes + self.labels.n_bytes


_CORAL = ("google-coral/test_data", "104342d2d3480b3e66203073dac24f4e2dbb4c41")
_GREENWAVES = ("GreenWaves-Technologies/yamnet", "623e900151129b3d38eb323a4de758bd5fcdb052")

PUBLIC_MODELS = (
    PublicModel(
        name="mobilenet_v2",
        licence="Apache-2.0",
        kind="object",
        network=RemoteFile(
            *_CORAL,
            "mobilenet_v2_1.0_224_quant.tflite",
            "7aad0c74c5e3c06e5eb3c827e13304fdd68a83da6087d92ee169c24ff9fd4776",
            3_610_798,
        ),
        labels=RemoteFile(
            *_CORAL,
            "imagenet_labels.txt",
            "b8aaeb5630c62626a7d124a05c0e14230a7ffdd2136a31d0190a4fb71c1d82f1",
            21_686,
        ),
        file="mobilenet_v2_1.0_224.onnx",
        strongest=(880, 6.947),
    ),
    PublicModel(
        name="yamnet",
        licence="Apache-2.0",
        kind="sound",
        network=RemoteFile(
            *_GREENWAVES,
            "models/lite-model_yamnet_classification_tflite_1.tflite",
            "10c95ea3eb9a7bb4cb8bddf6feb023250381008177ac162ce169694d05c317de",
            4_126_810,
        ),
        labels=RemoteFile(
            *_GREENWAVES,
            "models/yamnet_class_map.csv",
            "cdf24d193e196d9e95912a2667051ae203e92a2ba09449218ccb40ef787c6df2",
            14_096,
        ),
        file="yamnet.onnx",
        strongest=(513, 0.610),
    ),
)


def pull(
    folder: Path,
    *,
    models: tuple[PublicModel, ...] = PUBLIC_MODELS,
    base_url: str = BASE_URL,
    on_progress: OnProgress | None = None,
    timeout: float = TIMEOUT,
    attempts: int = ATTEMPTS,
    pause: float = PAUSE,
) -> list[Path]:
    """Fetch public models into a folder and make them ready for use.

    What is there already and whole is kept, so a second call is quick and offline.

    Parameters
    ----------
    folder : path
    models : tuple of PublicModel
    base_url : str
        In place of GitHub's address for raw files: a mirror with the same paths.
    on_progress : callable, optional
        Called with the file's name, the bytes of it that are there, and its size.
    timeout, attempts, pause
        See `download`.

    Returns
    -------
    files : list of path
        The ONNX files, one for each model.

    Raises
    ------
    ModelError
        If a file cannot be fetched or converted, or the result differs from what was published.
    """
    files = []
    for model in models:
        for remote in (model.network, model.labels):
            _get(remote, folder, base_url, on_progress, timeout, attempts, pause)
        target = folder / model.file
        if not (target.is_file() and _is_right(target, model)):
            convert_file(folder / DOWNLOADS / model.network.name, target, model.kind)
            check(target, model)
        files.append(target)
    return files


def _get(
    remote: RemoteFile,
    folder: Path,
    base_url: str,
    on_progress: OnProgress | None,
    timeout: float,
    attempts: int,
    pause: float,
) -> None:
    def report(n_bytes: int) -> None:
        if on_progress is not None:
            on_progress(remote.name, n_bytes, remote.n_bytes)

    download(
        remote.url(base_url),
        folder / DOWNLOADS / remote.name,
        sha256=remote.sha256,
        max_bytes=remote.n_bytes,
        on_bytes=report,
        timeout=timeout,
        attempts=attempts,
        pause=pause,
    )
    report(remote.n_bytes)


def check(path: Path, model: PublicModel) -> None:
    """Compare a converted model with what the original gives on a made-up input.

    Raises
    ------
    ModelError
        If its strongest class is another or off by more than 0.01, or the file cannot be used.
    """
    found = strongest_class(path)
    if found[0] != model.strongest[0] or abs(found[1] - model.strongest[1]) > 0.01:
        raise ModelError(
            f"{path}: gives {found[1]:.3f} for class {found[0]} where the original gives "
            f"{model.strongest[1]:.3f} for {model.strongest[0]}; pull again, and if it stays so "
            "report it as a bug"
        )


def strongest_class(path: Path) -> tuple[int, float]:
    """Return the number and the output of a network's strongest class on a made-up input."""
    content = read_model(path)
    parse_model(content, str(path))
    session = make_session(content, str(path))
    given = session.get_inputs()[0]
    shape = (1, 3, 224, 224) if given.name == "image" else (1, 1, 96, 64)
    wave = np.sin(np.arange(np.prod(shape)) ** 1.5, dtype=np.float64).astype(np.float32)
    (out,) = session.run(None, {given.name: wave.reshape(shape)})
    mean = np.asarray(out).reshape(out.shape[1], -1).mean(axis=1)
    return int(mean.argmax()), float(mean.max())


def _is_right(path: Path, model: PublicModel) -> bool:
    try:
        check(path, model)
    except ModelError:
        return False
    return True
