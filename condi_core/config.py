"""The settings of a run, checked. Defaults and meaning of every key: pyproject.toml, [tool.flwr.app.config].

Flower hands settings over flat (`imputer.learning-rate`); `RunConfig.from_flat` nests and checks them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from condi_core.phase_config import ImputerConfig, NonNegativeInt, PositiveInt, Settings, TaskConfig
from condi_core.privacy_config import PrivacyConfig
from condi_core.settings_text import (
    check_command,
    check_folder_name,
    describe_error,
    parse_names,
    parse_values,
    suggest_name,
)

# Settings that do not change what a run trains: where its files are, which sites are asked, and timeouts.
UNTRAINED_SETTINGS = frozenset(
    {
        "output",
        "name",
        "resume",
        "on-end",
        "track",
        "queue",
        "federation",
        "sites",
        "min-sites",
        "quorum",
        "sites-timeout",
        "round-timeout",
    }
)


AveragingRule = Literal["mean", "norm-bound", "median", "trimmed-mean", "krum"]

MAX_SECONDS = 365 * 24 * 3600.0  # of a timeout; the clocks of the system have a limit of their own
Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS)]


class ConfigError(ValueError):
    """Settings of a run are invalid; `complaints` has one sentence for each of them."""

    def __init__(self, *complaints: str) -> None:
        super().__init__("; ".join(complaints))
        self.complaints = complaints


class MissingnessSettings(Settings, extra="allow"):
    """Settings of the simulated missingness, unchecked: `dict(config.missingness)`.

    `condi_core.missingness`, which simulates the missingness, checks them.
    """


class RunConfig(Settings):
    """All settings of a run; the keys are those of pyproject.toml, with dashes."""

    federation: str
    output: str
    name: Annotated[str, AfterValidator(check_folder_name)]
    resume: str
    on_end: Annotated[str, AfterValidator(check_command)]
    track: Literal["", "mlflow"] = ""
    queue: bool
    method: str
    compare_with: str
    method_options: str
    seed: NonNegativeInt
    sites: str
    min_sites: PositiveInt
    sites_per_round: Annotated[float, Field(gt=0, le=1)]
    sites_per_evaluation: Annotated[float, Field(gt=0, le=1)]
    quorum: Annotated[float, Field(gt=0, le=1)]
    transport: Literal["float32", "float16"]
    sites_timeout: Seconds
    round_timeout: Seconds
    patience: NonNegativeInt
    missingness: MissingnessSettings = MissingnessSettings()
    test_missingness: str
    privacy: PrivacyConfig
    averaging: AveragingRule
    max_window_ratio: Annotated[float, Field(ge=1)]
    secure_aggregation: bool
    imputer: ImputerConfig
    task: TaskConfig

    @field_validator("privacy")
    @classmethod
    def _patience_needs_scores_without_noise(
        cls, privacy: PrivacyConfig, info: ValidationInfo
    ) -> PrivacyConfig:
        if info.data.get("patience") and (privacy.noise_multiplier or privacy.patient_epsilon):
            raise PydanticCustomError(
                "patience",
                "cannot be combined with patience, because the round at which training stops would reveal "
                "scores, which have no noise: set patience to 0",
            )
        return privacy

    @field_validator("method_options")
    @classmethod
    def _options_are_of_methods_of_the_run(cls, text: str, info: ValidationInfo) -> str:
        methods = _method_names(info.data.get("method", ""), info.data.get("compare_with", ""))
        for key in parse_values(text):
            method, dot, option = key.partition(".")
            if not (dot and option):
                raise PydanticCustomError("options", "must be pairs such as 'fedprox.mu=0.1'")
            if method not in methods:
                raise PydanticCustomError("options", f"the run has no method '{method}'")
        return text

    @field_validator("test_missingness")
    @classmethod
    def _overrides_are_pairs(cls, text: str) -> str:
        parse_values(text)
        return text

    @field_validator("task")
    @classmethod
    def _rates_are_of_methods_of_the_run(cls, task: TaskConfig, info: ValidationInfo) -> TaskConfig:
        methods = _method_names(info.data.get("method", ""), info.data.get("compare_with", ""))
        for name in parse_values(task.learning_rate_by_method):
            if name not in methods:
                raise PydanticCustomError("rates", f"the run has no method '{name}' that could have a rate")
        return task

    @field_validator("task")
    @classmethod
    def _covariates_are_not_private(cls, task: TaskConfig, info: ValidationInfo) -> TaskConfig:
        if task.covariates and "privacy" in info.data and info.data["privacy"].patient_epsilon:
            raise PydanticCustomError(
                "covariates",
                "task.covariates cannot be combined with privacy.patient-epsilon, because the sums that "
                "standardise covariates have no noise",
            )
        return task

    @field_validator("secure_aggregation")
    @classmethod
    def _secure_sums_are_of_integers_and_over_all_sites(cls, secure: bool, info: ValidationInfo) -> bool:
        reasons = {
            "sites_per_round": "cannot be combined with sites-per-round below 1: its sums are over all sites",
            "quorum": "cannot be combined with quorum below 1: sums with and without a late site reveal it",
            "transport": "needs transport='float32', as masked updates are integers of a width of their own",
        }
        for setting, reason in reasons.items():
            if secure and info.data.get(setting, 1) not in (1, "float32"):
                raise PydanticCustomError("secure", reason)
        return secure

    @field_validator("secure_aggregation")
    @classmethod
    def _clipping_needs_individual_updates(cls, secure: bool, info: ValidationInfo) -> bool:
        if secure and "privacy" in info.data and info.data["privacy"].noise_multiplier:
            raise PydanticCustomError(
                "secure",
                "cannot be combined with privacy.noise-multiplier, which needs the update of each site",
            )
        return secure

    @field_validator("secure_aggregation")
    @classmethod
    def _bounds_need_individual_updates(cls, secure: bool, info: ValidationInfo) -> bool:
        if secure and info.data.get("averaging", "mean") != "mean":
            raise PydanticCustomError(
                "secure", "needs averaging='mean', as the other rules need the update of each site"
            )
        return secure

    @classmethod
    def from_flat(cls, flat: dict[str, Any]) -> RunConfig:
        """Read and check settings in Flower's flat form. Those of the missingness are not checked here.

        Parameters
        ----------
        flat : `{"imputer.rounds": 4, ...}`, with all settings of the run

        Returns
        -------
        RunConfig

        Raises
        ------
        ConfigError
            Settings are missing, unknown or invalid. The error has one sentence for each of them.
        """
        missingness = [key for key in flat if key.startswith("missingness.")]
        known = [*setting_names(), *missingness]
        nested: dict[str, Any] = {}
        complaints: list[str] = []
        for key, value in flat.items():
            if key in known:
                table, dot, leaf = key.partition(".")
                (nested.setdefault(table, {}) if dot else nested)[leaf if dot else key] = value
            else:
                complaints.append(f"unknown setting '{key}'{suggest_name(key, known)}")
        try:
            config = cls.model_validate(nested)
        except ValidationError as error:
            complaints += [
                describe_error(e, "setting", flat.get(".".join(str(part) for part in e["loc"])))
                for e in error.errors()
            ]
        if complaints:
            raise ConfigError(*complaints)
        return config

    @property
    def named_sites(self) -> list[str]:
        """Sites that the run is limited to; empty if all registered sites take part."""
        return parse_names(self.sites)

    @property
    def methods(self) -> list[str]:
        """`method` and the methods in `compare-with`, each once."""
        return _method_names(self.method, self.compare_with)

    def options_of(self, method: str) -> dict[str, int | float | str]:
        """Return the options that the run gives a method, such as `{"mu": 0.1}`."""
        values = parse_values(self.method_options)
        prefix = f"{method}."
        return {key.removeprefix(prefix): v for key, v in values.items() if key.startswith(prefix)}

    @property
    def test_overrides(self) -> dict[str, int | float | str]:
        """Settings of the missingness that are different for test windows."""
        return parse_values(self.test_missingness)

    def training_differences(self, other: RunConfig) -> list[str]:
        """Return the names of the settings by which the two runs train differently."""
        settings, others = self.flat(), other.flat()
        return sorted(
            key
            for key in settings | others
            if key not in UNTRAINED_SETTINGS and settings.get(key) != others.get(key)
        )

    def flat(self) -> dict[str, Any]:
        """Return the settings in Flower's flat form."""
        return flatten(self.model_dump(by_alias=True))


def flatten(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested tables: `{"imputer": {"rounds": 4}}` becomes `{"imputer.rounds": 4}`."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _method_names(method: str, compare_with: str) -> list[str]:
    return list(dict.fromkeys([method, *parse_names(compare_with)]))


def setting_names() -> list[str]:
    """Return all valid keys in flat form, without those of the missingness."""
    keys = []
    for name, field in RunConfig.model_fields.items():
        alias, kind = name.replace("_", "-"), field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):  # `MissingnessSettings` declares no fields
            keys += [f"{alias}.{leaf.replace('_', '-')}" for leaf in kind.model_fields]
        else:
            keys.append(alias)
    return keys
