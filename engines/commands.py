"""The commands of `playspot models`: which models there are, and fetching better ones."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

models_app = typer.Typer(no_args_is_help=True, help="Which models there are; fetch better ones.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@models_app.command("list")
def list_models(
    models: Annotated[
        Path | None,
        typer.Option(help="Folder of models. (default: pulled ones, else the bundled ones)"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say which models `detect` would use, and how to get better ones.

    Example: playspot models list
    """
    from dataclasses import replace

    from .catalogue import find_models
    from .options import EngineOptions

    found = replace(find_models(models), options=EngineOptions(builds=True))  # as detect has them
    if as_json:
        choices = {name: model.choice(found.options) for name, model in found.models.items()}
        rows = [
            {
                "kind": name,
                "name": model.header.name,
                "file": None if model.path is None else str(model.path),
                "origin": model.origin,
                "engine": None if (choice := choices[name]) is None else choice.backend,
                "precision": None if choice is None else choice.precision,
                "why": None if choice is None else choice.why,
            }
            for name, model in found.models.items()
        ]
        print(json.dumps({"models": rows, "decoding": found.decoding.model_dump()}))
        return
    for line in found.describe():
        print(line)


@models_app.command()
def info(
    file: Annotated[Path, typer.Argument(help="An .onnx file.")], as_json: JsonOption = False
) -> None:
    """Print what a model file says of itself, or what its description says of it.

    Example: playspot models info my-models/yamnet.onnx
    """
    from .catalogue import identify
    from .engine import ModelError
    from .metadata import model_hash, read_model

    content = read_model(file)
    model = identify(file, "file")
    if model is None:
        raise ModelError(f"{file}: an unknown model; describe it in {file.stem}.toml beside it")
    facts: dict[str, Any] = model.header.model_dump(mode="json")
    facts["hash"] = model_hash(content)
    if as_json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        if value not in (None, {}, []):
            text = ", ".join(value) if isinstance(value, list) else str(value)
            print(f"{name}: {text if len(text) <= 300 else text[:300] + ' ... (--json: all)'}")


@models_app.command()
def pull(
    into: Annotated[
        Path | None,
        typer.Option(help="Folder. (default: $PLAYSPOT_MODELS, else in the user's cache)"),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(help="A mirror. (default: $PLAYSPOT_MODELS_URL, else GitHub)"),
    ] = None,
) -> None:
    """Fetch two public models trained on real pictures and sound (ImageNet, AudioSet; 8 MB).

    Example: playspot models pull
    """
    from .catalogue import cache_folder
    from .pull import BASE_URL
    from .pull import pull as fetch

    folder = into or cache_folder()
    base = base_url or os.environ.get("PLAYSPOT_MODELS_URL") or BASE_URL
    with _Bars() as bars:
        files = fetch(folder, base_url=base, on_progress=bars.update)
    for path in files:
        print(path)
    if into is None:
        print("`playspot detect` uses them from now on.")
    else:
        print(f"Use them with `playspot detect --models {into}`.")


class _Bars:
    """A progress bar for each file, on a terminal only."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def update(self, name: str, n_bytes: int, total: int) -> None:
        """Move the bar of a file to `n_bytes` of `total`."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=n_bytes)
