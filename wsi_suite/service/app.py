"""The HTTP interface, version 1."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.security import HTTPBearer

import wsi_suite
from wsi_suite.errors import InputError
from wsi_suite.service.analyst import Analyst
from wsi_suite.service.finding import Finding
from wsi_suite.service.guard import calls_from_here
from wsi_suite.service.jobs import JobQueue, QueueFullError
from wsi_suite.service.messages import Folder, Folders, Health, Job, JobRequest, Model, Problem
from wsi_suite.service.roots import Roots

_RECORD_START, _RECORD_END = b"\x1e", b"\n"  # RFC 8142, GeoJSON text sequences
_NUCLEI_TYPE = "application/geo+json-seq"

_REASONS = {
    400: "The Host header is not one of the service's, or the body cannot be parsed.",
    401: "The token is missing or wrong.",
    403: "Not allowed here: a slide outside the allowed folders (or absent), a whole disk, a folder"
    " from another machine.",
    404: "There is no such thing.",
    409: "The job is not done.",
    413: "The body is too long.",
    422: "The request cannot be used; the detail names what and why.",
    429: "Too many jobs wait.",
}

_ABOUT = """
Nuclei and stain scores of regions of whole-slide images, computed by a model that stays loaded.
Made for the scripts in QuPath: `wsi-suite serve` leaves address and token in a file of the user's.
"""


def _problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Problem, "description": _REASONS[code]} for code in codes}


def make_app(analyst: Analyst, jobs: JobQueue, roots: Roots, *, local: bool) -> FastAPI:
    """Return the application; who may call it is for :class:`~wsi_suite.service.guard.Guard`.

    Parameters
    ----------
    analyst, jobs, roots
        What it serves.
    local
        Whether it listens on loopback only. Elsewhere no client can have folders allowed.
    """
    app = FastAPI(
        title="wsi-suite",
        summary="Nuclei and stain scores for QuPath",
        description=_ABOUT,
        version=wsi_suite.__version__,
        docs_url=None,  # its page would load scripts from the network
        redoc_url=None,
    )
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)
    router = APIRouter(
        prefix="/v1",
        responses=_problems(400, 401),
        # For the documents: the guard has looked at the token already.
        dependencies=[Security(HTTPBearer(auto_error=False, description="in the user's file"))],
    )
    _add_facts(router, analyst, roots, local=local)
    _add_jobs(router, analyst, jobs, roots)
    app.include_router(router)

    @app.get("/v1/health", responses=_problems(400), tags=["service"])
    def health() -> Health:
        """Say that the service lives; needs no token."""
        return Health(version=wsi_suite.__version__, pid=os.getpid())

    return app


def _add_facts(router: APIRouter, analyst: Analyst, roots: Roots, *, local: bool) -> None:
    @router.get("/models", tags=["service"])
    def models() -> list[Model]:
        """List the models that jobs may name."""
        found = analyst.models()
        default = next(iter(found))
        return [
            Model(
                name=name,
                classes=list(model.spec.classes),
                read_mpp=model.spec.read_mpp,
                min_confidence=model.spec.min_confidence,
                default=name == default,
            )
            for name, model in found.items()
        ]

    @router.get("/roots", tags=["slides"])
    def list_roots() -> Folders:
        """List the folders in which slides may be read."""
        return Folders(folders=[str(folder) for folder in roots.folders])

    @router.post(
        "/roots",
        responses=_problems(403, 413, 422),
        tags=["slides"],
    )
    def add_root(added: Folder, request: Request) -> Folders:
        """Allow one more folder; ask your user first. Only for programs on the same machine."""
        if not (local and calls_from_here(request)):
            raise HTTPException(
                403,
                "folders are allowed from the machine itself only, while the service listens to no "
                "other; start it with --allow-root FOLDER",
            )
        try:
            roots.add(added.folder)
        except InputError as error:
            raise HTTPException(403, str(error)) from None
        return list_roots()


def _add_jobs(router: APIRouter, analyst: Analyst, jobs: JobQueue, roots: Roots) -> None:
    @router.post(
        "/jobs",
        status_code=202,
        responses=_problems(403, 413, 422, 429),
        tags=["jobs"],
    )
    def submit(request: JobRequest) -> Job:
        """Have the nuclei of regions found and scored."""
        slide = roots.find(request.slide)
        if slide is None:
            raise HTTPException(
                403, "the slide is not in an allowed folder (GET /v1/roots), or not there"
            )
        try:
            return jobs.submit(analyst.accept(request, slide))
        except InputError as error:
            raise HTTPException(422, str(error)) from None
        except QueueFullError as error:
            raise HTTPException(429, str(error), headers={"Retry-After": "5"}) from None

    @router.get("/jobs", tags=["jobs"])
    def list_jobs() -> list[Job]:
        """List all jobs that are remembered, oldest first."""
        return jobs.jobs()

    @router.get("/jobs/{job_id}", responses=_problems(404, 422), tags=["jobs"])
    def show(job_id: str) -> Job:
        """Say where a job stands."""
        return _there(jobs.job(job_id))

    @router.delete("/jobs/{job_id}", responses=_problems(404, 422), tags=["jobs"])
    def cancel(job_id: str) -> Job:
        """Cancel a job, or forget one that is over."""
        return _there(jobs.cancel(job_id))

    @router.get(
        "/jobs/{job_id}/nuclei",
        response_class=StreamingResponse,
        responses=_problems(404, 409, 422)
        | {
            200: {
                "description": "A GeoJSON FeatureCollection per region, each after a record"
                " separator (RFC 8142); features as in nuclei.geojson.",
                "content": {_NUCLEI_TYPE: {"schema": {"type": "string"}}},
            }
        },
        tags=["jobs"],
    )
    def nuclei(job_id: str) -> StreamingResponse:
        """Send the nuclei of a job that is done, region by region."""
        job = _there(jobs.job(job_id))
        finding = jobs.finding(job_id)
        if finding is None:
            raise HTTPException(409, f"the job is {job.state}, its nuclei are not to be had")
        return StreamingResponse(_records(finding), media_type=_NUCLEI_TYPE)


def _records(finding: Finding) -> Iterator[bytes]:
    for pieces in finding.collections():
        yield _RECORD_START
        yield from map(bytes, pieces)
        yield _RECORD_END


def _there(job: Job | None) -> Job:
    if job is None:
        raise HTTPException(404, "no job of that id; it may have been forgotten")
    return job


def _invalid(_request: Request, error: Exception) -> JSONResponse:
    """Say the first thing that is wrong with a request, in one line."""
    assert isinstance(error, RequestValidationError)
    mistakes = error.errors()
    where = ".".join(str(part) for part in mistakes[0]["loc"] if part != "body")
    message = f"{where}: {mistakes[0]['msg']}" if where else str(mistakes[0]["msg"])
    return JSONResponse({"detail": " ".join(message.split())}, status_code=422)


def _failed(_request: Request, _error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "the service failed on this request"}, status_code=500)
