"""Chunks drawn together in coarser levels: the very points that the chunks have."""

import numpy as np
import pytest
from spatia.world.blocks import BLOCK_SIDE, Block, block_of, coarse_block, far_block
from spatia.world.chunks import CHUNK_SIDE, OFFSET_STEPS, Chunk, ChunkKey, morton
from spatia.world.coarse import COARSE_LEVEL, FAR_LEVEL, coarsen, far_words

from .test_paging import VOXEL_M, make_chunk

CELL_VOXELS = 1 << COARSE_LEVEL
KEYS: list[ChunkKey] = [(-1, 2, 5), (-4, 0, 4), (-2, 3, 7), (-4, 0, 5)]


@pytest.fixture(scope="module")
def chunks() -> list[Chunk]:
    return [make_chunk(key, 900) for key in KEYS]


def first_of_blocks(chunk: Chunk, level: int) -> np.ndarray:
    """Places of the first voxel, in Morton order, of every block of 2^level voxels a side: one by one."""
    seen: dict[int, int] = {}
    for i, code in enumerate(chunk.codes.tolist()):
        seen.setdefault(code >> 3 * level, i)
    return np.array(sorted(seen.values()))


def positions_of(block: Block) -> np.ndarray:
    """(N, 3) world positions in voxels."""
    corner = np.array(block.key[:3]) * (BLOCK_SIDE * CHUNK_SIDE)
    return corner + (block.local_q8 + 0.5) / OFFSET_STEPS * CELL_VOXELS


def truth_of(chunks: list[Chunk], level: int) -> tuple[np.ndarray, np.ndarray]:
    """World positions in voxels and colours of the points that a level should show."""
    found = [(first_of_blocks(c, level), c) for c in chunks]
    positions = [c.positions_world(VOXEL_M)[at] / VOXEL_M for at, c in found]
    return np.concatenate(positions), np.concatenate([c.colors()[at] for at, c in found])


def in_order(positions: np.ndarray, colors: np.ndarray, cell: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort(np.floor(positions / cell).T)
    return positions[order], colors[order].astype(int)


def colors_of(block: Block) -> np.ndarray:
    return block.color_rgba.view(np.uint8).reshape(-1, 4)[:, :3]


def made(chunks: list[Chunk], level: int) -> Block:
    key = block_of(chunks[0].key)
    if level == COARSE_LEVEL:
        return coarse_block(key, [coarsen(c) for c in chunks], 1.0)
    return far_block(key, [c.key for c in chunks], [far_words(c) for c in chunks], 1.0)


@pytest.mark.parametrize(("level", "off_voxels", "off_color"), [(COARSE_LEVEL, 0.27, 1), (FAR_LEVEL, 2.01, 2)])
def test_a_block_has_one_point_of_each_cell_where_its_chunks_have_it(
    chunks: list[Chunk], level: int, off_voxels: float, off_color: int
) -> None:
    block = made(chunks, level)
    here, color = in_order(positions_of(block), colors_of(block), CELL_VOXELS)
    there, truth = in_order(*truth_of(chunks, level), CELL_VOXELS)
    assert len(here) == len(there)
    assert np.abs(here - there).max() <= off_voxels
    assert np.abs(color - truth).max() <= off_color


@pytest.mark.parametrize("level", [COARSE_LEVEL, FAR_LEVEL])
def test_a_block_s_cells_are_in_morton_order_whatever_the_order_of_its_chunks(chunks: list[Chunk], level: int) -> None:
    block, other = made(chunks, level), made(chunks[::-1], level)
    cells = morton(*(block.local_q8 >> 8).T).astype(int)
    assert (np.diff(cells) > 0).all()
    assert np.array_equal(block.local_q8, other.local_q8)


def test_the_far_level_is_the_same_of_a_chunk_and_of_its_coarser_level(chunks: list[Chunk]) -> None:
    for chunk in chunks:
        whole, coarse = far_words(chunk), far_words(coarsen(chunk))
        assert np.array_equal(whole >> np.uint32(18), coarse >> np.uint32(18))  # colours are rounded twice


def test_keys_of_blocks_are_those_of_no_chunk(chunks: list[Chunk]) -> None:
    assert {block_of(c.key) for c in chunks} == {(-1, 0, 1, BLOCK_SIDE)}
