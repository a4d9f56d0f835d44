"""Keyframes with their cameras for other tools: COLMAP, nerfstudio, and the path format of the method's authors.

COLMAP has our axes (x right, y down, z forward), pixel centres at +0.5, and world-to-camera poses. nerfstudio has
OpenGL cameras (y up, looking along -z) in a world with z up, ``(x, z, -y)``.
"""

import json
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..world.keyframes import Keyframe
from ..world.points import PointBatch
from ..world.transforms import Transform, invert
from .ply import Progress

PINHOLE_MODEL = 1
"""COLMAP's number of its camera model PINHOLE: fx, fy, cx, cy."""
Z_UP_T_WORLD = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""From OpenCV's world axes to x right, y forward, z up."""
_GL_T_CV = np.diag([1.0, -1.0, -1.0, 1.0])
MAX_DEPTH_MM = 65535


def quaternion_of(rotation: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Unit quaternion w, x, y, z of a rotation, w not negative; the eigenvector method of Bar-Itzhack (2000)."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    k = np.array(
        [
            [xx - yy - zz, 0, 0, 0],
            [xy + yx, yy - xx - zz, 0, 0],
            [xz + zx, yz + zy, zz - xx - yy, 0],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    values, vectors = np.linalg.eigh(k / 3.0)
    x, y, z, w = vectors[:, np.argmax(values)]
    quaternion = np.array([w, x, y, z])
    return -quaternion if w < 0 else quaternion


def write_colmap(
    folder: Path,
    keyframes: Sequence[Keyframe],
    batches: Iterable[PointBatch],
    *,
    num_points: int,
    is_binary: bool,
    progress: Progress | None = None,
) -> None:
    """Write ``images/`` and ``sparse/0/`` with cameras, images and points3D, as text or binary."""
    model = folder / "sparse" / "0"
    model.mkdir(parents=True)
    write_images(folder / "images", keyframes)
    suffix, write = ("bin", _Binary) if is_binary else ("txt", _Text)
    with (model / f"cameras.{suffix}").open("wb") as file:
        file.write(write.count(len(keyframes)))
        for k in keyframes:
            file.write(write.camera(k))
    with (model / f"images.{suffix}").open("wb") as file:
        file.write(write.count(len(keyframes)))
        for k in keyframes:
            file.write(write.image(k))
    with (model / f"points3D.{suffix}").open("wb") as file:
        file.write(write.count(num_points))
        done = 0
        for batch in batches:
            file.write(write.points(batch, done + 1))
            done += len(batch)
            if progress is not None:
                progress(done / max(1, num_points))


class _Text:
    """COLMAP's text model: https://colmap.github.io/format.html"""

    @staticmethod
    def count(n: int) -> bytes:
        return f"# {n} rows, written by spatia\n".encode()

    @staticmethod
    def camera(k: Keyframe) -> bytes:
        p = k.pinhole
        return f"{k.keyframe_id} PINHOLE {p.width} {p.height} {p.fx!r} {p.fy!r} {p.cx!r} {p.cy!r}\n".encode()

    @staticmethod
    def image(k: Keyframe) -> bytes:
        numbers = " ".join(repr(float(v)) for v in _pose_numbers(k))
        return f"{k.keyframe_id} {numbers} {k.keyframe_id} {image_name(k)}\n\n".encode()

    @staticmethod
    def points(batch: PointBatch, first: int) -> bytes:
        rows = zip(batch.positions_world.tolist(), batch.colors.tolist(), strict=True)
        lines = (f"{i} {x:.6g} {y:.6g} {z:.6g} {r} {g} {b} 0\n" for i, ((x, y, z), (r, g, b)) in enumerate(rows, first))
        return "".join(lines).encode()


class _Binary:
    """COLMAP's binary model, little-endian."""

    @staticmethod
    def count(n: int) -> bytes:
        return struct.pack("<Q", n)

    @staticmethod
    def camera(k: Keyframe) -> bytes:
        p = k.pinhole
        return struct.pack("<IiQQ4d", k.keyframe_id, PINHOLE_MODEL, p.width, p.height, p.fx, p.fy, p.cx, p.cy)

    @staticmethod
    def image(k: Keyframe) -> bytes:
        head = struct.pack("<I7dI", k.keyframe_id, *_pose_numbers(k), k.keyframe_id)
        return head + image_name(k).encode() + b"\0" + struct.pack("<Q", 0)

    @staticmethod
    def points(batch: PointBatch, first: int) -> bytes:
        fields = [("id", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("track", "<u8")]
        rows = np.zeros(len(batch), np.dtype(fields))
        rows["id"] = np.arange(first, first + len(batch))
        rows["xyz"], rows["rgb"] = batch.positions_world, batch.colors
        return rows.tobytes()


def _pose_numbers(k: Keyframe) -> npt.NDArray[np.float64]:
    """Quaternion w, x, y, z and translation of camera_T_world."""
    camera_T_world = invert(k.world_T_camera)
    return np.concatenate([quaternion_of(camera_T_world[:3, :3]), camera_T_world[:3, 3]])


def write_nerfstudio(
    folder: Path,
    keyframes: Sequence[Keyframe],
    batches: Iterable[PointBatch],
    *,
    num_points: int,
    progress: Progress | None = None,
) -> None:
    """Write ``transforms.json``, ``images/``, ``depths/`` (millimetres, 16 bit) and ``sparse_pc.ply``, z up."""
    write_images(folder / "images", keyframes)
    frames = [_nerfstudio_frame(folder, k) for k in keyframes]
    facts = {
        "camera_model": "OPENCV",
        "ply_file_path": "sparse_pc.ply",
        "depth_unit_scale_factor": 0.001,
        "applied_transform": np.eye(4)[:3].tolist(),
        "frames": frames,
    }
    (folder / "transforms.json").write_text(json.dumps(facts, indent=1) + "\n")
    head = "ply\nformat binary_little_endian 1.0\n" + f"element vertex {num_points}\n"
    head += "".join(f"property float {n}\n" for n in "xyz")
    head += "".join(f"property uchar {n}\n" for n in ("red", "green", "blue")) + "end_header\n"
    record = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)])
    done = 0
    with (folder / "sparse_pc.ply").open("wb") as file:
        file.write(head.encode())
        for batch in batches:
            rows = np.zeros(len(batch), record)
            x, y, z = batch.positions_world.T
            rows["xyz"], rows["rgb"] = np.stack([x, z, -y], axis=1), batch.colors
            file.write(rows.tobytes())
            done += len(batch)
            if progress is not None:
                progress(done / max(1, num_points))


def _nerfstudio_frame(folder: Path, k: Keyframe) -> dict[str, Any]:
    p = k.pinhole
    frame: dict[str, Any] = {
        "file_path": f"images/{image_name(k)}",
        **{"w": p.width, "h": p.height, "fl_x": p.fx, "fl_y": p.fy, "cx": p.cx, "cy": p.cy},
        "transform_matrix": nerfstudio_pose(k.world_T_camera).tolist(),
    }
    if k.depth_m is not None:
        name = f"depths/{image_name(k)}"
        (folder / "depths").mkdir(exist_ok=True)
        depth = np.clip(np.rint(k.depth_m * 1000.0), 0, MAX_DEPTH_MM).astype(np.uint16)
        Image.fromarray(depth).save(folder / name)
        frame["depth_file_path"] = name
    return frame


def nerfstudio_pose(world_T_camera: Transform) -> Transform:
    """Camera to world as nerfstudio has it: OpenGL camera, z up."""
    return Z_UP_T_WORLD @ world_T_camera @ _GL_T_CV


def write_camera_path(folder: Path, keyframes: Sequence[Keyframe]) -> None:
    """Write ``w2c.txt``, one world-to-camera matrix a line as JSON, ``intrinsics.txt``, normalised, and ``images/``."""
    lines = [json.dumps(invert(k.world_T_camera).tolist()) for k in keyframes]
    (folder / "w2c.txt").write_text("\n".join(lines) + "\n")
    fx, fy, cx, cy = keyframes[0].pinhole.normalized()
    (folder / "intrinsics.txt").write_text(f"{fx!r} {fy!r} {cx!r} {cy!r}\n")
    write_images(folder / "images", keyframes)


def write_images(folder: Path, keyframes: Sequence[Keyframe]) -> None:
    """Write the keyframes' pictures as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in keyframes:
        Image.fromarray(k.color).save(folder / image_name(k), compress_level=3)


def image_name(k: Keyframe) -> str:
    """File name of a keyframe's picture."""
    return f"{k.keyframe_id:08d}.png"
