"""Build the image of the Containerfile, and check that it works in the strictest container.

    python packaging/check_image.py [--engine docker] [--certificate FILE]

The container is read-only without any folder for temporary files, has no network, no capability and
one processor, and its user is one that the image does not know. The study of the BIDS App, a single
image and the digest of the bits must come out as they do elsewhere. Without a registry of images,
the base image is made by debootstrap, which needs root.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
CONTAINERFILE = ROOT / "packaging" / "Containerfile"
NAME = "localhost/n4ax-check"
NAMED = f"{NAME}:latest"
"""What outputs call the image."""

# A machine that is itself a container may not raise its limits, as engines do by default.
LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]

STRICT = [
    "--read-only", "--network", "none", "--cap-drop", "all", "--user", "4242:4242", "--cpus", "1",
]  # fmt: skip

LEFT_OUT = ["var/cache/apt/*", "usr/share/doc/*", "usr/share/man/*", "usr/share/locale/*"]
"""What the slim images of Debian do without."""

FIRST_CALLS = 3

FACTS = """
import importlib.util, json, os, sys
from pathlib import Path
from n4ax.bids.container import describe_container
from n4ax.processors import count_processors
places = ("/", "/tmp", "/opt/n4ax", str(Path.home()))
print(json.dumps({
    "container": (describe_container(os.environ) or {}).get("Tag"),
    "processors": count_processors(),
    "compilers": [name for name in ("numba", "jax") if importlib.util.find_spec(name)],
    "user": os.getuid(),
    "writable": [place for place in places if os.access(place, os.W_OK)],
}))
"""


class Engine:
    """Docker, podman, or what takes the same words."""

    def __init__(self, command: str) -> None:
        self.command = shlex.split(command)
        podman = Path(self.command[0]).name == "podman"
        # podman gives a read-only container folders in memory, and docker does not.
        self.strict = [*STRICT, *(["--read-only-tmpfs=false"] if podman else [])]

    def do(self, *words: str, given: bytes | None = None) -> str:
        """Run a command of the engine, and give what it prints."""
        done = subprocess.run([*self.command, *words], input=given, stdout=subprocess.PIPE)
        if done.returncode:
            sys.exit(f"{shlex.join([*self.command, *words])[:300]} ended with {done.returncode}")
        return done.stdout.decode().strip()

    def run(self, options: Sequence[str], folders: dict[Path, str], *words: str) -> str:
        """Run a program in a new container of the image, which sees some folders."""
        shown = [word for path, place in folders.items() for word in ("-v", f"{path}:{place}")]
        entry, *rest = words
        options = ["--rm", *LIMITS, *options, *shown, "--entrypoint", entry]
        return self.do("run", *options, NAME, *rest)

    def size(self, image: str) -> str:
        """The size of an image in MB."""
        return f"{int(self.do('image', 'inspect', image, '--format', '{{.Size}}')) / 1e6:.0f} MB"


def make_base(engine: Engine) -> str:
    """The base image that the Containerfile names, or one that debootstrap makes."""
    (base,) = (
        line.removeprefix("ARG BASE=")
        for line in CONTAINERFILE.read_text().splitlines()
        if line.startswith("ARG BASE=")
    )
    made = "localhost/n4ax-check-base"
    for image in (base, made):
        if (
            subprocess.run(
                [*engine.command, "image", "inspect", image], capture_output=True
            ).returncode
            == 0
        ):
            return image
    if subprocess.run([*engine.command, "pull", base], capture_output=True).returncode == 0:
        return base
    with tempfile.TemporaryDirectory() as folder:
        words = ["debootstrap", "--variant=minbase", base.split(":")[1].split("-")[0], folder]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        left_out = [f"--exclude=./{name}" for name in LEFT_OUT]
        words = ["tar", "-C", folder, *left_out, "-c", "."]
        archive = subprocess.run(words, stdout=subprocess.PIPE, check=True)
    engine.do("import", "-", made, given=archive.stdout)
    return made


def build(engine: Engine, base: str, certificate: Path | None, work: Path) -> None:
    """Build the image as the Containerfile says."""
    words = ["--network", "host", *LIMITS, "--build-arg", f"BASE={base}", "-t", NAME]
    words += ["--build-arg", f"IMAGE={NAMED}"]
    if certificate is not None:
        settings = work / "pip.conf"
        settings.write_text("[global]\ncert = /certificate.pem\n")
        words += ["-v", f"{settings}:/etc/pip.conf:ro", "-v", f"{certificate}:/certificate.pem:ro"]
    engine.do("build", "-q", *words, "-f", str(CONTAINERFILE), str(ROOT))


def make_study(folder: Path) -> None:
    """A BIDS dataset of one image."""
    anatomy = folder / "sub-01" / "anat"
    anatomy.mkdir(parents=True)
    head = ROOT / "src" / "n4ax" / "data" / "head.nii.gz"
    (anatomy / "sub-01_T1w.nii.gz").write_bytes(head.read_bytes())
    description = {"Name": "One head", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (folder / "dataset_description.json").write_text(json.dumps(description))


def make_out(folder: Path, name: str) -> Path:
    """A folder that every user may write to."""
    made = folder / name
    made.mkdir()
    made.chmod(0o777)
    return made


def check(what: str, found: object, expected: object) -> None:
    """Print a line about a fact, and end the program if it is not as expected."""
    print(f"{what}: {found}", flush=True)
    if found != expected:
        sys.exit(f"expected {expected!r}")


def check_container(engine: Engine, work: Path) -> None:
    """Hold what the strict container does against what is expected."""
    facts = json.loads(engine.run(engine.strict, {}, "python3", "-c", FACTS))
    check("image that n4ax names", facts["container"], NAMED)
    check("processors that n4ax sees with --cpus 1", facts["processors"], 1)
    check("libraries there that compile", facts["compilers"], [])
    check("user", facts["user"], 4242)
    check("folders that it may write to", facts["writable"], [])
    scripts = {ROOT / "scripts": "/scripts:ro"}
    inside = json.loads(engine.run(engine.strict, scripts, "python3", "/scripts/hash_bits.py"))
    here = [sys.executable, str(ROOT / "scripts" / "hash_bits.py")]
    outside = json.loads(subprocess.run(here, check=True, stdout=subprocess.PIPE).stdout)
    check("kernels are from the", inside["from"], "library")
    check("digest of the bits", inside["digest"], outside["digest"])
    make_study(work / "data")
    out = make_out(work, "study")
    folders = {work / "data": "/data:ro", out: "/out"}
    engine.run(engine.strict, folders, "n4ax", "bids", "/data", "/out", "participant", "-q")
    images = [path.name for path in out.rglob("*desc-n4_T1w.nii.gz")]
    check("the BIDS App wrote", images, ["sub-01_desc-n4_T1w.nii.gz"])


def compare_times(engine: Engine, work: Path) -> None:
    """Print the time of the first call in a strict container beside later calls elsewhere."""

    def call(options: Sequence[str], calls: int) -> list[float]:
        out = make_out(work, f"calls-{len(list(work.iterdir()))}")
        folders = {out: "/out", ROOT / "scripts": "/scripts:ro"}
        words = ("python3", "/scripts/time_calls.py", "/out", str(calls))
        return json.loads(engine.run(options, folders, *words))

    call([], 1)  # the files of the image are read from the disk
    warm = median(call(["--cpus", "1"], FIRST_CALLS + 3)[1:])
    first = median(call(engine.strict, 1)[0] for _ in range(FIRST_CALLS))
    print(f"first n4ax correct in a strict container: {first:.2f} s, ", end="")
    print(f"{first / warm:.2f} of a later one where everything may be written")


def main() -> None:
    """Read the command line, and do all of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--engine", default="podman", help="such as docker, 'podman --runtime runc'"
    )
    parser.add_argument("--certificate", type=Path, help="of the package index, for pip")
    given = parser.parse_args()
    engine = Engine(given.engine)
    base = make_base(engine)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        work.chmod(0o755)
        build(engine, base, given.certificate, work)
        print(f"image: {engine.size(NAME)}, of which {engine.size(base)} are the base")
        check_container(engine, work)
        compare_times(engine, work)


if __name__ == "__main__":
    main()
