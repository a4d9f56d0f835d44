"""The plan is endless, hashed, and the same from both sides of every wall."""

import pytest
from spatia.generator.procedural import scene as s
from spatia.generator.procedural.furnishing import NEEDS, ROOM_USES
from spatia.generator.procedural.plan import CellPlan, Plan
from spatia.generator.procedural.props import picture
from spatia.generator.procedural.rooms import build_cell

FAR = 1_000_003


def cells(plan: Plan, i0: int = -4, j0: int = -8) -> list[CellPlan]:
    return [plan.cell(i, j) for i in range(i0, i0 + 8) for j in range(j0, j0 + 16)]


def test_both_cells_of_an_edge_have_the_same_openings() -> None:
    plan = Plan(5)
    for cell in cells(plan):
        east = plan.cell(cell.i + 1, cell.j)
        north = plan.cell(cell.i, cell.j + 1)
        assert [(o.low, o.high, o.kind) for o in cell.on(s.EAST)] == [(o.low, o.high, o.kind) for o in east.on(s.WEST)]
        assert [(o.low, o.high, o.kind) for o in cell.on(s.NORTH)] == [
            (o.low, o.high, o.kind) for o in north.on(s.SOUTH)
        ]


def test_openings_lie_within_their_side_and_apart() -> None:
    for cell in cells(Plan(6)):
        for side in range(4):
            length = cell.width if side in (s.SOUTH, s.NORTH) else cell.depth
            at = 0.0
            for o in cell.on(side):
                assert at <= o.low < o.high <= length + 1e-9
                at = o.high


def test_a_point_lies_in_the_cell_that_is_located() -> None:
    plan = Plan(7)
    for x, y in ((0.0, 0.0), (-0.1, -0.1), (4.79, 20.4), (-977.3, 1e5), (FAR * 4.8, -FAR * 20.48)):
        i, j = plan.locate(x, y)
        cell = plan.cell(i, j)
        assert cell.x <= x < cell.x + cell.width
        assert cell.y <= y < cell.y + cell.depth


def test_another_seed_gives_another_plan() -> None:
    assert [c.openings for c in cells(Plan(1))] != [c.openings for c in cells(Plan(2))]


def test_a_cell_is_built_alike_whatever_was_built_before() -> None:
    alone = build_cell(9, Plan(9).cell(2, 0)).arrays()
    plan = Plan(9)
    for cell in cells(plan):
        build_cell(9, cell)
    after = build_cell(9, plan.cell(2, 0)).arrays()
    assert alone[0].tobytes() == after[0].tobytes()
    assert alone[1].tobytes() == after[1].tobytes()


def test_no_cell_outgrows_its_arrays() -> None:
    plan = Plan(3)
    for cell in cells(plan, 10, 10):
        assert len(build_cell(3, cell).arrays()[0]) < s.MAX_PRIMS
        assert len(cell.openings) <= s.MAX_OPENINGS
        assert cell.width / s.FLOOR_TEXEL_M < s.FLOOR_W - 1
        assert cell.depth / s.FLOOR_TEXEL_M < s.FLOOR_D - 1
        assert cell.width / s.SUN_TEXEL_M < s.SUN_W - 3
        assert cell.depth / s.SUN_TEXEL_M < s.SUN_D - 3


def test_there_are_beds_and_at_least_seventeen_kinds_of_furniture() -> None:
    recipes = {r.__name__ for needed, wanted in NEEDS.values() for r in (*needed, *wanted)} | {picture.__name__}
    assert len(recipes) >= 17
    assert "bed" in recipes


@pytest.mark.parametrize("surface", ["bed", "sofa", "bath", "piano", "screen", "tree", "bench", "fountain"])
def test_each_of_these_stands_somewhere_near(surface: str) -> None:
    from spatia.generator.procedural.classes import CLASS_INDEX

    plan = Plan(3)
    rows = (3,) if surface in ("tree", "bench", "fountain") else (0, 2)
    found = any(
        (build_cell(3, plan.cell(i, j)).arrays()[1][:, s.CLS] == CLASS_INDEX[surface]).any()
        for i in range(40)
        for j in rows
    )
    assert found


def test_every_kind_of_room_has_a_list_of_furniture() -> None:
    assert set(ROOM_USES) <= set(NEEDS)
