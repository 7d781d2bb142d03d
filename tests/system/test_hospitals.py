"""All 185 hospitals of the eICU demo in one simulated federation: most have a handful of patients."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data_partitions.description.reading import read_description
from data_partitions.federation import open_federation
from data_partitions.prepare import prepare_federation
from data_partitions.sources.described.reader import DescribedDataset
from server_app.cli import app
from tests.helpers.real_data import require_real

EXAMPLE = Path(__file__).parents[2] / "examples" / "eicu-demo" / "mortality.toml"
SIGNALS = ("hr", "map", "resp", "o2sat", "temp", "glu")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_federation_of_185_hospitals_ends(tmp_path, run_local, capsys):
    require_real("eicu-demo")
    source = require_real("yaib-demo").parent
    text = EXAMPLE.read_text()
    (tmp_path / "dataset.toml").write_text(
        "\n".join(line for line in text.splitlines() if not line.startswith("sites =")).replace(
            'site = "region"', 'site = "hospitalid"'
        )
    )
    description = read_description(tmp_path / "dataset.toml")
    selected = {name: description.signals[name] for name in SIGNALS}
    reader = DescribedDataset(description.model_copy(update={"signals": selected}))
    prepare_federation(reader, source, tmp_path / "all", smallest_site=0)
    assert len(open_federation(tmp_path / "all").sites) == 185

    changes = {"missingness.gaps": 0.0, "missingness.modality-by-window": 0.0, "name": "hospitals"}
    run_local(tmp_path / "all", changes | {"imputer.rounds": 1, "task.rounds": 1})
    output = capsys.readouterr().out
    for count, fact in (
        (52, "no validation windows"),
        (17, "no test windows"),
        (140, "no windows with death"),
    ):
        note = f"^note: each of {count} sites, such as .*, has {fact}"
        assert re.search(note, output, re.MULTILINE), fact
    result = json.loads((tmp_path / "runs" / "hospitals" / "result.json").read_text())
    answered = result["answered"]["imputer"]
    assert len(answered["sites"]) == 185 and not answered["failures"]
    assert 0 <= result["task"]["condi"]["auroc"] <= 1
    inspected = CliRunner().invoke(app, ["inspect", str(tmp_path / "all")])
    assert inspected.exit_code == 0, inspected.output
