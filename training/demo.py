"""`playspot demo`: render a scene with sound, detect who plays in it, and show what came out."""

from pathlib import Path
from typing import Annotated

import typer

SEED = 300_013  # of the seeds that no model was trained on
SIZE = (640, 360)
LEVEL = "normal"


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the scene and the results.")] = Path(
        "playspot-demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Another number is another scene.")] = SEED,
    duration: Annotated[float, typer.Option(min=2, max=600, help="Seconds.")] = 12.0,
) -> None:
    """Render a short scene of the bandstand and detect who plays what, when and where in it.

    Example: playspot demo --seed 300010
    """
    from ..engines.catalogue import bundled_models
    from ..stream.commands import run_detect
    from ..stream.detect import Outputs
    from ..stream.jsonl import check_writable
    from .bandstand import render_clip

    check_writable(out)
    scene = out / "scene.mp4"
    typer.echo(f"rendering {duration:.0f} s of the bandstand, seed {seed}", err=True)
    truth = render_clip(scene, seed=seed, level=LEVEL, duration=duration, size=SIZE)
    run_detect([scene], bundled_models(), Outputs(), out)
    played = ", ".join(truth["played"]) or "nobody"
    typer.echo(f"in the scene as rendered, these play: {played} (scene.json has when and where)")
    typer.echo(f"look at {out / 'scene.annotated.mp4'} and {out / 'scene.timeline.png'}")
