"""Nobody but the processes of a study can connect to its scheduler or its workers."""

import os
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from n4ax.bids.workers.certificates import keep_connections_apart, write_certificate
from n4ax.bids.workers.connection import connect
from n4ax.bids.workers.description import Workers
from tests.bids.stand_ins import install_queue
from tests.bids.worker_tasks import LOOPBACK

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.usefixtures("nothing_is_left")


def find_ports(client: Any) -> set[tuple[str, int]]:
    """The addresses at which the scheduler, the workers and their nannies listen."""
    numbers = {os.getpid(), *client.run(os.getpid).values(), *client.run(os.getppid).values()}
    return {
        connection.laddr[:2]
        for number in numbers - {1}
        for connection in psutil.Process(number).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def is_greeted(place: tuple[str, int], security: Any, seconds: float = 0.3) -> bool:
    """Whether a server of Dask greets whoever holds a certificate, or none: it speaks first."""
    arguments = security.get_connection_args("client") if security else {"ssl_context": None}
    context = arguments["ssl_context"]
    try:
        with socket.create_connection(place, 2) as plain:
            plain.settimeout(seconds)
            with context.wrap_socket(plain) if context else plain as connected:
                return bool(connected.recv(1))
    except OSError:  # refused, reset, timed out, or an error of TLS
        return False


def check_strangers(client: Any, before: set[tuple[str, int]]) -> None:
    places = find_ports(client) - before
    assert {host for host, _ in places} == {"127.0.0.1"}
    stranger = distributed.Security.temporary()
    for place in places:
        assert not is_greeted(place, None)
        assert not is_greeted(place, stranger)
    scheduler = client.scheduler_info()
    nannies = {worker["nanny"] for worker in scheduler["workers"].values()}
    servers = {scheduler["address"], *scheduler["workers"], *nannies}
    assert servers <= {f"tls://{host}:{port}" for host, port in places}
    for host, _, port in (server.removeprefix("tls://").partition(":") for server in servers):
        assert is_greeted((host, int(port)), client.security, 5)


def list_listeners() -> set[tuple[str, int]]:
    """The addresses at which libraries of other tests listen in this process."""
    mine = psutil.Process().net_connections("inet")
    return {each.laddr[:2] for each in mine if each.status == psutil.CONN_LISTEN}


def test_strangers_cannot_connect_to_processes_of_this_machine(tmp_path: Path) -> None:
    before = list_listeners()
    with connect(Workers(processes=2), tmp_path) as client:
        check_strangers(client, before)


@pytest.mark.skipif(sys.platform != "linux", reason="setsid exists on Linux only")
def test_strangers_cannot_connect_to_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask_jobqueue")
    install_queue("pbs", tmp_path, monkeypatch)
    before = list_listeners()
    with connect(Workers(cluster="pbs", options=LOOPBACK), tmp_path / "scratch") as client:
        client.wait_for_workers(1, timeout=60)
        check_strangers(client, before)
        (file,) = (tmp_path / "scratch" / "dask").glob("tls-*.pem")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not list((tmp_path / "scratch" / "dask").glob("tls-*.pem"))


def test_each_study_has_a_certificate_of_its_own(tmp_path: Path) -> None:
    with write_certificate(tmp_path) as one, write_certificate(tmp_path) as other:
        texts = [Path(each.tls_ca_file).read_text() for each in (one, other)]
        assert texts[0] != texts[1]
        assert all("PRIVATE KEY" in text and "CERTIFICATE" in text for text in texts)
    assert not list(tmp_path.iterdir())


def test_the_scheduler_listens_where_the_jobs_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At one address of this machine, not at all of them."""
    pytest.importorskip("dask_jobqueue")
    install_queue("pbs", tmp_path, monkeypatch)
    monkeypatch.setattr("distributed.utils.get_ip", lambda: "127.0.0.2")
    before = list_listeners()
    with connect(Workers(cluster="pbs"), tmp_path / "scratch") as client:
        assert client.scheduler_info()["address"].startswith("tls://127.0.0.2:")
        assert {host for host, _ in list_listeners() - before} == {"127.0.0.1", "127.0.0.2"}


class Connection:
    """A method of a stream that fails some times."""

    def __init__(self, failures: int) -> None:
        self.left = failures

    def read(self, data: bytearray) -> int:
        self.left -= 1
        if self.left >= 0:
            raise BrokenPipeError(32, "Broken pipe")
        return len(data)


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_an_error_of_another_connection_is_no_error_of_this_one(
    failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tornado.iostream import SSLIOStream

    read, write = SSLIOStream.read_from_fd, SSLIOStream.write_to_fd
    with monkeypatch.context() as patch:
        patch.setattr(SSLIOStream, "read_from_fd", Connection.read)
        with keep_connections_apart():
            if failures < 2:
                assert SSLIOStream.read_from_fd(Connection(failures), bytearray(7)) == 7
            else:
                with pytest.raises(BrokenPipeError):
                    SSLIOStream.read_from_fd(Connection(failures), bytearray(7))
            assert SSLIOStream.write_to_fd is not write
        assert SSLIOStream.read_from_fd is Connection.read
    assert (SSLIOStream.read_from_fd, SSLIOStream.write_to_fd) == (read, write)


def test_workers_keep_their_connections_apart(tmp_path: Path) -> None:
    with connect(Workers(), tmp_path) as client:
        assert client.run(count_wrapped()) == dict.fromkeys(client.scheduler_info()["workers"], 2)


def count_wrapped() -> Any:
    """A function, sent by value, that counts the methods that try twice."""

    def count() -> int:
        from tornado.iostream import SSLIOStream

        methods = (SSLIOStream.read_from_fd, SSLIOStream.write_to_fd)
        return sum(hasattr(method, "__wrapped__") for method in methods)

    return count
