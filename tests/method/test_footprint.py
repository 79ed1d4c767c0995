"""How much memory a mesh takes: the sums are worked out by hand."""

from n4ax.method.footprint import estimate_memory
from n4ax.method.grid import Axis


def whole(count: int) -> Axis:
    return Axis(count, samples=count)


def shrunken(count: int) -> Axis:
    return Axis(4 * count, shrink=4, samples=count)


def test_memory_is_that_of_lattices_fields_sums_and_tables() -> None:
    axes = (whole(6), whole(8), whole(10))
    lattices = 64 * 5 * 7 * 9
    fields = 2 * 4 * 6 * 7 * (10 + 16)
    sums = 8 * 6 * 9 * (7 + 8)
    tables = 2 * (5 * (20 * 6 + 8 * 5) + 7 * (20 * 8 + 8 * 7) + 9 * (20 * 10 + 8 * 9))
    expected = lattices + fields + sums + tables
    assert estimate_memory(axes, (4, 5, 6), order=3, levels=2) == expected == 44_896


def test_field_of_a_shrunken_image_is_applied_to_all_its_voxels() -> None:
    axes = (shrunken(6), shrunken(8), shrunken(10))
    sampled = estimate_memory((whole(6), whole(8), whole(10)), (4, 5, 6), order=3, levels=2)
    fields, applied = 2 * 4 * 6 * 7 * (10 + 16), 4 * 24 * 7 * (40 + 16)
    assert applied > fields
    assert estimate_memory(axes, (4, 5, 6), order=3, levels=2) == sampled - fields + applied
