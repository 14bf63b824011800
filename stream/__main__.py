"""`playspot`: every command of the four folders under one name. The only place that knows all."""

import logging
import signal
import sys
from types import FrameType

import typer

from ..engines.commands import models_app
from ..training.commands import data_app, evaluate, train_app
from ..training.demo import demo
from . import commands

app = typer.Typer(
    name="playspot",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Which instrument is being played, when and where in the picture, while it happens.",
)
app.callback()(commands.options)
app.command()(commands.detect)
app.command()(commands.listen)
app.command()(demo)
app.add_typer(models_app, name="models")
app.command()(commands.schema)
app.add_typer(train_app, name="train")
app.add_typer(data_app, name="data")
app.command()(evaluate)


def main() -> None:
    """Run the program; errors meant for the user are one line, without a traceback."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except commands.USER_ERRORS as error:
        print(f"playspot: {commands.one_line(error)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("playspot: interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def _terminate(number: int, _frame: FrameType | None) -> None:
    """End as by Ctrl-C, so that every worker is stopped, with the exit code of SIGTERM."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
