"""Warnings that reach a user: every door in a process in which each warning is an error."""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from benchmarks.peers import ROOT
from reliability.soak.doors import SIZE, use_size, write_image

OF_OTHERS = (
    "ignore:builtin type :DeprecationWarning",
    "ignore:NvImgCodecPydicomReader:UserWarning",
)
"""What SimpleITK's and MONAI's own modules warn of when they are imported."""

_IMAGE = "import numpy as np, n4ax; image = np.random.default_rng(0).gamma(3, 40, (12, 11, 10))"
_SHELL = "import sys; from n4ax.cli import main; sys.exit(main({words!r}.split()))"

COMMANDS = {
    "n4ax correct": "correct image.nii.gz -o o.nii.gz --iters 2 --field f.npz -q",
    "n4ax correct (picture)": "correct image.nii.gz -o p.nii.gz --iters 2 --figure p.png -q",
    "n4ax correct (many)": "correct image.nii.gz image.nii.gz -o many --iters 2 -q",
    "n4ax ants": "ants -d 3 -i image.nii.gz -o [a.nii.gz,b.nii.gz] -c [2x2,0]",
    "n4ax tune": "tune image.nii.gz -o tuned -q",
    "n4ax --help": "--help",
}

PROGRAMS = {
    "n4, fit, n4_batch": f"{_IMAGE}; n4ax.n4(image); n4ax.n4_batch([image]); "
    "n4ax.fit(image).verdict",
    "ITK's arithmetic": f"{_IMAGE}; n4ax.fit(image, arithmetic='itk').convergence",
    "NaN and zeros": f"{_IMAGE}; image[:3] = 0; image[4] = np.nan; "
    "n4ax.fit(image, nonfinite='exclude').verdict",
    "jax": f"{_IMAGE}; import jax.numpy as jnp; n4ax.n4(jnp.asarray(image)).block_until_ready()",
    "dask": f"{_IMAGE}; import dask.array as da; n4ax.n4(da.from_array(image)).compute()",
    "xarray": f"{_IMAGE}; import xarray; n4ax.n4(xarray.DataArray(image))",
    "zarr": f"{_IMAGE}; import zarr; n4ax.n4(zarr.array(image))",
    "nibabel": "import nibabel, n4ax; n4ax.n4(nibabel.load('image.nii.gz'))",
    "SimpleITK": f"{_IMAGE}; import SimpleITK; n4ax.n4(SimpleITK.GetImageFromArray(image))",
    "torch": f"{_IMAGE}; import torch; n4ax.n4(torch.from_numpy(image))",
    "monai": f"{_IMAGE}; from n4ax.monai import N4BiasFieldCorrection as T; T()(image[None])",
    "torchio": f"{_IMAGE}; import torch; from n4ax.torchio import N4BiasFieldCorrection as T; "
    "T()(torch.from_numpy(image[None]))",
    "nipype": "from n4ax.nipype import N4BiasFieldCorrection as N; "
    "N(input_image='image.nii.gz', output_image='n.nii.gz').run()",
}


def list_doors() -> dict[str, str]:
    """The doors whose libraries are here, each as a program of Python."""
    shells = {name: _SHELL.format(words=words) for name, words in COMMANDS.items()}
    own = {name: text for name, text in PROGRAMS.items() if " " in name or find_spec(name)}
    return {**shells, **own}


def run_door(program: str, folder: Path) -> str:
    """Run a program in which warnings are errors; what it wrote to standard error, if anything."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    warnings = ",".join(["error", *OF_OTHERS])
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONWARNINGS": warnings, "NO_ET": "1"}
    command = [sys.executable, "-X", "dev", "-c", program]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    status = f"(ended with {done.returncode})" if done.returncode else ""
    # Under -X dev, asyncio tells what takes a tenth of a second, as all does on a busy machine.
    told = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    return "\n".join([*told, status])[-1500:].strip()


def try_doors(names: tuple[str, ...] | None = None) -> dict[str, str]:
    """Run all doors, or some; what each wrote to standard error."""
    doors = list_doors()
    chosen = {name: doors[name] for name in names or doors}
    with tempfile.TemporaryDirectory() as place, use_size(SIZE):
        folder = Path(place)
        write_image(folder)
        with ThreadPoolExecutor(2) as pool:
            texts = pool.map(lambda program: run_door(program, folder), chosen.values())
            return dict(zip(chosen, texts, strict=True))
