"""The command line's options, one dataclass for each command. ``docs/cli.md`` explains them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from .errors import UserError

Positional = tyro.conf.Positional
SOURCE_OPTIONS = ("depth", "intrinsics", "mask", "scale")
"""Options that say more about a source that a world is made from."""


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What commands take that make a world of a source and clips for it."""

    generator: str = ""
    """Who makes the clips: outpaint, procedural, spatia, none, an installed one; the source's own if not given."""
    depth: Path | None = None
    """Depth of a photo: 16-bit PNG in millimetres, 0 and 65535 unknown."""
    intrinsics: Path | None = None
    """File with fx fy cx cy, normalised by width and height; by EXIF, or 60 degrees across, if not given."""
    mask: Path | None = None
    """Of a photo: picture whose white pixels move and stay out of memory."""
    scale: str | None = None
    """Metres from the first to the last camera of a video or pictures, such as 0.8; of others 0.8@FRAME:FRAME."""
    prompt: str = ""
    """Words for generators that take them."""


@dataclass(frozen=True)
class Walk(SourceOptions):
    """Walk through a world that is generated while you walk."""

    source: Positional[str] = "garage"
    """Photo, video, folder of pictures or a recording, point cloud, .spatia world, or a sample:
    garage, rooms, yard, rooms:SEED:evening."""
    new: bool = False
    """Start afresh; the old world is kept beside the new one."""
    frozen: bool = False
    """Write nothing."""
    quality: Literal["draft", "balanced", "best"] = "balanced"
    """How slow a clip may be; models then choose steps, guidance and size by the speed that is measured."""
    size: str = ""
    """Size of the window or video, such as 832x480."""
    record: Path | None = None
    """Log of the walk, for `spatia rollout --replay`."""
    headless: bool = False
    """Walk a scripted path without a window."""
    seconds: float = 16.0
    """Length of the scripted walk without a window."""
    memory_limit: str = ""
    """Most memory that the world's points may take, such as 2GiB."""
    seed: int = 0
    """Of everything random in a new world."""


@dataclass(frozen=True)
class Rollout(SourceOptions):
    """Walk a path, a list of actions or a recording in simulated time, waiting for every clip."""

    source: Positional[str]
    """Photo, video, folder of pictures or a recording, point cloud, .spatia world, or a sample:
    garage, rooms, yard, rooms:SEED:evening."""
    out: Path
    """Folder for video.mp4, world.spatia, contact.png and report.json."""
    path: Path | None = None
    """World-to-camera matrices, one JSON matrix a line, used as written."""
    actions: str = ""
    """Such as "w-20,right-10": w a s d 5 cm, q e down and up, left right up down 1 degree, stay; KEY-N is N frames."""
    replay: Path | None = None
    """A log written by `spatia walk --record`."""
    frames: int | None = None
    """Only the first so many frames."""
    size: str = ""
    """Size of the video, such as 832x480; the source's, floored to even, if not given."""
    seed: int | None = None
    """Of everything random; a saved world's own if not given."""
    quality: Literal["draft", "balanced", "best"] = "best"
    """Work that models put into a clip: steps, guidance, size."""


@dataclass(frozen=True)
class Info:
    """Say what a world holds."""

    world: Positional[Path]
    """A .spatia file."""
    json: bool = False
    """As JSON."""


@dataclass(frozen=True)
class Export:
    """Write a world for other tools."""

    world: Positional[Path]
    """A .spatia file."""
    out: Positional[Path]
    """The file to write; its suffix tells the format: .ply .las .laz .e57 .glb. Or a folder, with --format."""
    format: str = ""
    """gaussians (.ply), or a folder of cameras and pictures: colmap, colmap-binary, nerfstudio, cameras,
    video."""


@dataclass(frozen=True)
class Bench:
    """Measure this machine: frame times idle and while clips are made, clip latency, merge, save, open."""

    json: Path | None = None
    """Also write the figures as JSON."""
    seconds: float = 60.0
    """Length of the scripted walk."""
    size: str = "832x480"
    """Size of the picture."""


@dataclass(frozen=True)
class Snapshot:
    """Keep what a world is now under a name; costs next to nothing."""

    world: Positional[Path]
    """A .spatia file."""
    name: Positional[str]
    """Unique among the world's snapshots and branches."""
    delete: bool = False
    """Take the name away instead."""


@dataclass(frozen=True)
class Branch:
    """Start a branch at what is present and go on there; without a name list the branches."""

    world: Positional[Path]
    """A .spatia file."""
    name: Positional[str] = ""
    """Unique among the world's snapshots and branches."""
    delete: bool = False
    """Remove the branch instead."""


@dataclass(frozen=True)
class Log:
    """List the snapshots that the world goes on from, newest first."""

    world: Positional[Path]
    """A .spatia file."""
    all: bool = False
    """Those of other branches too."""
    json: bool = False
    """As JSON."""


@dataclass(frozen=True)
class Diff:
    """Count the points and keyframes that were added, removed and changed between two moments."""

    a: Positional[str]
    """WORLD or WORLD@NAME, the name of a snapshot or branch."""
    b: Positional[str] = "@now"
    """The same, or a bare NAME of the first world; what is present if not given."""
    json: bool = False
    """As JSON, chunk by chunk."""
    picture: Path | None = None
    """Also draw it, PNG: added green, changed amber, removed red."""


@dataclass(frozen=True)
class Checkout:
    """Go to a snapshot or to the end of a branch; what is present is kept in a snapshot first."""

    world: Positional[Path]
    """A .spatia file."""
    name: Positional[str]
    """Of a snapshot or branch, or a snapshot's number."""


@dataclass(frozen=True)
class Merge:
    """Bring another branch's changes into what is present."""

    world: Positional[Path]
    """A .spatia file."""
    branch: Positional[str]
    """The branch, or a snapshot."""
    prefer: str = ""
    """Whose chunk to take where both changed it: ours or theirs; refused if not given."""


@dataclass(frozen=True)
class Gc:
    """Remove what no name or branch leads to, and give the space back."""

    world: Positional[Path]
    """A .spatia file."""
    prune: bool = False
    """Also snapshots without a name that lie in between."""


@dataclass(frozen=True)
class Check:
    """Look for damage in every byte of a world."""

    world: Positional[Path]
    """A .spatia file."""
    repair: bool = False
    """Make a whole world of what is left; the damaged file is kept beside it."""


@dataclass(frozen=True)
class Models:
    """List, fetch or check the weights of models."""

    action: Positional[str] = "list"
    """list, fetch or check."""
    what: Positional[str] = ""
    """Name of the model to fetch (spatia), or the folder to check."""


Command = (
    Annotated[Walk, tyro.conf.subcommand("walk")]
    | Annotated[Rollout, tyro.conf.subcommand("rollout")]
    | Annotated[Info, tyro.conf.subcommand("info")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
    | Annotated[Snapshot, tyro.conf.subcommand("snapshot")]
    | Annotated[Branch, tyro.conf.subcommand("branch")]
    | Annotated[Log, tyro.conf.subcommand("log")]
    | Annotated[Diff, tyro.conf.subcommand("diff")]
    | Annotated[Checkout, tyro.conf.subcommand("checkout")]
    | Annotated[Merge, tyro.conf.subcommand("merge")]
    | Annotated[Gc, tyro.conf.subcommand("gc")]
    | Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[Models, tyro.conf.subcommand("models")]
)
SIZE_LIMITS = (16, 8192)
UNITS = {
    "": 1,
    "B": 1,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "G": 2**30,
    "M": 2**20,
}


def parse_size(text: str) -> tuple[int, int] | None:
    """(width, height) of "832x480"; None of an empty text.

    Raises:
        UserError: Not two even numbers of pixels within limits.
    """
    if not text:
        return None
    parts = text.lower().split("x")
    low, high = SIZE_LIMITS
    if len(parts) == 2 and all(p.isdigit() for p in parts):
        width, height = int(parts[0]), int(parts[1])
        if all(low <= n <= high and n % 2 == 0 for n in (width, height)):
            return width, height
    raise UserError(f"--size WIDTHxHEIGHT, even, {low} to {high}", repr(text), "write for example --size 832x480")


def parse_bytes(text: str) -> int | None:
    """Bytes of "2GiB" or "500MB"; None of an empty text.

    Raises:
        UserError: Not a positive number with a known unit.
    """
    if not text:
        return None
    digits = text.rstrip("BbGgIiKkMm ")
    unit = text[len(digits) :].strip().upper()
    try:
        number = float(digits)
    except ValueError:
        number = -1.0
    if number <= 0 or unit not in UNITS:
        raise UserError(
            "--memory-limit as a number with MiB or GiB", repr(text), "write for example --memory-limit 2GiB"
        )
    return int(number * UNITS[unit])
