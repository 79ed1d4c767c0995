"""Make docs/images/report.webp: a page of a report of the packaged head, with a mild field put on.

Usage: python -m scripts.make_report_picture

It needs selenium, and Chromium with its driver.
"""

import io
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
from PIL import Image
from selenium import webdriver

import n4ax
from n4ax.cli import main

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "report.webp"
WIDTH, HEIGHT = 1240, 1330


def make_study(folder: Path) -> None:
    """Write a dataset of three heads, each with a field that is bright at another place."""
    head = nib.load(Path(n4ax.__file__).parent / "data" / "head.nii.gz")
    voxels = np.asarray(head.dataobj, np.float32)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in voxels.shape), indexing="ij")
    for label, field in (("01", x + y), ("02", y - 0.5 * z), ("03", 0.4 * x + z)):
        path = folder / f"sub-{label}" / "anat" / f"sub-{label}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        nib.save(nib.Nifti1Image(voxels * np.exp(0.2 * field), head.affine), path)
    about = {"Name": "Three heads", "BIDSVersion": "1.10.0"}
    (folder / "dataset_description.json").write_text(json.dumps(about))


def photograph(page: Path) -> Image.Image:
    """The upper part of a page, as Chromium shows it."""
    options = webdriver.ChromeOptions()
    for switch in ("headless=new", "no-sandbox", "hide-scrollbars"):
        options.add_argument(f"--{switch}")
    options.binary_location = shutil.which("chromium") or "chromium"
    service = webdriver.ChromeService(shutil.which("chromedriver") or "chromedriver")
    driver = webdriver.Chrome(options=options, service=service)
    try:
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(page.as_uri())
        return Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    finally:
        driver.quit()


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        study, output = Path(folder) / "study", Path(folder) / "output"
        make_study(study)
        main(["bids", str(study), str(output), "participant", "--shrink-factor", "4", "-q"])
        photograph(output / "sub-02.html").save(PICTURE, quality=80, method=6)
