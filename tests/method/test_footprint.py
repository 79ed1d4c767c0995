"""How much memory a mesh takes: the sums are worked out by hand."""

from n4ax.method.footprint import estimate_memory, keeps_path
from n4ax.method.grid import Axis
from n4ax.settings import N4Settings


def whole(count: int) -> Axis:
    return Axis(count, samples=count)


def shrunken(count: int) -> Axis:
    return Axis(4 * count, shrink=4, samples=count)


def test_memory_is_that_of_lattices_fields_sums_and_tables() -> None:
    axes = (whole(6), whole(8), whole(10))
    lattices = 64 * 11 * 19 * 27  # eight times as many elements at the fourth level, and three
    fields = 2 * 4 * 6 * 19 * (10 + 16)
    sums = 8 * 6 * 27 * (19 + 8)
    tables = 4 * (11 * (20 * 6 + 88) + 19 * (20 * 8 + 152) + 27 * (20 * 10 + 216))
    expected = lattices + fields + sums + tables
    assert estimate_memory(axes, (4, 5, 6), order=3, levels=4) == expected


def test_field_of_a_shrunken_image_is_applied_to_all_its_voxels() -> None:
    axes = (shrunken(6), shrunken(8), shrunken(10))
    sampled = estimate_memory((whole(6), whole(8), whole(10)), (4, 5, 6), order=3, levels=2)
    fields, applied = 2 * 4 * 6 * 7 * (10 + 16), 4 * 24 * 7 * (40 + 16)
    assert applied > fields
    assert estimate_memory(axes, (4, 5, 6), order=3, levels=2) == sampled - fields + applied


def test_path_is_kept_unless_its_lattices_take_too_much_memory() -> None:
    settings = N4Settings(iters=(50, 50, 50, 50))
    assert keeps_path(settings, (4, 4, 4))
    assert not keeps_path(settings, (40, 40, 40))


def test_path_of_64_mib_is_kept_and_a_longer_one_is_not() -> None:
    assert keeps_path(N4Settings(iters=(256,)), (256, 256))
    assert not keeps_path(N4Settings(iters=(257,)), (256, 256))
