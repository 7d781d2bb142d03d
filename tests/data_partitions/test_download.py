"""Downloads from PhysioNet, tested with a server on loopback."""

import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import wfdb
from wfdb.io import download

from data_partitions import DataError
from data_partitions.download import fetch_physionet
from data_partitions.preparation_log import PreparationLog
from data_partitions.sources import demo, physionet_2012, ptb_xl
from tests.helpers.generated_physionet_2012 import write_set


class Handler(SimpleHTTPRequestHandler):
    """Static files with byte ranges, which wfdb requests when it resumes a file."""

    requests: list = []

    def do_GET(self):
        self.requests.append((self.path, self.headers.get("Range")))
        file = self.directory + self.path
        try:
            content = open(file, "rb").read()
        except OSError:
            return self.send_error(404)
        byte_range = self.headers.get("Range")
        if byte_range:
            first, _, last = byte_range.removeprefix("bytes=").partition("-")
            first, last = int(first), min(int(last or len(content)), len(content) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            content = content[first : last + 1]
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def serve_physionet(folder):
    """Serve a folder in place of PhysioNet; yield the list of (path, byte range) of all requests."""
    requests = []
    handler = partial(type("Recording", (Handler,), {"requests": requests}), directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    before = download.config.db_index_url
    wfdb.set_db_index_url(f"http://127.0.0.1:{server.server_port}/")
    try:
        yield requests
    finally:
        wfdb.set_db_index_url(before)
        server.shutdown()
        server.server_close()


def test_ptb_xl_is_downloaded_completely(tmp_path):
    demo.write_source(tmp_path / "server" / ptb_xl.PUBLISHED, patients=6)
    (tmp_path / "server" / ptb_xl.PUBLISHED / "LICENSE.txt").write_text("CC BY 4.0")
    calls = []
    with serve_physionet(tmp_path / "server"):
        ptb_xl.download(tmp_path / "here", PreparationLog(progress=lambda *call: calls.append(call)))
    published = {p.relative_to(tmp_path / "server" / ptb_xl.PUBLISHED): p.read_bytes()
                 for p in (tmp_path / "server").rglob("*") if p.is_file()}  # fmt: skip
    fetched = {p.relative_to(tmp_path / "here"): p.read_bytes()
               for p in (tmp_path / "here").rglob("*") if p.is_file()}  # fmt: skip
    assert fetched == published and len(fetched) == 3 + 2 * 6
    assert calls[-1] == (f"fetching {ptb_xl.PUBLISHED}", 12, 12)
    assert len(ptb_xl.index(tmp_path / "here", PreparationLog(strict=True))) == 6


def test_an_interrupted_download_of_physionet_2012_resumes(tmp_path):
    folder = tmp_path / "server" / "challenge-2012/1.0.0"
    write_set(folder, stays=30, archive=True)
    for letter in "bc":
        for name in ("set-a.tar.gz", "Outcomes-a.txt"):
            (folder / name.replace("-a", f"-{letter}")).write_bytes((folder / name).read_bytes())
    here, content = tmp_path / "here", (folder / "set-a.tar.gz").read_bytes()
    here.mkdir()
    (here / "set-a.tar.gz").write_bytes(content[:1000])  # as an interrupted call leaves it
    (here / "Outcomes-a.txt").write_bytes((folder / "Outcomes-a.txt").read_bytes())
    with serve_physionet(tmp_path / "server") as requests:
        physionet_2012.download(here, PreparationLog())
    assert (here / "set-a.tar.gz").read_bytes() == content
    assert {p.name for p in here.iterdir()} == {p.name for p in folder.iterdir()}
    ranges = [r for path, r in requests if path.endswith("set-a.tar.gz") and r]
    assert ranges and all(int(r.removeprefix("bytes=").split("-")[0]) >= 1000 for r in ranges)


def test_a_missing_file_and_an_unreachable_server_are_reported(tmp_path):
    (tmp_path / "server" / "db").mkdir(parents=True)
    (tmp_path / "server" / "db" / "a.txt").write_text("a")
    with (
        serve_physionet(tmp_path / "server"),
        pytest.raises(DataError, match="cannot fetch b.txt from .*/db"),
    ):
        fetch_physionet("db", ["a.txt", "b.txt"], tmp_path / "here", PreparationLog())
    assert (tmp_path / "here" / "a.txt").read_text() == "a", "complete files remain"
    with pytest.raises(DataError, match="try again, complete files are kept") as error:
        wfdb.set_db_index_url("http://127.0.0.1:9/")  # nothing listens there
        try:
            fetch_physionet("db", ["a.txt"], tmp_path / "nowhere", PreparationLog())
        finally:
            wfdb.set_db_index_url()
    assert "\n" not in str(error.value)
