"""A third party adds an estimator or a segmenter by name, and a missing library is named."""

import sys
from pathlib import Path

import pytest
from spatia.world.errors import MissingLibraryError
from spatia.world.slots import ESTIMATORS, SEGMENTERS, SLOTS, explain_missing


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path where a third party's package is installed."""
    metadata = tmp_path / "theirs-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[spatia.estimators]\ntheirs = their_models:Depth\ngiven = their_models:Depth\n"
        "[spatia.segmenters]\ntheirs = their_models:Masks\n"
    )
    (tmp_path / "their_models.py").write_text(
        "class Depth:\n    name = 'theirs'\n    uses_all_frames = True\n    def estimate(self, frames, memory): ...\n"
        "class Masks:\n    name = 'theirs'\n    def track(self, color, prompts): ...\n"
        "class Empty:\n    pass\n"
        "class Needy:\n    def __init__(self):\n        import sam2_that_nobody_has\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "their_models", raising=False)
    return tmp_path


@pytest.mark.parametrize("slot", SLOTS, ids=lambda slot: slot.group)
def test_a_third_partys_entry_point_is_found(slot, installed: Path):
    assert "theirs" in slot.names()
    assert slot.make("theirs").name == "theirs"


def test_a_built_in_name_is_not_replaced(installed: Path):
    assert type(ESTIMATORS.make("given")).__module__ == "spatia.world.slam.given"


def test_a_class_that_is_being_written_needs_no_installation(installed: Path):
    assert SEGMENTERS.make("their_models:Masks").name == "theirs"


def test_a_class_without_the_method_is_refused(installed: Path):
    with pytest.raises(ValueError, match="expected the method track"):
        SEGMENTERS.make("their_models:Empty")


def test_a_missing_package_is_named(installed: Path):
    with pytest.raises(MissingLibraryError, match="sam2_that_nobody_has"):
        SEGMENTERS.make("their_models:Needy")


def test_a_missing_library_of_an_extra_names_the_extra():
    error = explain_missing("estimator 'x'", ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert "pip install 'spatia[models]'" in str(error)


def test_an_unknown_name_lists_the_choices():
    with pytest.raises(ValueError, match="expected one of sam2, sam2-transformers, got 'magic'"):
        SEGMENTERS.make("magic")
