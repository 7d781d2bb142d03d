"""The benchmarks: every script imports, so that none is left behind when names change; and standings."""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

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
