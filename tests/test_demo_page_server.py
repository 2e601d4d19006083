# SPDX-License-Identifier: Apache-2.0
"""Who reaches the page, and what signals do to it."""

import signal
import socket
import sys

import pytest

from lipjax.cli import parsers
from lipjax.demo_page.ending import Ending
from lipjax.demo_page.server import address_of, is_local, listen, warning
from lipjax.errors import ConfigError


def reached(host, port):
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is nobody")
def test_it_listens_on_this_machine_alone_unless_told_otherwise():
    host = parsers()[1]["demo"].get_default("host")
    for given, others in ((host, False), ("0.0.0.0", True)):
        with listen(given, 0) as opened:
            port = opened.getsockname()[1]
            assert reached("127.0.0.1", port)
            assert reached("127.0.0.2", port) is others
            assert address_of(opened) == f"http://127.0.0.1:{port}"


def test_a_port_that_is_taken_is_told_or_passed_over(monkeypatch):
    from lipjax.demo_page import server

    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127.0.0.1:{port}: the page cannot be served"):
            listen("127.0.0.1", port)
        monkeypatch.setattr(server, "PORT", port)
        with listen("127.0.0.1", None) as second:
            assert second.getsockname()[1] not in (0, port)
    with pytest.raises(ConfigError, match="no.such.host.invalid"):
        listen("no.such.host.invalid", 0)


def test_opening_it_to_others_is_warned_of():
    assert is_local("127.0.0.1") and is_local("::1") and is_local("localhost")
    assert warning("127.0.0.1") == ""
    for host in ("0.0.0.0", "192.0.2.7", "::", "myhost"):
        assert "no password" in warning(host) and host in warning(host)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_end_the_start_or_the_server(name):
    number, ending = getattr(signal, name), Ending()
    before = signal.getsignal(number)
    with ending.taken():
        ending.check()
        signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            ending.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)

        class Server:
            should_exit = force_exit = False

        ending.begin(Server())
        assert ending.server.should_exit, "a signal came before"
        ending.server.should_exit = False
        signal.raise_signal(number)
        assert (ending.server.should_exit, ending.server.force_exit) == (True, False)
        signal.raise_signal(number)
        assert ending.server.force_exit
    assert signal.getsignal(number) is before and ending.number == number
