"""SAM2 is taken by itself only where everything that it needs is there; otherwise what lacks is named."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from spatia.world.errors import MissingLibraryError
from spatia.world.slam.learned import sam2


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of transformers' model lie in the models' folder; the authors' package is not there."""
    folder = tmp_path / "sam2.1-hiera-large"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    monkeypatch.setenv("SPATIA_MODELS", str(tmp_path))


def _only(monkeypatch: pytest.MonkeyPatch, *present: str) -> None:
    monkeypatch.setattr(sam2, "find_spec", lambda name: find_spec("json") if name in present else None)


@pytest.mark.parametrize(
    ("present", "is_installed"),
    [(("torch", "transformers", "torchvision"), True), (("torch", "transformers"), False), (("torchvision",), False)],
)
@pytest.mark.usefixtures("weights")
def test_transformers_counts_only_with_all_that_it_needs(
    monkeypatch: pytest.MonkeyPatch, present: tuple[str, ...], is_installed: bool
) -> None:
    _only(monkeypatch, *present)
    assert sam2.is_sam2_installed() is is_installed


@pytest.mark.usefixtures("weights")
def test_a_missing_library_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _only(monkeypatch, "torch", "transformers")
    with pytest.raises(MissingLibraryError, match="torchvision, which is not installed: pip install torchvision"):
        sam2.TransformersPredictor()


def test_without_weights_it_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPATIA_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    _only(monkeypatch, "torch", "transformers", "torchvision")
    assert not sam2.is_sam2_installed()
