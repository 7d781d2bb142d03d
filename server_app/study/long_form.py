"""The results of a study as a tidy table: one number a row, for statistics software."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from server_app.artifacts.estimates import Estimate
from server_app.study.results import CsvValue, StudyCell

# Columns of results.csv with their meanings, in their order.
COLUMNS = {
    "data": "name of the data set in the study",
    "partition": "how patients are assigned to sites",
    "sites": "number of sites",
    "missingness": "missingness of training windows, as settings",
    "missingness-in-test": "missingness of test windows, as settings",
    "missing-fraction": "expected share of the measured samples of training windows that it hides",
    "missing-fraction-in-test": "the same for test windows",
    "seed": "seed of the run",
    "method": "name of the method",
    "learning-rate": "learning rate of the task model",
    "part": "what is measured: task, imputation, or training with its cost",
    "pattern": "for imputation: missingness pattern under which the imputer is scored",
    "imputer": "for imputation: the imputer",
    "metric": "name of the metric; seconds, bytes and numbers of steps and weights for training",
    "statistic": "estimate: the value; low, high: ends of its 95 % interval over test patients",
    "value": "the number; nan where it is undefined",
    "run": "name of the run folder",
    "code": "fingerprint of the code that computed it",
}


def long_rows(cells: Sequence[StudyCell]) -> Iterator[dict[str, CsvValue]]:
    """Yield the rows of results.csv, with the columns of `COLUMNS`."""
    for cell in cells:
        factors: dict[str, CsvValue] = {
            "data": cell.data,
            "partition": cell.partition,
            "sites": cell.num_sites,
            "missingness": cell.missingness,
            "missingness-in-test": cell.missingness_in_test,
            "missing-fraction": cell.missing_fraction,
            "missing-fraction-in-test": cell.missing_fraction_in_test,
            "seed": cell.seed,
            "method": cell.method,
            "learning-rate": cell.learning_rate,
            "run": cell.run,
            "code": cell.code,
        }
        for result in _results(cell):
            row = factors | {"pattern": "", "imputer": "", "statistic": "estimate"} | result
            yield {column: row[column] for column in COLUMNS}


def _results(cell: StudyCell) -> Iterator[dict[str, CsvValue]]:
    """Yield what differs between the rows of a cell."""
    for metric, value in cell.metrics.items():
        if value is None:
            continue
        yield from _with_interval({"part": "task", "metric": metric}, cell.score(metric))
    for pattern, imputers in cell.imputation.items():
        for imputer, metrics in imputers.items():
            for metric in metrics:
                keys = {"part": "imputation", "pattern": pattern, "imputer": imputer, "metric": metric}
                yield from _with_interval(keys, cell.imputation_score(pattern, imputer, metric))
    training: dict[str, CsvValue] = {
        "validation-loss": cell.validation_loss,
        "local-steps": cell.local_steps,
        "seconds": cell.seconds,
        "bytes-down": cell.bytes_down,
        "bytes-up": cell.bytes_up,
        "parameters": cell.parameters,
        "failures": cell.failures,
    }
    yield from ({"part": "training", "metric": name, "value": number} for name, number in training.items())


def _with_interval(keys: Mapping[str, CsvValue], score: Estimate) -> Iterator[dict[str, CsvValue]]:
    """Yield a score, and the ends of its interval over test patients where it has one."""
    yield {**keys, "value": score.value}
    if score.interval:
        for statistic, end in zip(("low", "high"), score.interval, strict=True):
            yield {**keys, "statistic": statistic, "value": end}
