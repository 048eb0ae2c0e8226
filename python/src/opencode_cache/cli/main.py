"""The command line: thin, one function a command. Exit statuses are those of the errors."""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer

from opencode_cache import __version__
from opencode_cache.base import console
from opencode_cache.base.errors import INTERRUPTED, INTERRUPTED_STATUS, BadInputError, OpencodeCacheError
from opencode_cache.cli import configuration as _planning  # noqa: F401
from opencode_cache.cli import explain as _explaining  # noqa: F401
from opencode_cache.cli import inspect as _asking  # noqa: F401 - registers its commands
from opencode_cache.cli import make as _making  # noqa: F401
from opencode_cache.cli import ship as _bundling  # noqa: F401
from opencode_cache.cli import update as _updating  # noqa: F401
from opencode_cache.cli.app import app

# Newer typers carry their own click, older ones import it; the class is found from what both export.
_UsageError: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


def _version_asked(asked: bool) -> None:  # noqa: FBT001 - typer calls it so
    if asked:
        sys.stdout.write(f"opencode-cache {__version__}\n")
        raise typer.Exit


@app.callback()
def _main(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version_asked, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """The entry point: expected errors become one sentence and their exit status."""
    try:
        status = app(standalone_mode=False)
        sys.stdout.flush()  # here, where a reader that went away is expected
    except OpencodeCacheError as error:
        console.error(str(error))
        sys.exit(error.exit_status)
    except _UsageError as error:
        said = error.format_message()  # type: ignore[attr-defined]
        if said:  # nothing is said where the help was shown
            console.error(f"{said} (see --help)")
        sys.exit(BadInputError.exit_status)
    except (KeyboardInterrupt, typer.Abort):
        console.error(INTERRUPTED)
        sys.exit(INTERRUPTED_STATUS)
    except BrokenPipeError:
        # The reader of our output went away; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    if status == INTERRUPTED_STATUS:  # newer typers make it a status by themselves
        console.error(INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)
