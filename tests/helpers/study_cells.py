"""Cells of a study with scores that a test chooses."""

from __future__ import annotations

from dataclasses import replace

from server_app.study.results import AS_IN_TRAINING, StudyCell


def cell(method, seed, auroc, points=0.5, test=AS_IN_TRAINING, imputation=None, **changes):
    missingness = f"points={points}" if points else "none"
    as_in_training = test == AS_IN_TRAINING
    result = StudyCell(
        data="waves",
        partition="natural",
        num_sites=2,
        missingness=missingness,
        test_missingness=test,
        missingness_in_test=missingness if as_in_training else test,
        missingness_settings={},
        missing_fraction=points,
        missing_fraction_in_test=points if as_in_training else 0.9,
        seed=seed,
        method=method,
        learning_rate=0.003,
        local_steps=6,
        failures=0,
        validation_loss=0.5,
        metrics={"auroc": auroc, "auprc": 0.5, "f1": 0.5, "accuracy": 0.5},
        imputation=imputation or {},
        seconds=2.0,
        bytes_down=10,
        bytes_up=5,
        parameters=99,
        code="x",
        run="r",
    )
    return replace(result, **changes)


# Two methods that differ by 0.05 in every one of three scenarios and three seeds.
CELLS = [
    cell(method, seed, base - 0.2 * points + 0.01 * seed, points)
    for points in (0.0, 0.4, 0.8)
    for method, base in (("condi", 0.9), ("mask", 0.85))
    for seed in (0, 1, 2)
]
