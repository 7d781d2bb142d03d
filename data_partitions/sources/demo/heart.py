"""The source of the demo's ECGs: a heart dipole and nine electrodes.

The dipole's P, QRS, ST and T loops are sums of Gaussians in time with vectors in mV along x = left,
y = down, z = back. Electrode potentials are projections of the dipole on lead vectors close to Dower's (Dower
et al., Journal of Electrocardiology 13:123, 1980), and the leads are differences of potentials by the
standard definitions, so that the identities between leads hold as in a real recording. Diseases change the
loops in the way that textbooks describe.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Wave: vector (mV), centre from the R peak (s), width (s).
_WAVES = {
    "P right": ((0.03, 0.06, -0.04), -0.165, 0.018),
    "P left": ((0.06, 0.05, 0.03), -0.135, 0.020),
    "Q": ((-0.16, -0.06, -0.30), -0.026, 0.0085),
    "R": ((1.05, 0.72, 0.10), 0.0, 0.0105),
    "late R": ((0.25, 0.08, 0.80), 0.017, 0.0110),
    "S": ((-0.25, -0.20, 0.28), 0.036, 0.0100),
    "R'": ((0.0, 0.0, 0.0), 0.066, 0.0170),
    "ST": ((0.0, 0.0, 0.0), 0.105, 0.034),
    "ST end": ((0.0, 0.0, 0.0), 0.175, 0.040),
    "T rise": ((0.16, 0.12, -0.10), 0.235, 0.048),
    "T": ((0.24, 0.18, -0.14), 0.285, 0.034),
}
_QRS = ("Q", "R", "late R", "S", "R'")
# The time of these waves is proportional to the square root of the RR interval.
_REPOLARISATION = ("ST", "ST end", "T rise", "T")
_REFERENCE_RR_SECONDS = 0.85

# Unipolar V1-V6 against the mean of the limb electrodes, and the limb leads I and II.
_CHEST = np.array(
    [
        (-0.515, 0.157, -0.917),
        (0.044, 0.164, -1.387),
        (0.882, 0.098, -1.277),
        (1.213, 0.127, -0.601),
        (1.125, 0.127, -0.086),
        (0.831, 0.076, 0.230),
    ]
)
_LEAD_I, _LEAD_II = np.array((0.632, -0.235, 0.059)), np.array((0.235, 1.066, -0.132))
_RA = -(_LEAD_I + _LEAD_II) / 3
_ELECTRODES = np.vstack([_RA, _RA + _LEAD_I, _RA + _LEAD_II, _CHEST])  # RA, LA, LL, V1-V6


@dataclass
class Heart:
    """One patient's heart and electrodes, drawn by `draw_heart`."""

    vectors: dict[str, np.ndarray]  # wave -> (3,) mV
    centres: dict[str, float]  # wave -> s from the R peak
    widths: dict[str, float]  # wave -> s
    electrodes: np.ndarray  # (9, 3) lead vectors of RA, LA, LL, V1-V6
    rate: float  # beats per minute
    fibrillation: bool
    ectopy: float  # probability that a beat is ectopic


def draw_heart(rng: np.random.Generator, diseases: Sequence[str] = ()) -> Heart:
    """Draw a heart with some of MI, STTC, CD and HYP; healthy ones vary in axis, size, intervals, rate."""
    vectors = {name: np.array(wave[0]) for name, wave in _WAVES.items()}
    centres = {name: wave[1] for name, wave in _WAVES.items()}
    widths = {name: wave[2] for name, wave in _WAVES.items()}
    heart = Heart(
        vectors=vectors,
        centres=centres,
        widths=widths,
        electrodes=_ELECTRODES * rng.lognormal(0, 0.06, (9, 1)) + rng.normal(0, 0.03, (9, 3)),
        rate=float(np.clip(rng.normal(72, 13), 46, 125)),
        fibrillation=bool(rng.random() < (0.12 if diseases else 0.03)),
        ectopy=float(rng.choice([0, 0.09], p=[0.9, 0.1])),
    )
    # Healthy variation of repolarisation overlaps with slight disease.
    for name in ("T rise", "T"):
        vectors[name] *= rng.lognormal(-0.05, 0.30)
    early = rng.exponential(0.025) * np.array((0.8, 0.5, -0.9))
    vectors["ST"] += early
    vectors["ST end"] += early
    for disease in diseases:
        _DISEASES[disease](heart, rng.uniform(0.35, 1.0), rng)
    frontal, horizontal, twist = np.radians(rng.normal(0, (17, 12, 8)))
    qrs_axis = _rotation(frontal, horizontal)
    t_axis = _rotation(frontal * 0.6 + twist, horizontal * 0.6 + twist)
    size = rng.lognormal(0, 0.22)
    pr, qt = rng.normal(0, 0.015), rng.lognormal(0, 0.05)
    for name in _WAVES:
        axis = t_axis if name in _REPOLARISATION else qrs_axis
        jitter = rng.normal(0, 0.10, 3) * np.linalg.norm(vectors[name])
        vectors[name] = size * (axis @ vectors[name] + jitter)
        widths[name] *= rng.lognormal(0, 0.07)
    for name in ("P right", "P left"):
        centres[name] -= pr
    for name in _REPOLARISATION:
        centres[name] *= qt
    return heart


def draw_ecg(rng: np.random.Generator, heart: Heart, rate: int = 100, seconds: float = 10) -> np.ndarray:
    """Draw an ECG: float64 (12 leads: I II III aVR aVL aVF V1-V6, samples) in mV; `rate` in Hz."""
    time = np.arange(round(rate * seconds)) / rate
    breath = 2 * np.pi * (rng.uniform(0.18, 0.33) * time + rng.random())
    dipole = _dipole(rng, heart, time)
    # Breathing turns and shrinks the heart a little.
    dipole = dipole * (1 + rng.uniform(0.01, 0.05) * np.sin(breath)[:, None])
    potentials = dipole @ heart.electrodes.T * rng.lognormal(0, 0.05)
    potentials += _electrode_noise(rng, time, breath)
    ra, la, ll = potentials[:, :3].T
    i, ii = la - ra, ll - ra
    limbs = [i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2]
    chest = (potentials[:, 3:] - potentials[:, :3].mean(axis=1, keepdims=True)).T
    return np.vstack([*limbs, chest])


def _dipole(rng: np.random.Generator, heart: Heart, time: np.ndarray) -> np.ndarray:
    """Return the dipole, (sample, 3) in mV: every wave of every beat, and the fibrillating atria."""
    beats, intervals, ectopic = _rhythm(rng, heart, time[-1])
    dipole = np.zeros((len(time), 3))
    for name, vector in heart.vectors.items():
        if name.startswith("P ") and heart.fibrillation or not vector.any():
            continue
        # An ectopic ventricular beat has no P, a wide QRS with another axis, and an opposite T.
        centre = np.full(len(beats), heart.centres[name])
        if name in _REPOLARISATION:
            centre = centre * np.sqrt(intervals / _REFERENCE_RR_SECONDS) + 0.06 * ectopic
        width = np.full(len(beats), heart.widths[name]) * (1 + 1.3 * ectopic * (name in _QRS))
        gain = rng.lognormal(0, 0.02, len(beats))
        z = (time[:, None] - beats - centre * np.where(ectopic & (name in _QRS), 2.0, 1.0)) / width
        bumps = np.exp(-0.5 * z**2) * gain
        if name in _QRS:
            other = np.array((0.3, -1.2, 0.9)) * vector
        else:
            other = np.zeros(3) if name.startswith("P ") else -1.4 * vector
        dipole += bumps[:, ~ectopic].sum(axis=1)[:, None] * vector
        dipole += bumps[:, ectopic].sum(axis=1)[:, None] * other
    if heart.fibrillation:
        phase = 2 * np.pi * np.cumsum(rng.normal(6.0, 1.2, len(time)) * (time[1] - time[0]))
        dipole += 0.05 * np.sin(phase + rng.random())[:, None] * np.array((0.3, 0.6, -0.8))
    return dipole


def _rhythm(rng: np.random.Generator, heart: Heart, end: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return times of the R peaks (s), the RR interval before each (s), and which are ectopic."""
    usual = 60 / heart.rate
    count = int(end / usual * 2) + 8
    if heart.fibrillation:
        intervals = np.maximum(0.36, rng.gamma(12, usual / 12, count))
    else:
        breathing = rng.uniform(0.01, 0.06) * np.sin(np.arange(count) * usual * 1.6 + rng.uniform(0, 6))
        intervals = usual * (1 + breathing + rng.normal(0, 0.012, count))
    ectopic = rng.random(count) < heart.ectopy
    ectopic[1:] &= ~ectopic[:-1]
    intervals = np.where(ectopic, 0.62, 1.0) * intervals
    intervals[1:] *= np.where(ectopic[:-1], 1.38, 1.0)  # the compensatory pause
    beats = -1.0 + rng.uniform(0, usual) + np.cumsum(intervals)
    in_time = beats < end + 1
    return beats[in_time], intervals[in_time], ectopic[in_time]


def _electrode_noise(rng: np.random.Generator, time: np.ndarray, breath: np.ndarray) -> np.ndarray:
    """Return noise, (sample, 9) in mV: baseline wander, muscle noise and amplifier noise."""
    shape = (len(time), 9)
    wander = rng.uniform(0.0, 0.06) * np.sin(breath)[:, None] * rng.normal(0, 1, 9)
    for _ in range(3):
        wave = 2 * np.pi * (rng.uniform(0.03, 0.5, 9) * time[:, None] + rng.random(9))
        wander += rng.gamma(2, 0.012) * np.sin(wave) * rng.normal(0, 1, 9)
    muscle = rng.normal(0, 1, shape)
    muscle[1:] -= 0.5 * muscle[:-1]  # muscle noise has most power at high frequencies
    bursts = 1 + 2 * (rng.random() < 0.15) * np.exp(-0.5 * ((time - rng.uniform(0, 10)) / 0.8) ** 2)
    amplitude = rng.gamma(3, 0.0022) * rng.lognormal(0, 0.3, 9)
    return wander + amplitude * bursts[:, None] * muscle + rng.normal(0, 0.003, shape)


def _rotation(frontal: float, horizontal: float) -> np.ndarray:
    """Return the rotation of the axis: clockwise in the frontal plane, backwards in the horizontal one."""
    c, s = np.cos(frontal), np.sin(frontal)
    d, t = np.cos(horizontal), np.sin(horizontal)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[d, 0, -t], [0, 1, 0], [t, 0, d]])


def _infarction(heart: Heart, severity: float, rng: np.random.Generator) -> None:
    """Add an infarction: Q points away from the infarcted wall; ST towards it if recent, T away if old."""
    wall = np.array(
        [(0.15, 0.0, -0.9), (0.05, 0.85, 0.15), (0.7, 0.05, -0.5)][rng.choice(3, p=[0.45, 0.4, 0.15])]
    )
    heart.vectors["Q"] = heart.vectors["Q"] * (1 - severity) - 0.75 * severity * wall
    heart.widths["Q"] *= 1 + 0.5 * severity
    heart.vectors["R"] = heart.vectors["R"] * (1 - 0.25 * severity) - 0.2 * severity * wall
    if rng.random() < 0.45:
        heart.vectors["ST"] += 0.20 * severity * wall
        heart.vectors["ST end"] += 0.24 * severity * wall
    else:
        heart.vectors["T"] -= 0.42 * severity * wall
        heart.vectors["T rise"] -= 0.16 * severity * wall


def _repolarisation(heart: Heart, severity: float, rng: np.random.Generator) -> None:
    """Add a repolarisation disorder: flat T, ST depression with inverted T, or sagging ST with late T."""
    kind = rng.choice(3, p=[0.4, 0.4, 0.2])
    depression = severity * np.array((0.11, 0.08, -0.05))
    if kind == 0:
        factor, depression = 1 - rng.uniform(0.8, 1.1) * severity, 0.2 * depression
    elif kind == 1:
        factor = 1 - 1.7 * severity
    else:
        factor = 1 - 0.6 * severity
        for name in ("T rise", "T"):
            heart.centres[name] *= 1 + 0.22 * severity
    for name in ("T rise", "T"):
        heart.vectors[name] = heart.vectors[name] * factor
    for name in ("ST", "ST end"):
        heart.vectors[name] = heart.vectors[name] - depression


def _conduction(heart: Heart, severity: float, rng: np.random.Generator) -> None:
    """Add a left or right bundle branch block, left anterior fascicular block, or long PR interval."""
    vectors, centres, widths = heart.vectors, heart.centres, heart.widths
    kind = rng.choice(4, p=[0.25, 0.35, 0.25, 0.15])
    if kind == 0:  # left bundle branch block: broad, notched QRS without septal Q, opposite T
        vectors["Q"] = vectors["Q"] * (1 - 1.2 * severity)
        vectors["R'"] = severity * np.array((0.85, 0.2, 0.75))
        centres["late R"], centres["R'"], centres["S"] = 0.030, 0.058, 0.080
        for name in ("R", "late R", "R'"):
            widths[name] *= 1 + 0.55 * severity
        for name in ("T rise", "T"):
            vectors[name] = vectors[name] * (1 - severity) - severity * np.array((0.22, 0.04, 0.30))
            centres[name] += 0.04 * severity
    elif kind == 1:  # right bundle branch block: R' in V1, broad S in I and V6
        vectors["R'"] = (0.25 + 0.75 * severity) * np.array((-0.45, 0.05, -0.60))
        vectors["late R"] = vectors["late R"] * (1 - 0.3 * severity)
        vectors["T"] = vectors["T"] + severity * np.array((0.08, 0.0, 0.16))
    elif kind == 2:  # left anterior fascicular block: left axis
        turn = _rotation(np.radians(-35 - 45 * severity), 0)
        for name in ("R", "late R"):
            vectors[name] = turn @ vectors[name]
        vectors["Q"] = vectors["Q"] + severity * np.array((-0.05, 0.2, 0.0))
    else:
        for name in ("P right", "P left"):  # long PR interval
            centres[name] -= 0.05 + 0.09 * severity


def _hypertrophy(heart: Heart, severity: float, rng: np.random.Generator) -> None:
    """Enlarge the left ventricle, often with strain, or sometimes the right one."""
    vectors = heart.vectors
    if rng.random() < 0.2:
        vectors["R"] = vectors["R"] + severity * np.array((-0.75, 0.15, -0.65))
        vectors["late R"] = vectors["late R"] + severity * np.array((-0.5, 0.1, -0.5))
        vectors["P right"] = vectors["P right"] * (1 + 1.2 * severity)
        vectors["T"] = vectors["T"] + severity * np.array((0.05, -0.05, 0.18))
        return
    for name in ("R", "late R"):
        vectors[name] = vectors[name] * (1.15 + 0.65 * severity) + severity * np.array((0.1, 0, 0.25))
    vectors["P left"] = vectors["P left"] * (1 + 0.8 * severity)
    if rng.random() < 0.6:
        for name in ("ST", "ST end"):
            vectors[name] = vectors[name] - 0.13 * severity * np.array((1.0, 0.3, 0.2))
        vectors["T"] = vectors["T"] - 0.5 * severity * np.array((1.0, 0.3, 0.2))
        vectors["T rise"] = vectors["T rise"] * (1 - severity)


_DISEASES = {"MI": _infarction, "STTC": _repolarisation, "CD": _conduction, "HYP": _hypertrophy}
