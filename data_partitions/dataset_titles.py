"""What built-in data sets and their labels are, in words for readers who do not know them."""

DATASET_TITLES = {
    "demo": "12-lead ECGs of 10 s that were generated for trials; no patient is in them",
    "ptb-xl": "PTB-XL, clinical 12-lead ECGs of 10 s (Physikalisch-Technische Bundesanstalt)",
    "mimic-iv": "MIMIC-IV, vital signs and laboratory values of intensive care stays (Boston)",
    "physionet-2012": "PhysioNet Challenge 2012, the first 48 h of intensive care stays",
    "sleep-edf": "Sleep-EDF, polysomnograms of nights at home in epochs of 30 s",
}
_ECG_CLASSES = {
    "NORM": "normal ECG",
    "MI": "myocardial infarction",
    "STTC": "change of the ST segment or the T wave",
    "CD": "conduction disturbance",
    "HYP": "hypertrophy",
}
_LABEL_MEANINGS = {
    "demo": _ECG_CLASSES,
    "ptb-xl": _ECG_CLASSES,
    "mimic-iv": {"died": "death in hospital", "survived": "discharged alive"},
    "physionet-2012": {"died": "death in hospital", "survived": "discharged alive"},
    "sleep-edf": {
        "W": "awake",
        "N1": "light sleep, stage 1",
        "N2": "light sleep, stage 2",
        "N3": "deep sleep",
        "REM": "sleep with rapid eye movements",
    },
}


def dataset_title(name: str) -> str:
    """Describe a data set in a few words; one that CondI does not know has its name alone."""
    return DATASET_TITLES.get(name, name)


def label_meanings(name: str) -> dict[str, str]:
    """Return what the labels of a data set stand for, by label; empty for one that CondI does not know."""
    return _LABEL_MEANINGS.get(name, {})
