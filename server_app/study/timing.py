"""Time the operations of a run on some windows, on this machine."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import replace
from itertools import repeat

import numpy as np
import torch

from condi_core.config import RunConfig
from condi_core.imputer.imputer import DiffusionImputer
from condi_core.imputer.interpolation import interpolate_windows
from condi_core.methods import METHODS, Method
from condi_core.missingness import Missingness, missingness_mask, sample_training_missingness
from condi_core.task.batch import TaskBatch
from condi_core.training import train_steps
from condi_core.windows import WINDOWS_PER_BLOCK, Schema, Standardiser, Windows
from server_app.study.workload import OperationSeconds

OBSERVED_SHARE = 0.6  # of the samples of generated windows
STEPS = 2  # optimiser steps that are timed together
LEARNING_RATE = 1e-3
USUAL_START_SECONDS = 3.0  # of a process, where it is not timed

Clock = Callable[[], float]
ArrayWindows = tuple[np.ndarray, np.ndarray]


def time_operations(
    schema: Schema,
    config: RunConfig,
    methods: Sequence[str],
    sample: ArrayWindows | None = None,
    clock: Clock = time.perf_counter,
) -> OperationSeconds:
    """Time each operation once after a first time, which is slower.

    Parameters
    ----------
    schema : of the windows
    config : settings of the run
    methods : names of the methods, whose task models are timed
    sample : values and what was measured of some windows, both (window, modality, patch, sample); None:
        windows are generated, with which closed forms take longer than where less was measured
    clock : returns the time in seconds
    """
    windows = _generate_windows(schema) if sample is None else _hide_from_sample(schema, config, sample)
    specs = [METHODS[method] for method in methods]
    imputer = dict.fromkeys(("relation", "prepare", "point", "draw", "imputer_step"), 0.0)
    if any(spec.imputer_training != "none" for spec in specs):
        imputer = _time_imputer(schema, config, windows, clock)
    steps, scoring = {}, {}
    for spec in specs:
        steps[spec.name], scoring[spec.name] = _time_task(schema, config, spec, windows, clock)
    mask = _time(lambda: _hide_samples(schema, windows), clock) / WINDOWS_PER_BLOCK
    return OperationSeconds(
        start=USUAL_START_SECONDS, mask=mask, task_step=steps, task_window=scoring, **imputer
    )


def time_in_parallel(
    schema: Schema,
    config: RunConfig,
    methods: Sequence[str],
    sample: ArrayWindows | None,
    workers: int,
    threads: int = 1,
) -> OperationSeconds:
    """Time the operations in several processes at once, as sites compute: they slow each other down.

    Parameters
    ----------
    schema, config, methods, sample : as in `time_operations`
    workers : number of processes
    threads : number of threads of each
    """
    context = multiprocessing.get_context("spawn")  # a fork of a process that has used torch can hang
    arguments = zip(*repeat((time.time(), schema, config, methods, sample), workers), strict=True)
    try:
        with ProcessPoolExecutor(workers, context, _use_threads, (threads,)) as pool:
            return OperationSeconds.mean(list(pool.map(_time_in_new_process, *arguments)))
    except BrokenExecutor:  # most often because memory ran out: one process needs less
        return time_operations(schema, config, methods, sample)


def _time_in_new_process(
    started: float, schema: Schema, config: RunConfig, methods: Sequence[str], sample: ArrayWindows | None
) -> OperationSeconds:
    """Time the operations in a process whose start was ordered at a time of `time.time()`."""
    start = time.time() - started
    return replace(time_operations(schema, config, methods, sample), start=start)


def _use_threads(threads: int) -> None:
    torch.set_num_threads(threads)


def _time(operation: Callable[[], object], clock: Clock) -> float:
    operation()
    started = clock()
    operation()
    return clock() - started


def _generate_windows(schema: Schema) -> Windows:
    """Return waves that modalities share, with noise, of which a share is observed."""
    generator, shape = torch.Generator().manual_seed(0), (WINDOWS_PER_BLOCK, *schema.shape)
    seconds = torch.linspace(0, 1, schema.shape[1] * schema.shape[2]).unflatten(0, schema.shape[1:])
    phases = torch.rand(WINDOWS_PER_BLOCK, 1, 1, 1, generator=generator)
    values = torch.sin(2 * torch.pi * (10 * seconds + phases)) + 0.3 * torch.randn(shape, generator=generator)
    rates = torch.tensor([modality.samples_per_patch for modality in schema.modalities])
    exists = torch.arange(schema.shape[2]) < rates[:, None, None]
    observed = (torch.rand(shape, generator=generator) < OBSERVED_SHARE) & exists
    return Windows(torch.where(observed, values, 0.0), observed)


def _hide_from_sample(schema: Schema, config: RunConfig, sample: ArrayWindows) -> Windows:
    """Return as many windows as a block has, with the missingness of a run's training."""
    missingness = Missingness.for_split("train", dict(config.missingness), config.test_overrides)
    rates = [modality.samples_per_patch for modality in schema.modalities]
    chosen = np.arange(WINDOWS_PER_BLOCK) % len(sample[0])
    values, measured = (array[chosen] for array in sample)
    hidden = [
        missingness_mask(v, o, missingness, seed=0, record_id=str(i), samples_per_patch=rates)
        for i, (v, o) in enumerate(zip(values, measured, strict=True))
    ]
    observed = torch.from_numpy(measured & ~np.stack(hidden))
    return Windows(torch.where(observed, torch.from_numpy(values), 0.0), observed)


def _hide_samples(schema: Schema, windows: Windows) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    values, observed = (tensor.numpy() for tensor in windows)
    rates = [modality.samples_per_patch for modality in schema.modalities]
    missingness: list[Missingness] = [sample_training_missingness(rng) for _ in values]
    return [
        missingness_mask(v, o, m, seed=0, record_id=str(i), samples_per_patch=rates)
        for i, (v, o, m) in enumerate(zip(values, observed, missingness, strict=True))
    ]


def _time_imputer(schema: Schema, config: RunConfig, windows: Windows, clock: Clock) -> dict[str, float]:
    """Return the seconds of the imputer's operations: those of a window, and those of a step."""
    imputer, generator = DiffusionImputer(schema, config.imputer), torch.Generator().manual_seed(0)
    imputer.standardiser.fit(Standardiser.sums(*windows))
    target = windows.observed & torch.from_numpy(np.stack(_hide_samples(schema, windows)))
    batch = imputer.prepare(windows.values, windows.observed & ~target, target)

    def relate() -> None:
        with torch.no_grad():
            x = imputer.standardiser(*windows)
            list(imputer.closed_form.sufficient_statistics(x, windows.observed, False, generator))

    chosen = torch.arange(config.imputer.batch) % WINDOWS_PER_BLOCK
    step_batch = batch.select(chosen, slice(0, config.imputer.crop or schema.patches))

    def train() -> None:
        train_steps(
            imputer,
            lambda batch: imputer.loss(batch, generator),
            repeat(step_batch, STEPS),
            config.imputer,
            LEARNING_RATE,
        )

    per_window = {
        "relation": _time(relate, clock),
        "prepare": _time(lambda: imputer.prepare(windows.values, windows.observed & ~target, target), clock),
        "point": (point := _time(lambda: imputer.sample(batch, 0, generator), clock)),
        "draw": max(0.0, _time(lambda: imputer.sample(batch, 1, generator), clock) - point),
    }
    seconds = {name: value / WINDOWS_PER_BLOCK for name, value in per_window.items()}
    return seconds | {"imputer_step": _time(train, clock) / STEPS}


def _time_task(
    schema: Schema, config: RunConfig, spec: Method, windows: Windows, clock: Clock
) -> tuple[float, float]:
    """Return the seconds of a step of a method's task model, and of scoring a window."""
    model = spec.model(schema, config.task)
    model.generator = torch.Generator().manual_seed(0)
    model.standardiser.fit(Standardiser.sums(*windows))

    def read(positions: torch.Tensor) -> TaskBatch:
        values, observed = windows.values[positions], windows.observed[positions]
        available = observed
        if spec.interpolate:
            values = interpolate_windows(schema, model.standardiser, values, observed, spec.interpolate)
        if spec.interpolate or spec.complete:
            available = torch.ones_like(observed)
        labels = torch.zeros(len(values), len(schema.labels))
        labels[:, 0] = 1
        covariates = torch.full((len(values), len(schema.covariates)), torch.nan)
        return TaskBatch(values, observed, available, labels, covariates)

    start = {name: p.detach().clone() for name, p in model.named_parameters()} if spec.penalty else {}

    def loss(positions: torch.Tensor) -> torch.Tensor:
        value = model.training_loss(read(positions))
        return value + spec.penalty(model, start) if spec.penalty else value

    chosen = torch.arange(config.task.batch) % WINDOWS_PER_BLOCK

    def train() -> None:
        train_steps(model, loss, repeat(chosen, STEPS), config.task, LEARNING_RATE)

    def score() -> None:
        with torch.no_grad():
            batch = read(torch.arange(WINDOWS_PER_BLOCK))
            model(batch.values, batch.observed, batch.available, batch.covariates)

    return _time(train, clock) / STEPS, _time(score, clock) / WINDOWS_PER_BLOCK
