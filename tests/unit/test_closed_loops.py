"""Stores and sockets of event loops that were closed under them: let go of without the loop, and without a word."""

from __future__ import annotations

import asyncio
import gc
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from queuekit import QueueKit
from queuekit.store.direct import close_without_loop
from queuekit.testing import TestKit


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_the_peer_sees_the_socket_close(tls: bool, tmp_path: Path) -> None:
    context = _context(tmp_path) if tls else None
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            accepted, _ = server.accept()
            with context.wrap_socket(accepted, server_side=True) if context else accepted as peer:
                seen.append(peer.recv(1))

        thread = threading.Thread(target=serve)
        thread.start()
        loop = asyncio.new_event_loop()
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        reader, writer = loop.run_until_complete(
            asyncio.open_connection(*server.getsockname(), ssl=trusting if tls else None)
        )
        loop.close()
        close_without_loop(writer.transport)
        thread.join(60)
        assert seen == [b""]
        assert writer.get_extra_info("socket").fileno() == -1
    del reader, writer
    gc.collect()  # a finalizer that complains is an error here


def _context(folder: Path) -> ssl.SSLContext:
    """A server's, with a certificate made for the moment."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    made = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = [openssl, *made, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _enqueue_and_close(kit: QueueKit) -> None:
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(kit.queue("q").aenqueue("t"))
    finally:
        loop.close()


def test_a_store_that_cannot_be_abandoned_is_forgotten(kit: TestKit) -> None:
    """A third party's need not have the method."""
    for _ in range(3):
        _enqueue_and_close(kit)
        assert len(kit.access._loops) == 1
    kit.access.close()
    assert kit.access._loops == {}


def test_one_that_fails_at_it_fails_no_other_loop(kit: TestKit) -> None:
    def abandon() -> None:
        raise RuntimeError("a driver met itself without its loop")

    _enqueue_and_close(kit)
    (entry,) = kit.access._loops.values()
    entry.store.abandon = abandon  # type: ignore[attr-defined]  # an optional method
    _enqueue_and_close(kit)
    assert entry not in kit.access._loops.values()
