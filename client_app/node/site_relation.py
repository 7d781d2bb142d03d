"""The relation between modalities at one site, which `estimate_site_relation` estimates, and its store.

Imputers use it in training, scoring and completion at this site. It is stored there next to completed
windows, and nothing of it is sent.

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
from client_app.node.site import Site
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.imputer.relation_estimate import (
    Relation,
    estimate_site_relation,
    read_relation,
    set_relation,
)
from condi_core.protocol import POOLED_SITE, fingerprint
from data_partitions.locks import hold_lock
from data_partitions.storage import atomic_write, make_private_directory

MAX_STORED_RELATIONS = 12  # per partition; the oldest are removed


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
                set_relation(imputer, {name: torch.from_numpy(stored[name]) for name in stored.files})
    except OSError:  # a cache that cannot be written costs time, and changes no result
        set_relation(imputer, _estimate(site, imputer))


def _stored_path(site: Site, imputer: DiffusionImputer) -> Path:
    """Return the path of the relation, whose name is a hash of everything that it depends on."""
    state = imputer.state_dict()
    arrays = [state[name].cpu().numpy().tobytes() for name in (*read_relation(imputer), *_scale(imputer))]
    weights = hashlib.sha256(b"".join(arrays)).hexdigest()
    everything = json.dumps([fingerprint(), site.mask_key, site.name, weights])
    digest = hashlib.sha256(everything.encode()).hexdigest()
    return completions_folder(site.partition, site.cache) / f"{digest[:32]}{RELATION_SUFFIX}"


def _scale(imputer: DiffusionImputer) -> list[str]:
    return [f"standardiser.{name}" for name in imputer.standardiser.state_dict()]


def _estimate(site: Site, imputer: DiffusionImputer) -> Relation:
    training, validation = site.partition.rows("train"), site.partition.rows("val")
    return estimate_site_relation(site, training, validation, imputer, site.config.seed)


def _remove_oldest(folder: Path) -> None:
    """Remove all but the latest relations of a partition."""
    files = sorted(folder.glob(f"*{RELATION_SUFFIX}"), key=os.path.getmtime)
    for path in files[:-MAX_STORED_RELATIONS]:
        path.unlink(missing_ok=True)
