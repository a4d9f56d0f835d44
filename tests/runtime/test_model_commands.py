"""``spatia models``."""

from pathlib import Path

import pytest
from spatia.runtime.main import run
from spatia.runtime.model_commands import plan_lines


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPATIA_MODELS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


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


def test_listing_says_what_each_way_to_keep_weights_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "list"]) == 0
    text = capsys.readouterr().out
    for words in (
        "SPATIA_MEMORY",
        "whole",
        "31.4 / 37.1 GB",
        "group",
        "network block by block",
        "without a GPU 31.8 GB",
    ):
        assert words in text


def test_listing_says_what_fits_into_what_is_free() -> None:
    lines = plan_lines(24.0)
    fits = {line.split()[0]: line.rpartition(": ")[2] for line in lines[1:-1]}
    assert fits == {"whole": "does not fit", "encoder": "fits at 832x480", "fp8": "fits", "group": "fits"}
    assert lines[-1].endswith("24.0 GB are free on this GPU")


def test_listing_names_what_can_be_put_into_each_slot(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models"]) == 0
    text = capsys.readouterr().out
    assert "mapanything, multiview" in text
    assert "segmenters (SPATIA_SEGMENTER): sam2" in text
    assert "now multiview for clips, diorama for a photo" in text
