"""A bare connection to a nats-server: a socket, signed in with a credential, and nothing between it and the bytes.

A client library costs ten times more per message than what is to be measured here.
"""

import base64
import json
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

from wattfleet_tenants.credentials import Identity

_TIMEOUT_S = 10.0
_READ_BYTES = 1 << 16
_BUFFER_BYTES = 4 << 20
_CREDENTIAL = re.compile(r"-----BEGIN NATS USER JWT-----\n(\S+)\n.*-----BEGIN USER NKEY SEED-----\n(\S+)\n", re.DOTALL)


def connect(url: str, credentials: str) -> socket.socket:
    """A blocking socket, signed in with the text of a .creds file; raises ConnectionError when refused."""
    found = _CREDENTIAL.search(credentials)
    if found is None:
        raise ValueError("this is no text of a .creds file")
    token, seed = found.groups()
    address = urlsplit(url)
    line = socket.create_connection((address.hostname, address.port), _TIMEOUT_S)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    greeting = _read_until(line, b"\r\n")
    nonce = json.loads(greeting.removeprefix(b"INFO "))["nonce"]
    signature = base64.urlsafe_b64encode(Identity(seed).sign(nonce.encode())).decode().rstrip("=")
    options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "jwt": token}
    line.sendall(b"CONNECT " + json.dumps({**options, "sig": signature}).encode() + b"\r\nPING\r\n")
    answer = _read_until(line, b"\r\n")
    if b"PONG" not in answer:
        raise ConnectionError(f"the server refuses the connection: {answer[:200]!r}")
    return line


def connect_with_file(url: str, credentials: Path) -> socket.socket:
    """The same with a .creds file, and with large buffers."""
    line = connect(url, credentials.read_text())
    for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        line.setsockopt(socket.SOL_SOCKET, buffer, _BUFFER_BYTES)
    return line


def _read_until(line: socket.socket, end: bytes) -> bytes:
    read = b""
    while not read.endswith(end):
        if not (more := line.recv(_READ_BYTES)):
            raise ConnectionError(f"the server closed the connection: {read[:200]!r}")
        read += more
    return read
