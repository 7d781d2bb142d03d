"""`Imputer` has the weights of a federation of one site."""

import numpy as np
import pandas as pd
import pytest

from condi_core import Imputer, load_model
from condi_core.missingness import AMOUNTS
from condi_core.weights_file import read_weights, state_arrays
from data_partitions.federation import write_federation
from tests.helpers.run_settings import SMALL
from tests.helpers.tiny_federation import NAMES, manifest, site_data

SETTINGS = {
    name.removeprefix("imputer.").replace("-", "_"): value
    for name, value in SMALL.items()
    if name.startswith("imputer.") and name != "imputer.samples"
} | {"relation_rounds": 2, "rounds": 3, "seed": 4, "patch": 5}


def windows_with_gaps(val: int):
    """Return the index and the windows of a site, in one of which a channel is absent."""
    index, windows = site_data("ward", seed=0, train=6, val=val, test=1)
    rng = np.random.default_rng(1)
    windows = [np.where(rng.random(w.shape) < 0.3, np.nan, w).astype(np.float32) for w in windows]
    windows[2][1] = np.nan
    return index, windows


@pytest.mark.parametrize("val", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_the_weights_are_those_of_a_federation_of_one_site_bit_for_bit(run_local, tmp_path, val):
    index, windows = windows_with_gaps(val)
    site = manifest("ward", {"train": 6, "val": val, "test": 1}, labels=(), task="none", label_rule="")
    index = index.drop(columns=["slow", "fast"])
    path = tmp_path / "federation"
    write_federation(
        path, [(site, index, windows)], dataset="waves", split="natural", seed=0, made_by="a test"
    )
    changes = {f"imputer.{name.replace('_', '-')}": SETTINGS[name] for name in ("relation_rounds", "rounds")}
    nothing_hidden = {f"missingness.{name}": 0 if name == "blackout" else 0.0 for name in AMOUNTS}
    run, _ = run_local(path, changes | nothing_hidden | {"seed": 4}, nodes=1)

    series = np.stack(windows).reshape(len(windows), 4, 60)
    frames = {
        name: pd.DataFrame(x.T, columns=NAMES) for name, x in zip(index["record_id"], series, strict=True)
    }
    of_split = {s: {r: frames[r] for r in index["record_id"][index["split"] == s]} for s in ("train", "val")}
    imputer = Imputer(**SETTINGS, site="ward").fit(of_split["train"], validation=of_split["val"] or None)
    expected, _ = read_weights(run.path / "imputer.safetensors")
    weights = state_arrays(imputer.model_.imputer)
    assert weights.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(weights[name], array, name)

    losses = [line["loss"] for line in run.load().history if line["phase"] == "imputer"]
    assert imputer.history_["loss"].dropna().tolist() == losses
    completed = load_model(run.path).impute(series[:2]).point
    ours = imputer.transform(list(frames.values())[:2])
    np.testing.assert_array_equal(np.stack([f.to_numpy().T for f in ours]).astype(np.float32), completed)
