"""What the leads of an ECG say about each other over all recordings that were sampled, in sentences."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from data_partitions.checks.finding import Finding, format_share
from data_partitions.checks.recording_sample import RecordingSample
from data_partitions.sentences import count_noun, list_some

IDENTITIES = "III = II - I and the augmented leads"
EQUAL_GAINS = 0.1  # relative deviation between files up to which gains are the same in all


def find_lead_smells(samples: Sequence[RecordingSample]) -> Iterator[Finding]:
    """Judge the limb leads, the names of leads, and the electrodes."""
    checked = [sample for sample in samples if sample.leads is not None]
    if checked:
        yield from _find_disagreement(checked)
    exchanged = [sample.file.name for sample in samples if sample.arms_exchanged]
    if exchanged:
        yield Finding(
            "warning",
            "leads",
            f"lead I is opposite to V6 in {count_noun(len(exchanged), 'file')} ({list_some(exchanged)}): the "
            "electrodes of the arms were perhaps exchanged, or the heart lies to the right",
        )
    pairs: dict[tuple[str, str], list[str]] = defaultdict(list)
    for sample in samples:
        for pair in sample.identical:
            pairs[pair].append(sample.file.name)
    for (one, other), files in pairs.items():
        yield Finding(
            "warning",
            f"signals.{other}",
            f"the same samples as {one} in {count_noun(len(files), 'file')} ({list_some(files)})",
        )


def _find_disagreement(checked: Sequence[RecordingSample]) -> Iterator[Finding]:
    wrong = [sample for sample in checked if sample.leads and not sample.leads.agrees]
    if not wrong:
        residual = np.median([sample.leads.residual for sample in checked if sample.leads])
        text = f"{IDENTITIES} hold in all of {count_noun(len(checked), 'file')} (to {format_share(residual)})"
        yield Finding("fact", "leads", text)
        return
    residual = np.median([sample.leads.residual for sample in wrong if sample.leads])
    where = f"{len(wrong)} of {count_noun(len(checked), 'file')} ({list_some([s.file.name for s in wrong])})"
    failure = f"{IDENTITIES} fail in {where}, by {format_share(residual)} of the leads' deviation"
    digital = [sample for sample in wrong if sample.digital_leads and sample.digital_leads.agrees]
    if len(digital) > 0.5 * len(wrong):
        yield Finding("warning", "leads", f"{failure}. {_describe_wrong_gains(digital)}")
        wrong = [sample for sample in wrong if sample not in digital]
        failure = f"{IDENTITIES} also fail in {count_noun(len(wrong), 'file')}"
    pairs = Counter(s.leads.exchanged for s in wrong if s.leads and s.leads.exchanged)
    for (one, other), count in pairs.items():
        yield Finding(
            "warning",
            "leads",
            f"the names of {one} and {other} are exchanged in {count_noun(count, 'file')}: with them "
            f"exchanged back, {IDENTITIES} hold",
        )
    gains = [s.leads.gains for s in wrong if s.leads and s.leads.gains]
    if gains:
        yield Finding("warning", "leads", f"{failure}. {_describe_gains(gains)}")
    rest = [s for s in wrong if s.leads and not (s.leads.gains or s.leads.exchanged)]
    if rest:
        names = list_some(sample.file.name for sample in rest)
        yield Finding(
            "warning",
            "leads",
            f"{IDENTITIES} fail in {count_noun(len(rest), 'file')} ({names}), and no factors correct this: "
            "leads may be filtered differently, or not recorded at the same time",
        )


def _describe_wrong_gains(digital: Sequence[RecordingSample]) -> str:
    gain = Counter(sample.digital_gain for sample in digital).most_common(1)[0][0]
    residual = np.median([sample.digital_leads.residual for sample in digital if sample.digital_leads])
    sentence = (
        f"The gains in the headers are wrong lead by lead: they hold in the digital samples (to "
        f"{format_share(residual)}) of {count_noun(len(digital), 'file')}. "
    )
    if not gain:
        return (
            sentence + 'Ignore the gains with gains = "none" in [files], and give each lead its right scale'
        )
    return sentence + (
        f'By their size the samples have {gain:g} steps per mV: set gains = "none" in [files] and '
        f"scale = {1 / gain:g} in each lead"
    )


def _describe_gains(gains: Sequence[dict[str, float]]) -> str:
    """Say by which factors the leads must be multiplied, if these are the same in all files."""
    common = [each for each in gains if each.keys() == gains[0].keys()]
    factors = np.array([list(each.values()) for each in common])
    median = np.median(factors, axis=0)
    inverted = [name for name, factor in zip(common[0], median, strict=True) if factor < 0]
    steady = bool((np.abs(factors / median - 1) < EQUAL_GAINS).all())
    pairs = zip(common[0], median, strict=True)
    listed = ", ".join(f"{name} {factor:.3g}" for name, factor in pairs)
    if inverted and np.allclose(np.abs(median), 1, atol=EQUAL_GAINS):
        return f"{', '.join(inverted)} {'is' if len(inverted) == 1 else 'are'} inverted: set scale = -1 there"
    if steady:
        return f"Gains are wrong lead by lead: they hold with scale = {listed}, up to a common factor"
    return (
        f"Gains are wrong lead by lead, and differently in each file (median factors {listed}): no scale "
        "mends all of them; correct the files"
    )
