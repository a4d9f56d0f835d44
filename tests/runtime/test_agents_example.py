"""The agents' example walks, and draws what it walked."""

import runpy
from pathlib import Path

import pytest
from skimage import io

EXAMPLE = Path(__file__).parents[2] / "examples" / "agents.py"


@pytest.mark.slow
def test_the_example_tells_its_episodes_and_draws_their_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(EXAMPLE))["main"]
    main(tmp_path, episodes=2, generator="none", max_steps=12)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["episode 0", "episode 1"]
    assert all("SPL" in line for line in lines)
    assert min(io.imread(tmp_path / "agents.png").shape[:2]) > 200


def test_the_example_is_under_sixty_lines() -> None:
    assert EXAMPLE.read_text(encoding="utf-8").count("\n") < 60
