"""How much disk an adaptation needs, said before it begins."""

import shutil
from pathlib import Path

from ..stream.timeline import STEP
from .clips import ClipError

BYTES_PER_SECOND = 2_000_000  # of features, for a picture of 256 x 192; one of 256 x 144 has 1.5
SPARE = 200_000_000  # bytes: the models, checkpoints, the report


def plan_disk(out: Path, n_steps: int, *, free: int | None = None) -> str:
    """Return a line that says how much will be written, and how much there is room for.

    Parameters
    ----------
    out : Path
        Folder that is written to; what lies there already is not needed again.
    n_steps : int
        Of all recordings together.
    free : int, optional
        Bytes; what the disk has, if not given.

    Raises
    ------
    ClipError
        If there is not room enough: one line.

    Examples
    --------
    >>> plan_disk(Path("out"), 7031, free=10_000_000_000)
    'disk: about 7.4 GB in out for 1.0 h of recordings (10.0 GB free)'
    """
    hours = n_steps * STEP / 3600
    wanted = int(n_steps * STEP * BYTES_PER_SECOND) + SPARE
    there = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    if free is None:
        known = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
        free = shutil.disk_usage(known).free
    line = f"about {wanted / 1e9:.1f} GB in {out} for {hours:.1f} h of recordings"
    if wanted - there > free:
        raise ClipError(
            f"{out}: needs {line}, and {free / 1e9:.1f} GB are free; "
            "make room, choose another disk with --out, or give fewer recordings"
        )
    return f"disk: {line} ({free / 1e9:.1f} GB free)"
