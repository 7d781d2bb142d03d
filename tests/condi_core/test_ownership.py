"""Which parameter belongs to which modality, and what it weighs."""

import numpy as np
import pytest

from condi_core.ownership import ownership, trainable, weights


def test_owners_of_the_imputer(imputer):
    owners = ownership(imputer)
    assert list(owners) == list(imputer.state_dict())
    assert {name for name, owner in owners.items() if owner == "pair"} == {
        "cross_modal.weight",
        "spectral.spectrum",
    }
    assert {name for name, owner in owners.items() if owner == "modality"} == {
        "encoder.identity.weight",
        "encoder.read.weight",
        "encoder.read.bias",
        "encoder.head.weight",
        "encoder.head.bias",
        "denoiser.read.weight",
        "denoiser.read.bias",
        "denoiser.head.weight",
        "denoiser.head.bias",
    }


def test_owners_of_the_task_model(task_model):
    owners = ownership(task_model)
    assert list(owners) == list(task_model.state_dict())
    assert {name for name, owner in owners.items() if owner == "pair"} == {"cross_modal.weight"}
    assert {name for name, owner in owners.items() if owner == "modality"} == {
        "extractor.identity.weight",
        "extractor.read.weight",
        "extractor.read.bias",
    }


@pytest.mark.parametrize("which", ["imputer", "task_model"])
def test_owned_arrays_have_a_row_per_modality(which, request):
    model = request.getfixturevalue(which)
    state = model.state_dict()
    for name, owner in ownership(model).items():
        if owner == "modality":
            assert state[name].shape[0] == 4, name
        if owner == "pair":
            assert state[name].shape[:2] == (4, 4), name


@pytest.mark.parametrize("which", ["imputer", "task_model"])
def test_trainable_is_all_but_the_buffers(which, request):
    model = request.getfixturevalue(which)
    state, buffers = set(model.state_dict()), {name for name, _ in model.named_buffers()}
    assert trainable(model) == state - buffers
    closed_form = {"standardiser.mean", "standardiser.std"}
    closed_form |= {"spectral.spectrum"} if which == "imputer" else set()
    assert state & buffers == closed_form  # constants that every end can compute do not travel


def test_frozen_parameters_are_not_trainable(task_model):
    task_model.summary.requires_grad_(False)
    assert "summary" not in trainable(task_model)


@pytest.mark.parametrize("which", ["imputer", "task_model"])
def test_weights_broadcast_to_every_array(which, request):
    model = request.getfixturevalue(which)
    counts = np.arange(16.0).reshape(4, 4)
    for name, owner in ownership(model).items():
        array = model.state_dict()[name].numpy()
        weighed = weights(owner, counts, 20.0, array.shape) * array
        assert weighed.shape == array.shape
        for m in range(4):
            if owner == "modality":
                np.testing.assert_array_equal(weighed[m], counts[m, m] * array[m])
            elif owner == "pair":
                for source in range(4):
                    np.testing.assert_array_equal(weighed[m, source], counts[m, source] * array[m, source])
            else:
                np.testing.assert_allclose(weighed, 20 * array, rtol=1e-6)


def test_an_average_with_these_weights_is_over_the_sites_that_have_the_modality():
    """Two sites: one has modalities 0 and 1, the other 1 and 2."""
    a, b = np.zeros((3, 3)), np.zeros((3, 3))
    a[:2, :2], b[1:, 1:] = 10, 30
    table = np.ones((3, 2))
    row_a, row_b = weights("modality", a, 10, table.shape), weights("modality", b, 30, table.shape)
    mean = (row_a * 1 * table + row_b * 5 * table) / (row_a + row_b)
    np.testing.assert_allclose(mean, [[1, 1], [4, 4], [5, 5]])
    pair = weights("pair", a, 10, (3, 3, 4)) + weights("pair", b, 30, (3, 3, 4))
    assert (pair[0, 2] == 0).all() and (pair[2, 0] == 0).all()
    assert (pair[1, 1] == 40).all() and (pair[0, 1] == 10).all()
