"""The command line: thin, one function a command. Exit statuses are those of the errors."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from opencode_cache.base import answer
from opencode_cache.base.errors import INTERRUPTED, INTERRUPTED_STATUS, BadInputError, OpencodeCacheError
from opencode_cache.cli import process
from opencode_cache.cli.app import command_line

# Newer typers carry their own click, older ones import it; the class is found from what both export.
_UsageError: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
_EXPERIMENTAL = "--experimental"


def _say(text: str) -> None:
    from opencode_cache.base import console  # noqa: PLC0415 - what prints is loaded where something is said

    console.error(text)


def _with_experimental_first(words: list[str]) -> list[str]:
    """The command line with `--experimental` before the command, where typer looks for it."""
    end = words.index("--") if "--" in words else len(words)
    ours = [word for word in words[:end] if word != _EXPERIMENTAL]
    first = [_EXPERIMENTAL] if len(ours) < end else []
    return [*first, *ours, *words[end:]]


def main() -> NoReturn:
    """The entry point: expected errors become one sentence and their exit status."""
    try:
        process.prepare()
        status = command_line()(_with_experimental_first(sys.argv[1:]), standalone_mode=False)
        answer.lines([])  # flushes: here, where a reader that went away is expected
    except OpencodeCacheError as error:
        _say(str(error))
        sys.exit(error.exit_status)
    except _UsageError as error:
        message = error.format_message()  # type: ignore[attr-defined]
        if message:  # nothing is said where the help was shown
            _say(f"{message} (see --help)")
        sys.exit(BadInputError.exit_status)
    except (KeyboardInterrupt, typer.Abort):
        _say(INTERRUPTED)
        sys.exit(INTERRUPTED_STATUS)
    except BrokenPipeError:
        # The reader of our output went away; there is nobody to tell.
        answer.silence()
        sys.exit(0)
    except OSError as error:
        told = process.explained(error)
        _say(str(told))
        answer.silence()
        sys.exit(told.exit_status)
    if status == INTERRUPTED_STATUS:  # newer typers make it a status by themselves
        _say(INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)
