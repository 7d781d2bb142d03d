"""The preparation of tables over time goes on where it was interrupted."""

import errno
import os

import numpy as np
import pandas as pd
import pytest

from data_partitions import checkpoint
from data_partitions.description.reading import read_description
from data_partitions.events import files as event_files
from data_partitions.events.reading import EventReader
from data_partitions.preparation_log import PreparationLog
from data_partitions.prepare import prepare_federation, prepare_site
from data_partitions.sources import mimic_iv
from data_partitions.sources.described.reader import DescribedDataset
from data_partitions.sources.mimic_iv import events as mimic_events

STAYS = 12
COMMON = """
dataset.name = "ward"
window = { length = "6 h", grid = "1 h", take = "first" }
[signals.hr]
unit = "bpm"
range = [20, 300]
within = "WITHIN"
[signals.temp]
unit = "degC"
channels = ["temp", "temp F"]
channel-units = { "temp F" = "°F" }
"""
FORMATS = {
    "files of stays": 'files = { format = "csv", path = "{record}.csv", time = "time", time-unit = "h" }',
    "long shards": 'files = { format = "parquet", path = "*.parquet", record = "stay", time = "time", '
    'time-unit = "h", variable = "name", value = "value" }',
    "MEDS": 'files = { format = "meds", path = "data/*.parquet" }',
}


def write_source(folder, kind):
    """Write 12 stays in 6 or 12 files; rows of a stay are in two shards of the long form, and one is bad."""
    random = np.random.default_rng(7)
    folder.mkdir()
    rows = pd.DataFrame({"stay": np.repeat(np.arange(STAYS), 40), "time": random.uniform(0, 6, 40 * STAYS)})
    rows["hr"] = random.normal(80, 30, len(rows)).round(1)
    rows["temp"] = random.normal(37, 1, len(rows)).round(1)
    if kind == "files of stays":
        for stay, of_stay in rows.groupby("stay"):
            of_stay.drop(columns="stay").to_csv(folder / f"s{stay:02d}.csv", index=False)
        (folder / "s03.csv").write_text("time,hr,temp\nsoon,1,2\n")
        with open(folder / "s04.csv", "a") as file:
            file.write("1.5,80\n")
        return COMMON
    long = rows.melt(["stay", "time"], ["hr", "temp"], "name").sample(frac=1, random_state=1)
    if kind == "long shards":
        for number, part in enumerate(np.array_split(np.arange(len(long)), 6)):
            long.iloc[part].to_parquet(folder / f"{number}.parquet")
        return COMMON
    start = pd.Timestamp("2150-01-01")
    meds = pd.DataFrame(
        {
            "subject_id": long["stay"],
            "time": (start + pd.to_timedelta(long["time"], "h")).astype("datetime64[us]"),
            "code": long["name"],
            "numeric_value": long["value"].astype("float32"),
        }
    )
    of_admission = pd.DataFrame({"subject_id": np.arange(STAYS), "time": start, "code": "ADMISSION"})
    meds = pd.concat([of_admission.astype({"time": "datetime64[us]"}), meds])
    (folder / "data").mkdir()
    for number in range(6):
        meds[meds["subject_id"] % 6 == number].to_parquet(folder / "data" / f"{number}.parquet")
    return COMMON.replace("take", 'start = "ADMISSION", take')


@pytest.fixture(params=["last", "median"])
def within(request):
    return request.param


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Prepare a site, interrupted after some parts of the files; return it and the files that were read."""
    monkeypatch.setattr(checkpoint, "MIN_SECONDS", 0)
    monkeypatch.setattr(checkpoint, "MAX_SHARE", np.inf)
    monkeypatch.setattr(event_files, "BLOCK_BYTES", 1)
    find_events = EventReader.find_events

    def prepare(reader, out, parts=np.inf, log=None):
        files = []

        def interrupted(self, rows, recordings):
            if len(files) >= parts:
                raise KeyboardInterrupt
            files.extend(file.path.name for file in rows.files)
            yield from find_events(self, rows, recordings)

        with monkeypatch.context() as patch:
            patch.setattr(EventReader, "find_events", interrupted)
            try:
                return prepare_site(reader, tmp_path / "in", tmp_path / out, "north", log=log), files
            except KeyboardInterrupt:
                return None, files

    return prepare


@pytest.mark.parametrize("kind", FORMATS)
def test_an_interrupted_pass_reads_the_other_files_and_gives_the_same_partition(
    prepare, kind, within, tmp_path, monkeypatch
):
    common = write_source(tmp_path / "in", kind)
    (tmp_path / "dataset.toml").write_text(f"{FORMATS[kind]}\n{common.replace('WITHIN', within)}")
    reader = DescribedDataset(read_description(tmp_path / "dataset.toml"))
    complete_log, log = PreparationLog(), PreparationLog()
    complete, all_files = prepare(reader, "complete", log=complete_log)
    assert prepare(reader, "north", parts=2) == (None, all_files[:2])
    assert prepare(reader, "north", parts=3) == (None, all_files[2:5])
    with monkeypatch.context() as patch:
        patch.setattr(DescribedDataset, "index", None)  # it is stored
        resumed, files = prepare(reader, "north", log=log)
    assert files == all_files[5:]
    assert resumed.fingerprint() == complete.fingerprint()
    assert log.counts == complete_log.counts and log.rejected == complete_log.rejected
    log.notes.remove(f"Parts that were read before an interruption: 5 of {len(all_files)}.")
    assert log.notes == complete_log.notes
    assert {p.name for p in tmp_path.iterdir()} == {"in", "dataset.toml", "complete", "north"}


def test_rows_of_one_large_file_are_gathered_once(prepare, tmp_path, monkeypatch):
    monkeypatch.setattr("data_partitions.events.parquet_rows.BATCH_ROWS", 100)
    common = write_source(tmp_path / "in", "long shards")
    (tmp_path / "dataset.toml").write_text(f"{FORMATS['long shards']}\n{common.replace('WITHIN', 'mean')}")
    reader = DescribedDataset(read_description(tmp_path / "dataset.toml"))
    complete, parts = prepare(reader, "complete")
    assert len(parts) == 12  # two of each file
    assert len(prepare(reader, "north", parts=5)[1]) == 5  # in the middle of the third file
    resumed, files = prepare(reader, "north")
    assert files == parts[5:]
    assert resumed.fingerprint() == complete.fingerprint()


@pytest.mark.parametrize("change", ["a file", "the description"])
def test_a_pass_over_other_data_begins_again_and_says_so(prepare, tmp_path, change):
    common = write_source(tmp_path / "in", "long shards").replace("WITHIN", "last")
    path = tmp_path / "dataset.toml"
    path.write_text(f"{FORMATS['long shards']}\n{common}")
    prepare(DescribedDataset(read_description(path)), "north", parts=4)
    if change == "a file":
        shard = pd.read_parquet(tmp_path / "in" / "0.parquet")
        shard.assign(value=40.0).to_parquet(tmp_path / "in" / "0.parquet")
    else:
        path.write_text(path.read_text().replace("[20, 300]", "[30, 300]"))
    log = PreparationLog()
    reader = DescribedDataset(read_description(path))
    partition, files = prepare(reader, "north", log=log)
    assert len(files) == 6
    assert partition.fingerprint() == prepare(reader, "complete")[0].fingerprint()
    assert (
        log.notes.count(
            "All was read again, as the files or the settings have changed since the interruption."
        )
        == 1
    )


def test_complete_tables_of_mimic_iv_are_not_read_again(generated, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "MIN_SECONDS", 0)
    monkeypatch.setattr(checkpoint, "MAX_SHARE", np.inf)

    def prepare(out):
        return prepare_federation(mimic_iv, generated, tmp_path / out, sites=2, split="iid")

    complete = prepare("complete")
    stream, tables = mimic_events.stream_table, []

    def interrupted(file, *more):
        tables.append(file.name.split(".")[0])
        if tables == ["chartevents", "outputevents"]:
            raise KeyboardInterrupt
        return stream(file, *more)

    monkeypatch.setattr(mimic_events, "stream_table", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare("resumed")
    resumed = prepare("resumed")
    assert tables == ["chartevents", "outputevents", "outputevents", "labevents"]
    for site in complete.sites:
        assert resumed.open_site(site).fingerprint() == complete.open_site(site).fingerprint()


def test_a_state_that_cannot_be_stored_does_not_end_the_preparation(prepare, tmp_path, monkeypatch):
    common = write_source(tmp_path / "in", "long shards").replace("WITHIN", "last")
    (tmp_path / "dataset.toml").write_text(f"{FORMATS['long shards']}\n{common}")
    reader = DescribedDataset(read_description(tmp_path / "dataset.toml"))
    complete, _ = prepare(reader, "complete")

    def fail(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "atomic_write", fail)
    log = PreparationLog()
    assert prepare(reader, "north", log=log)[0].fingerprint() == complete.fingerprint()
    assert [note for note in log.notes if "stored" in note] == [
        "After an interruption all is read again, as its state cannot be stored: No space left on device."
    ]
