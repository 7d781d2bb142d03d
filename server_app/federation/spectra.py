"""Check the cross-spectra that sites send in phase 1: numbers that no data have would end the run of all."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from server_app.federation.replies import ReplyError

MAX_VARIANCE = 100.0  # of a modality at a site, in squared standard deviations over all sites
TOLERANCE = 1e-3  # of rounding, as a fraction of the largest power


def check_spectra(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ReplyError unless each array can be a cross-spectrum of standardised modalities.

    It must be Hermitian, with a power that is not negative and a mean of at most `MAX_VARIANCE`. It need not
    be positive definite, because in the first round its entries are averages over different windows.

    Parameters
    ----------
    arrays : mapping of str to float arrays (modality, modality, frequency, 2)
        Real and imaginary parts by name.
    """
    for name, array in arrays.items():
        spectrum = array[..., 0].astype(np.float64) + 1j * array[..., 1]
        power = np.einsum("iif->if", spectrum).real
        largest = max(float(np.abs(power).max(initial=0)), 1e-12)
        if np.abs(spectrum - spectrum.conj().swapaxes(0, 1)).max(initial=0) > TOLERANCE * largest:
            raise ReplyError(f"{name} is not Hermitian")
        if power.min(initial=0) < -TOLERANCE * largest:
            raise ReplyError(f"{name} has negative power")
        if power.mean(-1).max(initial=0) > MAX_VARIANCE:
            raise ReplyError(f"{name} has a variance beyond {MAX_VARIANCE:g}")
