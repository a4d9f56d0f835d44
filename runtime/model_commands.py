"""``spatia models``: what is installed, what each needs, fetching and checking."""

import sys
from pathlib import Path

from ..generator.spatia import catalogue
from ..generator.spatia.errors import CheckpointError, MissingWeightsError
from . import commands
from .errors import UserError

ACTIONS = ("list", "fetch", "check")


def models(command: commands.Models) -> int:
    """Carry the command out; the exit status.

    Raises:
        UserError: Unknown action or model, or what ``check`` found.
        MissingExtraError: A library or weights are missing; the message says what to put where.
    """
    if command.action not in ACTIONS:
        raise UserError(f"one of {', '.join(ACTIONS)}", repr(command.action), "for example: spatia models list")
    if command.action == "list":
        return _list(catalogue.models_folder())
    if command.action == "fetch":
        name = command.what or "spatia"
        try:
            catalogue.model_of(name)
            catalogue.fetch(name, catalogue.models_folder(), _tell)
        except ValueError as error:
            raise UserError("the name of a model", repr(name), str(error).splitlines()[0]) from None
        except MissingWeightsError as error:
            sys.stderr.write(f"{error}\n")  # longer than three lines: which files to put where
            return 2
        return 0
    folder = Path(command.what) if command.what else catalogue.models_folder()
    try:
        report = catalogue.check_spatia(folder)
    except CheckpointError as error:
        raise UserError(f"whole weights in {folder}", str(error).splitlines()[0], "fetch or copy them again") from None
    print("\n".join(report.lines))
    return 0


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def _list(folder: Path) -> int:
    print(f"models in {folder} ({catalogue.FOLDER_VARIABLE} names another folder)")
    for state in catalogue.list_models(folder):
        model = state.model
        status = "installed" if state.is_installed else f"{len(state.missing)} files missing"
        needs = f"{model.download_gb:.0f} GB to download, {model.ram_gb:.0f} GB of memory"
        low, high = sorted(model.vram_gb)
        print(f"{model.name:<20} {status:<18} {model.purpose}")
        print(f"{'':<20} {needs}, {low:.0f} to {high:.0f} GB on a GPU; licence {model.license}; needs {model.needs}")
    return 0
