"""Whether a worker of a cluster can do the work of a run: asked before it, and by each block.

Workers may join at any time. All that are there are asked before a slide is begun; whoever joins
later asks itself with its first block of the slide. A worker that cannot do it is left out and
told; the slide fails only if no other is left.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsi_suite.documents import RUN_FILE
from wsi_suite.errors import WorkerError, WsiSuiteError
from wsi_suite.runs.folder import library_versions
from wsi_suite.slides.identity import SlideIdentity

if TYPE_CHECKING:
    from distributed import Client

    from wsi_suite.detector.detector import Compute
    from wsi_suite.runs.run_plan import SlideRun


@dataclass(frozen=True)
class Check:
    """Demands of a run on its workers; small, because each task carries it.

    Attributes
    ----------
    run
        Names this start of the run, which is checked once on each worker.
    slide
        The slide's file; ``None`` if it is not read.
    identity
        Identity of the slide.
    folder
        The results folder, claimed.
    model, model_hash
        Folder of the model and what its files must amount to.
    compute
        How forward passes are run; ``None`` if there are none.
    versions
        Versions of this machine that results may depend on.
    """

    run: str
    slide: Path | None
    identity: SlideIdentity
    folder: Path
    model: Path
    model_hash: str
    compute: Compute | None
    versions: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, run: SlideRun) -> Check:
        """Return the demands of a run on its workers."""
        request = run.request
        return cls(
            run=run.job.run,
            slide=run.job.slide,
            identity=request.identity,
            folder=request.folder.resolve(),
            model=request.model.path.resolve(),
            model_hash=request.model.hash,
            compute=None if run.job.detect is None else request.compute,
            versions=tuple(library_versions().items()),
        )


def probe_workers(client: Client, check: Check) -> dict[str, str]:
    """Ask all workers of a scheduler whether they can do the work.

    Returns
    -------
    dict of str
        Why workers cannot, in one line that names the worker, by their address.

    Raises
    ------
    WorkerError
        None can.
    """
    answers = ask_workers(client, fault, check)
    unfit = {}
    for worker, answer in answers.items():
        if answer is not None:
            unfit[worker] = f"worker {worker}: {' '.join(str(answer).split())}"
    if unfit and len(unfit) == len(answers):
        raise WorkerError(next(iter(unfit.values())))
    return unfit


def ask_workers(client: Client, question: Any, *arguments: Any, **named: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the answers or the errors of all workers; one that leaves meanwhile has none."""
    answers: dict[str, Any] = client.run(question, *arguments, **named, on_error="return")
    failed = [
        worker
        for worker, answer in answers.items()
        if isinstance(answer, OSError) and not isinstance(answer, WsiSuiteError)
    ]
    if failed:
        there = client.nthreads()
        answers = {
            worker: answer
            for worker, answer in answers.items()
            if worker not in failed or worker in there
        }
    return answers


@lru_cache(maxsize=64)
def fault(check: Check) -> str | None:
    """Return why the worker that calls this cannot do the work; ``None`` if it can."""
    try:
        _refuse(check)
    except (WsiSuiteError, OSError) as error:
        return " ".join(str(error).split())
    return None


def _refuse(check: Check) -> None:
    """Raise the reason why this worker cannot do the work, if there is one."""
    from wsi_suite.detector.model_folder import find_model

    slide, folder = check.slide, check.folder
    if slide is not None and SlideIdentity.of(slide).content != check.identity.content:
        raise WorkerError(f"has another file at {slide}; share the slides' folder")
    if not (folder / RUN_FILE).exists():
        raise WorkerError(f"does not see {folder}; share the results' folder")
    if not os.access(folder, os.W_OK):
        raise WorkerError(f"cannot write {folder}; share the results' folder")
    here = library_versions()
    for name, version in check.versions:
        if here.get(name) != version:
            raise WorkerError(
                f"has {name} {here.get(name)}, the machine of the command {version}; install the "
                "same versions"
            )
    if find_model(check.model).hash != check.model_hash:
        raise WorkerError(f"has another model at {check.model}; give all workers the same")
    if check.compute is not None:
        _refuse_device(check.compute)


def _refuse_device(compute: Compute) -> None:
    from wsi_suite.detector.detector import choose_compute

    choose_compute(compute.device, compute.precision, flips=compute.flips)
