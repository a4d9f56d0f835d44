"""Where paging stands, for the screen and for reports."""

from dataclasses import dataclass

from .coarse import COARSE_LEVEL, FAR_LEVEL
from .paging_table import ABSENT, PagedTable


@dataclass(frozen=True, slots=True)
class PagingStatus:
    """Where paging stands.

    Attributes:
        num_chunks, num_points: Of the world.
        held_points: Held for working on.
        full_chunks, full_points: Given to the renderer in full.
        blocks: Blocks of chunks given to it as one.
        coarse_points, far_points: Of those, in the coarser and in the far level.
        reach_m: Up to this distance ahead, what is drawn is drawn in full.
        loads, evictions: Chunks read, and dropped for others, so far.
        num_damaged: Chunks that could not be read.
        is_complete: All that the plan asks for is there.
        failure: Why nothing is read ahead any more, or empty.
    """

    num_chunks: int
    num_points: int
    held_points: int
    full_chunks: int
    full_points: int
    blocks: int
    coarse_points: int
    far_points: int
    reach_m: float
    loads: int
    evictions: int
    num_damaged: int
    is_complete: bool
    failure: str = ""

    @property
    def drawn_points(self) -> int:
        """Given to the renderer in any level."""
        return self.full_points + self.coarse_points + self.far_points


def status_of(
    table: PagedTable,
    *,
    held_points: int,
    counts: tuple[int, int],
    num_damaged: int,
    reach_m: float,
    is_complete: bool,
    failure: str,
) -> PagingStatus:
    """Counts of a table that nobody changes meanwhile; ``counts`` are loads and evictions."""
    n, b = table.num_rows, table.num_blocks
    level, drawn = table.block_level[:b], table.block_drawn[:b]
    return PagingStatus(
        num_chunks=int((table.num_points[:n] > 0).sum()),
        num_points=int(table.num_points[:n].sum()),
        held_points=held_points,
        full_chunks=int((table.drawn[:n] > 0).sum()),
        full_points=int(table.drawn[:n].sum()),
        blocks=int((level != ABSENT).sum()),
        coarse_points=int(drawn[level == COARSE_LEVEL].sum()),
        far_points=int(drawn[level == FAR_LEVEL].sum()),
        reach_m=reach_m,
        loads=counts[0],
        evictions=counts[1],
        num_damaged=num_damaged,
        is_complete=is_complete,
        failure=failure,
    )
