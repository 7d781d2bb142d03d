"""The imputer learns the relation between the leads of twelve-lead ECGs that sites observe in part."""

import numpy as np
import pytest
import torch

from condi_core.weights_file import WeightsFileError, load_imputer
from data_partitions.federation import open_federation
from data_partitions.prepare import prepare_federation
from data_partitions.sources import demo, ptb_xl

LIMB = ["III", "aVR", "aVL", "aVF"]  # follow from I and II


@pytest.fixture(scope="module")
def ecg_federation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ecg")
    demo.write_source(folder / "records", patients=60)
    prepare_federation(ptb_xl, folder / "records", folder / "federation", sites=2, split="iid")
    return folder / "federation"


@pytest.mark.slow
def test_limb_leads_follow_from_two_of_them(ecg_federation, run_local):
    changes = {"imputer.relation-rounds": 3, "imputer.rounds": 1, "imputer.samples": 0, "task.rounds": 1}
    missingness = {"missingness.points": 0.3, "missingness.gaps": 0.0, "missingness.modality-by-window": 0.0}
    directory, _ = run_local(ecg_federation, changes | missingness)
    imputer, schema = load_imputer(directory.path / "imputer.safetensors")
    opened = open_federation(ecg_federation)
    sites = [opened.open_site(name) for name in opened.sites]
    values, observed = (np.concatenate(a) for a in zip(*(s.read(s.rows("test")) for s in sites), strict=True))
    absent = [schema.names.index(name) for name in LIMB]
    seen = observed.copy()
    seen[:, absent] = False
    completed = imputer.impute(torch.from_numpy(values), torch.from_numpy(seen)).point.numpy()
    for m in absent:
        error = np.sqrt(np.mean((completed[:, m] - values[:, m]) ** 2))
        assert error < 0.15 * values[:, m].std(), schema.names[m]
    others = [m for m in range(12) if m not in absent]
    assert np.array_equal(completed[:, others], values[:, others])


def test_unusable_weights_are_reported(ecg_federation, tmp_path, run_local):
    with pytest.raises(WeightsFileError, match="there is no imputer.safetensors in"):
        load_imputer(tmp_path / "imputer.safetensors")
    file = tmp_path / "imputer.safetensors"
    file.write_bytes(b"not weights at all, but long enough to be read")
    with pytest.raises(WeightsFileError, match="is damaged"):
        load_imputer(file)
