"""The benchmarks: every script imports, so that none is left behind when names change; and standings."""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import torch

FOLDER = Path(__file__).parent.parent / "benchmarks"
NEEDS_PYPOTS = {"peers"}


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_a_benchmark_imports(name, load_benchmark):
    if name in NEEDS_PYPOTS and find_spec("pypots") is None:
        pytest.skip("PyPOTS is not installed")
    load_benchmark(name)


def test_the_standing_of_condi_names_the_best_method_without_imputation(load_benchmark):
    scores = {"mask": 0.74, "robust": 0.76, "pamf": 0.79, "linear": 0.75, "condi": 0.785}
    cells = pd.DataFrame(
        [
            {"missingness": "a", "missingness-in-test": "b", "method": m, "seed": seed, "auroc": s + d}
            for m, s in scores.items()
            for seed, d in enumerate((0.01, -0.01) if m == "condi" else (-0.01, 0.01))
        ]
    )
    row = load_benchmark("comparison").standing(cells).iloc[0]
    assert row["best without imputation"] == "robust" and row["points ahead"] == pytest.approx(2.5)
    assert row["place"] == "tie"


def test_the_crps_of_summaries_is_that_of_each_mean_smallest_and_largest_hidden_sample(load_benchmark):
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(2, 3, 4, 2, generator=generator)
    draws = truth + torch.randn(5, 2, 3, 4, 2, generator=generator)
    target = torch.rand(2, 3, 4, 2, generator=generator) < 0.8
    target[1, 2] = torch.arange(8).view(4, 2) == 3  # a single sample has no summary
    expected = []
    for window, modality in ((w, m) for w in range(2) for m in range(3) if (w, m) != (1, 2)):
        hidden = target[window, modality]
        for summarise in (torch.mean, torch.amin, torch.amax):
            values = torch.stack([summarise(draw[window, modality][hidden]) for draw in draws])
            distance = (values - summarise(truth[window, modality][hidden])).abs().mean()
            expected.append(distance - (values[:, None] - values).abs().sum() / (5 * 4) / 2)
    scores = load_benchmark("joint_scores").summary_scores(truth, target, draws)
    assert scores.shape == (5, 3)
    assert torch.allclose(scores.flatten(), torch.stack(expected), atol=1e-6)
