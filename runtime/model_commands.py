"""``spatia models``: what is installed, what each needs, fetching and checking."""

import sys
from importlib.util import find_spec
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
        if model.name == "spatia":
            print("\n".join(f"{'':<20} {line}" for line in plan_lines(free_on_gpu_gb())))
    print("\n".join(slot_lines()))
    return 0


def slot_lines() -> list[str]:
    """What can be put into each slot by name, third parties' included, and what is taken by itself."""
    from ..generator.learned import LearnedTools
    from ..generator.registry import generator_names
    from ..world.slam.learned.monocular import installed_monocular
    from ..world.slots import ESTIMATORS, SEGMENTERS

    tools = LearnedTools()
    return [
        f"generators: {', '.join(generator_names())}",
        f"estimators (SPATIA_ESTIMATOR): {', '.join(ESTIMATORS.names())}; now {tools.estimator_name} for clips, "
        f"{installed_monocular() or 'diorama'} for a photo",
        f"segmenters (SPATIA_SEGMENTER): {', '.join(SEGMENTERS.names())}, none; now {tools.segmenter_name}",
    ]


def plan_lines(free_gb: float | None) -> list[str]:
    """What the paper's model needs in each of the ways to keep its weights, and which fits.

    Args:
        free_gb: Free on the GPU, or None where there is none.
    """
    lines = ["on the GPU at 832x480 / 1248x704, and in main memory (SPATIA_MEMORY; the quickest that fits if not set):"]
    for need in catalogue.PLAN_NEEDS:
        fits = "" if free_gb is None else _fit(need, free_gb)
        sizes = f"{need.walk_gb:4.1f} / {need.full_gb:4.1f} GB, {need.ram_gb:4.1f} GB"
        lines.append(f"  {need.plan:<8} {sizes}  {need.meaning}{fits}")
    here = "no GPU here" if free_gb is None else f"{free_gb:.1f} GB are free on this GPU"
    return [*lines, f"  without a GPU {catalogue.CPU_NEED_GB:.1f} GB of memory; {here}"]


def _fit(need: catalogue.PlanNeed, free_gb: float) -> str:
    if need.full_gb <= free_gb:
        return ": fits"
    return ": fits at 832x480" if need.walk_gb <= free_gb else ": does not fit"


def free_on_gpu_gb() -> float | None:
    """Free memory of the first GPU; None where there is none, or no torch to ask."""
    if find_spec("torch") is None:
        return None
    import torch

    return torch.cuda.mem_get_info()[0] / catalogue.GB if torch.cuda.is_available() else None
