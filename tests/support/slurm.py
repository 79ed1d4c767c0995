"""A real SLURM for tests: its daemons run on this machine, with all their files in one folder.

They are stopped at the end of the block by their process numbers, so another SLURM of this machine
is left alone.
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

# There are no cgroups, because containers may not make them, and there are more processors than the
# machine may have, so that jobs run side by side. Both daemons listen at the address of this
# machine's name, which SLURM demands.
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


def explain_absence() -> str | None:
    """Why SLURM cannot run here, or ``None`` if it can."""
    missing = [name for name in PROGRAMS if _find_program(name) is None]
    if missing:
        return f"{', '.join(missing)} not found: apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "SLURM's daemons must run as root"
    try:
        socket.gethostbyname(_get_host_name())
    except OSError:
        return (
            f"{_get_host_name()}, the name of this machine, has no address: put it into /etc/hosts"
        )
    return None


@contextmanager
def run() -> Iterator[Path]:
    """Run SLURM with one node of 4 processors, which is idle when the block begins.

    Yields
    ------
    Path
        The file slurm.conf. SLURM's programs find it by the variable SLURM_CONF.

    Raises
    ------
    RuntimeError
        If SLURM does not start. The message ends with the last output of its daemons.
    """
    with ExitStack() as stack:
        # The paths of pytest's folder are too long: that of a socket has at most 107 characters.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="n4ax-slurm-")))
        configuration = _write_configuration(folder)
        environment = os.environ | {"SLURM_CONF": str(configuration)}
        for command in _make_commands(folder, configuration):
            stack.enter_context(_run_daemon(command, folder, environment))
        _wait_until_idle(folder, environment)
        stack.callback(_cancel_all, environment)
        yield configuration


def list_jobs(configuration: Path) -> list[str]:
    """The jobs in the queue, a line for each."""
    environment = os.environ | {"SLURM_CONF": str(configuration)}
    return _read_output("squeue", "--noheader", environment=environment).splitlines()


def _get_host_name() -> str:
    return socket.gethostname().split(".")[0]


def _find_program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin")))


def _write_configuration(folder: Path) -> Path:
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
            host=_get_host_name(),
            address=socket.gethostbyname(_get_host_name()),
            controller_port=ports[0],
            node_port=ports[1],
            folder=folder,
        )
    )
    return configuration


def _make_commands(folder: Path, configuration: Path) -> list[list[str]]:
    files = [f"--{kind}-file={folder}/munge.{kind}" for kind in ("key", "log", "pid", "seed")]
    return [
        # Forced, because munged wants folders that everyone may read, and this one is private.
        ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files],
        ["slurmctld", "-D", "-i", "-f", str(configuration)],
        ["slurmd", "-D", "-f", str(configuration)],
    ]


@contextmanager
def _run_daemon(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    name, *arguments = command
    with (folder / f"{name}.out").open("wb") as output:
        process = subprocess.Popen(
            [_find_program(name) or name, *arguments],
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
        state = _read_output("sinfo", "--noheader", "--format=%T", environment=environment).strip()
        if state == "idle":
            return
        time.sleep(0.2)
    logs = "\n".join(
        f"{path.name}:\n" + "\n".join(path.read_text(errors="replace").splitlines()[-15:])
        for path in sorted(folder.glob("*.out"))
    )
    raise RuntimeError(f"SLURM did not start in {SECONDS_TO_START} s, sinfo: {state!r}\n{logs}")


def _cancel_all(environment: dict[str, str]) -> None:
    """Cancel the jobs that a failed test has left, which are not children of this process."""
    _read_output("scancel", "--state=PENDING", environment=environment)
    _read_output("scancel", "--state=RUNNING", environment=environment)
    end = time.monotonic() + SECONDS_TO_STOP
    while time.monotonic() < end and _read_output("squeue", "--noheader", environment=environment):
        time.sleep(0.2)


def _read_output(*command: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout
