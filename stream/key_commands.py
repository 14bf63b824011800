"""`playspot keygen`. Parse, call, print."""

from pathlib import Path
from typing import Annotated

import typer

from .keys import make_client_keys, make_server_keys


def keygen(
    folder: Annotated[Path, typer.Argument(help="Folder of keys, to be named in `keys:`.")],
    client: Annotated[
        str | None,
        typer.Option(help="Make keys for a subscriber of this name, and allow it."),
    ] = None,
) -> None:
    """Make keys, so that only subscribers you allow are served over the network.

    Example: playspot keygen keys; playspot keygen keys --client desk
    """
    folder = folder.expanduser()
    if client is None:
        make_server_keys(folder)
        print(f"made {folder}: set `keys: {folder}`, then playspot keygen {folder} --client NAME")
    else:
        make_client_keys(folder, client)
        print(
            f"{client} is allowed: move {folder / client}.key_secret and copy "
            f"{folder / 'server.key'} to its machine, into one folder; there "
            f"playspot listen --keys {client}.key_secret (to revoke it, remove "
            f"{folder / 'clients' / client}.key)"
        )
