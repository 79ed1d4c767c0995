"""Certificates with which the processes of one study recognise each other.

Whoever can connect to a scheduler of Dask can run programs as its user. So the scheduler and the
workers of a study speak TLS, and accept only who holds the certificate that was made for it.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Security


@contextmanager
def write_certificate(folder: Path) -> Iterator["Security"]:
    """Make a certificate, which lies in a file that nobody else can read until the block ends.

    Parameters
    ----------
    folder
        An existing folder. For jobs of a cluster it must be on a disk that the nodes see.

    Yields
    ------
    distributed.Security
        What a scheduler, its workers and its clients need to connect to each other.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    from distributed import Security

    made = Security.temporary().get_tls_config_for_role("worker")
    handle, name = tempfile.mkstemp(dir=folder, prefix="tls-", suffix=".pem")
    try:
        with open(handle, "w", encoding="ascii") as file:
            file.write(made["key"] + made["cert"])
        roles = ("client", "scheduler", "worker")
        files = {f"tls_{role}_{part}": name for role in roles for part in ("cert", "key")}
        yield Security(require_encryption=True, tls_ca_file=name, **files)
    finally:
        Path(name).unlink(missing_ok=True)
