"""Odd files are used where their format allows what they have, and else named in a sentence."""

import re

import pandas as pd

from tests.helpers.ecg_run import HOLE, LEADS, ecg, with_hole
from tests.helpers.edf_files import EdfSignal, write_edf_file
from tests.helpers.wfdb_files import write_record


def write_header(folder, name, pattern, replacement):
    """Write a record, and change its header."""
    write_record(folder, name, with_hole(ecg()), names=LEADS)
    file = folder / f"{name}.hea"
    text = file.read_text()
    changed = re.sub(pattern, replacement, text, count=1)
    assert changed != text
    file.write_text(changed)


def write_edf(folder, name, samples="", **header):
    """Write an EDF file, whose header can state another number of samples in a data record."""
    signals = [EdfSignal(lead, ecg()[:, k].astype(int)) for k, lead in enumerate(LEADS)]
    file = write_edf_file(folder / f"{name}.edf", signals, **header)
    if samples:
        content = bytearray(file.read_bytes())
        start = 256 + 216 * len(LEADS)
        content[start : start + 8 * len(LEADS)] = samples.ljust(8).encode() * len(LEADS)
        file.write_bytes(content)


def write_odd_files(folder):
    """Write files that cannot be used; return their names."""
    write_header(folder, "rate-0", r"^(\S+ \d+) \S+", r"\1 0")
    write_header(folder, "rate-nan", r"^(\S+ \d+) \S+", r"\1 nan")
    write_header(folder, "negative", r"^(\S+ \d+ \S+) \d+", r"\1 -400")
    write_header(folder, "gigantic", r"^(\S+ \d+ \S+) \d+", r"\1 999999999999999")
    for seconds in ("nan", "1e300", "1e9", "-1", "0"):
        write_edf(folder, f"seconds-{seconds}", record_seconds=seconds)
    for samples in ("0", "-100", "99999999"):
        write_edf(folder, f"samples-{samples}", samples)
    rows = [f"{i / 100},{'1e39' if i == 7 else 0.5},0.1,0.2" for i in range(400)]
    (folder / "beyond.csv").write_text("\n".join([f"time (s),{','.join(LEADS)}", *rows]))
    return {file.name for file in folder.iterdir() if file.suffix != ".dat"}


def test_files_that_cannot_be_used_are_named_and_the_others_are_done(tmp_path, call):
    odd = write_odd_files(tmp_path / "in")
    for name in ("a", "z"):
        write_record(tmp_path / "in", name, with_hole(ecg()), names=LEADS)
    for command, out in (("impute", tmp_path / "out"), ("predict", tmp_path / "p.csv")):
        code, output = call(command, tmp_path / "in", out)
        skipped = [line for line in output.splitlines() if line.startswith("skipped: ")]
        assert code == 1 and len(skipped) == len(odd), output
        for name in odd:
            assert any(name in line for line in skipped), f"{name} is not in {output}"
        assert not any(re.search(r"\w+Error\b|Traceback", line) for line in skipped), output
    assert {file.name for file in (tmp_path / "out").glob("*.hea")} == {"a.hea", "z.hea"}
    assert set(pd.read_csv(tmp_path / "p.csv")["record"]) == {"a", "z"}


def test_a_signal_without_a_description_does_not_prevent_the_others(tmp_path, call):
    samples = with_hole(ecg())
    write_record(tmp_path / "in", "r", samples, names=(*LEADS[:-1], ""))
    code, output = call("impute", tmp_path / "in", tmp_path / "out", "--allow-absent", "--keep-unknown")
    assert code == 0, output
    after = (tmp_path / "out" / "r.dat").read_bytes()
    before = (tmp_path / "in" / "r.dat").read_bytes()
    changed = [i for i in range(0, len(before), 2) if before[i : i + 2] != after[i : i + 2]]
    assert len(changed) == HOLE.stop - HOLE.start
