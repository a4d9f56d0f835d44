"""A rollout that was cut off goes on where it was, and ends as if nothing had happened."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from spatia.renderer.capture import read_video
from spatia.runtime import commands, resuming, run_commands
from spatia.runtime.clip_films import CLIPS_FOLDER, FILM_FILE
from spatia.runtime.run_commands import rollout
from spatia.runtime.session import Session
from spatia.runtime.world import open as open_world
from spatia.saves.trajectories import read_trajectory
from spatia.tests.fakes import MODULE, InstantGenerator
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
    (tmp_path / "cut" / "..video-001.mp4.77.partial").write_bytes(b"a kill leaves this")
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


def test_a_film_holds_every_clip_as_it_was_made_before_and_after_the_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InstantGenerator, "wants_key_views", False)
    rollout(_command(tmp_path / "whole"))
    _cut_off(monkeypatch, tmp_path / "cut", MemoryError)
    rollout(_command(tmp_path / "cut"))
    for out in (tmp_path / "whole", tmp_path / "cut"):
        clips = sorted((out / CLIPS_FOLDER).glob("*.mp4"))
        lengths = [len(read_video(clip)) for clip in clips]
        assert len(read_video(out / FILM_FILE)) == sum(lengths) > 0
        for clip, length in zip(clips, lengths, strict=True):
            assert len(read_trajectory(clip.with_suffix(".w2c.txt"))) == length


def test_an_earlier_rollouts_film_goes_when_another_begins(tmp_path: Path) -> None:
    (tmp_path / CLIPS_FOLDER).mkdir()
    (tmp_path / CLIPS_FOLDER / "0009.mp4").write_bytes(b"")
    (tmp_path / FILM_FILE).write_bytes(b"")
    rollout(_command(tmp_path, "stay-1"))
    assert _names(tmp_path) == RESULTS
