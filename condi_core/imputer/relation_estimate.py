"""Estimate the relation between modalities from windows of one site, the cross-spectrum of `CrossSpectrum`.

`estimate_cross_spectrum` is what a site contributes to the relation of all sites. `estimate_site_relation` is
the middle level between all sites and a single window. Hospitals differ in devices, patients and habits, and
so do their cross-spectra. A site continues EM on its own training windows from the relation of all sites,
which counts as much as `POPULATION_WINDOWS` windows in each step. Its validation windows choose between the
results and the relation of all sites, so that a site with few or unusual windows keeps the latter.
"""

from __future__ import annotations

import numpy as np
import torch

from condi_core.evaluation.catalogue import EVALUATED_MISSINGNESS
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.imputer.local_training import WindowSource
from condi_core.missingness import Missingness
from condi_core.training import derive_seed
from condi_core.windows import iterate_blocks, zero_unobserved

POPULATION_WINDOWS = 10  # windows that the relation of all sites counts as
CANDIDATE_STEPS = (3, 9)  # steps of EM after which a relation is tried
MIN_GAIN = 0.02  # of the log mean square error over the relation of all sites: 1 % of the error
MAX_WINDOWS = {"train": 256, "val": 16}  # spread over those of the site: more change little and take time

Relation = dict[str, torch.Tensor]  # spectra by name of the buffer of the imputer


def estimate_cross_spectrum(
    source: WindowSource, rows: np.ndarray, imputer: DiffusionImputer, seed: int, first: bool
) -> tuple[dict[str, np.ndarray], np.ndarray, int]:
    """Estimate the cross-spectrum of windows.

    Parameters
    ----------
    source : of the windows
    rows : int (window,)
    imputer : with the current cross-spectrum of all sites
    seed : of the draws
    first : in the first round, covariances of samples observed at the same instant; afterwards one step of
        EM: the mean cross-periodogram of windows completed by draws

    Returns
    -------
    spectra : dict
        Spectra by name of the parameter.
    counts : ndarray (modality, modality)
        Weights of the pairs of modalities in the average over sites.
    num_windows : int
    """
    generator = torch.Generator().manual_seed(seed)
    totals: dict[str, torch.Tensor] = {}
    members: dict[str, tuple[int, ...]] = {}
    counts = np.zeros((len(source.schema.modalities),) * 2)
    with torch.no_grad():
        for block in iterate_blocks(rows):
            values, observed = (tensor.to(source.device) for tensor in source.read(block))
            x = imputer.standardiser(values, observed)
            for statistics in imputer.closed_form.sufficient_statistics(x, observed, first, generator):
                name = statistics.name
                members[name] = statistics.members
                totals[name] = totals.get(name, 0) + statistics.spectra.double()
                counts[np.ix_(statistics.members, statistics.members)] += statistics.counts.cpu().numpy()
    means = {}
    for name, total in totals.items():
        pairs = np.ix_(members[name], members[name])
        weight = torch.as_tensor(counts[pairs]).clamp(min=1).to(total.device)
        mean = total / weight[:, :, None, None]
        means[f"closed_form.{name}.spectrum"] = mean.float().cpu().numpy()
    return means, counts, len(rows)


def read_relation(imputer: DiffusionImputer) -> Relation:
    """Return copies of the spectra of an imputer by name."""
    buffers = imputer.named_buffers()
    return {name: tensor.clone() for name, tensor in buffers if name.endswith(".spectrum")}


def set_relation(imputer: DiffusionImputer, relation: Relation) -> None:
    """Replace the spectra of an imputer."""
    buffers = dict(imputer.named_buffers())
    for name, tensor in relation.items():
        buffers[name].copy_(tensor)


def estimate_site_relation(
    source: WindowSource,
    training: np.ndarray,
    validation: np.ndarray,
    imputer: DiffusionImputer,
    seed: int,
) -> Relation:
    """Return the relation of a site, that which completes its validation windows best.

    Parameters
    ----------
    source : of the windows
    training, validation : int (window,), rows of the site; without validation, EM goes all the way
    imputer : with the relation of all sites; stays as it is
    seed : of the run
    """
    population = read_relation(imputer)
    rows = _spread_rows(training, MAX_WINDOWS["train"])
    validated = _spread_rows(validation, MAX_WINDOWS["val"])
    share = len(rows) / (len(rows) + POPULATION_WINDOWS)
    candidates, relation = [population], population
    for step in range(1, max(CANDIDATE_STEPS) + 1):
        step_seed = derive_seed(seed, "relation of the site", source.name, step)
        set_relation(imputer, relation)
        spectra = estimate_cross_spectrum(source, rows, imputer, step_seed, first=False)[0]
        relation = {
            name: torch.lerp(tensor, torch.from_numpy(spectra[name]).to(tensor.device), share)
            for name, tensor in population.items()
        }
        if step in CANDIDATE_STEPS:
            candidates.append(relation)
    if not len(validated):
        candidates = candidates[-1:]  # the weight of all sites alone protects a small site
    errors = []
    for candidate in candidates:
        set_relation(imputer, candidate)
        errors.append(_validation_error(source, validated, imputer) if len(candidates) > 1 else 0.0)
    set_relation(imputer, population)
    best = int(np.argmin(errors))
    return candidates[best] if len(errors) == 1 or errors[best] < errors[0] - MIN_GAIN else population


def _spread_rows(rows: np.ndarray, max_windows: int) -> np.ndarray:
    """Return rows, evenly spread if there are more than are used."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), max_windows)).astype(int)]


@torch.no_grad()
def _validation_error(source: WindowSource, rows: np.ndarray, imputer: DiffusionImputer) -> float:
    """Return the mean over patterns of missingness of the log mean square error of the closed form."""
    errors = []
    for kind, pattern in EVALUATED_MISSINGNESS.items():
        squares, count = 0.0, 0
        for block in iterate_blocks(rows):
            values, observed = source.read(block)
            missingness = Missingness(**pattern.parameters)
            seed = derive_seed("relation of the site", kind)
            masks = source.missingness_masks(values.numpy(), observed.numpy(), block, seed, missingness)
            target = torch.from_numpy(masks)
            values, conditioning, target = (
                tensor.to(source.device) for tensor in (values, observed & ~target, target)
            )
            x = imputer.standardiser(values, conditioning | target)
            estimate = imputer.closed_form(zero_unobserved(x, conditioning), conditioning).conditional_mean
            squares += float((estimate - x)[target].square().sum())
            count += int(target.sum())
        errors.append(np.log(max(squares, 1e-12) / max(count, 1)))
    return float(np.mean(errors))
