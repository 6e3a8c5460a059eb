"""Checks of every request before it is handled: host, token, size."""

from __future__ import annotations

import hmac
import ipaddress
import time
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 32 * 2**20
OPEN_PATHS = ("/v1/health", "/openapi.json")
"""What needs no token, since it tells nothing of the user."""

_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
"""Headers by which a proxy on this machine tells that the caller is on another."""


class Guard:
    """ASGI middleware; remembers when the last request came that had the token.

    Parameters
    ----------
    app
        What is guarded.
    token
        What ``Authorization: Bearer`` must show.
    hosts
        Names by which the service may be called. Addresses always may: a page that has its own
        name point here (DNS rebinding) still sends that name.
    max_body_bytes
        Longer bodies are refused while they are sent.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str,
        hosts: Iterable[str],
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = {host.casefold() for host in hosts}
        self._max_body_bytes = max_body_bytes
        self.last_request = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope["path"], headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        if scope["path"] not in OPEN_PATHS:
            self.last_request = time.monotonic()
        await self._app(scope, self._counted(receive), send)

    def _refusal(self, path: str, headers: Headers) -> JSONResponse | None:
        if not self._is_known(headers.get("host", "")):
            return _problem(400, "unknown Host header; call the service by its address")
        if path not in OPEN_PATHS and not self._has_token(headers):
            return _problem(401, "the service's token is missing or wrong", challenge=True)
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > self._max_body_bytes:
            return _problem(413, self._too_long)
        return None

    def _is_known(self, header: str) -> bool:
        host, _, port = header.rpartition(":") if _has_port(header) else (header, "", "0")
        if not port.isdecimal():
            return False
        return _is_address(host.strip("[]")) or host.casefold() in self._hosts

    def _has_token(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode(), self._token
        )

    def _counted(self, receive: Receive) -> Receive:
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body_bytes:
                raise HTTPException(413, self._too_long)
            return message

        return counted

    @property
    def _too_long(self) -> str:
        return f"longer than {self._max_body_bytes / 2**20:g} MiB; send fewer or simpler regions"


def is_loopback(address: str) -> bool:
    """Return whether an IP address is of this machine alone: 127.0.0.0/8, ::1."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def calls_from_here(request: HTTPConnection) -> bool:
    """Return whether a program on this machine calls, and for no other machine.

    Who calls is the address of the connection, which cannot be chosen; a proxy here that calls
    for others says so in its headers.
    """
    if request.client is None or not is_loopback(request.client.host):
        return False
    return not any(name in request.headers for name in _FORWARDED)


def _has_port(host: str) -> bool:
    return ":" in host and not host.endswith("]")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _problem(status: int, detail: str, *, challenge: bool = False) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if challenge else None
    return JSONResponse({"detail": detail}, status_code=status, headers=headers)
