"""Which models jobs may name."""

from __future__ import annotations

import pytest
from bench import Bench

from wsi_suite.detector.added_models import add_model, remove_model
from wsi_suite.detector.detector import Compute
from wsi_suite.detector.model_folder import added_models, find_model
from wsi_suite.errors import InputError
from wsi_suite.service.analyst import Analyst
from wsi_suite.service.messages import JobRequest


def test_models_that_are_added_while_it_runs_may_be_named(
    bench: Bench, one_torch_thread: None, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("WSI_SUITE_MODELS", str(tmp_path / "models"))
    first = find_model(bench.model)
    analyst = Analyst({"first": first}, Compute("cpu", "fp32", 1), names=added_models)
    request = JobRequest(slide=str(bench.slide), model="mine")
    with pytest.raises(InputError, match="'mine' is not known to this service; there is: first"):
        analyst.accept(request, bench.slide)
    mine = add_model(bench.model, name="mine")
    assert analyst.models() == {"first": first, "mine": mine}
    assert analyst.accept(request, bench.slide).analysis.model == mine
    (mine.path / "model.yaml").write_text("name: [")
    assert list(analyst.models()) == ["first"]  # a damaged one stops nobody
    remove_model("mine")
