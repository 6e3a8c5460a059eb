import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_suite.detector import detector as module
from wsi_suite.detector.detector import (
    Compute,
    Detector,
    choose_compute,
    fuse_batch_norms,
    load_detector,
    resolve_device,
    suppress_close,
)
from wsi_suite.detector.model_folder import ModelSpec, save_model
from wsi_suite.detector.network import decode_peaks
from wsi_suite.errors import ModelError


@pytest.fixture(scope="module")
def model(tmp_path_factory, make_network):
    """A model of random weights, stored."""
    network = make_network(upsample=2)
    spec = ModelSpec(name="tiny", network=network.spec, min_confidence=0.4)
    return save_model(tmp_path_factory.mktemp("models") / "tiny", spec, network)


@pytest.fixture(scope="module")
def windows(make_clouds):
    return np.stack([make_clouds(64, 96, seed=seed) for seed in (1, 2, 3)])


class TestDevice:
    @pytest.fixture
    def two_gpus(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    @pytest.fixture
    def no_gpu(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    def test_a_cpu_alone(self, no_gpu):
        assert resolve_device("auto") == resolve_device("cpu") == "cpu"

    @pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps", "tpu"])
    def test_what_is_not_there_is_refused_with_what_is(self, no_gpu, device):
        with pytest.raises(ModelError, match=f"'{device}' is not on.*; there is: auto, cpu$"):
            resolve_device(device)

    def test_a_slip_is_guessed(self, no_gpu):
        with pytest.raises(ModelError, match=r"did you mean 'cpu'"):
            resolve_device("gpu")

    def test_gpus_come_first(self, two_gpus):
        assert resolve_device("auto") == "cuda"
        assert resolve_device("cuda:1") == "cuda:1"
        with pytest.raises(
            ModelError, match=r"'cuda:2'.*there is: auto, cuda, cuda:0, cuda:1, cpu"
        ):
            resolve_device("cuda:2")

    def test_a_gpu_takes_half_precision_and_batches(self, two_gpus):
        assert choose_compute("cuda:1") == Compute("cuda:1", "fp16", batch=8)

    def test_a_mac_takes_single_precision(self, no_gpu, monkeypatch):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        assert choose_compute() == Compute("mps", "fp32", batch=1)

    @pytest.mark.parametrize("fast", [True, False])
    def test_every_cpu_takes_single_precision_unless_asked(self, no_gpu, monkeypatch, fast, caplog):
        monkeypatch.setattr(module, "bf16_is_fast", lambda: fast)
        assert choose_compute() == Compute("cpu", "fp32", batch=1)
        assert not caplog.messages
        assert choose_compute(precision="bf16") == Compute("cpu", "bf16", batch=1)
        assert len(caplog.messages) == (0 if fast else 1)

    def test_the_choice_does_not_depend_on_the_clock(self, monkeypatch):
        monkeypatch.setattr(time, "perf_counter", lambda: pytest.fail("a clock was asked"))
        assert len({choose_compute("cpu", p) for p in ("auto", "fp32") for _ in range(20)}) == 1

    @pytest.mark.parametrize(("device", "precision"), [("mps", "bf16"), ("cuda", "bf16")])
    def test_what_a_device_cannot_do_is_refused(self, two_gpus, monkeypatch, device, precision):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda _emulated: False)
        with pytest.raises(ModelError, match=r"detect\.precision bf16.*take fp32, fp16 or auto"):
            choose_compute(device, precision)

    def test_fp16_on_a_cpu_is_refused(self):
        with pytest.raises(ModelError, match="fp16 is for GPUs"):
            choose_compute("cpu", "fp16")


class TestDetector:
    def test_it_finds_what_the_network_answers(self, model, windows, make_network):
        detector = load_detector(model.path, device="cpu", precision="fp32")
        assert detector.classes == ("Stroma", "Epithelium")
        found = detector.detect(windows)

        network = make_network(upsample=2).half().float()
        with torch.inference_mode():
            maps = network(torch.from_numpy(windows).movedim(-1, 1).float())
        expected = decode_peaks(maps, min_confidence=0.4, cell_px=network.spec.cell_px)
        assert len(found) == 3
        for peaks, plain in zip(found, expected, strict=True):
            stays = suppress_close(plain.points, plain.confidence, 2.0 / 0.5)
            assert 0 < stays.sum() < len(stays)
            assert peaks.points == pytest.approx(plain.points[stays], abs=1e-3)
            assert peaks.confidence == pytest.approx(plain.confidence[stays], abs=1e-4)
            assert peaks.label.tolist() == plain.label[stays].tolist()

    def test_a_higher_threshold_keeps_fewer(self, model, windows):
        detector = load_detector(model.path, device="cpu", precision="fp32")
        low, high = (detector.detect(windows[:1], min_confidence=s)[0] for s in (0.3, 0.6))
        assert (low.confidence >= 0.3).all()
        assert (high.confidence >= 0.6).all()
        assert len(low.points) > len(high.points) > 0

    def test_a_window_is_the_same_in_any_batch(self, model, windows):
        detector = Detector(model, Compute("cpu", "fp32", batch=3))
        together = detector.forward(windows)["heat"]
        for i in range(3):
            alone = detector.forward(windows[i : i + 1])["heat"][0]
            assert alone.numpy() == pytest.approx(together[i].numpy(), abs=1e-4)

    def test_bf16_is_near_fp32(self, model, windows):
        single, half = (
            Detector(model, Compute("cpu", precision, batch=1)).forward(windows[:1])["heat"]
            for precision in ("fp32", "bf16")
        )
        assert half.dtype == single.dtype == torch.float32
        differences = (torch.sigmoid(half.float()) - torch.sigmoid(single)).abs()
        assert 0 < differences.max() < 0.03
        assert differences.mean() < 0.004

    def test_half_precision_is_near_single_on_what_it_finds(self, model, windows):
        single, half = (
            Detector(model, Compute("cpu", precision, batch=1)).detect(windows[:1])[0]
            for precision in ("fp32", "fp16")  # of a GPU, computed here
        )
        assert abs(len(single.points) - len(half.points)) <= 0.01 * len(single.points)
        assert half.confidence.mean() == pytest.approx(single.confidence.mean(), abs=1e-3)

    def test_a_batch_that_is_filled_up_finds_the_same(self, model, windows):
        detector = Detector(model, Compute("cpu", "fp32", batch=4))
        white = np.full_like(windows[:1], 255)
        together = detector.detect(np.concatenate([windows, white]))
        for window, peaks in zip(windows, together, strict=False):
            (alone,) = detector.detect(window[None])
            assert peaks.points == pytest.approx(alone.points, abs=1e-3)
            assert peaks.confidence == pytest.approx(alone.confidence, abs=1e-4)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_what_is_no_number_is_never_no_nuclei(self, model, windows, value):
        detector = Detector(model, Compute("cpu", "fp32", batch=1))
        detector.network.heat[-1].bias.fill_(value)
        with pytest.raises(ModelError, match=r"heat is not a number somewhere.*to fp32"):
            detector.detect(windows[:1])

    def test_values_beyond_half_precision_are_told(self, model, windows):
        half = Detector(model, Compute("cpu", "fp16", batch=1))
        half.network.smooth[0].bias.fill_(65000)
        with pytest.raises(ModelError, match="65504 in fp16"):
            half.detect(windows[:1])

    def test_a_full_device_is_told_in_one_line(self, model, windows, monkeypatch):
        detector = Detector(model, Compute("cpu", "fp32", batch=3))

        def full(_rgb):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")

        monkeypatch.setattr(detector, "look", full)
        with pytest.raises(ModelError, match=r"memory is too small for 3 windows of 64 x 96 px"):
            detector.forward(windows)
        monkeypatch.setattr(detector.network, "look_for_peaks", full)
        with pytest.raises(ModelError, match=r"memory is too small for 3 windows of 64 x 96 px"):
            detector.detect(windows)

    def test_weights_are_not_learnt_further(self, model):
        detector = Detector(model, Compute("cpu", "fp32", batch=1))
        assert not any(weight.requires_grad for weight in detector.network.parameters())

    @pytest.mark.parametrize("backbone", ["resnet10t", "resnetblur18"])
    def test_folding_batch_norms_changes_nothing(self, make_network, backbone):
        network = make_network(backbone=backbone, sizes=True)
        rgb = torch.rand(1, 3, 64, 64) * 255
        with torch.inference_mode():
            plain = network(rgb)
            folded_network = fuse_batch_norms(network)
            folded = folded_network(rgb)
        assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded_network.modules())
        for name, values in plain.items():
            assert folded[name].numpy() == pytest.approx(values.numpy(), abs=1e-4)


def suppress_one_by_one(points, confidence, distance):
    """Return the same as ``suppress_close``, spelled out."""
    order = sorted(range(len(points)), key=lambda i: (-confidence[i], points[i][1], points[i][0]))
    kept: list[int] = []
    for i in order:
        if all(np.hypot(*(points[i] - points[j])) > distance for j in kept):
            kept.append(i)
    return np.isin(np.arange(len(points)), kept)


class TestSuppressClose:
    @settings(max_examples=50)
    @given(
        rows=st.lists(
            st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from([0.3, 0.5, 0.7])),
            unique_by=lambda row: row[:2],
            max_size=30,
        ),
        distance=st.sampled_from([0.0, 1.0, 1.5, 2.5]),
        data=st.data(),
    )
    def test_it_is_greedy_whatever_the_order(self, rows, distance, data):
        table = np.array(rows, np.float64).reshape(-1, 3)
        points, confidence = table[:, :2], table[:, 2].astype(np.float32)
        keep = suppress_close(points, confidence, distance)
        assert keep.tolist() == suppress_one_by_one(points, confidence, distance).tolist()

        order = np.array(data.draw(st.permutations(range(len(rows)))), np.int_)
        assert suppress_close(points[order], confidence[order], distance).tolist() == (
            keep[order].tolist()
        )

    def test_the_stronger_stays(self):
        points, confidence = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([0.4, 0.5], np.float32)
        assert suppress_close(points, confidence, 2.0).tolist() == [False, True]

    def test_of_equals_the_first_in_reading_order_stays(self):
        points = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 1.0]])
        confidence = np.full(3, 0.5, np.float32)
        assert suppress_close(points, confidence, 2.5).tolist() == [False, True, False]

    def test_one_that_went_suppresses_nobody(self):
        points = np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
        confidence = np.array([0.9, 0.8, 0.7], np.float32)
        assert suppress_close(points, confidence, 2.0).tolist() == [True, False, True]
