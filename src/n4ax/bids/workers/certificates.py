"""Certificates with which the processes of one study recognise each other.

Whoever can connect to a scheduler of Dask can run programs as its user. So the scheduler and the
workers of a study speak TLS, and accept only who holds the certificate that was made for it.
"""

import ssl
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


@contextmanager
def keep_connections_apart() -> Iterator[None]:
    """Let an error of one connection not be taken for an error of another one.

    OpenSSL remembers errors by thread. When a connection is lost, versions from 3.4 on may remember
    two errors. Python forgets one of them, and finds the other when the thread reads from the next
    connection, which it then gives up (CPython's issue 148594).
    """
    before = _make_careful()
    try:
        yield
    finally:
        _replace_methods(before)


def dask_setup(_process: object) -> None:
    """Keep the connections of a process apart until it ends; Dask calls this by its name."""
    _make_careful()


def _make_careful() -> dict[str, Callable[..., Any]]:
    """Let streams try twice to read and to write, and return their methods as they were."""
    from tornado.iostream import SSLIOStream

    before = {name: getattr(SSLIOStream, name) for name in ("read_from_fd", "write_to_fd")}
    _replace_methods({name: _try_twice(method) for name, method in before.items()})
    return before


def _replace_methods(methods: Mapping[str, Callable[..., Any]]) -> None:
    from tornado.iostream import SSLIOStream

    for name, method in methods.items():
        setattr(SSLIOStream, name, method)


def _try_twice(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that is called again after an error, which then is an error of this connection."""

    @wraps(method)
    def call(stream: object, data: object) -> Any:
        try:
            return method(stream, data)
        except OSError:
            _forget_errors()
        try:
            return method(stream, data)
        except OSError:
            _forget_errors()
            raise

    return call


def _forget_errors() -> None:
    """Let OpenSSL forget the errors of this thread, as Python has it do after this mistake."""
    with suppress(ssl.SSLError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers("none of OpenSSL's names")
