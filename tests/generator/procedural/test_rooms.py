"""Rooms are furnished so that one can get from every door to every other."""

import cv2
import numpy as np
import pytest
from spatia.generator.procedural import scene as s
from spatia.generator.procedural.cells import CellStore
from spatia.generator.procedural.place import Place
from spatia.generator.procedural.plan import Plan

COLUMNS, ROWS, RADIUS_M = 6, 8, 0.25


def standing_room(store: CellStore) -> tuple[np.ndarray, list[tuple[slice, slice]]]:
    """(rows, columns) bool, where a walker can stand in some cells side by side, and the part of each cell."""
    plan, texel = store.plan, s.FLOOR_TEXEL_M
    x0, y0 = plan.column(0), plan.row(0)
    solid = np.zeros(
        (round((plan.row(ROWS) - y0) / texel) + 2, round((plan.column(COLUMNS) - x0) / texel) + 2), np.uint8
    )
    parts = []
    for i in range(COLUMNS):
        for j in range(ROWS):
            cell = plan.cell(i, j)
            slot = store.slot_at(cell.x + 0.5, cell.y + 0.5)
            row, col = round((cell.y - y0) / texel), round((cell.x - x0) / texel)
            part = (slice(row, row + int(cell.depth / texel)), slice(col, col + int(cell.width / texel)))
            held = store.arrays.solid[slot, : int(cell.depth / texel), : int(cell.width / texel)]
            solid[part] = np.maximum(solid[part], held)
            parts.append(part)
    return cv2.distanceTransform(1 - solid, cv2.DIST_L2, 5) * texel > RADIUS_M, parts


@pytest.mark.parametrize("seed", [1, 3, 8, 19, 27])
def test_every_cell_is_reached_through_doors(place: Place, seed: int) -> None:
    free, parts = standing_room(CellStore(Plan(seed), place.light, place.textures, is_evening=False))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(free.astype(np.uint8), connectivity=4)
    whole = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    reached = [float((labels[part] == whole).mean()) for part in parts]
    assert min(reached) > 0.1
