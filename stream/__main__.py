"""`playspot`: every command of the four folders under one name. The only place that knows all."""

import logging
import signal
import sys
from types import FrameType
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from ..engines.commands import models_app
from ..training.adapt_command import adapt
from ..training.benchmark_commands import benchmark_app
from ..training.compile_command import compile_models
from ..training.data_commands import data_app
from ..training.demo import demo
from ..training.doctor_command import doctor
from ..training.evaluate_command import evaluate
from ..training.train_command import train
from . import commands
from .config_commands import validate
from .configuration import ConfigError
from .devices import devices
from .key_commands import keygen
from .one_line import one_line
from .probe import probe
from .report_command import report
from .run_command import run

INTERRUPTED = 128 + signal.SIGINT

app = typer.Typer(
    name="playspot",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Which instrument is being played, when and where in the picture, while it happens.",
)
app.callback()(commands.options)
app.command()(commands.detect)
app.command()(run)
app.command()(commands.listen)
app.command()(report)
app.command()(demo)
app.add_typer(models_app, name="models")
app.command("compile")(compile_models)
app.command()(doctor)
app.command()(probe)
app.command()(devices)
app.command()(validate)
app.command()(commands.schema)
app.command()(keygen)
app.command()(train)
app.add_typer(data_app, name="data")
app.command()(adapt)
app.command()(evaluate)
app.add_typer(benchmark_app, name="benchmark")


def main() -> None:
    """Run the program; what is wrong is one line without a traceback, exit code 2 for usage."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    # That it finds no folder for its fonts is nothing to the user: pictures come all the same.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    for number in (signal.SIGTERM, signal.SIGHUP):  # of a live run with a configuration: reload
        signal.signal(number, _terminate)
    try:
        code = app(prog_name="playspot", standalone_mode=False)
    except TyperException as error:
        if len(sys.argv) == 1 or error.__class__.__name__ == "NoArgsIsHelpError":
            sys.exit(2)  # the help has been printed
        _fail(f"{one_line(error.format_message())} (playspot --help)", error.exit_code)
    except ConfigError as error:
        for line in error.lines[:-1]:
            print(f"playspot: {one_line(line)}", file=sys.stderr)
        _fail(one_line(error.lines[-1]), 1)
    except commands.USER_ERRORS as error:
        _fail(one_line(str(error)), 1)
    if code == INTERRUPTED:
        _fail("interrupted", INTERRUPTED)
    sys.exit(code)


def _fail(message: str, code: int) -> NoReturn:
    print(f"playspot: {message}", file=sys.stderr)
    sys.exit(code)


def _terminate(number: int, _frame: FrameType | None) -> None:
    """End as by Ctrl-C, so that every worker is stopped, with the exit code of the signal."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
