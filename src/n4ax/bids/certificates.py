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


def make_certificate() -> "Security":
    """Make a certificate for all processes of a study, which is kept in memory.

    Returns
    -------
    distributed.Security
        What a scheduler, its workers and its clients need to connect to each other.
    """
    from distributed import Security

    return Security.temporary()


@contextmanager
def write_certificate(folder: Path) -> Iterator["Security"]:
    """Make a certificate, and keep it in a file during the block, where jobs of a cluster read it.

    Parameters
    ----------
    folder
        An existing folder, on a disk that the nodes of the cluster see.

    Yields
    ------
    distributed.Security
        As `make_certificate` returns it, with the file's path. Nobody but its owner can read it.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    from distributed import Security

    made = make_certificate().get_tls_config_for_role("worker")
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix="tls-", suffix=".pem") as file:
        file.write(made["key"] + made["cert"])
        file.flush()
        roles = ("client", "scheduler", "worker")
        files = {f"tls_{role}_{part}": file.name for role in roles for part in ("cert", "key")}
        yield Security(require_encryption=True, tls_ca_file=file.name, **files)
