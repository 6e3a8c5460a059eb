"""Connections to a Dask scheduler, with its certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsi_suite.config import RunSettings
from wsi_suite.errors import ConfigError

if TYPE_CHECKING:
    from distributed import Client, Security


def connect(settings: RunSettings, *, timeout_s: float) -> Client:
    """Connect to the scheduler that the settings name.

    Raises
    ------
    ConfigError
        No scheduler answers, it has no workers, or its certificates cannot be used.
    """
    from distributed import Client

    address = settings.scheduler
    try:
        client = Client(
            address,
            security=_security(settings),
            timeout=timeout_s,
            set_as_default=False,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"--scheduler {address}: no Dask scheduler answers ({error}); start one with "
            "'dask scheduler', then workers with 'dask worker ADDRESS'"
        ) from None
    if not client.nthreads():
        client.close()
        raise ConfigError(
            f"--scheduler {address}: it has no workers; start some with 'dask worker {address}'"
        )
    return client


def _security(settings: RunSettings) -> Security:
    """Return the certificates for a scheduler: from our settings, else from Dask's own.

    Raises
    ------
    ConfigError
        A file is not there, or is no certificate or key.
    """
    from distributed import Security

    files = {
        "tls_ca_file": settings.tls_ca_file,
        "tls_client_cert": settings.tls_cert,
        "tls_client_key": settings.tls_key,
    }
    given = {name: str(file) for name, file in files.items() if file is not None}
    try:
        security = Security(**given)
        context = security.get_connection_args("client")["ssl_context"]  # reads the files
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        names = ", ".join(given.values()) or "Dask's distributed.comm.tls settings"
        raise ConfigError(
            f"--scheduler {settings.scheduler}: its certificates cannot be used ({names}: "
            f"{reason}); expected PEM files in run.tls_ca_file, run.tls_cert and run.tls_key"
        ) from None
    if context is None and str(settings.scheduler).startswith(("tls://", "wss://")):
        raise ConfigError(
            f"--scheduler {settings.scheduler}: it wants a certificate; give run.tls_ca_file, "
            "run.tls_cert and run.tls_key, or Dask's distributed.comm.tls settings"
        )
    return security
