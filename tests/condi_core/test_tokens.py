"""Tokens of several patches: which patches a token reads and writes, whatever the rates."""

import pytest
import torch

from condi_core.embeddings import PatchEmbedding, PatchProjection
from condi_core.imputer.imputer import DiffusionImputer
from tests.helpers.toy import imputer_config, schema, standardise, windows


@pytest.mark.parametrize("span", [1, 2, 5, 12, 20])
@pytest.mark.parametrize("rates", [(5, 5), (5, 1, 5)])
def test_a_token_reads_and_writes_the_patches_of_its_span(span, rates):
    of = schema(rates=rates)
    tokens = -(-of.patches // span)
    reader = PatchEmbedding(of.rate_groups, 3, 8, span)
    x = torch.randn(2, len(rates), of.patches, 3, of.samples)
    read = reader(x)
    assert read.shape == (2, len(rates), tokens, 8)
    writer = PatchProjection(of.rate_groups, 8, 4, span)
    for part in writer.by_rate:
        torch.nn.init.normal_(part.weight)
    written = writer(read, of.patches)
    assert written.shape == (2, len(rates), of.patches, 4, of.samples)
    for patch in range(of.patches):
        other = x.clone()
        other[:, :, patch] += 1
        moved = (reader(other) != read).any(-1)
        assert moved[:, :, patch // span].all() and moved.sum() == moved[:, :, patch // span].numel()
    for token in range(tokens):
        other = read.clone()
        other[:, :, token] += 1
        moved = (writer(other, of.patches) != written).flatten(3).any(-1)
        patches = slice(token * span, (token + 1) * span)
        assert moved[:, :, patches].all() and moved.sum() == moved[:, :, patches].numel()


def test_padding_of_a_slow_modality_is_neither_read_nor_written():
    of = schema(rates=(5, 1))
    reader, writer = PatchEmbedding(of.rate_groups, 2, 8, 3), PatchProjection(of.rate_groups, 8, 2, 3)
    x = torch.randn(2, 2, of.patches, 2, 5)
    other = x.clone()
    other[:, 1, ..., 1:] = 1e6
    assert torch.equal(reader(other), reader(x))
    for part in writer.by_rate:
        torch.nn.init.normal_(part.weight)
    assert (writer(reader(x), of.patches)[:, 1, ..., 1:] == 0).all()


@pytest.mark.parametrize(("samples", "span"), [(1, 8), (3, 5), (5, 3), (10, 2), (50, 1), (100, 1)])
def test_a_token_has_about_sixteen_samples_by_default(samples, span):
    assert DiffusionImputer(schema(rates=(samples, 1)), imputer_config()).span == span


def test_a_window_can_end_within_a_token():
    values, observed = windows(schema(), 4)
    lengths = []
    for removed in (0, 3):
        torch.manual_seed(0)
        model = DiffusionImputer(schema(), imputer_config(token_patches=5))
        standardise(model, values, observed)
        completion = model.impute(
            values[:, :, : 12 - removed], observed[:, :, : 12 - removed], 2, torch.Generator()
        )
        assert torch.isfinite(completion.draws).all()
        lengths.append(completion.point.shape[2])
    assert lengths == [12, 9]


def test_the_observed_fraction_of_a_token_excludes_what_is_beyond_the_window():
    model = DiffusionImputer(schema(rates=(5, 1)), imputer_config(token_patches=5))
    conditioning = torch.zeros(1, 2, 12, 5, dtype=torch.bool)
    conditioning[:, 0] = True  # all of the fast modality
    conditioning[:, 1, ::2, 0] = True  # every other patch of the slow one
    torch.testing.assert_close(
        model._observed_fraction(conditioning), torch.tensor([[[1.0, 1.0, 1.0], [0.6, 0.4, 0.5]]])
    )
