"""The relation between modalities at one site: the middle level between all sites and a single window.

Hospitals differ in devices, patients and habits, and so do their cross-spectra. A site continues EM on its
own training windows from the relation of all sites, which counts as much as `POPULATION_WINDOWS` windows in
each step. Its validation windows choose between the results and the relation of all sites, so that a site
with few or unusual windows keeps the latter. Imputers use the result in training, scoring and completion at
this site. It is stored there next to completed windows, and nothing of it is sent.

Under privacy of patients the relation of all sites is used as it is. The guarantee is for gradients in which
a patient has a limited part, and through the relation of the site each gradient would depend on all patients.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from client_app.node.completion_cache import RELATION_SUFFIX, completions_folder
from client_app.node.imputer_phase import estimate_cross_spectrum
from client_app.node.site import Site
from condi_core.evaluation.catalogue import EVALUATED_MISSINGNESS
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.missingness import Missingness
from condi_core.protocol import POOLED_SITE, fingerprint
from condi_core.training import derive_seed
from condi_core.windows import iterate_blocks, zero_unobserved
from data_partitions.locks import hold_lock
from data_partitions.manifest import Split
from data_partitions.storage import atomic_write, make_private_directory

POPULATION_WINDOWS = 10  # windows that the relation of all sites counts as
CANDIDATE_STEPS = (3, 9)  # steps of EM after which a relation is tried
MIN_GAIN = 0.02  # of the log mean square error over the relation of all sites: 1 % of the error
MAX_WINDOWS = {"train": 256, "val": 16}  # spread over those of the site: more change little and take time
MAX_STORED_RELATIONS = 12  # per partition; the oldest are removed

Relation = dict[str, torch.Tensor]  # spectra by name of the buffer of the imputer


def use_site_relation(site: Site, imputer: DiffusionImputer) -> None:
    """Replace the relation of all sites in an imputer by that of the site, which is estimated if need be.

    Parameters
    ----------
    site : Site
    imputer : DiffusionImputer
        With the relation of all sites; changed in place.
    """
    if site.name == POOLED_SITE or site.config.privacy.patient_epsilon:
        return
    if not len(site.partition.rows("train")):
        return
    path = _stored_path(site, imputer)
    try:
        make_private_directory(path.parent)
        with hold_lock(path.with_suffix(".lock"), path, wait=True):  # actors of a simulation may share a site
            if not path.exists():
                relation = _estimate(site, imputer)
                arrays: dict[str, Any] = {name: tensor.cpu().numpy() for name, tensor in relation.items()}
                with atomic_write(path) as file:
                    np.savez(file, **arrays)
                _remove_oldest(path.parent)
            with np.load(path, allow_pickle=False) as stored:
                _set_relation(imputer, {name: torch.from_numpy(stored[name]) for name in stored.files})
    except OSError:  # a cache that cannot be written costs time, and changes no result
        _set_relation(imputer, _estimate(site, imputer))


def _stored_path(site: Site, imputer: DiffusionImputer) -> Path:
    """Return the path of the relation, whose name is a hash of everything that it depends on."""
    state = imputer.state_dict()
    arrays = [state[name].cpu().numpy().tobytes() for name in (*_relation(imputer), *_scale(imputer))]
    weights = hashlib.sha256(b"".join(arrays)).hexdigest()
    everything = json.dumps([fingerprint(), site.mask_key, site.name, weights])
    digest = hashlib.sha256(everything.encode()).hexdigest()
    return completions_folder(site.partition, site.cache) / f"{digest[:32]}{RELATION_SUFFIX}"


def _scale(imputer: DiffusionImputer) -> list[str]:
    return [f"standardiser.{name}" for name in imputer.standardiser.state_dict()]


def _relation(imputer: DiffusionImputer) -> Relation:
    """Return the spectra of an imputer by name."""
    buffers = imputer.named_buffers()
    return {name: tensor.clone() for name, tensor in buffers if name.endswith(".spectrum")}


def _set_relation(imputer: DiffusionImputer, relation: Relation) -> None:
    buffers = dict(imputer.named_buffers())
    for name, tensor in relation.items():
        buffers[name].copy_(tensor)


def _estimate(site: Site, imputer: DiffusionImputer) -> Relation:
    """Return the relation that completes the validation windows best; the imputer stays as it is."""
    population = _relation(imputer)
    training, validated = _spread_rows(site, "train"), _spread_rows(site, "val")
    share = len(training) / (len(training) + POPULATION_WINDOWS)
    candidates, relation = [population], population
    for step in range(1, max(CANDIDATE_STEPS) + 1):
        seed = derive_seed(site.config.seed, "relation of the site", site.name, step)
        _set_relation(imputer, relation)
        spectra = estimate_cross_spectrum(site, imputer, seed, first=False, rows=training)[0]
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
        _set_relation(imputer, candidate)
        errors.append(_validation_error(site, imputer, validated) if len(candidates) > 1 else 0.0)
    _set_relation(imputer, population)
    best = int(np.argmin(errors))
    return candidates[best] if len(errors) == 1 or errors[best] < errors[0] - MIN_GAIN else population


def _spread_rows(site: Site, split: Split) -> np.ndarray:
    """Return rows of a split, evenly spread if there are more than are used."""
    rows = site.partition.rows(split)
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), MAX_WINDOWS[split])).astype(int)]


@torch.no_grad()
def _validation_error(site: Site, imputer: DiffusionImputer, rows: np.ndarray) -> float:
    """Return the mean over patterns of missingness of the log mean square error of the closed form."""
    errors = []
    for kind, pattern in EVALUATED_MISSINGNESS.items():
        squares, count = 0.0, 0
        for block in iterate_blocks(rows):
            values, observed = site.read(block)
            missingness = Missingness(**pattern.parameters)
            seed = derive_seed("relation of the site", kind)
            masks = site.missingness_masks(values.numpy(), observed.numpy(), block, seed, missingness)
            target = torch.from_numpy(masks)
            values, conditioning, target = site.to_device(values, observed & ~target, target)
            x = imputer.standardiser(values, conditioning | target)
            estimate = imputer.closed_form(zero_unobserved(x, conditioning), conditioning).conditional_mean
            squares += float((estimate - x)[target].square().sum())
            count += int(target.sum())
        errors.append(np.log(max(squares, 1e-12) / max(count, 1)))
    return float(np.mean(errors))


def _remove_oldest(folder: Path) -> None:
    """Remove all but the latest relations of a partition."""
    files = sorted(folder.glob(f"*{RELATION_SUFFIX}"), key=os.path.getmtime)
    for path in files[:-MAX_STORED_RELATIONS]:
        path.unlink(missing_ok=True)
