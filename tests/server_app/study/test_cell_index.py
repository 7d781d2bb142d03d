"""Which runs of a study are taken for cells that have been computed."""

import shutil

from condi_core.run_files import read_config
from server_app.study.cell_index import cell_key, completed_cells


def test_a_run_of_a_federation_that_was_prepared_before_is_a_cell_of_it(finished_run, tmp_path):
    """The study names it by its content, and not by its folder."""
    directory, _ = finished_run()
    run = tmp_path / "ecg-0a1b2c3d-seed0-4e5f6a7b"
    shutil.copytree(directory.path, run)
    config = read_config(run)
    key = cell_key(config.flat(), "ecg-0a1b2c3d", "condi", config.task.learning_rate_for("condi"))
    assert completed_cells(tmp_path)[key] == run
