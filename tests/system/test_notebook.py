"""The notebook of `examples` runs, and completes better than linear interpolation; no outputs are stored."""

import re

import pytest

from tests.helpers.run_settings import PROJECT

NOTEBOOK = PROJECT / "examples" / "impute-ecg.ipynb"


@pytest.mark.slow
def test_the_notebook_fits_completes_and_draws(tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    error, linear = (
        float(x) for x in re.search(r"RMSE (\S+) mV, of linear interpolation (\S+) mV", printed).groups()
    )
    assert error < 0.5 * linear
    coverage = int(re.search(r"interval has (\d+)%", printed)[1])
    assert 75 <= coverage <= 99
    assert any("image/png" in output.get("data", {}) for output in cells[-1].outputs)
