"""``serve``: the service that QuPath's scripts ask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsi_suite.cli.options import Debug, Device, Model

if TYPE_CHECKING:
    from wsi_suite.service.discovery import Service

Host = Annotated[
    str,
    typer.Option(
        "--host", help="Address to listen at; others than your own need care.", metavar="HOST"
    ),
]
Port = Annotated[
    int,
    typer.Option(
        "--port", min=0, max=65535, help="Port to listen at; 0: a free one.", metavar="PORT"
    ),
]
AllowRoot = Annotated[
    list[Path] | None,
    typer.Option(
        "--allow-root",
        help="Read slides in this folder and below; may be repeated. Without it none are read"
        " until a client adds a folder.",
        metavar="DIR",
    ),
]
IdleMinutes = Annotated[
    float | None,
    typer.Option(
        "--idle-minutes",
        min=0.01,
        help="End after so many minutes without requests and jobs.",
        metavar="MINUTES",
        show_default="never",
    ),
]


def serve(
    *,
    host: Host = "127.0.0.1",
    port: Port = 0,
    allow_root: AllowRoot = None,
    idle_minutes: IdleMinutes = None,
    model: Model = None,
    device: Device = None,
    debug: Debug = False,
) -> None:
    """Keep the model loaded and answer QuPath's scripts, until Ctrl-C.

    'Detect nuclei and score' in QuPath finds the service by the file ~/.wsi-suite/service.json
    (its token is for you alone), or starts one by itself. Jobs run one after another in memory
    and leave no files. Each user has one service at a time.
    """
    from wsi_suite.cli.terminal import note, say

    if not _is_own(host):
        note(
            f"--host {host}: other machines can reach the service, unencrypted; whoever has its"
            " token can read all slides in the folders of --allow-root"
        )
    from wsi_suite.service.server import ServiceSettings, serve  # takes seconds

    settings = ServiceSettings(
        host=host,
        port=port,
        roots=tuple(folder.absolute() for folder in allow_root or ()),
        idle_minutes=idle_minutes,
        device=device or "auto",
        model=model or ServiceSettings.model,
    )

    def ready(service: Service) -> None:
        shown = f"[{service.host}]" if ":" in service.host else service.host
        say(f"ready: http://{shown}:{service.port} (process {service.pid})")

    if serve(settings, ready=ready):
        raise KeyboardInterrupt


def _is_own(host: str) -> bool:
    """Return whether a host name means the loopback interface."""
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
