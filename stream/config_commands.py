"""The commands about configurations: `playspot validate`. Parse, call, print."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def validate(
    config: Annotated[Path, typer.Argument(help="A file of YAML.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, for programs.")
    ] = False,
    secrets: Annotated[
        bool, typer.Option(help="Whether the environment must have every ${NAME} of the file.")
    ] = True,
) -> None:
    """Check a configuration, and say at which line what is wrong.

    Exit code 0: it can be used; 1: it cannot.

    Example: playspot validate playspot.yaml
    """
    from ..engines.catalogue import find_models
    from .configuration import ConfigError, read_config

    try:
        found = read_config(config, may_lack_secrets=not secrets)
    except ConfigError as error:
        if as_json:
            print(json.dumps({"valid": False, "errors": error.lines}))
        else:
            print(*error.lines, sep="\n", file=sys.stderr)
        raise typer.Exit(1) from None
    models = {name: model.header.name for name, model in find_models(found.models).models.items()}
    enabled = [name for name, source in found.sources.items() if source.enabled]
    if as_json:
        told = {"sources": list(found.sources), "enabled": enabled, "models": models}
        print(json.dumps({"valid": True, "errors": [], **told}))
        return
    n = len(found.sources)
    print(
        f"{config}: {n} {'source' if n == 1 else 'sources'}, {len(enabled)} enabled; "
        f"models: {', '.join(models.values())}"
    )
