import pytest
import torch

from breakeven.training.energy import energy_meter


def test_a_machine_that_tells_no_energy_is_asked_for_none():
    assert energy_meter("cpu") is None
    if not torch.cuda.is_available():
        assert energy_meter("cuda") is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_at_work_uses_energy():
    meter = energy_meter("cuda")
    if meter is None:
        pytest.skip("this GPU has no energy counter")
    matrix = torch.randn(4096, 4096, device="cuda")
    for _ in range(200):
        matrix = torch.tanh(matrix @ matrix)
    torch.cuda.synchronize()
    assert meter() > 0.1
