"""Whether QuPath is running: it locks nothing, and the last one to save wins."""

from __future__ import annotations

import psutil


def running_qupath() -> list[int]:
    """Return the ids of this user's processes that are QuPath.

    Which project one has open cannot be seen from outside.
    """
    me = psutil.Process().username()
    found = []
    for process in psutil.process_iter(["pid", "name", "username", "cmdline"]):
        told = process.info
        name, words = told["name"] or "", told["cmdline"] or []
        if told["username"] == me and (
            name.lower().startswith("qupath") or "qupath.QuPath" in words
        ):
            found.append(int(told["pid"]))
    return sorted(found)
