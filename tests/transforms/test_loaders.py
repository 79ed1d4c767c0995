"""The transforms in the workers of data loaders."""

import pickle
from typing import Any

import numpy as np
import pytest

from tests.support.tensors import AFFINE, QUICK, Array, correct

torch = pytest.importorskip("torch", reason="torch is not installed")

import n4ax.channels  # noqa: E402
from n4ax.pipeline import Run  # noqa: E402

pytestmark = [
    # Python warns about a fork if another test has imported JAX and, from Python 3.12, if there are
    # threads. torch warns if there are more workers than processors.
    pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


@pytest.fixture
def tio() -> Any:
    return pytest.importorskip("torchio", reason="TorchIO is not installed")


@pytest.fixture
def monai() -> Any:
    return pytest.importorskip("monai", reason="MONAI is not installed")


@pytest.fixture(scope="module")
def volumes(head: Array) -> list[Array]:
    """Eight volumes, which differ in scale and orientation."""
    return [
        np.ascontiguousarray(np.flip(head * (1 + 0.3 * n), axis=tuple(range(n % 4))))
        for n in range(8)
    ]


@pytest.fixture(scope="module")
def expected(volumes: list[Array], brain: Array) -> list[Array]:
    """The results of the direct call, which also compiles the kernels before a fork."""
    return [correct(volume, brain) for volume in volumes]


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_of_torchio_give_the_bits_of_the_direct_call(
    tio: Any, start: str, volumes: list[Array], brain: Array, expected: list[Array]
) -> None:
    from n4ax.torchio import N4BiasFieldCorrection

    subjects = [
        tio.Subject(
            t1=tio.ScalarImage(tensor=volume[None], affine=AFFINE),
            brain=tio.LabelMap(tensor=brain[None], affine=AFFINE),
        )
        for volume in volumes
    ]
    transform = tio.Compose([N4BiasFieldCorrection("brain", **QUICK), tio.Clamp(out_max=1e6)])
    dataset = tio.SubjectsDataset(subjects, transform=transform)
    loader = tio.SubjectsLoader(
        dataset, batch_size=2, num_workers=2, multiprocessing_context=start, timeout=120
    )
    found = torch.cat([batch["t1"][tio.DATA] for batch in loader])
    assert found.shape == (8, 1, *brain.shape)
    assert found.dtype == torch.float32
    for corrected, direct in zip(found, expected, strict=True):
        assert np.array_equal(corrected[0].numpy(), direct)


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_of_monai_give_the_bits_of_the_direct_call(
    monai: Any, start: str, volumes: list[Array], brain: Array, expected: list[Array]
) -> None:
    from monai import data, transforms

    from n4ax.monai import N4BiasFieldCorrectiond

    transform = transforms.Compose([
        transforms.EnsureTyped(["t1", "brain"]),
        N4BiasFieldCorrectiond("t1", mask_key="brain", **QUICK),
    ])  # fmt: skip
    samples = [
        {"t1": data.MetaTensor(volume[None], affine=torch.from_numpy(AFFINE)), "brain": brain[None]}
        for volume in volumes
    ]
    dataset = data.Dataset(samples, transform)
    loader = data.DataLoader(
        dataset, batch_size=2, num_workers=2, multiprocessing_context=start, timeout=120
    )
    found = [image for batch in loader for image in data.decollate_batch(batch["t1"])]
    assert len(found) == 8
    for corrected, direct in zip(found, expected, strict=True):
        assert isinstance(corrected, data.MetaTensor)
        assert corrected.dtype == torch.float32
        assert np.array_equal(corrected.affine, AFFINE)
        assert np.array_equal(corrected[0].numpy(), direct)


def test_worker_uses_one_thread_unless_told(
    tio: Any, monkeypatch: pytest.MonkeyPatch, head: Array
) -> None:
    from n4ax.torchio import N4BiasFieldCorrection

    used: list[int | None] = []
    fit_image = n4ax.channels.fit_image

    def note(settings: Any, inputs: Any, run: Run) -> Any:
        used.append(run.num_threads)
        return fit_image(settings, inputs, run)

    monkeypatch.setattr(n4ax.channels, "fit_image", note)
    plain, told = N4BiasFieldCorrection(**QUICK), N4BiasFieldCorrection(num_threads=2, **QUICK)
    first = plain(head[None])
    monkeypatch.setattr(n4ax.channels, "get_worker_info", lambda: "a worker")
    assert np.array_equal(plain(head[None]), first)
    assert np.array_equal(told(head[None]), first)
    assert used == [None, 1, 2]


def test_error_in_a_worker_keeps_its_kind_and_its_message(
    tio: Any, head: Array, brain: Array
) -> None:
    from n4ax.torchio import N4BiasFieldCorrection

    subject = tio.Subject(
        t1=tio.ScalarImage(tensor=head[None], affine=AFFINE),
        brain=tio.LabelMap(tensor=brain[None, 1:], affine=AFFINE),
    )
    for mask, words in (
        ("brain", r"mask has shape \(1, 39, 44, 36\) and image has .*\nn4ax: in image 't1'"),
        ("{0}", r"mask is '\{0\}'; expected 'otsu', 'all' or one of the label maps"),
    ):
        transform = N4BiasFieldCorrection(mask, **QUICK)
        dataset = tio.SubjectsDataset([subject], transform=transform)
        with pytest.raises(ValueError, match=words):
            list(tio.SubjectsLoader(dataset, num_workers=1, timeout=120))


def test_transform_of_torchio_can_be_pickled(tio: Any, head: Array) -> None:
    from n4ax.torchio import N4BiasFieldCorrection

    transform = N4BiasFieldCorrection("all", **QUICK)
    assert np.array_equal(pickle.loads(pickle.dumps(transform))(head[None]), transform(head[None]))


def test_transforms_of_monai_can_be_pickled(monai: Any, head: Array, brain: Array) -> None:
    from n4ax.monai import N4BiasFieldCorrectiond

    transform = N4BiasFieldCorrectiond(["t1"], mask_key="brain", **QUICK)
    again = pickle.loads(pickle.dumps(transform))
    sample = {"t1": head[None], "brain": brain[None]}
    assert torch.equal(again(sample)["t1"], transform(sample)["t1"])
