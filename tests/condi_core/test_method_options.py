"""Options of methods: their defaults are those of the published methods, and each is checked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from condi_core.averaging import SiteUpdate
from condi_core.config import ConfigError, RunConfig
from condi_core.methods import METHODS
from condi_core.ownership import Owner
from tests.helpers.run_settings import flat_defaults
from tests.helpers.toy import schema, task_config

SCHEMA = schema()
WITH_OPTIONS = [name for name, method in METHODS.items() if method.options]


def test_options_and_their_defaults():
    assert {name: METHODS[name].options for name in WITH_OPTIONS} == {
        "fedprox": {"mu": 0.01},
        "fedadam": {"rate": 0.01, "beta1": 0.9, "beta2": 0.99, "tau": 0.001},
        "fedmsplit": {"temperature": 0.5},
        "fedmac": {"contrastive-weight": 0.1, "temperature": 0.5},
        "mifl": {"contrastive-weight": 0.1, "temperature": 0.5},
        "pepsy": {
            "controls": 16,
            "selected": 4,
            "contrastive-weight": 0.1,
            "query-weight": 0.1,
            "temperature": 0.5,
            "merge-cosine": 0.5,
        },
        "pamf": {"source-deviation": 0.1, "max-rate": 0.8, "flow-weight": 0.5, "euler-steps": 4},
        "robust": {"max-rate": 0.9},
    }


@pytest.mark.parametrize("name", WITH_OPTIONS)
def test_a_method_with_its_defaults_as_options_is_the_method(name):
    method = METHODS[name]
    same = method.with_options(method.options)
    assert (same.name, same.options, same.scope) == (name, method.options, method.scope)
    assert same.needs_individual_updates == method.needs_individual_updates
    for factories in ((method.model, same.model), (method.combine, same.combine)):
        assert len({getattr(f, "func", f) for f in factories}) == 1
        assert len({str(getattr(f, "keywords", {})) for f in factories}) == 1


def test_options_take_effect():
    model = METHODS["mask"].model(SCHEMA, task_config())
    start = {name: p.detach() + 1 for name, p in model.named_parameters()}
    penalties = [METHODS["fedprox"].with_options({"mu": mu}).penalty(model, start) for mu in (1, 0.5)]
    assert penalties[0] == 2 * penalties[1] > 0

    base, owner = {"w": np.zeros(2)}, {"w": Owner("shared")}
    update = [SiteUpdate({"w": np.ones(2)}, np.ones((2, 2)), 4.0)]
    rules = [METHODS["fedadam"].with_options({"rate": rate}).combine for rate in (1, 2)]
    steps = [combine(base, owner, update)["w"] for combine in rules]
    np.testing.assert_allclose(2 * steps[0], steps[1])

    assert METHODS["pepsy"].with_options({"controls": 5}).model(SCHEMA, task_config()).controls.shape[0] == 5
    nothing_drops = METHODS["robust"].with_options({"max-rate": 0}).model(SCHEMA, task_config())
    nothing_drops.generator = torch.Generator().manual_seed(0)
    observed = torch.ones(6, len(SCHEMA.modalities), SCHEMA.patches, SCHEMA.samples, dtype=torch.bool)
    assert nothing_drops.drop(observed).all()


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("fedprox", {"nu": 1.0}, "method 'fedprox' has no option 'nu' (did you mean 'mu'?)"),
        ("mask", {"mu": 1.0}, "method 'mask' has no options, got 'mu'"),
        ("fedprox", {"mu": -1}, "method 'fedprox', option 'mu': input should be greater than or equal to 0"),
        ("fedadam", {"beta1": 1}, "method 'fedadam', option 'beta1': input should be less than 1, got 1"),
        (
            "pamf",
            {"euler-steps": 2.5},
            "method 'pamf', option 'euler-steps': input should be a valid int",
        ),
        ("mifl", {"temperature": "hot"}, "method 'mifl', option 'temperature': input should be a valid nu"),
        ("pepsy", {"controls": 3}, "method 'pepsy' cannot select 4 of 3 controls: lower `selected`"),
    ],
)
def test_an_impossible_option_is_refused_in_a_sentence(name, options, complaint):
    with pytest.raises(ConfigError) as refused:
        METHODS[name].with_options(options)
    assert str(refused.value).startswith(complaint)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("mu=0.1", "must be pairs such as 'fedprox.mu=0.1', got 'mu=0.1'"),
        ("fedprox.mu=0.1", "the run has no method 'fedprox', got 'fedprox.mu=0.1'"),
        ("pepsy.controls", "must be pairs such as"),
    ],
)
def test_the_setting_is_of_methods_of_the_run(text, complaint):
    settings = flat_defaults() | {"method": "pepsy"}
    with pytest.raises(ConfigError, match=f"setting 'method-options': {complaint}"):
        RunConfig.from_flat(settings | {"method-options": text})
    config = RunConfig.from_flat(settings | {"method-options": "pepsy.controls=5 pepsy.merge-cosine=0.7"})
    assert config.options_of("pepsy") == {"controls": 5, "merge-cosine": 0.7} and not config.options_of(
        "mask"
    )
