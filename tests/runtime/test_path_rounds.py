"""A rollout along a given path is made in the rounds of its generator, as in the authors' program."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from spatia.generator import pipeline
from spatia.generator.queue import GenerationQueue
from spatia.generator.requests import ClipRequest
from spatia.renderer.capture import read_video
from spatia.runtime import commands, resuming, run_commands
from spatia.runtime.clip_films import CLIPS_FOLDER, FILM_FILE
from spatia.runtime.path_rounds import rounds_of
from spatia.runtime.resuming import find_unfinished
from spatia.runtime.run_commands import rollout
from spatia.runtime.session import Session
from spatia.runtime.world import World
from spatia.runtime.world import open as open_world
from spatia.saves.trajectories import read_trajectory, write_trajectory
from spatia.tests.fakes import MODULE, RoundsGenerator
from spatia.tests.runtime.tiny import SIZE, tiny_world

NUM_FRAMES = 30
FIRSTS = [0, 13, 19, 25]
"""The first new frame of each round; the last lacks a frame."""
INSTANT = f"{MODULE}:InstantGenerator"


@pytest.fixture(autouse=True)
def tiny_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny place with the command's prompt; saved after every clip; lifting is put back."""

    def world_of(*_: object, prompt: str = "", **__: object) -> World:
        world = tiny_world()
        world.walk.prompt = prompt
        return world

    monkeypatch.setattr(run_commands, "make_world", world_of)
    monkeypatch.setattr(resuming, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(pipeline, "lift", pipeline.lift)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ClipRequest]]:
    """The tick's frame and the request of all that is asked for."""
    out: list[tuple[int, ClipRequest]] = []
    submit = GenerationQueue.submit

    def watched(queue: GenerationQueue, request: ClipRequest) -> bool:
        out.append((request.tick - 1, request))
        return submit(queue, request)

    monkeypatch.setattr(GenerationQueue, "submit", watched)
    return out


def _path() -> np.ndarray:
    poses = np.repeat(np.eye(4)[None], NUM_FRAMES, 0)
    poses[:, 0, 3] = np.arange(NUM_FRAMES) * 0.01
    return poses


def _command(out: Path, prompt: str = "one\ntwo", **options: object) -> commands.Rollout:
    path = out.with_suffix(".txt")
    if not path.exists():
        write_trajectory(path, _path())
    given = {"path": path, "generator": f"{MODULE}:RoundsGenerator", "size": f"{SIZE[0]}x{SIZE[1]}"}
    return commands.Rollout(source="tiny", out=out, prompt=prompt, **(given | options))  # type: ignore[arg-type]


def _report(out: Path) -> dict:
    return json.loads((out / "report.json").read_text())


def _places_in_film(out: Path) -> np.ndarray:
    """Frame of the path that each frame of the film shows."""
    return np.round(read_video(out / FILM_FILE).astype(float).mean((1, 2, 3)) / 5.0).astype(int)


def _stopped_at(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, error: type[BaseException], call: int, run: Callable
) -> None:
    """Run until a method is called for the so many-th time, which ends the program."""
    method: Callable = getattr(owner, name)
    calls = iter(range(1000))

    def until(*arguments: object) -> object:
        if next(calls) == call:
            raise error
        return method(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, until)
        with pytest.raises(error):
            run()


def test_each_round_is_asked_for_when_the_walk_comes_to_its_first_new_frame(
    tmp_path: Path, asked: list[tuple[int, ClipRequest]]
) -> None:
    rollout(_command(tmp_path / "out"))
    assert [frame for frame, _ in asked] == FIRSTS
    assert [request.purpose for _, request in asked] == ["round"] * 4
    for (_, request), new in zip(
        asked, [range(13), range(13, 19), range(19, 25), [25, 26, 27, 28, 29, 29]], strict=True
    ):
        np.testing.assert_allclose(request.world_T_camera, _path()[list(new)], atol=1e-9)
    assert [request.num_padded for _, request in asked] == [0, 0, 0, 1]


def test_every_round_but_the_first_goes_on_from_the_last_frames_where_they_were_found_to_be(
    tmp_path: Path, asked: list[tuple[int, ClipRequest]]
) -> None:
    rollout(_command(tmp_path / "out"))
    requests = [request for _, request in asked]
    assert requests[0].tail is None
    for before, request in zip(FIRSTS[1:], requests[1:], strict=True):
        assert request.tail is not None
        assert request.tail.mean((1, 2, 3)).tolist() == [5.0 * k for k in range(before - 3, before)]
        found = _path()[before - 3 : before, 0, 3] + 0.01  # the stand-in of lifting moves a clip by 1 cm
        np.testing.assert_allclose(request.tail_world_T_camera[:, 0, 3], found)
        assert request.after == 0
    points = [request.memory.num_points for request in requests]
    assert points == sorted(set(points))


def test_each_round_has_its_prompt_and_the_last_one_is_repeated(
    tmp_path: Path, asked: list[tuple[int, ClipRequest]]
) -> None:
    rollout(_command(tmp_path / "out"))
    assert [request.prompt for _, request in asked] == ["one", "two", "two", "two"]


def test_the_film_holds_each_frame_of_the_path_once_and_in_order(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rollout(_command(out))
    assert _places_in_film(out).tolist() == list(range(NUM_FRAMES))
    assert len(read_video(out / "video.mp4")) == NUM_FRAMES
    found = np.concatenate([read_trajectory(p) for p in sorted((out / CLIPS_FOLDER).glob("*.w2c.txt"))])
    np.testing.assert_allclose(found[:, 0, 3], _path()[:, 0, 3] + 0.01, atol=1e-6)
    rounds = _report(out)["rounds"]
    assert [r["frames"] for r in rounds] == [[0, 13], [13, 19], [19, 25], [25, 30]]
    assert [(r["outcome"], r["made"], r["reason"]) for r in rounds] == [("done", n, "") for n in (13, 6, 6, 5)]


def test_a_short_path_is_one_round_of_full_length(tmp_path: Path, asked: list[tuple[int, ClipRequest]]) -> None:
    rollout(_command(tmp_path / "out", frames=4))
    ((_, request),) = asked
    assert (request.num_frames, request.num_padded) == (13, 9)
    assert _places_in_film(tmp_path / "out").tolist() == [0, 1, 2, 3]


def test_a_walk_by_actions_follows_the_director(tmp_path: Path, asked: list[tuple[int, ClipRequest]]) -> None:
    rollout(_command(tmp_path / "out", path=None, actions="right-2"))
    assert asked
    assert all(request.purpose == "way" and not request.num_padded for _, request in asked)
    assert "rounds" not in _report(tmp_path / "out")


def test_a_generator_without_rounds_follows_the_director(tmp_path: Path, asked: list[tuple[int, ClipRequest]]) -> None:
    assert rounds_of(INSTANT, 30) == ()
    rollout(_command(tmp_path / "out", generator=INSTANT, frames=2))
    assert all(request.purpose != "round" for _, request in asked)


def test_the_papers_generator_makes_rounds_of_121_and_81_frames() -> None:
    made = rounds_of("spatia", 194)
    assert [(r.start, r.stop, r.num_history, r.num_padded) for r in made] == [
        (0, 121, 0, 0),
        (112, 193, 9, 0),
        (184, 194, 9, 71),
    ]


def test_a_round_that_memory_refuses_is_told_and_the_next_goes_on_from_its_frames(
    tmp_path: Path, asked: list[tuple[int, ClipRequest]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    rollout(_command(out, "a\nrefuse\na"))
    request = asked[2][1]
    assert request.tail is not None
    assert request.tail.mean((1, 2, 3)).tolist() == [80.0, 85.0, 90.0]
    np.testing.assert_allclose(request.tail_world_T_camera, _path()[16:19], atol=1e-9)
    assert [r["reason"] for r in _report(out)["rounds"]] == ["", "does not fit memory", "", ""]
    assert "round 1 (frames 13 to 18): memory took nothing: does not fit memory" in capsys.readouterr().err
    assert _places_in_film(out).tolist() == list(range(NUM_FRAMES))


def test_after_a_round_that_failed_the_next_goes_on_from_the_last_frames_there_are(
    tmp_path: Path, asked: list[tuple[int, ClipRequest]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    rollout(_command(out, "a\nfail\na"))
    assert [frame for frame, _ in asked] == FIRSTS
    tail = asked[2][1].tail
    assert tail is not None
    assert tail.mean((1, 2, 3)).tolist() == [50.0, 55.0, 60.0]
    failed = _report(out)["rounds"][1]
    assert (failed["outcome"], failed["made"]) == ("failed", 0)
    assert "round 1 (frames 13 to 18): not made: ValueError" in capsys.readouterr().err
    assert _places_in_film(out).tolist() == [*range(13), *range(19, 30)]


def test_a_path_whose_first_round_failed_is_made_from_the_second_on(
    tmp_path: Path, asked: list[tuple[int, ClipRequest]]
) -> None:
    rollout(_command(tmp_path / "out", "fail\na"))
    assert [request.tail is None for _, request in asked] == [True, True, False, False]
    assert _places_in_film(tmp_path / "out").tolist() == list(range(13, NUM_FRAMES))


def test_where_memory_runs_out_the_walk_goes_on_without_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[int, ClipRequest]]
) -> None:
    monkeypatch.setattr("spatia.runtime.fallback.DEFAULT_FALLBACK", INSTANT)
    monkeypatch.setattr("spatia.runtime.fallback.LAST_RESORTS", (INSTANT,))
    out = tmp_path / "out"
    rollout(_command(out, "a\nallocate"))
    report = _report(out)
    assert report["fallback"]["generator"] == INSTANT
    assert [r["outcome"] for r in report["rounds"]] == ["done", "failed"]
    assert [request.purpose for _, request in asked].count("round") == 2
    assert len(read_video(out / "video.mp4")) == NUM_FRAMES
    assert _places_in_film(out).tolist() == list(range(13))


@pytest.mark.parametrize("prompt", ["one\ntwo", "a\nrefuse\na\nb"])
@pytest.mark.parametrize(
    ("owner", "name", "error", "call"),
    [
        (Session, "follow", MemoryError, 16),
        (Session, "follow", KeyboardInterrupt, 23),
        (RoundsGenerator, "generate", KeyboardInterrupt, 2),
    ],
)
def test_a_path_that_was_cut_off_ends_as_if_nothing_had_happened(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: list[tuple[int, ClipRequest]],
    owner: type,
    name: str,
    error: type[BaseException],
    call: int,
    prompt: str,
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    rollout(_command(whole, prompt))
    wanted = list(asked)
    _stopped_at(monkeypatch, owner, name, error, call, lambda: rollout(_command(cut, prompt)))
    found = find_unfinished(cut, resuming.key_of(_command(cut, prompt)))
    assert found is not None
    asked.clear()
    rollout(_command(cut, prompt))
    for (frame, request), (again, other) in zip(wanted[-len(asked) :], asked, strict=True):
        assert (frame, request.request_id, request.seed) == (again, other.request_id, other.seed)
        np.testing.assert_array_equal(request.tail, other.tail)
        np.testing.assert_allclose(request.tail_world_T_camera, other.tail_world_T_camera, atol=1e-12)
    assert [frame for frame, _ in asked] == [f for f in FIRSTS if f >= found.next_frame]
    assert _report(cut)["content_hash"] == _report(whole)["content_hash"]
    assert _report(cut)["rounds"] == _report(whole)["rounds"]
    assert _places_in_film(cut).tolist() == list(range(NUM_FRAMES))
    worlds = [open_world(out / "world.spatia", read_only=True) for out in (whole, cut)]
    assert [k.keyframe_id for k in worlds[0].bank.keyframes] == [k.keyframe_id for k in worlds[1].bank.keyframes]
    assert worlds[0].bank.next_id == worlds[1].bank.next_id
