"""What says that an image was corrected before."""

from typing import Any

import pytest

from n4ax.verdict.already import find_signs


@pytest.mark.parametrize(
    ("metadata", "sign"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"]}, "ImageType has NORM"),
        ({"ImageType": "ORIGINAL\\PRIMARY\\M\\NORM\\DIS2D"}, "ImageType has NORM"),
        ({"ImageType": ["M"], "ImageTypeText": ["M", "NORM"]}, "ImageTypeText has NORM"),
        (
            {"Manufacturer": "Philips", "ProtocolName": "T1_3D CLEAR"},
            "ProtocolName has CLEAR",
        ),
        (
            {"Manufacturer": "Philips Medical Systems", "ScanOptions": "CLEAR"},
            "ScanOptions has CLEAR",
        ),
        ({"Manufacturer": "GE", "SeriesDescription": "Ax T1 Pure"}, "SeriesDescription has PURE"),
        (
            {"Manufacturer": "GE MEDICAL SYSTEMS", "ScanOptions": "SAT_GEMS\\SCIC"},
            "ScanOptions has SCIC",
        ),
        ({"PrescanNormalize": True}, "PrescanNormalize is true"),
        ({"sPreScanNormalizeFilter_ucOn": "0x1"}, "sPreScanNormalizeFilter_ucOn is 0x1"),
        ({"BiasFieldCorrected": 1}, "BiasFieldCorrected is 1"),
        ({"UniformityCorrection": "PURE"}, "UniformityCorrection is PURE"),
        ({"N4": {"Mask": "otsu"}}, "its JSON file says that N4 corrected it"),
    ],
)
def test_signs_are_found(metadata: dict[str, Any], sign: str) -> None:
    assert find_signs(metadata) == [sign]


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"], "NonlinearGradientCorrection": True},
        {"ImageType": ["ORIGINAL", "ABNORMAL"], "SeriesDescription": "norm"},
        {"ImageType": None, "ImageTypeText": 3, "Manufacturer": None},
        {"Manufacturer": "Siemens", "ProtocolName": "nuclear CLEAR"},
        {"Manufacturer": "Geneva", "SeriesDescription": "PURE"},
        {"Manufacturer": "GE", "SeriesDescription": "impure"},
        {"PrescanNormalize": False, "UniformityCorrection": "off", "BiasCorrected": None},
        {"N4": "no", "IntensityCorrection": [1]},
    ],
)
def test_nothing_else_is_a_sign(metadata: dict[str, Any]) -> None:
    assert find_signs(metadata) == []


def test_our_own_header_is_a_sign() -> None:
    assert find_signs({}, signed=True) == ["the header says that n4ax made it"]
