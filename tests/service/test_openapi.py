"""The service answers as its own OpenAPI says, whatever is sent."""

from __future__ import annotations

import pytest
import requests
import schemathesis
from bench import Bench
from hypothesis import HealthCheck, Phase, given, settings
from live import TOKEN, Running
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS

EXAMPLES = 15


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "is_there", "expected"),
    [
        (GenerationMode.POSITIVE, False, {200, 403, 404}),
        (GenerationMode.POSITIVE, True, {200, 202, 404}),
        (GenerationMode.NEGATIVE, False, {422}),
    ],
)
def test_every_answer_is_as_documented(
    service: Running, bench: Bench, *, mode: GenerationMode, is_there: bool, expected: set[int]
) -> None:
    """With the slide there, what is well-formed may still make no sense, and jobs really run."""
    checks = CHECKS.get_all()
    if is_there:
        checks = [check for check in checks if check.__name__ != "positive_data_acceptance"]
    schema = schemathesis.openapi.from_url(f"{service.client.base_url}/openapi.json")
    codes = set()
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {TOKEN}"
        for found in schema.get_all_operations():
            operation = found.ok()
            if mode is GenerationMode.NEGATIVE and not operation.body:
                continue  # there is nothing in it that could be wrong

            @settings(
                max_examples=EXAMPLES,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
                database=None,
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Case) -> None:
                if is_there and isinstance(case.body, dict) and "slide" in case.body:
                    case.body["slide"] = str(bench.slide)
                codes.add(case.call_and_validate(session=session, checks=checks).status_code)

            ask()
    assert expected <= codes
    assert service.client.get("/v1/health").json()["status"] == "ok"


def test_all_that_may_be_answered_is_documented(service: Running) -> None:
    document = service.client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/v1/health", "/v1/models", "/v1/roots", "/v1/jobs", "/v1/jobs/{job_id}",
        "/v1/jobs/{job_id}/nuclei",
    }  # fmt: skip
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert ("401" in operation["responses"]) == (path != "/v1/health")
            assert ("security" in operation) == (path != "/v1/health")
    assert set(document["paths"]["/v1/jobs"]["post"]["responses"]) == {
        "202", "400", "401", "403", "413", "422", "429",
    }  # fmt: skip
    assert "HTTPValidationError" not in document["components"]["schemas"]
