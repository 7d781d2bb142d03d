"""Which methods a run compares, and whether they go together with its settings."""

from __future__ import annotations

from collections.abc import Sequence

from condi_core.config import ConfigError, RunConfig
from condi_core.methods import Method, PluginError, find_method


def select_methods(config: RunConfig) -> list[Method]:
    """Return the run's method and those that it is compared with.

    Raises
    ------
    ConfigError
        A method cannot be used, or not be combined with the run's settings.
    """
    try:
        methods = [find_method(name) for name in config.methods]
    except PluginError as error:
        raise ConfigError(str(error)) from None
    try:
        methods = [method.with_options(config.options_of(method.name)) for method in methods]
    except ConfigError as error:
        raise ConfigError(f"setting 'method-options': {error}") from None
    is_private = bool(config.privacy.noise_multiplier)
    trained = [method for method in methods if method.imputer_training != "none"]
    if others := [method for method in trained if method.imputer is not trained[0].imputer]:
        raise ConfigError(
            f"methods '{trained[0].name}' and '{others[0].name}' train different imputers in phase 1, and a "
            "run has one: compare them in two runs"
        )
    for method in methods:
        if method.needs_individual_updates and (is_private or config.secure_aggregation):
            setting = "privacy.noise-multiplier" if is_private else "secure-aggregation"
            raise ConfigError(
                f"method '{method.name}' needs the update of each single site and cannot be combined with "
                f"{setting}: remove one of them"
            )
    for method in methods:
        if method.scope == "centralised" and config.privacy.smallest_count:
            raise ConfigError(
                f"method '{method.name}' is centralised training on the data of all sites and cannot be "
                "combined with privacy.smallest-count: remove one of them"
            )
    for method in methods:
        if method.imputer_training == "relation" and is_private:
            raise ConfigError(
                f"method '{method.name}' needs the relation between modalities, which is not estimated with "
                "privacy.noise-multiplier: remove one of them"
            )
    if config.privacy.patient_epsilon:
        _require_patient_gradients(methods)
    return methods


def _require_patient_gradients(methods: Sequence[Method]) -> None:
    """Raise ConfigError for methods that differential privacy of patients does not cover."""
    for method in methods:
        if method.contrasts_windows:
            raise ConfigError(
                f"method '{method.name}' compares windows of different patients in its loss and cannot be "
                "combined with privacy.patient-epsilon: remove one of them"
            )
        if method.samples_in_loss:
            raise ConfigError(
                f"method '{method.name}' draws random numbers in its loss and cannot be combined with "
                "privacy.patient-epsilon: remove one of them"
            )
        if method.scope == "centralised":
            raise ConfigError(
                f"method '{method.name}' is centralised training on the data of all sites and cannot be "
                "combined with privacy.patient-epsilon: remove one of them"
            )
