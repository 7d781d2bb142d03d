"""Which parameter belongs to which modality, and its aggregation weight."""

import numpy as np
import pytest

from condi_core.imputer.imputer import DiffusionImputer
from condi_core.ownership import Owner, aggregation_weights, ownership, trainable
from tests.helpers.toy import imputer_config, schema


def test_owners_of_the_imputer(imputer):
    owners = ownership(imputer)
    assert list(owners) == list(imputer.state_dict())
    assert {name for name, owner in owners.items() if owner.kind == "pair"} == {
        "cross_modal.weight",
        "closed_form.cross_spectra.0.spectrum",
        "instant_relation.by_rate.0.weight",
    }
    assert {name for name, owner in owners.items() if owner.kind == "modality"} == {
        "encoder.modality_embedding.weight",
        "encoder.patch_embedding.by_rate.0.weight",
        "encoder.patch_embedding.by_rate.0.bias",
        "encoder.head.from_token.by_rate.0.weight",
        "encoder.head.from_token.by_rate.0.bias",
        "encoder.head.from_sample.0.weight",
        "encoder.head.from_sample.0.bias",
        "encoder.head.by_rate.0.weight",
        "encoder.head.by_rate.0.bias",
        "denoiser.patch_embedding.by_rate.0.weight",
        "denoiser.patch_embedding.by_rate.0.bias",
        "denoiser.head.by_rate.0.weight",
        "denoiser.head.by_rate.0.bias",
    }


def test_owners_of_the_task_model(task_model):
    owners = ownership(task_model)
    assert list(owners) == list(task_model.state_dict())
    assert {name for name, owner in owners.items() if owner.kind == "pair"} == {"cross_modal.weight"}
    assert {name for name, owner in owners.items() if owner.kind == "modality"} == {
        "extractor.modality_embedding.weight",
        "extractor.patch_embedding.by_rate.0.weight",
        "extractor.patch_embedding.by_rate.0.bias",
        "modality_heads.weight",
        "modality_heads.bias",
    }


@pytest.mark.parametrize("which", ["imputer", "task_model"])
def test_owned_arrays_have_a_row_per_modality(which, request):
    model = request.getfixturevalue(which)
    state = model.state_dict()
    for name, owner in ownership(model).items():
        if owner.kind == "modality":
            assert state[name].shape[0] == 4, name
        if owner.kind == "pair":
            assert state[name].shape[:2] == (4, 4), name


@pytest.mark.parametrize("which", ["imputer", "task_model"])
def test_everything_but_the_buffers_is_trainable(which, request):
    model = request.getfixturevalue(which)
    state, buffers = set(model.state_dict()), {name for name, _ in model.named_buffers()}
    assert trainable(model) == state - buffers
    not_trained = {"standardiser.mean", "standardiser.std"}
    not_trained |= {"closed_form.cross_spectra.0.spectrum"} if which == "imputer" else set()
    assert state & buffers == not_trained  # constants that both ends can compute are not sent


def test_frozen_parameters_are_not_trainable(task_model):
    task_model.cls_token.requires_grad_(False)
    assert "cls_token" not in trainable(task_model)


@pytest.mark.parametrize("which", ["imputer", "task_model"])
def test_weights_broadcast_to_every_array(which, request):
    model = request.getfixturevalue(which)
    counts = np.arange(16.0).reshape(4, 4)
    for name, owner in ownership(model).items():
        array = model.state_dict()[name].numpy()
        weighted = aggregation_weights(owner, counts, 20.0, array.shape) * array
        assert weighted.shape == array.shape
        for m in range(4):
            if owner.kind == "modality":
                np.testing.assert_array_equal(weighted[m], counts[m, m] * array[m])
            elif owner.kind == "pair":
                for source in range(4):
                    np.testing.assert_array_equal(weighted[m, source], counts[m, source] * array[m, source])
            else:
                np.testing.assert_allclose(weighted, 20 * array, rtol=1e-6)


def test_an_average_with_these_weights_is_over_the_sites_that_have_the_modality():
    """Two sites: one has modalities 0 and 1, the other 1 and 2."""
    a, b = np.zeros((3, 3)), np.zeros((3, 3))
    a[:2, :2], b[1:, 1:] = 10, 30
    table = np.ones((3, 2))
    rows = Owner("modality")
    row_a, row_b = (
        aggregation_weights(rows, a, 10, table.shape),
        aggregation_weights(rows, b, 30, table.shape),
    )
    mean = (row_a * 1 * table + row_b * 5 * table) / (row_a + row_b)
    np.testing.assert_allclose(mean, [[1, 1], [4, 4], [5, 5]])
    pair = aggregation_weights(Owner("pair"), a, 10, (3, 3, 4)) + aggregation_weights(
        Owner("pair"), b, 30, (3, 3, 4)
    )
    assert (pair[0, 2] == 0).all() and (pair[2, 0] == 0).all()
    assert (pair[1, 1] == 40).all() and (pair[0, 1] == 10).all()


def test_rows_of_some_modalities_are_weighted_by_their_counts():
    """A table of the slow modalities 2 and 0, in this order, with counts of all three."""
    counts = np.array([[5.0, 1, 2], [1, 7, 3], [2, 3, 9]])
    assert aggregation_weights(Owner("modality", (2, 0)), counts, 20, (2, 4)).ravel().tolist() == [9, 5]
    assert aggregation_weights(Owner("pair", (2, 0)), counts, 20, (2, 2, 6))[..., 0].tolist() == [
        [9, 2],
        [2, 5],
    ]


def test_tables_of_one_rate_name_their_modalities():
    owners = ownership(DiffusionImputer(schema(rates=(5, 1, 5, 1)), imputer_config()))
    assert owners["encoder.patch_embedding.by_rate.0.weight"] == Owner("modality", (0, 2))
    assert owners["denoiser.head.by_rate.1.bias"] == Owner("modality", (1, 3))
    assert owners["closed_form.cross_spectra.1.spectrum"] == Owner("pair", (1, 3))
    assert owners["cross_modal.weight"] == Owner("pair")
