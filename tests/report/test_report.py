"""Quality reports: measures, pictures, and the pages in a browser."""

import json
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import n4ax
from n4ax.cli.report import report
from n4ax.report import charts
from n4ax.report.measures import measure
from n4ax.report.outliers import distances
from n4ax.report.pages import neighbours, write_all, write_group, write_participant
from n4ax.report.pictures import draw, plane_count

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LEVELS = (100.0, 300.0, 500.0)


def phantom(shape: tuple[int, ...] = (48, 40, 32), noise: float = 15.0) -> Any:
    """Three known tissues in blocks, the middle and the bright one with most voxels."""
    random = np.random.default_rng(3)
    tissue = np.digitize(np.arange(shape[0]) / shape[0], (0.2, 0.6))
    labels = np.broadcast_to(tissue.reshape(-1, *[1] * (len(shape) - 1)), shape)
    image = np.asarray(LEVELS)[labels] + random.normal(0, noise, shape)
    return image.astype(np.float32), labels


def shading(shape: tuple[int, ...], strength: float = 0.2) -> Any:
    """A log field that falls along the last axis, which tissues do not."""
    ramp = np.linspace(-strength, strength, shape[-1])
    return np.broadcast_to(ramp, shape).astype(np.float32)


def seen(picture: Path, mode: str = "L") -> Any:
    """The pixels of a picture, as integers that may be subtracted."""
    with Image.open(picture) as opened:
        return np.asarray(opened.convert(mode)).astype(int)


def finite(entry: Any) -> bool:
    if isinstance(entry, dict):
        return all(map(finite, entry.values()))
    if isinstance(entry, list):
        return all(map(finite, entry))
    return entry is None or bool(np.isfinite(entry))


def test_measures_are_those_of_the_known_tissues() -> None:
    image, labels = phantom()
    log_bias = shading(image.shape, 0.05)
    inside = np.ones(image.shape, bool)
    found = measure(image * np.exp(log_bias), log_bias, image, inside)

    # The same by other means: from the labels of the phantom, which it never sees.
    clipped = np.clip(image.astype(float), *np.percentile(image, (1, 99)))
    spread = [clipped[labels == tissue].std() for tissue in (1, 2)]
    mean = [clipped[labels == tissue].mean() for tissue in (1, 2)]
    variation = [s / m for s, m in zip(spread, mean, strict=True)]
    assert found["CoefficientOfVariation"]["After"] == pytest.approx(variation, rel=1e-4)
    joint = sum(spread) / (mean[1] - mean[0])
    assert found["CoefficientOfJointVariation"]["After"] == pytest.approx(joint, rel=1e-4)
    assert found["ClassMeans"]["After"] == pytest.approx(mean, rel=1e-4)
    assert found["FieldRange"] == pytest.approx([np.exp(-0.05), np.exp(0.05)], rel=1e-5)
    assert found["FieldWindow"][0] * found["FieldWindow"][1] == pytest.approx(1, rel=1e-5)
    histogram = found["Histogram"]
    edges = np.linspace(*histogram["Range"], 129)
    assert len(histogram["After"]) == 128
    assert histogram["After"] == np.histogram(image, edges)[0].tolist()
    assert json.loads(json.dumps(found)) == found


def test_shading_raises_variation_and_its_removal_lowers_it() -> None:
    image, _ = phantom()
    log_bias = shading(image.shape, 0.15)
    found = measure(image * np.exp(log_bias), log_bias, image, np.ones(image.shape, bool))
    variation, joint = found["CoefficientOfVariation"], found["CoefficientOfJointVariation"]
    assert all(b > 1.5 * a for b, a in zip(variation["Before"], variation["After"], strict=True))
    assert joint["Before"] > 1.5 * joint["After"]


def test_measures_do_not_depend_on_what_lies_outside_the_mask_or_is_not_finite() -> None:
    image, _ = phantom()
    log_bias = shading(image.shape)
    inside = np.zeros(image.shape, bool)
    inside[:, 4:-4] = True
    clean = measure(image, log_bias, image, inside)
    dirty, field = image.copy(), log_bias.copy()
    dirty[:, 0], field[:, 0] = np.nan, np.inf
    assert measure(dirty, field, dirty, inside) == clean
    for order in "CF":  # and no two calls differ
        arrays = [np.asarray(array, order=order) for array in (image, log_bias, image, inside)]
        assert measure(*arrays) == measure(*arrays)
    dirty[:, 5], field[:, 5] = np.inf, np.nan
    some = measure(dirty, field, image, inside)
    assert finite(some)
    assert None not in some["ClassMeans"]["Before"]


def test_large_masks_are_sampled() -> None:
    image, _ = phantom((120, 80, 80))
    found = measure(image, image * 0, image, np.ones(image.shape, bool))
    assert sum(found["Histogram"]["After"]) <= 250_000
    whole = np.asfortranarray(image)
    again = measure(whole, whole * 0, whole, np.ones(image.shape, bool, order="F"))
    assert again["ClassMeans"]["After"] == pytest.approx(found["ClassMeans"]["After"], rel=0.01)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("constant", np.full((6, 7, 8), 3.0)),
        ("zero", np.zeros((6, 7, 8))),
        ("not finite", np.full((6, 7, 8), np.nan)),
        ("negative", -phantom((12, 10, 8))[0]),
        ("huge", phantom((12, 10, 8))[0] * 1e35),
        ("two values", np.arange(336).reshape(6, 7, 8) % 2),
        ("tiny differences", 1.0 + np.arange(336).reshape(6, 7, 8) * 1e-40),
        ("flat", phantom((20, 20))[0]),
        ("a line", np.arange(9.0).reshape(9, 1, 1)),
    ],
)
@pytest.mark.parametrize("voxels", ["all", "one", "none"])
def test_degenerate_images_have_no_numbers_but_no_errors_either(
    tmp_path: Path, name: str, values: Any, voxels: str
) -> None:
    image = values.astype(np.float32)
    inside = np.full(image.shape, voxels == "all")
    inside.flat[0] |= voxels == "one"
    log_bias = np.full(image.shape, 900.0 if name == "huge" else 0.0, np.float32)
    found = measure(image, log_bias, image, inside)
    assert finite(found)
    json.dumps(found, allow_nan=False)
    assert [len(found["Histogram"][when]) for when in ("Before", "After")] == [128, 128]
    if voxels != "all" or name in ("constant", "zero", "not finite"):
        assert found["CoefficientOfVariation"] == {"Before": [None, None], "After": [None, None]}
        assert found["CoefficientOfJointVariation"]["After"] is None
    if name == "negative":
        assert found["CoefficientOfVariation"]["After"] == [None, None]
    assert len(draw(tmp_path, "a", image, log_bias, image, inside, np.eye(4))) == 3
    write(tmp_path, "01", None, "T1w", found, shape=image.shape)
    assert write_all(tmp_path)


def test_pictures_have_one_layout_and_the_same_bytes_again(tmp_path: Path) -> None:
    image, _ = phantom()
    log_bias = shading(image.shape)
    inside = image > 200
    arguments = (image, log_bias, image / np.exp(log_bias), inside, np.diag([1, 1, 2.5, 1]))
    paths = draw(tmp_path, "sub-01_T1w", *arguments)
    assert [path.name for path in paths] == [
        f"sub-01_T1w_{name}.webp" for name in ("before", "after", "field")
    ]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    pictures = [seen(path, "RGB") for path in paths]
    assert len({picture.shape for picture in pictures}) == 1
    assert len(pictures[0]) <= 320
    assert all(picture.std() > 10 for picture in pictures)
    assert np.ptp(pictures[0], axis=2).max() <= 4  # grey
    assert np.ptp(pictures[2], axis=2).max() > 100
    first = [path.read_bytes() for path in paths]
    draw(tmp_path, "sub-01_T1w", *arguments)
    assert [path.read_bytes() for path in paths] == first


def test_planes_are_upright_and_as_wide_and_high_as_they_are_in_mm(tmp_path: Path) -> None:
    # 30 mm to the right, 50 mm to the front and 80 mm up, stored feet first and mirrored.
    image = np.ones((16, 30, 25), np.float32)
    image[:4] = 9  # the top 20 mm, since the first axis runs down
    affine = np.array([[0, 1, 0, 0], [0, 0, 2, 0], [-5, 0, 0, 0], [0, 0, 0, 1]], float)
    inside = np.ones(image.shape, bool)
    path = draw(tmp_path, "a", image, image * 0, image, inside, affine)[0]
    cells = np.split(seen(path), 3, axis=1)
    boxes = []
    for cell in cells:
        rows, columns = np.nonzero(cell > 12)
        boxes.append((np.ptp(columns) + 1, np.ptp(rows) + 1))
    (axial, coronal, sagittal) = boxes
    assert axial[0] / axial[1] == pytest.approx(30 / 50, rel=0.03)
    assert coronal[0] / coronal[1] == pytest.approx(30 / 80, rel=0.03)
    assert sagittal[0] / sagittal[1] == pytest.approx(50 / 80, rel=0.03)
    middle = cells[1][:, cells[1].shape[1] // 2]
    assert middle[len(middle) // 8] > middle[-len(middle) // 4] + 100  # head up


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        ((9, 8, 7), 3),
        ((9, 8), 1),
        ((9, 8, 1), 1),
        ((1, 9, 8), 1),
        ((2, 2, 2), 3),
        ((9, 8, 7, 1), 3),
    ],
)
def test_count_of_planes_is_that_of_the_pictures(
    tmp_path: Path, shape: tuple[int, ...], count: int
) -> None:
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    path = draw(tmp_path, "a", image, image * 0, image, image > 3, np.eye(4))[0]
    height, width = seen(path).shape
    assert plane_count(shape) == count
    assert (width / height > 1.7) == (count == 3)


def test_far_values_are_found_and_few_or_equal_ones_are_not() -> None:
    values = [1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 1.02, None, 3.0]
    found = distances(values)
    assert found[7] is None
    scores = [entry.score for entry in found if entry]
    assert scores[-1] > 3.5 > max(map(abs, scores[:-1]))
    middle = np.median([value for value in values if value])
    away = np.median([abs(value - middle) for value in values if value])
    assert scores[-1] == pytest.approx(0.6745 * (3 - middle) / away, rel=1e-3)
    assert distances(values[:6]) == [None] * 6
    assert distances([2.0] * 20) == [None] * 20
    one_of_many = distances([2.0] * 19 + [3.0])[-1]
    assert one_of_many is not None
    assert one_of_many.score > 3.5


def test_charts_bridge_nothing_that_is_missing() -> None:
    chart = charts.convergence([[0.1, None, 0.02], [None]], ["converged", "iteration limit"], 0.001)
    assert chart is not None
    assert chart.levels[0].path.count("M") == 2
    assert chart.levels[1].end is None
    assert [level.converged for level in chart.levels] == [True, False]
    assert charts.convergence([[None], []], ["converged", "converged"], 0.001) is None
    assert charts.convergence([[0.1, 1e-9]], ["converged"], 0) is not None
    nothing = {"Range": [None, None], "Before": [0] * 128, "After": [0] * 128}
    assert charts.histogram(nothing) is None
    assert charts.strip([(0, "T1w", None, False, "")]) is None


def measures_of(number: int, suffix: str) -> dict[str, Any]:
    """Made up, and different for each scan."""
    random = np.random.default_rng([number, len(suffix)])
    bump = np.exp(-(np.linspace(-3, 3, 128) ** 2)) * 2000
    counts = random.poisson(bump).tolist()
    low, high = random.normal(0.7, 0.02), random.normal(1.4, 0.04)
    one, other = random.normal(0.1, 0.005, 2)
    return {
        "FieldRange": [low, high],
        "FieldWindow": [0.75, 1.333],
        "CoefficientOfVariation": {"Before": [one, other], "After": [one * 0.8, other * 0.7]},
        "CoefficientOfJointVariation": {"Before": one * 6, "After": other * 5},
        "ClassMeans": {"Before": [400.0, 600.0], "After": [500.0, 700.0]},
        "Histogram": {"Range": [0, 1000], "Before": counts, "After": counts[::-1]},
    }


def write(
    output: Path,
    subject: str,
    session: str | None,
    suffix: str,
    measures: dict[str, Any],
    pictures: dict[str, bytes] | None = None,
    shape: tuple[int, ...] = (96, 96, 88),
) -> Path:
    """A record and its pictures, as the app leaves them."""
    middle = f"_ses-{session}" if session else ""
    folder = output / f"sub-{subject}" / (f"ses-{session}" if session else "")
    stem = f"sub-{subject}{middle}_desc-n4_{suffix}"
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for name, content in (pictures or {}).items():
        (folder / "figures" / f"{stem}_{name}.webp").write_bytes(content)
    anat = (folder / "anat").relative_to(output)
    entries = {
        "Source": f"{anat}/sub-{subject}{middle}_{suffix}.nii.gz",
        "Output": f"{anat}/{stem}.nii.gz",
        "Subject": subject,
        "Session": session,
        "Suffix": suffix,
        "Shape": list(shape),
        "VoxelSize": [2.0] * len(shape),
        "Mask": "otsu",
        "Engine": "cpu",
        "Iterations": [3, 5],
        "Stopped": ["converged", "iteration limit"],
        "Convergence": [[0.01, 0.003, 0.0009], [0.02, None, 0.008, 0.006, 0.005]],
        "Threshold": 0.001,
        "Seconds": {"Total": 1.2, "Read": 0.1, "N4": 0.8, "Write": 0.3, "Report": 0.1},
        "Measures": measures,
        "Version": "0.2.0",
    }
    path = folder / "figures" / f"{stem}.json"
    path.write_text(json.dumps(entries))
    return path


@pytest.fixture(scope="session")
def head(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Pictures and measures of the packaged head."""
    scan: Any = nib.load(Path(n4ax.__file__).parent / "data" / "head.nii.gz")
    image = np.asarray(scan.dataobj, np.float32)
    result = n4ax.fit(image, shrink_factor=4, iters=(5, 5), voxel_order="F", num_threads=1)
    arrays = (image, result.log_bias, result.corrected, n4ax.otsu_mask(image).astype(bool))
    paths = draw(tmp_path_factory.mktemp("head"), "a", *arrays, scan.affine)
    names = ("before", "after", "field")
    pictures = {name: path.read_bytes() for name, path in zip(names, paths, strict=True)}
    return pictures, measure(*arrays)


@pytest.fixture
def few(tmp_path: Path, head: Any) -> Path:
    """Two participants, one of them with two sessions, and a third whose scan failed."""
    pictures, measures = head
    write(tmp_path, "2", "1", "T1w", measures, pictures)
    write(tmp_path, "2", "2", "T1w", measures, pictures)
    write(tmp_path, "10", None, "FLAIR", measures, pictures)
    errors = [{"Source": "sub-3/anat/sub-3_T1w.nii.gz", "Subject": "3", "Reason": "too short"}]
    (tmp_path / "n4ax_errors.json").write_text(json.dumps({"Errors": errors}))
    return tmp_path


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory, head: Any) -> Path:
    """100 participants with two scans each, one of them with a field like no other."""
    output = tmp_path_factory.mktemp("many")
    for number in range(1, 101):
        for suffix in ("T1w", "FLAIR"):
            measures = measures_of(number, suffix)
            if (number, suffix) == (42, "FLAIR"):
                measures["FieldRange"][1] = 4.0
            write(output, f"{number:03}", "1", suffix, measures, head[0])
    write_all(output)
    return output


class References(HTMLParser):
    """What a page points to, and the tags that it is made of."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.sources: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "href" and tag == "a":
                self.links.append(value or "")
            elif name in ("href", "src", "srcset", "xlink:href", "action", "data", "poster"):
                self.sources.append(value or "")
            elif name == "id":
                self.ids.append(value or "")


def test_pages_point_to_each_other_and_to_nothing_outside(few: Path) -> None:
    steps: list[tuple[int, int]] = []
    pages = write_all(few, progress=lambda done, total: steps.append((done, total)))
    assert [page.name for page in pages] == [
        "sub-2.html",
        "sub-3.html",
        "sub-10.html",
        "group.html",
    ]
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for page in pages:
        found = References(page)
        assert all(source.startswith("data:") for source in found.sources)
        assert not re.search(r"https?://|//\w+\.\w+|@import|url\(", page.read_text())
        assert len(found.ids) == len(set(found.ids))
        for link in found.links:
            target, _, anchor = link.partition("#")
            there = few / target if target else page
            assert there in pages
            assert not anchor or anchor in References(there).ids
    middle = References(pages[1]).links
    assert middle == ["sub-2.html", "group.html", "sub-10.html"]
    assert "too short" in pages[1].read_text()
    assert pages[0].read_text().count("data:image/webp") == 6
    assert "desc-n4_T1w_field" not in pages[0].read_text()


def test_pages_have_the_same_bytes_again(few: Path) -> None:
    pages = write_all(few)
    first = [page.read_bytes() for page in pages]
    assert [page.read_bytes() for page in write_all(few)] == first
    single = [
        write_participant(few, label, neighbours(label, ["2", "3", "10"]))
        for label in ("2", "3", "10")
    ]
    assert [page.read_bytes() for page in [*single, write_group(few)]] == first
    assert not list(few.glob(".n4ax-*"))


def test_names_are_escaped(few: Path, head: Any) -> None:
    evil = '<script>alert("1")</script>&'
    path = write(few, "2", "1", "T1w", head[1])
    entries = json.loads(path.read_text())
    names = ("Source", "Output", "Session", "Suffix", "Mask", "Engine", "Version")
    path.write_text(json.dumps({**entries, **dict.fromkeys(names, evil), "Stopped": [evil, evil]}))
    errors = [{"Source": evil, "Subject": '1"><b>&', "Reason": evil}]
    (few / "n4ax_errors.json").write_text(json.dumps({"Errors": errors}))
    for page in (write_participant(few, "2", (None, "3")), write_group(few)):
        text = page.read_text()
        assert evil not in text
        assert text.count("<script") == 1
        assert "&lt;script&gt;alert(&#34;1&#34;)" in text
        assert 'href="sub-1"' not in text


def test_missing_pictures_and_numbers_leave_a_note(few: Path) -> None:
    for path in few.rglob("*.webp"):
        path.unlink()
    path = write(
        few, "4", None, "T2w", measure(*[np.zeros((4, 4, 4))] * 3, np.zeros((4, 4, 4), bool))
    )
    entries = json.loads(path.read_text())
    path.write_text(
        json.dumps({k: entries[k] for k in ("Source", "Subject", "Suffix", "Measures")})
    )
    write_all(few)
    assert "pictures of this scan are missing" in (few / "sub-4.html").read_text()
    assert "no picture" in (few / "group.html").read_text()


@pytest.mark.parametrize(
    "call", [write_all, write_group, lambda out: write_participant(out, "9", (None, None))]
)
def test_nothing_to_report_on_says_what_was_looked_for(tmp_path: Path, call: Any) -> None:
    (tmp_path / "sub-01" / "anat").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"figures/\*\.json.*run n4ax bids") as caught:
        call(tmp_path)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["sub-01"]


def test_unknown_participants_and_files_that_are_no_records_are_named(few: Path) -> None:
    with pytest.raises(ValueError, match=r"sub-77.*participant 77"):
        write_participant(few, "77", (None, None))
    path = few / "sub-10" / "figures" / "sub-10_desc-n4_FLAIR.json"
    for content, reason in (("{", "cannot be read"), ("[]", "names"), ('{"Source": ""}', "no Sub")):
        path.write_text(content)
        with pytest.raises(ValueError, match=reason) as caught:
            write_all(few)
        assert str(path) in str(caught.value)
    path.unlink()
    (few / "n4ax_errors.json").write_text('{"Errors": [{}]}')
    with pytest.raises(ValueError, match=r"n4ax_errors\.json"):
        write_all(few)


def test_command_says_what_it_wrote(few: Path) -> None:
    done = CliRunner().invoke(report, [str(few)])
    assert done.exit_code == 0
    assert done.output == f"Wrote 3 participant pages and {few / 'group.html'}.\n"
    assert CliRunner().invoke(report, [str(few), "-q"]).output == ""
    assert CliRunner().invoke(report, [str(few / "none")]).exit_code == 2


class Pages:
    """A browser, and what is asked of pages in it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, page: Path, width: int = 1440, height: int = 900) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get(page.as_uri())

    def ask(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(f"return {script}", *arguments)

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def column(self, number: int) -> list[str]:
        """The texts of a column of the table, of the rows that are seen."""
        return self.ask(
            "[...document.querySelectorAll('#scans tbody tr')].filter((row) => !row.hidden)"
            ".map((row) => row.cells[arguments[0]].innerText)",
            number,
        )

    def check_quiet(self) -> None:
        """Nothing on the console, nothing fetched."""
        assert [
            entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"
        ] == []
        fetched = self.ask("performance.getEntriesByType('resource').map((entry) => entry.name)")
        assert [name for name in fetched if not name.startswith("data:")] == []
        asked = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        urls = [
            event["params"]["request"]["url"]
            for event in asked
            if event["method"] == "Network.requestWillBeSent"
        ]
        assert [url for url in urls if not url.startswith(("file:", "data:"))] == []


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    webdriver = pytest.importorskip("selenium.webdriver")
    if not (CHROMIUM.exists() and DRIVER.exists()):
        pytest.skip(f"{CHROMIUM} and {DRIVER} are not both here")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    profile = tmp_path_factory.mktemp("profile")
    for switch in (*SWITCHES, f"--user-data-dir={profile}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    driver.set_page_load_timeout(30)
    driver.get("about:blank")
    driver.get_log("performance")  # what the browser's own first page asked for
    try:
        yield Pages(driver)
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)


@pytest.mark.slow
def test_slider_moves_the_edge_by_key_and_by_pointer(browser: Pages, few: Path) -> None:
    from selenium.webdriver import ActionChains, Keys

    write_all(few)
    browser.open(few / "sub-2.html")
    look = "getComputedStyle(document.querySelector('.planes .first')).maskImage"
    split = "document.querySelector('.frame').style.getPropertyValue('--split')"
    start = browser.ask(look)
    assert "gradient" in start
    slider = browser.find("input[type=range]")
    slider.send_keys(Keys.END)
    assert browser.ask(split) == "1"
    assert browser.ask(look) != start
    slider.send_keys(Keys.ARROW_LEFT)
    assert float(browser.ask(split)) == pytest.approx(0.99)
    assert slider.get_attribute("aria-valuetext") == "99 % before"

    planes = browser.find(".planes")
    third = planes.size["width"] / 3
    mouse = ActionChains(browser.driver)
    # From the middle of the middle plane to a quarter of it; from there beyond its edge.
    mouse.move_to_element(planes).click_and_hold().move_by_offset(-round(third / 4), 0).perform()
    assert float(browser.ask(split)) == pytest.approx(0.25, abs=0.01)
    mouse = ActionChains(browser.driver)
    mouse.move_by_offset(-round(third / 2), 0).release().perform()
    assert browser.ask(split) == "0"
    assert slider.get_attribute("value") == "0"
    ActionChains(browser.driver).move_to_element(planes).perform()
    assert browser.ask(split) == "0"  # let go

    browser.find(".flip").click()
    assert browser.ask(split) == "1"
    browser.find(".flip").click()
    assert browser.ask(split) == "0"
    browser.check_quiet()


@pytest.mark.slow
def test_edge_shows_before_on_its_left_and_after_on_its_right(browser: Pages, few: Path) -> None:
    folder = few / "sub-2" / "ses-1" / "figures"
    for name, shade in (("before", 255), ("after", 80)):
        plain = Image.new("L", (900, 300), shade)
        plain.save(folder / f"sub-2_ses-1_desc-n4_T1w_{name}.webp", lossless=True)
    write_all(few)
    browser.open(few / "sub-2.html")
    browser.ask("document.querySelector('.frame').scrollIntoView()")
    shot = few / "shot.png"
    browser.find(".frame").screenshot(str(shot))
    row = seen(shot)[20]
    places = (np.arange(3) / 3)[:, None] + np.array([0.25, 0.75]) / 3
    assert row[(places * len(row)).astype(int)].tolist() == [[255, 80]] * 3
    browser.find("[data-plane='2']").click()
    browser.find(".frame").screenshot(str(shot))
    row = seen(shot)[20]
    assert row[[len(row) // 4, 3 * len(row) // 4]].tolist() == [255, 80]
    assert browser.find("[data-plane='2']").get_attribute("aria-pressed") == "true"


@pytest.mark.slow
def test_pictures_are_dragged_by_touch(browser: Pages, few: Path) -> None:
    write_all(few)
    browser.open(few / "sub-2.html", 390, 844)
    box = browser.ask("document.querySelector('.planes').getBoundingClientRect().toJSON()")
    y = box["y"] + box["height"] / 2
    touch = "Input.dispatchTouchEvent"
    for kind, part in (("touchStart", 0.5), ("touchMove", 0.45), ("touchMove", 0.4)):
        points = [{"x": box["x"] + box["width"] * part, "y": y}]
        browser.driver.execute_cdp_cmd(touch, {"type": kind, "touchPoints": points})
    browser.driver.execute_cdp_cmd(touch, {"type": "touchEnd", "touchPoints": []})
    split = browser.ask("document.querySelector('.frame').style.getPropertyValue('--split')")
    assert float(split) == pytest.approx(0.2, abs=0.05)


@pytest.mark.slow
def test_table_is_sorted_by_number_and_by_key(browser: Pages, many: Path) -> None:
    from selenium.webdriver import Keys

    browser.open(many / "group.html")
    names = [name.text for name in browser.driver.find_elements("css selector", "#scans th")]
    column = names.index(next(name for name in names if name.startswith("Field high")))
    head = browser.find(f"#scans th:nth-child({column + 1})")
    head.find_element("css selector", "button").click()
    shown = [float(text) for text in browser.column(column)]
    assert len(shown) == 200
    assert shown == sorted(shown)
    assert head.get_attribute("aria-sort") == "ascending"
    head.find_element("css selector", "button").send_keys(Keys.ENTER)
    assert [float(text) for text in browser.column(column)] == shown[::-1]
    assert head.get_attribute("aria-sort") == "descending"
    browser.find("#scans th:nth-child(2) button").click()
    assert browser.ask("document.querySelectorAll('[aria-sort]').length") == 1
    labels = [text.split()[0] for text in browser.column(1)]
    assert labels == sorted(labels)
    browser.check_quiet()


@pytest.mark.slow
def test_numbers_are_not_sorted_as_text_and_unknown_ones_come_last(
    browser: Pages, few: Path
) -> None:
    for subject, value in (("20", 9.5), ("21", 10.5), ("22", None), ("23", 100.0)):
        measures = measures_of(int(subject), "T1w")
        measures["CoefficientOfJointVariation"]["After"] = value
        write(few, subject, None, "bold", measures)
    write_group(few)
    browser.open(few / "group.html")
    browser.find("#words").send_keys("bold")
    button = browser.find("#scans th:nth-child(10) button")
    for expected in (["9.500", "10.5", "100.0", "–"], ["100.0", "10.5", "9.500", "–"]):
        button.click()
        assert browser.column(9) == expected


@pytest.mark.slow
def test_filter_and_outliers(browser: Pages, many: Path) -> None:
    browser.open(many / "group.html")
    words = browser.find("#words")
    words.send_keys("sub-04 t1W")
    assert len(browser.column(0)) == 10
    assert browser.find("#count").text == "10 of 200"
    words.clear()
    words.send_keys("042")
    assert len(browser.column(0)) == 2
    browser.find("#outliers").click()
    assert len(browser.column(0)) == 1
    row = browser.find("#scans tr.outlier:not([hidden])")
    assert "sub-042" in row.text
    reason = row.find_element("css selector", "td.out").get_attribute("title")
    assert re.fullmatch(
        r"Field high is 4\.000, \d+\.\d robust standard deviations above 1\.\d+, "
        r"the median of the FLAIR scans",
        reason,
    )
    assert reason in row.get_attribute("title")
    words.clear()
    words.send_keys("no such scan")
    assert browser.column(0) == []
    # A dot leads to its row, even if that is filtered away.
    dot = browser.find("circle.out")
    browser.ask("arguments[0].dispatchEvent(new MouseEvent('click'))", dot)
    shown = browser.find("tr.shown")
    assert shown.get_attribute("id") == f"scan-{dot.get_attribute('data-scan')}"
    assert shown.is_displayed()
    browser.check_quiet()


@pytest.mark.slow
def test_no_page_is_wider_than_a_phone(browser: Pages, few: Path, many: Path, head: Any) -> None:
    long = {"Source": "sub-3/" + "very_long_name" * 12, "Subject": "3", "Reason": "x" * 200}
    (few / "n4ax_errors.json").write_text(json.dumps({"Errors": [long]}))
    write(few, "3", "averylongsessionlabel" * 2, "inplaneT2", *head[::-1])
    write_all(few)
    for page in (*sorted(few.glob("*.html")), many / "group.html"):
        for width, height in ((390, 844), (1440, 900)):
            browser.open(page, width, height)
            assert browser.ask("innerWidth") == width
            assert browser.ask("document.documentElement.scrollWidth") <= width, page
        browser.check_quiet()


@pytest.mark.slow
def test_everything_has_a_name_for_those_who_do_not_see_it(browser: Pages, few: Path) -> None:
    write_all(few)
    for name in ("sub-2.html", "group.html"):
        browser.open(few / name)
        for selector in ("img:not([alt])", "svg:not([aria-label])", "img[alt='']"):
            assert browser.driver.find_elements("css selector", selector) == []
        for field in browser.driver.find_elements("css selector", "input, button, a"):
            assert field.accessible_name


@pytest.mark.slow
def test_group_page_of_100_participants_loads(
    browser: Pages, many: Path, tell: Callable[[str], None]
) -> None:
    start = time.perf_counter()
    page = write_group(many)
    written = time.perf_counter() - start
    browser.open(page)
    took = {"loadEventEnd": 0}
    while not took["loadEventEnd"]:  # the browser may still be at it
        took = browser.ask("performance.getEntriesByType('navigation')[0].toJSON()")
    tell(
        f"group page of 200 scans: {page.stat().st_size / 1e6:.2f} MB, written in "
        f"{written:.2f} s, loaded in {took['loadEventEnd'] / 1e3:.2f} s"
    )
    drawings = re.findall(r"<svg.*?</svg>", page.read_text(), re.DOTALL)
    assert drawings
    assert all(len(svg) < 25_000 for svg in drawings)


def test_no_warning_is_swallowed() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        measure(*[np.full((3, 3, 3), np.inf, np.float32)] * 3, np.ones((3, 3, 3), bool))
    assert caught == []
