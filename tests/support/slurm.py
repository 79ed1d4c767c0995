"""A real SLURM for tests: its daemons on this machine, with all their files in a folder of theirs.

They stop with the block, and by their process numbers: another SLURM of this machine is left alone.
"""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "sinfo", "squeue")
SECONDS_TO_START = 40
SECONDS_TO_STOP = 10

# No cgroups, which containers do not let one make, and more processors than there may be, so that
# jobs run side by side. Both daemons listen where this machine's name leads, which SLURM asks for.
_CONFIGURATION = """\
ClusterName=n4ax
SlurmctldHost={host}({address})
SlurmctldPort={controller_port}
SlurmdPort={node_port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
MailProg=/bin/true
NodeName={host} NodeAddr={address} CPUs=4 RealMemory=8000 State=UNKNOWN
PartitionName=short Nodes={host} Default=YES MaxTime=00:10:00 State=UP
"""


def why_not() -> str | None:
    """Why SLURM cannot run here; ``None`` where it can."""
    missing = [name for name in PROGRAMS if _found(name) is None]
    if missing:
        return f"{', '.join(missing)} not found: apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "SLURM's daemons want to be root"
    try:
        socket.gethostbyname(_host())
    except OSError:
        return f"{_host()}, the name of this machine, has no address: put it into /etc/hosts"
    return None


@contextmanager
def running() -> Iterator[Path]:
    """SLURM with one node of 4 processors, which is idle when the block begins.

    Yields
    ------
    Path
        Its slurm.conf, by which its programs find it: the variable SLURM_CONF names it.

    Raises
    ------
    RuntimeError
        It does not come up; the message ends with what its daemons said last.
    """
    with ExitStack() as stack:
        # Not pytest's folder: the path of a socket has at most 107 characters.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="n4ax-slurm-")))
        configuration = _write(folder)
        environment = os.environ | {"SLURM_CONF": str(configuration)}
        for command in _commands(folder, configuration):
            stack.enter_context(_daemon(command, folder, environment))
        _wait_until_idle(folder, environment)
        stack.callback(_cancel_all, environment)
        yield configuration


def queued(configuration: Path) -> list[str]:
    """What is in the queue, a line for each job."""
    environment = os.environ | {"SLURM_CONF": str(configuration)}
    return _said("squeue", "--noheader", environment=environment).splitlines()


def _host() -> str:
    return socket.gethostname().split(".")[0]


def _found(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin")))


def _write(folder: Path) -> Path:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        ports = [free.getsockname()[1] for free in (one, other)]
    configuration = folder / "slurm.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            host=_host(),
            address=socket.gethostbyname(_host()),
            controller_port=ports[0],
            node_port=ports[1],
            folder=folder,
        )
    )
    return configuration


def _commands(folder: Path, configuration: Path) -> list[list[str]]:
    files = [f"--{kind}-file={folder}/munge.{kind}" for kind in ("key", "log", "pid", "seed")]
    return [
        # By force: it wants folders into which all may look, and temporary ones are private.
        ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files],
        ["slurmctld", "-D", "-i", "-f", str(configuration)],
        ["slurmd", "-D", "-f", str(configuration)],
    ]


@contextmanager
def _daemon(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    name, *arguments = command
    with (folder / f"{name}.out").open("wb") as output:
        process = subprocess.Popen(
            [_found(name) or name, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_idle(folder: Path, environment: dict[str, str]) -> None:
    end = time.monotonic() + SECONDS_TO_START
    state = ""
    while time.monotonic() < end:
        state = _said("sinfo", "--noheader", "--format=%T", environment=environment).strip()
        if state == "idle":
            return
        time.sleep(0.2)
    logs = "\n".join(
        f"{path.name}:\n" + "\n".join(path.read_text(errors="replace").splitlines()[-15:])
        for path in sorted(folder.glob("*.out"))
    )
    raise RuntimeError(f"SLURM did not start in {SECONDS_TO_START} s, sinfo: {state!r}\n{logs}")


def _cancel_all(environment: dict[str, str]) -> None:
    """Jobs are no children of ours: what a failed test has left ends before its daemons do."""
    _said("scancel", "--state=PENDING", environment=environment)
    _said("scancel", "--state=RUNNING", environment=environment)
    end = time.monotonic() + SECONDS_TO_STOP
    while time.monotonic() < end and _said("squeue", "--noheader", environment=environment):
        time.sleep(0.2)


def _said(*command: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout
