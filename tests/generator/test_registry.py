"""Generators are found by name, installed or not, and only the chosen one is imported."""

import subprocess
import sys
from pathlib import Path

import pytest
from spatia.generator.errors import MissingExtraError
from spatia.generator.none import NoneGenerator
from spatia.generator.registry import check_generator_name, generator_class, generator_names
from spatia.generator.worker import Runner
from spatia.tests.fakes import MODULE, InstantGenerator
from spatia.world import slots


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path where a third party's package is installed under the name "theirs"."""
    metadata = tmp_path / "theirs-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[spatia.generators]\ntheirs = their_generator:Theirs\n")
    (tmp_path / "their_generator.py").write_text(
        "from spatia.tests.fakes import InstantGenerator\nclass Theirs(InstantGenerator):\n    name = 'theirs'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "their_generator", raising=False)
    return tmp_path


def test_the_built_in_generators_are_known_without_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "entry_points", lambda group: ())
    assert generator_names() == ["none", "outpaint", "procedural", "spatia"]
    assert generator_class("none") is NoneGenerator


def test_a_third_partys_entry_point_is_found(installed: Path) -> None:
    assert "theirs" in generator_names()
    assert generator_class("theirs").name == "theirs"


def test_an_entry_point_does_not_replace_a_built_in(installed: Path) -> None:
    entries = installed / "theirs-1.0.dist-info" / "entry_points.txt"
    entries.write_text("[spatia.generators]\nnone = their_generator:Theirs\n")
    assert generator_class("none") is NoneGenerator


def test_a_class_can_be_named_by_its_module() -> None:
    assert generator_class(f"{MODULE}:InstantGenerator") is InstantGenerator


@pytest.mark.parametrize("name", ["nonsense", "", ":", "module:", ":Class"])
def test_an_unknown_name_lists_the_choices(name: str) -> None:
    with pytest.raises(ValueError, match=r"one of none, outpaint.*module:Class"):
        generator_class(name)
    with pytest.raises(ValueError, match="one of none, outpaint"):
        check_generator_name(name)


@pytest.mark.parametrize(("library", "extra"), [("torch", "models"), ("sam2.build_sam", "sam2"), ("ray", "ray")])
def test_a_missing_library_names_its_extra(library: str, extra: str, installed: Path) -> None:
    code = f"raise ModuleNotFoundError('No module named {library}', name='{library}')\n"
    (installed / "their_generator.py").write_text(code)
    with pytest.raises(MissingExtraError, match=rf"'theirs' needs '{library}'.*spatia\[{extra}\]"):
        generator_class("theirs")


def test_a_missing_library_of_a_third_party_is_named(installed: Path) -> None:
    (installed / "their_generator.py").write_text("import surely_not_there\n")
    with pytest.raises(MissingExtraError, match="'theirs' needs 'surely_not_there'"):
        generator_class("theirs")


def test_a_library_missing_only_when_it_is_made_names_its_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"spatia\[sam2\]"):
        Runner(f"{MODULE}:LazyLoadingGenerator")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("rank = 64", "rank: int in 0..63"),
        ("rank = True", "rank: int"),
        ("name = 3", "name: str"),
        ("native_speed = 1.0", "native_speed"),
        ("wants_key_views = None", "wants_key_views"),
        ("rounds = (121, 81)", "rounds"),
        ("rounds = (121, 81, 10)", "rounds"),
        ("rounds = (121, 17, 9)", "rounds"),
        ("generate = None", "generate"),
    ],
)
def test_a_class_that_is_no_generator_is_refused_with_what_it_lacks(change: str, words: str, installed: Path) -> None:
    with (installed / "their_generator.py").open("a") as file:
        file.write(f"    {change}\n")
    with pytest.raises(ValueError, match=words):
        generator_class("theirs")


def test_a_name_that_is_not_in_its_module_is_refused() -> None:
    with pytest.raises(ValueError, match="to be a class"):
        generator_class(f"{MODULE}:NoSuchGenerator")


def test_only_the_chosen_generator_is_imported() -> None:
    code = (
        "import sys; from spatia.generator.registry import generator_class, generator_names; generator_names();"
        "generator_class('none'); assert 'spatia.generator.outpaint.outpaint' not in sys.modules, 'outpaint'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
