"""What a field of a slide costs the service, and how much of that is the network.

    python benchmarks/serving.py SLIDE [--corner X Y] [--side-um 1000] [--jobs 3] [--device auto]

CPU seconds, which a busy machine changes less than time; on a GPU look at the time.
"""

from __future__ import annotations

import argparse
import functools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from wsi_suite.analysis import blocks
from wsi_suite.detector.detector import Detector, choose_compute
from wsi_suite.detector.model_folder import find_model
from wsi_suite.service.analyst import Analyst
from wsi_suite.service.messages import JobRequest
from wsi_suite.slides.slide import open_slide

console = Console(highlight=False, soft_wrap=True)
PARTS = {"forward": Detector, "measure_nuclei": blocks, "_fill": blocks._BlockBuffer}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--corner", type=float, nargs=2, default=(0, 0), help="level-0 px")
    parser.add_argument("--side-um", type=float, default=1000)
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    slide = arguments.slide.resolve()
    request = square(slide, *arguments.corner, side_um=arguments.side_um)
    spent = _watch_parts()
    model = find_model("endonuke-resnet18")
    analyst = Analyst({model.spec.name: model}, choose_compute(arguments.device))
    analyst.warm_up()
    console.print("job    wall s   CPU s  network  beside  reading  measuring   nuclei")
    for number in range(1, arguments.jobs + 1):
        spent.update(dict.fromkeys(PARTS, 0.0))
        wall, cpu = time.perf_counter(), time.process_time()
        finding = analyst.work(analyst.accept(request, slide), lambda _share, _message: None)
        for pieces in finding.collections():
            for _ in pieces:
                pass
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        console.print(
            f"{number:3} {wall:9.2f} {cpu:7.2f} {spent['forward']:8.2f} "
            f"{cpu - spent['forward']:7.2f} {spent['_fill']:8.2f} {spent['measure_nuclei']:10.2f} "
            f"{len(finding.nuclei):8,}"
        )


def square(path: Path, x: float, y: float, *, side_um: float) -> JobRequest:
    """Return a request for a square of a slide."""
    with open_slide(path) as slide:
        side = side_um / slide.mpp[0]
    corners = [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*corners, corners[0]]]},
        "properties": {"objectType": "annotation"},
    }
    rois = {"type": "FeatureCollection", "features": [feature]}
    return JobRequest.model_validate({"slide": str(path), "rois": rois})


def _watch_parts() -> dict[str, float]:
    """Have each part add its CPU seconds up."""
    spent = dict.fromkeys(PARTS, 0.0)
    lock = threading.Lock()

    def timed(name: str, part: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(part)
        def call(*given: Any, **options: Any) -> Any:  # noqa: ANN401 - the part's
            start = time.thread_time()
            try:
                return part(*given, **options)
            finally:
                with lock:
                    spent[name] += time.thread_time() - start

        return call

    for name, owner in PARTS.items():
        setattr(owner, name, timed(name, getattr(owner, name)))
    return spent


if __name__ == "__main__":
    main()
