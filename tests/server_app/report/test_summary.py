"""The tables that a run prints when it ends."""

from condi_core.run_files import read_config
from server_app.artifacts.run_record import read_run
from server_app.report.imputation import expect_coverage_of
from server_app.report.summary import summary_table


def test_the_closing_tables_name_unknown_methods_and_expect_the_coverage_of_few_draws(made):
    record, config = read_run(made[1]), read_config(made[1])
    row = {"rmse": 0.5, "crps": 0.2, "coverage": 0.3}
    result = {"imputation": {"gaps 50 %": {"condi, draws": row}}, "answered": {}}
    result["task"] = {"of-another-package": record.task["condi"]}
    settings = config.model_copy(update={"imputer": config.imputer.model_copy(update={"samples": 4})})
    text = " ".join(summary_table(result, record.schema, settings, made[1]).split())
    assert expect_coverage_of(4) in text and "60 % of the samples" in text
    assert "of-another-package 1.000" in text
