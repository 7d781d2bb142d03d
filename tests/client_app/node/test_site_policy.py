"""The policy of a site: what its file may say, and what is said about a file that is wrong."""

from __future__ import annotations

import re
from datetime import time

import pytest

from client_app.app import app
from client_app.node.site_policy import MESSAGES, SitePolicy, read_policy, write_policy_text
from data_partitions import DataError
from tests.helpers.documents import read_blocks
from tests.helpers.run_settings import PROJECT


@pytest.fixture
def read(tmp_path):
    """`read(text)`: the policy of a file with this text."""

    def call(text: str) -> SitePolicy:
        (tmp_path / "policy.toml").write_text(text)
        return read_policy(tmp_path / "policy.toml")

    return call


def test_the_default_policy_withholds_small_counts_and_runs_only_installed_code():
    policy = SitePolicy()
    assert (policy.smallest_count, policy.accepted_apps) == (10, ("installed",))


def test_the_file_that_is_written_is_the_default_policy(read):
    assert read(write_policy_text()) == SitePolicy() == read("")


def test_the_example_of_the_documentation_is_a_policy(read):
    (example,) = (block.text for block in read_blocks(PROJECT / "docs" / "deployment.md", "toml"))
    assert len(re.findall("^[a-z]", example, re.MULTILINE)) == 11
    assert read(example).smallest_count == 20


def test_every_key_has_a_comment_in_the_file_that_is_written():
    lines = write_policy_text().splitlines()
    keys = [i for i, line in enumerate(lines) if line and not line.startswith("#")]
    assert len(keys) == len(SitePolicy.model_fields) and all(lines[i - 1].startswith("# ") for i in keys)


def test_the_node_config_carries_the_whole_policy(read):
    policy = read('covariates = ["age"]\nupdate-clip-norm = 1\nmethods = "mask"')
    assert policy.methods == ("mask",)
    assert SitePolicy.from_json(policy.to_json()) == policy
    assert policy.digest != SitePolicy().digest


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("smalest-count = 5", "unknown key `smalest-count`: did you mean `smallest-count`?"),
        ("smallest-count = -1", "`smallest-count`: expected a number of at least 0, got -1"),
        ("smallest-count = true", "`smallest-count`: expected a whole number, got True"),
        ('messages = ["train.imputr"]', 'there is no message "train.imputr": did you mean "train.imputer"?'),
        ('methods = ["cond"]', '`methods`: there is no method "cond": did you mean "condi"?'),
        ('required-protection = "site-nois"', 'no protection "site-nois": did you mean "site-noise"?'),
        ('accepted-apps = "instaled"', 'got "instaled": did you mean "installed"?'),
        ('accepted-apps = ["abc"]', "which has 64 digits of 0-9 and a-f"),
        ('hours = "7-9"', '`hours`: expected hours such as "07:00-19:00", got "7-9"'),
        ('hours = "08:00-25:00"', 'expected hours such as "07:00-19:00"'),
        ('hours = "08:00-08:00"', "expected an end that differs from the start"),
        ("update-noise-multiplier = 1.0", "expected `update-clip-norm` above 0"),
        ("rounds-per-run = 0", "`rounds-per-run`: expected a number of at least 1, got 0"),
    ],
)
def test_a_wrong_value_is_named_with_its_line_and_the_nearest_right_word(read, line, sentence):
    with pytest.raises(DataError) as error:
        read(f"# a policy\n\n{line}\n")
    assert "policy.toml, line 3: " in str(error.value) and sentence in str(error.value)


def test_all_problems_are_named_in_the_order_of_the_file(read):
    with pytest.raises(DataError) as error:
        read('hours = "x"\nsmallest-count = -1\nmehods = []')
    assert [line.partition("line ")[2][0] for line in str(error.value).splitlines()] == ["1", "2", "3"]


def test_a_file_that_does_not_exist(tmp_path):
    with pytest.raises(DataError, match="there is no policy .*: condi site --write-policy FILE writes"):
        read_policy(tmp_path / "policy.toml")


@pytest.mark.parametrize(
    ("hours", "opened", "closed"),
    [
        ("07:00-19:00", [time(7), time(18, 59)], [time(6, 59), time(19)]),
        ("20:00-06:00", [time(20), time(0), time(5, 59)], [time(6), time(19, 59)]),
        ("00:00-24:00", [time(0), time(23, 59)], []),
    ],
)
def test_the_hours_in_which_a_site_answers(hours, opened, closed):
    policy = SitePolicy(hours=hours)
    assert all(policy.is_open(now) for now in opened) and not any(policy.is_open(now) for now in closed)


def test_the_policy_knows_all_kinds_of_messages_that_the_app_answers():
    handled = {name.removesuffix(".default") for name in app._registered_funcs}
    assert handled == {*MESSAGES, "query.left_out"}
