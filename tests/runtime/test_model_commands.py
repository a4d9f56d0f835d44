"""``spatia models``."""

from pathlib import Path

import pytest
from spatia.runtime.main import run


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPATIA_MODELS", str(tmp_path))


def test_listing_says_what_is_missing_and_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models"]) == 0
    text = capsys.readouterr().out
    assert "spatia" in text
    assert "missing" in text
    assert "licence" in text


def test_checking_an_empty_folder_names_the_first_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="checking weights needs spatia[models]")
    assert run(["models", "check", str(tmp_path)]) == 2
    assert "diffusion_pytorch_model-00001-of-00003.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["models", "burn"], ["models", "fetch", "nobody"]])
def test_mistakes_are_told_in_three_lines(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert 1 <= len(capsys.readouterr().err.strip().splitlines()) <= 3
