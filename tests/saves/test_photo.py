"""A photo as a source: pixels, lens, depth, mask, and everything that can be wrong with them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from spatia.saves.errors import SourceError
from spatia.saves.sources import load_source
from spatia.tests.saves.pictures import ramp, save_depth, save_photo, shared_data
from spatia.world.camera import Pinhole


def exif(**tags: object) -> Image.Exif:
    data = Image.Exif()
    for name, value in tags.items():
        if name == "Orientation":
            data[ExifTags.Base.Orientation] = value
        else:
            data.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base[name]] = value
    return data


def message_of(caught: pytest.ExceptionInfo[SourceError]) -> str:
    message = str(caught.value)
    assert 2 <= len(message.splitlines()) <= 3
    return message


def refused(path: Path | str, **options: object) -> str:
    with pytest.raises(SourceError) as caught:
        load_source(path, **options)
    return message_of(caught)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.bmp", "a.tiff", "noending"])
def test_a_photo_keeps_its_pixels(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    Image.fromarray(ramp()).save(path, "PNG" if name == "noending" else None, lossless=True)
    source = load_source(path)
    assert np.array_equal(source.frames[0].color, ramp())
    assert (source.kind, source.name, source.metric) == ("photo", path.stem, False)
    assert np.array_equal(source.frames[0].world_T_camera, np.eye(4))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "LA"])
def test_other_kinds_of_colour_become_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tiff"
    Image.fromarray(ramp()).convert(mode).save(path)
    color = load_source(path).frames[0].color
    assert color.shape == (32, 48, 3)
    assert color.dtype == np.uint8


@pytest.mark.parametrize(("orientation", "turn"), [(3, 2), (6, -1), (8, 1)])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, turn: int) -> None:
    path = save_photo(tmp_path / "a.png", exif=exif(Orientation=orientation))
    assert np.array_equal(load_source(path).frames[0].color, np.rot90(ramp(), turn))


def test_a_photo_that_says_nothing_gets_the_stated_default(tmp_path: Path) -> None:
    source = load_source(save_photo(tmp_path / "a.png"))
    assert np.degrees(source.frames[0].pinhole.fov_x_rad) == pytest.approx(60)
    assert "60° across (assumed" in source.note
    assert "not metric" in source.note


def test_the_35_mm_equivalent_gives_the_focal_length(tmp_path: Path) -> None:
    path = save_photo(tmp_path / "a.jpg", ramp(48, 32), exif(FocalLengthIn35mmFilm=26))
    camera = load_source(path).frames[0].pinhole
    assert camera.fx == pytest.approx(26 / 36 * 48)  # a 3:2 picture has the full frame's diagonal at its own width
    assert camera.fx == camera.fy
    assert "26 mm equivalent" in load_source(path).note


def test_the_sensors_resolution_gives_the_focal_length(tmp_path: Path) -> None:
    tags = {
        "FocalLength": 18.0,
        "FocalPlaneXResolution": 2000.0 / 36.0 * 10,  # 2000 pixels on 36 mm, in pixels per centimetre
        "FocalPlaneResolutionUnit": 3,
        "ExifImageWidth": 2000,
    }
    camera = load_source(save_photo(tmp_path / "a.jpg", exif=exif(**tags))).frames[0].pinhole
    assert camera.fx == pytest.approx(48 * 18 / 36, rel=1e-4)  # the picture was shrunk from 2000 to 48 pixels


def test_a_turned_photo_keeps_its_focal_length(tmp_path: Path) -> None:
    path = save_photo(tmp_path / "a.jpg", exif=exif(FocalLengthIn35mmFilm=26, Orientation=6))
    camera = load_source(path).frames[0].pinhole
    assert camera.size == (32, 48)
    assert camera.fx == pytest.approx(26 / 36 * 48)


@pytest.mark.parametrize("tags", [{"FocalLengthIn35mmFilm": 0}, {"FocalLength": 4.2}, {"FocalLengthIn35mmFilm": 60000}])
def test_exif_that_says_too_little_or_nonsense_is_passed_over(tmp_path: Path, tags: dict[str, object]) -> None:
    source = load_source(save_photo(tmp_path / "a.jpg", exif=exif(**tags)))
    assert "assumed" in source.note


def test_given_intrinsics_win_over_exif(tmp_path: Path) -> None:
    path = save_photo(tmp_path / "a.jpg", exif=exif(FocalLengthIn35mmFilm=26))
    camera = load_source(path, intrinsics=(1.0, 1.5, 0.5, 0.5)).frames[0].pinhole
    assert camera == Pinhole(48, 32, 48.0, 48.0, 24.0, 16.0)


# Depth and mask


def test_depth_in_millimetres_becomes_metres_and_its_unknown_zero(tmp_path: Path) -> None:
    steps = np.full((32, 48), 1500)
    steps[0, 0], steps[0, 1], steps[1, 0] = 0, 65535, 65534
    path = save_photo(tmp_path / "a.png")
    source = load_source(path, depth=save_depth(tmp_path / "d.png", steps))
    depth = source.frames[0].depth_m
    assert depth is not None
    assert depth.dtype == np.float32
    assert (depth[0, 0], depth[0, 1]) == (0, 0)
    assert depth[1, 0] == np.float32(65.534)
    assert (depth[5:] == 1.5).all()
    assert source.metric
    assert "not metric" not in source.note


def test_npy_depth_is_metres_and_nan_unknown(tmp_path: Path) -> None:
    values = np.full((32, 48), 2.5)
    values[3, 4], values[3, 5] = np.nan, np.inf
    np.save(tmp_path / "d.npy", values)
    depth = load_source(save_photo(tmp_path / "a.png"), depth=tmp_path / "d.npy").frames[0].depth_m
    assert depth is not None
    assert (depth[3, 4], depth[3, 5], depth[0, 0]) == (0, 0, 2.5)


def test_depth_may_be_an_array(tmp_path: Path) -> None:
    depth = np.full((32, 48), 2.0, np.float32)
    frame = load_source(save_photo(tmp_path / "a.png"), depth=depth).frames[0]
    assert np.array_equal(frame.depth_m, depth)
    assert depth.flags.writeable  # the caller's array stays the caller's


def test_smaller_depth_of_the_same_shape_is_brought_to_size(tmp_path: Path) -> None:
    steps = np.arange(16 * 24).reshape(16, 24) + 1000
    source = load_source(save_photo(tmp_path / "a.png"), depth=save_depth(tmp_path / "d.png", steps))
    depth = source.frames[0].depth_m
    assert np.array_equal(depth, np.repeat(np.repeat((steps / 1000).astype(np.float32), 2, axis=0), 2, axis=1))


def test_depth_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = save_depth(tmp_path / "d.png", np.full((48, 32), 1000))
    message = refused(save_photo(tmp_path / "a.png"), depth=path)
    assert "expected 48x32 pixels as the photo" in message
    assert "got 32x48" in message


def test_an_eight_bit_depth_file_is_refused(tmp_path: Path) -> None:
    message = refused(save_photo(tmp_path / "a.png"), depth=save_photo(tmp_path / "d.png"))
    assert "16-bit" in message


def test_depth_without_a_known_pixel_is_refused(tmp_path: Path) -> None:
    path = save_depth(tmp_path / "d.png", np.full((32, 48), 65535))
    assert "known depth" in refused(save_photo(tmp_path / "a.png"), depth=path)


@pytest.mark.parametrize("values", [np.full((32, 48), -1.0), np.ones((32, 48), int), np.ones((2, 32, 48))])
def test_npy_depth_of_a_wrong_kind_is_refused(tmp_path: Path, values: np.ndarray) -> None:
    np.save(tmp_path / "d.npy", values)
    refused(save_photo(tmp_path / "a.png"), depth=tmp_path / "d.npy")
    refused(save_photo(tmp_path / "a.png"), depth=values)


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_a_broken_npy_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d.npy").write_bytes(content)
    refused(save_photo(tmp_path / "a.png"), depth=tmp_path / "d.npy")


def test_a_pickled_npy_file_is_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    refused(save_photo(tmp_path / "a.png"), depth=tmp_path / "d.npy")


def test_a_huge_npy_is_refused_by_its_header(tmp_path: Path) -> None:
    np.lib.format.open_memmap(tmp_path / "d.npy", "w+", np.float32, (1, 1)).flush()
    data = (tmp_path / "d.npy").read_bytes().replace(b"(1, 1), }" + b" " * 12, b"(1000000, 1000000), }"[:21].ljust(21))
    (tmp_path / "d.npy").write_bytes(data)
    refused(save_photo(tmp_path / "a.png"), depth=tmp_path / "d.npy")


def test_white_moves(tmp_path: Path) -> None:
    mask = np.zeros((32, 48), np.uint8)
    mask[10:20, 5:9] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    moving = load_source(save_photo(tmp_path / "a.png"), mask=tmp_path / "m.png").frames[0].moving
    assert moving is not None
    assert np.array_equal(moving, mask > 0)


def test_a_mask_of_another_shape_is_refused(tmp_path: Path) -> None:
    refused(save_photo(tmp_path / "a.png"), mask=save_photo(tmp_path / "m.png", ramp(32, 48)))


# Files that are wrong


def test_a_missing_photo_is_named(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "nothing.jpg")


def test_an_empty_path_is_refused() -> None:
    assert "no such file" in refused("")


def test_an_empty_photo_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    assert "an empty file" in refused(tmp_path / "a.jpg")


@pytest.mark.parametrize("content", [b"hello", b"\0" * 5000, b"%PDF-1.7", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_photo_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    refused(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tiff", "a.bmp", "a.gif"])
def test_a_photo_cut_off_anywhere_is_refused(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 48, 3)).astype(np.uint8)
    data = save_photo(tmp_path / name, noise).read_bytes()
    for share in (0.001, 0.1, 0.5, 0.9):
        (tmp_path / name).write_bytes(data[: max(1, int(len(data) * share))])
        refused(tmp_path / name)


def test_a_depth_file_given_as_photo_is_refused_with_advice(tmp_path: Path) -> None:
    assert "--depth" in refused(save_depth(tmp_path / "d.png", np.full((32, 48), 1000)))


def test_a_picture_of_too_many_pixels_is_refused_undecoded(tmp_path: Path) -> None:
    Image.new("1", (20000, 20000)).save(tmp_path / "a.png")
    assert "megapixels" in refused(tmp_path / "a.png")


def test_a_tiny_picture_is_refused(tmp_path: Path) -> None:
    assert "16x16" in refused(save_photo(tmp_path / "a.png", ramp(4, 4)))


def test_a_world_file_is_pointed_to_its_opener(tmp_path: Path) -> None:
    from spatia.saves.store import WorldFile
    from spatia.tests.saves.worlds import make_state

    WorldFile.create(tmp_path / "home.spatia", make_state()).close()
    assert "spatia.open" in refused(tmp_path / "home.spatia")


def test_frames_of_a_photo_are_one(tmp_path: Path) -> None:
    path = save_photo(tmp_path / "a.png")
    assert len(load_source(path, frames=slice(0, 5)).frames) == 1
    assert "one frame" in refused(path, frames=slice(3, 5))


def test_a_message_stays_short_however_long_the_path(tmp_path: Path) -> None:
    message = refused(tmp_path / ("x" * 200))
    assert all(len(line) <= 240 for line in message.splitlines())


@pytest.mark.parametrize("case", ["1", "2", "3"])
def test_the_authors_cases_load(case: str) -> None:
    folder = shared_data(f"cases/{case}")
    mask = folder / "mask.png"
    source = load_source(folder / "img.jpg", intrinsics=folder / "intrinsics.txt", mask=mask if mask.exists() else None)
    frame = source.frames[0]
    assert frame.color.shape == (704, 1248, 3)
    assert 50 < np.degrees(frame.pinhole.fov_x_rad) < 72
    assert (frame.moving is not None) == mask.exists()
