"""Worlds of pictures without depth and poses: not metric unless a distance is known, and errors that say what to do."""

from pathlib import Path

import numpy as np
import pytest
import spatia
from PIL import Image
from spatia.runtime import tracked
from spatia.runtime.errors import UserError
from spatia.runtime.tracked import KnownDistance, TrackedSource, track_source
from spatia.saves.errors import SourceError
from spatia.saves.frames import Source, SourceFrame
from spatia.saves.sources import load_source
from spatia.tests.world.slam.corner import BLANK, PINHOLE, View
from spatia.tests.world.slam.panels import WAY, panels
from spatia.world.points import PointClass
from spatia.world.transforms import look


def source_of(views: list[View], *, with_depth: bool = False) -> Source:
    frames = tuple(SourceFrame(v.color, v.depth_m if with_depth else None, PINHOLE, np.eye(4)) for v in views)
    return Source("corner", "pictures", frames, metric=with_depth, note="a note; no poses", has_poses=False)


@pytest.fixture(scope="module")
def pictures() -> Source:
    return source_of([panels(p) for p in WAY[:5]])


@pytest.fixture(scope="module")
def metric(pictures: Source, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrackedSource, Path]:
    sheet = tmp_path_factory.mktemp("sheet") / "tracked.png"
    length = float(np.linalg.norm(WAY[4][:3, 3] - WAY[0][:3, 3]))
    return track_source(pictures, scale=KnownDistance(length), sheet=sheet), sheet


def test_a_known_distance_makes_pictures_metric(metric: tuple[TrackedSource, Path]):
    source = metric[0].source
    assert source.metric
    for frame in source.frames:
        index = int(np.argmin(np.abs(metric[0].trajectory.world_T_camera - frame.world_T_camera).max(axis=(1, 2))))
        true = panels(WAY[index]).depth_m
        both = (frame.depth_m > 0) & (true > 0)
        assert np.median(np.abs(frame.depth_m[both] / true[both] - 1)) < 0.03


def test_a_contact_sheet_of_what_was_tracked_is_drawn(metric: tuple[TrackedSource, Path]):
    sheet = np.asarray(Image.open(metric[1]))
    assert min(sheet.shape[:2]) > 600
    assert sheet.std() > 20


def test_a_world_of_a_folder_of_pictures_is_estimated_and_not_metric(tmp_path: Path):
    for k, pose in enumerate(WAY[:4]):
        Image.fromarray(panels(pose).color).save(tmp_path / f"{k}.png")
    told = []
    source = load_source(tmp_path, intrinsics=PINHOLE)
    world = spatia.create(source, progress=lambda what, share: told.append(what))
    assert not world.info.is_metric
    assert "not metric: no distance is known" in world.info.note
    assert "no poses" not in world.info.note
    counts = world.memory.snapshot().class_counts()
    assert counts[PointClass.ESTIMATED] > 10_000
    assert counts.get(PointClass.OBSERVED, 0) == 0
    assert {"finding corners", "placing pictures", "finding depth", "lifting frames"} <= set(told)


def test_two_pictures_are_too_few(pictures: Source):
    with pytest.raises(SourceError, match="expected 3 pictures or more\ngot 2"):
        track_source(source_of([panels(p) for p in WAY[:2]]))


@pytest.mark.parametrize(
    ("views", "reason"),
    [
        ([BLANK] * 4, "no texture"),
        ([panels(look((0, 0, 0), 0.05 * k, 0.0)) for k in range(3)], "no baseline"),
    ],
)
def test_pictures_that_cannot_be_placed_make_no_world(views: list[View], reason: str):
    with pytest.raises(SourceError, match=reason):
        spatia.create(source_of(views))


def test_a_scale_between_cameras_at_one_place_is_refused(
    pictures: Source, metric: tuple[TrackedSource, Path], monkeypatch: pytest.MonkeyPatch
):
    near = metric[0].trajectory.scaled(0.01)
    monkeypatch.setattr(tracked, "track_pictures", lambda frames, progress: near)
    with pytest.raises(UserError, match="cameras stood apart"):
        track_source(pictures, scale=KnownDistance(1.0))


@pytest.mark.parametrize(
    ("known", "words"),
    [(KnownDistance(1.0, 0, 99), "within 0:5"), (KnownDistance(1.0, 4, -1), "frame 4 twice")],
)
def test_frames_that_give_no_scale_are_refused_before_tracking(pictures: Source, known: KnownDistance, words: str):
    steps: list[str] = []
    with pytest.raises(UserError, match=words):
        track_source(pictures, lambda what, share: steps.append(what), scale=known)
    assert not steps


def test_a_scale_for_measured_depth_is_refused():
    with pytest.raises(UserError, match="no --scale with depth"):
        track_source(source_of([panels(p) for p in WAY[:3]], with_depth=True), scale=KnownDistance(1.0))


def test_recordings_with_depth_get_a_contact_sheet_too(tmp_path: Path):
    source = source_of([panels(p) for p in WAY[:3]], with_depth=True)
    made = track_source(source, sheet=tmp_path / "tracked.png")
    assert (tmp_path / "tracked.png").stat().st_size > 10_000
    assert made.source.note == "a note; poses found by tracking: 3 of 3 frames"


@pytest.mark.parametrize(
    ("text", "known"),
    [("0.8", KnownDistance(0.8, 0, -1)), ("0.8@2:45", KnownDistance(0.8, 2, 45)), (" 3 ", KnownDistance(3.0))],
)
def test_a_known_distance_is_read_from_text(text: str, known: KnownDistance):
    assert KnownDistance.parse(text) == known


@pytest.mark.parametrize("text", ["", "far", "-1", "0", "nan", "inf", "1@2", "1@a:b", "1@2:3:4"])
def test_what_is_no_distance_says_what_is(text: str):
    with pytest.raises(UserError, match="METRES"):
        KnownDistance.parse(text)
