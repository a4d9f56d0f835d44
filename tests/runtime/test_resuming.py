"""A rollout that was cut off goes on where it was, and ends as if nothing had happened."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from spatia.renderer.capture import read_video
from spatia.runtime import commands, resuming, run_commands
from spatia.runtime.run_commands import rollout
from spatia.runtime.session import Session
from spatia.runtime.world import open as open_world
from spatia.tests.fakes import MODULE
from spatia.tests.runtime.tiny import SIZE, tiny_world

ACTIONS, NUM_FRAMES = "right-24", 25
RESULTS = ["contact.png", "report.json", "video.mp4", "world.spatia"]


@pytest.fixture(autouse=True)
def tiny_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny place under any name; saved after every clip."""
    monkeypatch.setattr(run_commands, "make_world", lambda *_, **__: tiny_world())
    monkeypatch.setattr(resuming, "SAVE_EVERY_S", 0.0)


def _command(out: Path, actions: str = ACTIONS) -> commands.Rollout:
    size = f"{SIZE[0]}x{SIZE[1]}"
    return commands.Rollout(source="tiny", out=out, actions=actions, generator=f"{MODULE}:InstantGenerator", size=size)


def _cut_off(monkeypatch: pytest.MonkeyPatch, out: Path, error: type[BaseException], at: int = 15) -> None:
    """Walk until a frame, at which something ends the program."""
    follow: Callable = Session.follow
    calls = iter(range(1000))

    def until(session, poses):
        if next(calls) == at:
            raise error
        return follow(session, poses)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "follow", until)
        with pytest.raises(error):
            rollout(_command(out))


def _names(out: Path) -> list[str]:
    return sorted(p.name for p in out.iterdir())


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_the_same_command_goes_on_and_ends_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: type[BaseException]
) -> None:
    rollout(_command(tmp_path / "whole"))
    _cut_off(monkeypatch, tmp_path / "cut", error)
    capsys.readouterr()
    rollout(_command(tmp_path / "cut"))
    assert "going on from frame" in capsys.readouterr().err
    assert _names(tmp_path / "cut") == _names(tmp_path / "whole") == RESULTS
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("whole", "cut")]
    assert 0 < reports[1]["resumed_at_frame"] <= 15
    assert reports[0]["journal"]
    ended = [[(e["request_id"], e["tick"]) for e in r["journal"]] for r in reports]
    assert ended[0] == ended[1]
    worlds = [open_world(tmp_path / name / "world.spatia", read_only=True) for name in ("whole", "cut")]
    assert worlds[0].content_hash() == worlds[1].content_hash()
    videos = [read_video(tmp_path / name / "video.mp4").astype(int) for name in ("whole", "cut")]
    assert videos[0].shape == videos[1].shape == (NUM_FRAMES, SIZE[1], SIZE[0], 3)
    assert np.abs(videos[0] - videos[1]).mean() < 3.0


def test_another_command_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _cut_off(monkeypatch, tmp_path, MemoryError)
    rollout(_command(tmp_path, "right-3"))
    assert "going on" not in capsys.readouterr().err
    assert len(read_video(tmp_path / "video.mp4")) == 4
    assert _names(tmp_path) == RESULTS


@pytest.mark.parametrize("content", ["", "[]", '{"key": 1}'])
def test_a_note_that_cannot_be_read_is_passed_over(tmp_path: Path, content: str) -> None:
    (tmp_path / resuming.NOTE_FILE).write_text(content)
    assert resuming.find_unfinished(tmp_path, "key") is None


def test_a_source_that_was_written_anew_is_another_command(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"1")
    command = commands.Rollout(source=str(photo), out=tmp_path, actions=ACTIONS)
    before = resuming.key_of(command)
    assert before == resuming.key_of(command)
    photo.write_bytes(b"22")
    assert resuming.key_of(command) != before
