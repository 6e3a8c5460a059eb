"""What every request passes first."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from live import TOKEN, listening
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from wsi_suite.service.guard import Guard, calls_from_here, is_loopback


async def _answer(request: Request) -> Response:
    return JSONResponse({"bytes": len(await request.body())})


@pytest.fixture(scope="module")
def guard() -> Guard:
    router = Router(
        [Route(path, _answer, methods=["GET", "POST"]) for path in ("/v1/jobs", "/v1/health")]
    )
    return Guard(
        ExceptionMiddleware(router), token=TOKEN, hosts=("localhost", "LabPC"), max_body_bytes=1000
    )


@pytest.fixture(scope="module")
def client(guard: Guard) -> Iterator[httpx.Client]:
    with listening(guard) as address, httpx.Client(base_url=address) as client:
        yield client


def ask(client: httpx.Client, path: str = "/v1/jobs", **headers: str | bytes) -> httpx.Response:
    return client.get(path, headers={"authorization": f"Bearer {TOKEN}", **headers})


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer wrong",
        "Bearer rightright",
        "Basic right",
        "right",
        "Bearer \xff",
    ],
)
def test_a_request_without_the_token_is_refused(client: httpx.Client, given: str) -> None:
    answer = ask(client, authorization=given.encode("latin-1"))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json() == {"detail": "the service's token is missing or wrong"}


def test_the_token_lets_in_and_health_needs_none(client: httpx.Client) -> None:
    assert ask(client).status_code == 200
    assert ask(client, authorization="bearer right").status_code == 200
    assert ask(client, "/v1/health", authorization="").status_code == 200
    assert ask(client, "/v1/health/", authorization="").status_code == 401


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:49152", "127.0.0.1", "[::1]:80", "[::1]", "localhost:1", "labpc", "192.168.1.7:80"],
)
def test_addresses_and_own_names_are_known(client: httpx.Client, host: str) -> None:
    assert ask(client, host=host).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "localhost.evil:80",
        "a:b:c",
        "localhost:x",
        "[::1",
    ],
)
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/health"])
def test_other_names_are_refused(client: httpx.Client, host: str, path: str) -> None:
    answer = ask(client, path, host=host)
    assert answer.status_code == 400
    assert "Host" in answer.json()["detail"]


def test_no_other_origin_is_let_read_answers(client: httpx.Client) -> None:
    answer = ask(client, origin="https://evil.example")
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_long_bodies_are_refused_by_their_length_and_while_they_come(
    client: httpx.Client,
) -> None:
    def stream(parts: int) -> Iterator[bytes]:
        yield from [b"x" * 100] * parts

    def send(body: bytes | Iterator[bytes]) -> httpx.Response:
        return client.post("/v1/jobs", content=body, headers={"authorization": f"Bearer {TOKEN}"})

    assert send(b"x" * 1000).json() == {"bytes": 1000}
    assert send(stream(10)).json() == {"bytes": 1000}
    for body in (b"x" * 1001, stream(11)):
        answer = send(body)
        assert answer.status_code == 413
        assert "longer than" in answer.text


def test_a_body_is_refused_before_it_was_sent(client: httpx.Client) -> None:
    connection = http.client.HTTPConnection(urlsplit(str(client.base_url)).netloc, timeout=10)
    connection.putrequest("POST", "/v1/jobs")
    connection.putheader("Authorization", f"Bearer {TOKEN}")
    connection.putheader("Content-Length", "1000000000000")
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_only_requests_with_the_token_count_as_activity(guard: Guard, client: httpx.Client) -> None:
    guard.last_request = 0.0
    ask(client, authorization="")
    ask(client, "/v1/health")
    assert guard.last_request == 0.0
    ask(client)
    assert guard.last_request > 0.0


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.7", False),
        ("::ffff:192.168.0.7", False),
        ("fe80::1%eth0", False),
        ("localhost", False),  # a name is no address of a connection
        ("", False),
    ],
)
def test_addresses_of_this_machine_alone(address: str, own: bool) -> None:
    assert is_loopback(address) is own


@pytest.mark.parametrize(
    ("client", "here"),
    [(("127.0.0.1", 1), True), (("::1", 1), True), (("10.0.0.4", 1), False), (None, False)],
)
def test_who_calls_is_the_address_of_the_connection(
    client: tuple[str, int] | None, here: bool
) -> None:
    headers = [(b"host", b"127.0.0.1")]
    assert calls_from_here(Request({"type": "http", "client": client, "headers": headers})) is here
