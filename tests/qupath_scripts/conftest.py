"""QuPath's scripts in Groovy, in one process with stand-ins for QuPath's classes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from groovy_side import GroovyError

from wsi_suite.resources import qupath_scripts_folder

HERE = Path(__file__).parent
QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dfile.encoding=UTF-8")

Groovy = Callable[..., Any]


@pytest.fixture(scope="session")
def classpath(pytestconfig: pytest.Config) -> str:
    """Groovy and the libraries that scripts use, fetched by Maven, which takes seconds: kept."""
    wanted = (HERE / "pom.xml").read_text("utf-8")
    kept = pytestconfig.cache.get("qupath_scripts/classpath", {})
    if kept.get("pom") == wanted and all(map(os.path.exists, kept["path"].split(os.pathsep))):
        return kept["path"]
    path = _fetch()
    pytestconfig.cache.set("qupath_scripts/classpath", {"pom": wanted, "path": path})
    return path


def _fetch() -> str:
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            _missing(f"no {program}: QuPath's scripts cannot be compiled")
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath"
    told = subprocess.run(
        [shutil.which("mvn"), "-B", "-ntp", "-f", HERE / "pom.xml", goal],
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode:
        _missing(f"Maven cannot fetch Groovy: {told.stdout[-500:]}")
    lines = told.stdout.splitlines()
    return lines[lines.index("[INFO] Dependencies classpath:") + 1]


def _missing(reason: str) -> None:
    pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


@pytest.fixture(scope="session")
def service_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where scripts look for the service."""
    return tmp_path_factory.mktemp("service") / "service.json"


@pytest.fixture(scope="session")
def groovy(
    classpath: str, service_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Groovy]:
    """Evaluate Groovy that names the libraries, or calls ``run(script, settings)``.

    Names that are given are variables there. What is returned went through JSON.
    """
    compiled = tmp_path_factory.mktemp("standins")
    errors = tmp_path_factory.mktemp("groovy") / "errors.txt"
    command = [
        *("java", *QUICK_START, "-cp", os.pathsep.join([classpath, str(compiled)])),
        *("groovy.ui.GroovyMain", "-c", "UTF-8", HERE / "harness.groovy"),
        *(HERE / "standins", compiled, qupath_scripts_folder()),
    ]
    with (
        errors.open("w") as log,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
            env=os.environ | {"WSI_SUITE_SERVICE_FILE": str(service_file)},
        ) as process,
    ):

        def evaluate(code: str, **given: object) -> Any:
            process.stdin.write(json.dumps({"code": code, "given": given}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            assert line, errors.read_text()
            answer = json.loads(line)
            if "error" in answer:
                raise GroovyError(f"{answer['kind']}: {answer['error']}")
            return answer["value"]

        yield evaluate
        process.stdin.close()
