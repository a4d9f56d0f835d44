"""The command line: ``spatia walk | rollout | info | export | bench | snapshot | branch | log | diff | …``.

Exit status: 0; 2 for a mistake of the user, told in at most three lines; 1 for a fault of ours, whose traceback is in a
log; 130 after Ctrl-C, with everything saved.
"""

import contextlib
import io
import logging
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .commands import Bench, Command, Export, Info, Models, Rollout, Walk
from .errors import UserError

EXIT_FAULT = 1
EXIT_USER = 2
EXIT_INTERRUPTED = 130
MAX_ERROR_LINES = 3
MAX_MESSAGE = 160
PROGRAM = "spatia"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit status."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run a command; its exit status."""
    try:
        command = parse(arguments)
        if command is None:
            return 0
        with terminated_is_interrupted():
            return _dispatch(command)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return 0
    except Exception as error:
        if is_user_mistake(error):
            print(_short(f"{PROGRAM}: {error}"), file=sys.stderr)
            return EXIT_USER
        print(f"{PROGRAM}: a fault of the program: {error!r}\nits traceback is in {_log_fault()}", file=sys.stderr)
        return EXIT_FAULT


@contextmanager
def terminated_is_interrupted() -> Iterator[None]:
    """SIGTERM leaves like Ctrl-C does: with everything saved."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def is_user_mistake(error: BaseException) -> bool:
    """True for errors whose text tells the user what to mend."""
    from ..generator.errors import MissingExtraError
    from ..input.keymap import KeymapError
    from ..renderer.present import NoDisplayError
    from ..saves.errors import ExportError, SaveError, SourceError

    theirs = (UserError, SourceError, SaveError, ExportError, KeymapError, NoDisplayError, MissingExtraError)
    return isinstance(error, theirs)


def parse(arguments: list[str]) -> Command | None:
    """The command that the arguments name; None after help was printed.

    Raises:
        UserError: Bad usage.
    """
    import tyro

    wants_help = not arguments or any(a in ("-h", "--help") for a in arguments)
    if arguments == ["--version"]:
        from .. import __version__

        print(f"{PROGRAM} {__version__}")
        return None
    text = io.StringIO()
    try:
        with contextlib.nullcontext() if wants_help else contextlib.redirect_stderr(text):
            return tyro.cli(
                Command,
                prog=PROGRAM,
                args=arguments or ["--help"],
                description="Walk through a world that is generated while you walk.",
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as stop:
        if wants_help and not stop.code:
            return None
        raise UserError(
            f"a command as in `{PROGRAM} --help`", _plain_message(text.getvalue()), f"see `{PROGRAM} COMMAND --help`"
        ) from None


def _plain_message(text: str) -> str:
    """A boxed message as one line of plain words."""
    lines = [line.strip(" \t│╭╮╰╯─|+-•") for line in text.splitlines()]
    words = " ".join(line for line in lines if line)
    for noise in ("Parsing error", "Required options"):
        words = words.replace(noise, "")
    for end in ("For full helptext", "Similar options", "Perhaps you meant", "To see full"):
        words = words.partition(end)[0]
    return " ".join(words.split())[:MAX_MESSAGE] or "arguments that cannot be read"


def _short(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines()[:MAX_ERROR_LINES])


def _log_fault() -> Path:
    with tempfile.NamedTemporaryFile("w", prefix="spatia-", suffix=".log", delete=False, encoding="utf-8") as file:
        file.write(traceback.format_exc())
        return Path(file.name)


def _dispatch(command: Command) -> int:
    level = logging.ERROR if isinstance(command, Walk) else logging.WARNING
    logging.basicConfig(level=level, format="%(name)s: %(message)s")
    from . import run_commands

    match command:
        case Walk():
            return run_commands.walk(command)
        case Rollout():
            return run_commands.rollout(command)
        case Info():
            return run_commands.info(command)
        case Export():
            return run_commands.export(command)
        case Models():
            from .model_commands import models

            return models(command)
        case Bench():
            return run_commands.bench(command)
    from . import history_commands

    return history_commands.run(command)


if __name__ == "__main__":
    main()
