"""Check on 64-bit ARM, by emulation, that n4ax has the bits that it has here.

    python packaging/check_arm.py FOLDER [--certificate FILE]

debootstrap makes a Debian for 64-bit ARM in FOLDER, unless it is there from an earlier call. Under
qemu the package is built there, with its library of kernels (some 20 minutes), and installed.
The digest of `scripts/hash_bits.py` must then be that of this machine. It needs root, and
Debian's packages debootstrap and qemu-user-static.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

EMULATOR = Path("/usr/bin/qemu-aarch64-static")

FORMATS = Path("/proc/sys/fs/binfmt_misc")
"""Where Linux is told which program runs the files of another kind of processor."""

ARM = (
    r":qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
)
"""What the first bytes of a program for 64-bit ARM are, and which of their bits count."""

PACKAGES = "ca-certificates,python3,python3-venv,gcc,libc6-dev"
SOURCES = ("src", "scripts", "hatch_build.py", "pyproject.toml", "README.md", "LICENSE")


def tell_linux() -> None:
    """Have programs for 64-bit ARM run by the emulator."""
    if not (FORMATS / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(FORMATS)], check=True)
    if not (FORMATS / "qemu-aarch64").exists():
        (FORMATS / "register").write_text(f"{ARM}:{EMULATOR}:FPC")


def make_system(folder: Path) -> None:
    """Make a small Debian for 64-bit ARM, if there is none."""
    if not (folder / "usr" / "bin" / "python3").exists():
        words = ["--arch=arm64", "--variant=minbase", f"--include={PACKAGES}", "trixie"]
        subprocess.run(["debootstrap", *words, str(folder)], check=True)


def copy_sources(folder: Path) -> None:
    """Copy what the package is built of, without what was made here."""
    source = folder / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            left_out = shutil.ignore_patterns("__pycache__", "*.so")
            shutil.copytree(path, source / name, ignore=left_out)
        else:
            shutil.copy(path, source)
    shutil.copy("/etc/resolv.conf", folder / "etc")


def run(folder: Path, *words: str) -> str:
    """Run a program in the system, and give what it prints."""
    variables = ["PATH=/opt/n4ax/bin:/usr/bin:/bin", "HOME=/root", "LANG=C.UTF-8"]
    if (folder / "certificate.pem").exists():
        variables.append("PIP_CERT=/certificate.pem")
    command = ["chroot", str(folder), "/usr/bin/env", "-i", *variables, *words]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def main() -> None:
    """Read the command line, and do all of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--certificate", type=Path, help="of the package index, for pip")
    given = parser.parse_args()
    folder = given.folder.resolve()
    tell_linux()
    make_system(folder)
    copy_sources(folder)
    if given.certificate:
        shutil.copy(given.certificate, folder / "certificate.pem")
    mounted = (folder / "proc" / "self").exists()
    if not mounted:
        subprocess.run(["mount", "-t", "proc", "proc", str(folder / "proc")], check=True)
    try:
        run(folder, "python3", "-m", "venv", "--clear", "/opt/n4ax")
        run(folder, "pip", "install", "--quiet", "/source")
        there = json.loads(run(folder, "python3", "/source/scripts/hash_bits.py"))
    finally:
        if not mounted:
            subprocess.run(["umount", str(folder / "proc")], check=True)
    command = [sys.executable, str(ROOT / "scripts" / "hash_bits.py")]
    here = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    print(json.dumps(there), json.dumps(here), sep="\n")
    if there["from"] != "library" or there["cases"] != here["cases"]:
        sys.exit("these are other bits, or there is no library of kernels there")


if __name__ == "__main__":
    main()
