"""Build the image of a Containerfile as a folder, by chroot, where no container engine runs.

    python packaging/chroot.py build FOLDER --base BASE [--bind PATH ...]
    python packaging/chroot.py run FOLDER [--bind PATH ...] -- COMMAND ...

``build`` carries out the steps of ``packaging/Containerfile``. BASE is a folder with the base
image, such as one that debootstrap has made. ``run`` runs a command in the image as a container
would: its files are read-only, it has no network, and it runs under a user that the image does not
know, without a home folder. Both need root, and Linux. ``--bind`` shows a folder of this machine at
the same path, such as one with data, or with packages that pip is to install.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONTAINERFILE = ROOT / "packaging" / "Containerfile"

STRANGER = 4242
"""A user that no image knows."""

SETTINGS = "image.json"
"""The file beside an image with its environment and its entry point."""


def read_steps(path: Path) -> Iterator[tuple[str, str]]:
    """The instructions of a Containerfile, and what follows each of them."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n", " ", "\n".join(lines))
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        yield word.upper(), rest.strip()


def build(target: Path, base: Path, bound: Sequence[Path]) -> None:
    """Carry out the steps of the Containerfile; the last stage becomes ``target``."""
    stages: dict[str, Path] = {}
    environment: dict[str, str] = {}
    settings: dict[str, object] = {}
    stage = target
    for word, rest in read_steps(CONTAINERFILE):
        print(f"{word} {rest}", flush=True)
        if word == "FROM":
            name = re.search(r"\sAS\s+(\S+)", rest, re.IGNORECASE)
            stage = target.with_name(f"{target.name}.{name[1]}") if name else target
            if name:
                stages[name[1]] = stage
            shutil.rmtree(stage, ignore_errors=True)
            subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(stage)], check=True)
            environment = {}
        elif word == "RUN":
            enter(stage, ["sh", "-c", rest], environment, bound)
        elif word == "COPY":
            copy(rest, stage, stages)
        elif word == "ENV":
            key, _, value = rest.partition("=")
            environment[key] = value
        elif word == "ENTRYPOINT":
            settings["entry point"] = json.loads(rest)
        elif word not in ("ARG", "USER"):
            sys.exit(f"{CONTAINERFILE}: {word} is an instruction that this program does not know")
    settings["environment"] = environment
    target.with_name(f"{target.name}.{SETTINGS}").write_text(json.dumps(settings))
    for other in stages.values():
        shutil.rmtree(other)


def copy(words: str, stage: Path, stages: dict[str, Path]) -> None:
    """Copy a folder of the build's context, or of an earlier stage."""
    *options, source, place = shlex.split(words)
    inside = stage / place.lstrip("/")
    if options:
        (origin,) = (word.removeprefix("--from=") for word in options)
        shutil.copytree(stages[origin] / source.lstrip("/"), inside, dirs_exist_ok=True)
        return
    patterns = (CONTAINERFILE.parent / f"{CONTAINERFILE.name}.dockerignore").read_text().split()
    kept = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    dropped = [Path(pattern).name for pattern in patterns if pattern.startswith("**/")]
    for name in kept:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns(*dropped)
            shutil.copytree(ROOT / name, inside / name, ignore=ignore, dirs_exist_ok=True)
        elif not any(fnmatch(name, pattern) for pattern in dropped):
            inside.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, inside / name)


@contextmanager
def mount(what: str, place: Path, *options: str) -> Iterator[None]:
    """Mount something for the time of the block."""
    subprocess.run(["mount", *options, what, str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def enter(
    image: Path, command: Sequence[str], environment: dict[str, str], bound: Sequence[Path]
) -> None:
    """Run a command of the build in the image, as root, with this machine's network."""
    variables = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    variables |= {"DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"} | environment
    variables |= {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
    with ExitStack() as stack:
        for name, kind in (("proc", "proc"), ("dev", "devtmpfs")):
            stack.enter_context(mount(kind, image / name, "-t", kind))
        for path in bound:
            place = image / str(path).lstrip("/")
            place.mkdir(parents=True, exist_ok=True)
            stack.enter_context(mount(str(path), place, "--bind"))
        done = subprocess.run(["chroot", str(image), *command], env=variables, check=False)
    if done.returncode:
        sys.exit(f"the step ended with status {done.returncode}")


def run(image: Path, command: Sequence[str], bound: Sequence[Path]) -> int:
    """Run a command in the image as a container would; the result is its exit status."""
    settings = json.loads(image.with_name(f"{image.name}.{SETTINGS}").read_text())
    with ExitStack() as stack:
        for path in bound:
            (image / str(path).lstrip("/")).mkdir(parents=True, exist_ok=True)
        stack.enter_context(mount(str(image), image, "--bind", "-o", "ro"))
        for path in bound:
            stack.enter_context(mount(str(path), image / str(path).lstrip("/"), "--bind"))
        stack.enter_context(mount("devtmpfs", image / "dev", "-t", "devtmpfs"))
        stack.enter_context(mount("tmpfs", image / "tmp", "-t", "tmpfs"))
        stack.enter_context(mount("proc", image / "proc", "-t", "proc"))
        user = f"--userspec={STRANGER}:{STRANGER}"
        words = command or settings["entry point"]
        alone = ["unshare", "--net", "chroot", user, str(image), *words]
        variables = settings["environment"] | {"HOME": "/nowhere"}
        return subprocess.run(alone, env=variables, check=False).returncode


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("task", choices=["build", "run"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--bind", type=Path, action="append", default=[])
    parser.add_argument("command", nargs="*")
    given = parser.parse_args()
    if given.task == "run":
        return run(given.folder.resolve(), given.command, given.bind)
    if given.base is None:
        parser.error("build needs --base, a folder with the base image")
    build(given.folder.resolve(), given.base.resolve(), given.bind)
    return 0


if __name__ == "__main__":
    sys.exit(main())
