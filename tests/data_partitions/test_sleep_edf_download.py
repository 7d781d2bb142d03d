"""Downloads of Sleep-EDF, tested with a server on loopback."""

import shutil
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pandas as pd
import pytest
from mne.datasets.sleep_physionet import age

from data_partitions import DataError
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources.sleep_edf import download, index
from tests.helpers.generated_sleep_edf import write_coded_night
from tests.helpers.sleep_edf_files import SLEEP, change_bytes


class Remote:
    """A web server on loopback with the files of two nights.

    `cut` limits the number of bytes that are sent of a file; `requests` has the names of all requested files.
    """

    def __init__(self, folder):
        self.folder = folder
        self.cut = {}
        self.requests = []
        remote = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rsplit("/", 1)[-1]
                remote.requests.append(name)
                if self.path != f"/sleep-cassette/{name}" or not (remote.folder / name).is_file():
                    self.send_error(404)
                    return
                content = (remote.folder / name).read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: remote.cut.get(name, len(content))])

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/sleep-cassette/"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}).start()


@pytest.fixture
def remote(tmp_path, monkeypatch):
    folder = tmp_path / "remote"
    for night in ("SC4001", "SC4002"):
        write_coded_night(folder, night, SLEEP)
    rows = ["subject,night,record type,age,sex,lights off,sha,fname"]
    for file in sorted(folder.iterdir()):
        kind = file.stem.split("-")[1]
        rows.append(
            f"0,{file.name[5]},{kind},33,f,00:00:00,{sha1(file.read_bytes()).hexdigest()},{file.name}"
        )
    (tmp_path / "records.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.setattr(age, "AGE_SLEEP_RECORDS", str(tmp_path / "records.csv"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    remote = Remote(folder)
    yield remote
    remote.server.shutdown()
    remote.server.server_close()


def list_files(folder):
    """Return the sorted names of all files below a folder."""
    return sorted(file.name for file in folder.rglob("*") if file.is_file())


ALL_FILES = ["SC4001E0-PSG.edf", "SC4001EC-Hypnogram.edf", "SC4002E0-PSG.edf", "SC4002EC-Hypnogram.edf"]


def fetch(remote, out, log=None, **options):
    download(out, log or PreparationLog(), **{"subjects": [0], "base_url": remote.url, **options})


def test_a_download_fetches_every_file_once(remote, tmp_path, capfd):
    out, calls = tmp_path / "out", []
    fetch(remote, out, PreparationLog(progress=lambda *call: calls.append(call)))
    assert calls == [("fetching nights", 1, 2), ("fetching nights", 2, 2)]
    assert capfd.readouterr() == ("", "")
    assert list_files(out) == ALL_FILES == sorted(remote.requests)
    for file in out.rglob("*.edf"):
        assert file.read_bytes() == (remote.folder / file.name).read_bytes()
    assert len(index(out, PreparationLog())) == 28
    remote.requests.clear()
    fetch(remote, out)
    assert remote.requests == []


def test_nights_in_another_folder_are_not_fetched(remote, tmp_path):
    shutil.copytree(remote.folder, tmp_path / "out/sleep-cassette")
    fetch(remote, tmp_path / "out")
    assert remote.requests == []


def test_an_interrupted_download_resumes(remote, tmp_path):
    out = tmp_path / "out"
    remote.cut["SC4002E0-PSG.edf"] = 100_000
    with pytest.raises(DataError) as error:
        fetch(remote, out)
    sentence = str(error.value)
    assert sentence.startswith(f"cannot fetch night SC4002 from {remote.url[:-1]} (") and "\n" not in sentence
    assert sentence.endswith("): try again, complete files are kept")
    assert list_files(out) == ALL_FILES[:2], "the interrupted file is not there"
    remote.requests.clear()
    remote.cut.clear()
    fetch(remote, out)
    assert list_files(out) == ALL_FILES and remote.requests == ALL_FILES[2:]
    assert len(index(out, PreparationLog())) == 28


def test_a_file_that_differs_from_the_published_one_is_refused(remote, tmp_path):
    change_bytes(remote.folder / "SC4001EC-Hypnogram.edf", 600, b"x")
    with pytest.raises(
        DataError, match="cannot fetch night SC4001 .*SC4001EC-Hypnogram.edf.* does not match"
    ):
        fetch(remote, tmp_path / "out")
    assert list_files(tmp_path / "out") == ALL_FILES[:1]


def test_a_missing_file_and_an_unreachable_server_are_reported(remote, tmp_path):
    (remote.folder / "SC4001E0-PSG.edf").unlink()
    with pytest.raises(DataError, match="cannot fetch night SC4001 .*404"):
        fetch(remote, tmp_path / "out")
    remote.server.server_close()
    with pytest.raises(DataError, match="cannot fetch night SC4001 .*: try again, complete files are kept"):
        fetch(remote, tmp_path / "out", base_url="http://127.0.0.1:1/")
    assert list_files(tmp_path / "out") == []


def test_nights_that_were_never_published_are_skipped_or_refused(remote, tmp_path):
    fetch(remote, tmp_path / "out", subjects=[13], recordings=[2])
    fetch(remote, tmp_path / "out", subjects=[36, 52], recordings=[1])
    assert remote.requests == []
    with pytest.raises(DataError, match="Sleep-EDF has no night 1 of subject 39"):
        fetch(remote, tmp_path / "out", subjects=[0, 39])
    with pytest.raises(DataError, match="Sleep-EDF has no night 3 of subject 0"):
        fetch(remote, tmp_path / "out", recordings=[3])
    assert remote.requests == []


def test_all_published_nights_are_requested(tmp_path, monkeypatch):
    requested = []
    monkeypatch.setattr(age, "fetch_data", lambda s, r, **_: requested.append((s[0], r[0])))
    download(tmp_path, PreparationLog())
    published = pd.read_csv(age.AGE_SLEEP_RECORDS)
    assert set(requested) == set(zip(published["subject"], published["night"], strict=True))
    assert len(requested) == 153
