"""Where tasks are drawn if no device is named."""

import torch

from metasgd._core.task import device_or_default
from metasgd.tasks import EpisodeSampler, LinearRegressionSampler, SineWaveSampler, Valley


def test_samplers_draw_on_the_default_device_unless_told_otherwise() -> None:
    assert device_or_default(None) == torch.device("cpu")
    with torch.device("meta"):
        assert device_or_default(None) == torch.device("meta")
        assert device_or_default("cpu") == torch.device("cpu")
    for sampler in (
        LinearRegressionSampler([1.0], [1.0]),
        SineWaveSampler(),
        Valley(),
        EpisodeSampler(torch.rand(3, 7, 1, 2), ways=3, shots=2, queries=5),
    ):
        assert sampler.device == sampler.sample(2).query_x.device == torch.device("cpu")
