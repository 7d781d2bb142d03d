"""What a site releases once in a run under patient-level privacy: standardising sums and the relation.

A release is stored in the site's cache under a hash of what it depends on, and is given again when it is
asked for again, as by a run that is resumed: with other noise it would spend the patients' privacy twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from client_app.node.patients import Patients, plan_of_site, public_presence
from client_app.node.privacy_ledger import spend_privacy
from client_app.node.site import Site
from condi_core.config import ConfigError
from condi_core.imputer.cross_spectrum import CrossSpectrum
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.privacy import relation, standardising
from condi_core.privacy.accounting import GaussianRelease
from condi_core.privacy.gradients import sum_clipped
from condi_core.privacy.noise import secure_gaussian_noise
from condi_core.protocol import fingerprint
from condi_core.settings_text import parse_values
from condi_core.windows import iterate_blocks
from data_partitions.locks import hold_lock
from data_partitions.storage import atomic_write, make_private_directory


def release_standardising_sums(site: Site) -> np.ndarray:
    """Release standardising sums `(modality, 3)` with noise; the counts are those of complete windows."""
    ranges, noise = value_ranges(site), plan_of_site(site).standardising
    modalities = len(site.schema.modalities)
    norm = standardising.HISTOGRAM_NORM * modalities**0.5

    def histograms(values: Tensor, observed: Tensor) -> list[Tensor]:
        return [standardising.histogram_contributions(values, observed, ranges)]

    limits = [part.tolist() for part in ranges]
    mean, deviation = _release_mean(site, histograms, [norm], noise, "histograms", limits, is_first=True)
    location = standardising.locate_values(mean, deviation, ranges)
    located = location.interval
    norm = standardising.MOMENTS_NORM * modalities**0.5

    def moments(values: Tensor, observed: Tensor) -> list[Tensor]:
        return [standardising.moment_contributions(values, observed, located)]

    limits = [part.tolist() for part in located]
    mean, _ = _release_mean(site, moments, [norm], noise, "moments", limits)
    rates = torch.tensor([float(modality.samples_per_patch) for modality in site.schema.modalities])
    counts = rates.double() * site.schema.patches * len(site.partition.rows("train"))
    counts = counts * torch.from_numpy(public_presence(site)[0])
    return standardising.sums_from_moments(mean, location, counts).numpy()


def release_relation(site: Site, imputer: DiffusionImputer) -> tuple[dict[str, np.ndarray], np.ndarray, int]:
    """Release the site's cross-spectrum with noise; the result is that of `estimate_cross_spectrum`."""
    groups, noise = imputer.closed_form.groups, plan_of_site(site).relation
    timelines = [site.schema.patches * group.samples for group in groups]
    cross_spectra = [CrossSpectrum(g.members, length) for g, length in zip(groups, timelines, strict=True)]
    standardiser = imputer.standardiser.cpu()

    def contribute(values: Tensor, observed: Tensor) -> list[Tensor]:
        x = standardiser(values, observed)
        parts = [
            relation.compute_contributions(
                cross_spectrum, group.select(x).flatten(2), group.select(observed).flatten(2)
            )
            for group, cross_spectrum in zip(groups, cross_spectra, strict=True)
        ]
        moments, spectra = zip(*(relation.split_contribution(part) for part in parts), strict=True)
        return [torch.cat(moments, 1), torch.cat(spectra, 1)]

    norms = relation.clipping_norms(len(site.schema.modalities), len(groups))
    scale = [standardiser.mean.tolist(), standardiser.std.tolist()]
    mean, deviation = _release_mean(site, contribute, norms, noise, "relation", scale)
    present = torch.from_numpy(public_presence(site)[0])
    windows = len(site.partition.rows("train"))
    counts, spectra = np.zeros((len(present),) * 2), {}
    num_powers = relation.NUM_BANDS * len(groups)
    moments, powers = mean[:-num_powers], mean[-num_powers:]
    for i, (group, cross_spectrum) in enumerate(zip(groups, cross_spectra, strict=True)):
        size = relation.num_moments(len(group.members))
        of_group, moments = moments[:size], moments[size:]
        of_group = torch.cat([of_group, powers[i * relation.NUM_BANDS : (i + 1) * relation.NUM_BANDS]])
        released = relation.release_relation(
            cross_spectrum, of_group, deviation, present[list(group.members)]
        )
        spectra[f"closed_form.cross_spectra.{i}.spectrum"] = released.spectrum.numpy()
        counts[np.ix_(group.members, group.members)] = windows * released.shares.clamp(0, 1).numpy()
    imputer.standardiser.to(site.device)
    return spectra, counts, windows


def value_ranges(site: Site) -> standardising.Interval:
    """Return the ranges in which values are counted: those of the settings, or the plausible ones.

    Raises
    ------
    ConfigError
        A modality has neither.
    """
    settings = parse_values(site.config.privacy.value_ranges)
    limits: list[tuple[float, float]] = []
    for modality in site.schema.modalities:
        text = settings.get(modality.name, settings.get(modality.unit))
        if text is not None:
            low, _, high = str(text).partition(":")
            limits.append((float(low), float(high)))
        elif modality.range:
            limits.append(modality.range)
        else:
            pairs = " or ".join(f"'{key}=LOW:HIGH'" for key in (modality.name, modality.unit) if key)
            raise ConfigError(
                f"privacy.patient-epsilon needs a range of {modality.name}, which has no plausible one: add "
                f"{pairs} to privacy.value-ranges"
            )
    ends = torch.tensor(limits, dtype=torch.float64)
    return standardising.Interval(ends.mean(1), (ends[:, 1] - ends[:, 0]) / 2)


def _release_mean(
    site: Site,
    contribute: Callable[[Tensor, Tensor], list[Tensor]],
    norms: Sequence[float],
    noise_multiplier: float,
    kind: str,
    dependencies: object,
    is_first: bool = False,
) -> tuple[Tensor, float]:
    """Release the mean over patients of clipped contributions, with noise, or give the stored one.

    `is_first` marks the first release of a run, at which all that the run is going to release has to fit into
    the site's budget. Each part of a contribution `(window, entry)` is the mean over the windows of a
    patient, and is clipped to its norm. Returns the mean of all parts, and the standard deviation of the
    noise in an entry of it.
    """
    patients = Patients(site, site.partition.rows("train"))
    deviation = noise_multiplier * float(np.linalg.norm(norms)) / len(patients)
    everything = [fingerprint(), site.mask_key, kind, list(norms), noise_multiplier, dependencies]
    key = hashlib.sha256(json.dumps(everything).encode()).hexdigest()
    path = site.cache / f"released-{key[:32]}.npy"
    make_private_directory(site.cache)
    with hold_lock(path.with_suffix(".lock"), path, wait=True):  # two runs at once must get the same noise
        if path.exists():
            return torch.from_numpy(np.load(path, allow_pickle=False)), deviation
        planned = plan_of_site(site).releases if is_first else None
        spend_privacy(site, kind, GaussianRelease(noise_multiplier), planned)
        mean = _compute_mean(site, contribute, norms, patients)
        mean = mean + deviation * torch.from_numpy(secure_gaussian_noise(tuple(mean.shape)))
        with atomic_write(path) as file:
            np.save(file, mean.numpy(), allow_pickle=False)
        return mean, deviation


def _compute_mean(
    site: Site,
    contribute: Callable[[Tensor, Tensor], list[Tensor]],
    norms: Sequence[float],
    patients: Patients,
) -> Tensor:
    """Compute the mean over patients of clipped contributions, without noise."""
    rows = site.partition.rows("train")
    position = {row: i for i, windows in enumerate(patients.rows_by_patient) for row in windows.tolist()}
    totals: list[Tensor] = []
    for block in iterate_blocks(rows):
        parts = contribute(*site.read(block))
        at = torch.tensor([position[row] for row in block.tolist()])
        totals = totals or [p.new_zeros(len(patients), p.shape[1]) for p in parts]
        for total, part in zip(totals, parts, strict=True):
            total.index_add_(0, at, part)
    windows = torch.from_numpy(patients.num_windows)[:, None]
    sums = [sum_clipped({"": total / windows}, norm)[""] for total, norm in zip(totals, norms, strict=True)]
    return torch.cat(sums) / len(patients)
