"""`condi credentials`: certificates verify, files are never replaced, and errors say what to do."""

from __future__ import annotations

import ipaddress
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from typer.testing import CliRunner

from server_app.cli import app

HOSTS = ("--host", "FL.example.org", "--host", "10.0.0.5")
FILES = {"ca.key", "ca.crt", "superlink.key", "superlink.crt", "superexec.secret"}
SITE_FILES = {"site.key", "site.pub", "ca.crt", "superexec.secret"}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "credentials"


def call(folder: Path, *arguments: str, status: int = 0) -> str:
    """Return what the command prints; for an error that is one line."""
    result = CliRunner().invoke(app, ["credentials", str(folder), *arguments])
    assert result.exit_code == status, result.output
    if status:
        assert result.output.startswith("Error: ") and result.output.count("\n") == 1
    return result.output


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def verify(folder: Path, host: str, ca: Path | None = None) -> None:
    """Validate the certificate path as browsers do; VerificationError when that fails."""
    name = x509.DNSName(host)
    if host[0].isdigit() or ":" in host:
        name = x509.IPAddress(ipaddress.ip_address(host))
    store = Store([certificate(ca or folder / "ca.crt")])
    PolicyBuilder().store(store).build_server_verifier(name).verify(certificate(folder / "superlink.crt"), [])


def test_makes_every_file_that_coordinator_and_sites_need(folder):
    call(folder, *HOSTS, "--site", "alpha", "--site", "Klinik Süd")
    expected = FILES | {f"sites/{site}/{name}" for site in ("alpha", "Klinik Süd") for name in SITE_FILES}
    assert set(contents(folder)) == expected


@pytest.mark.parametrize("host", ["fl.example.org", "10.0.0.5", "localhost", "127.0.0.1", "::1"])
def test_the_server_is_trusted_under_every_name(folder, host):
    call(folder, *HOSTS)
    verify(folder, host)


def test_the_server_is_not_trusted_under_another_name_or_with_another_ca(folder, tmp_path):
    call(folder, *HOSTS)
    call(tmp_path / "other", *HOSTS)
    with pytest.raises(VerificationError):
        verify(folder, "example.org")
    with pytest.raises(VerificationError):
        verify(folder, "fl.example.org", ca=tmp_path / "other" / "ca.crt")


def test_certificates_last_ten_years_and_the_requested_days(folder):
    call(folder, *HOSTS, "--days", "90")
    now = datetime.now(UTC)
    for name, days in (("ca.crt", 3650), ("superlink.crt", 90)):
        cert = certificate(folder / name)
        assert abs(cert.not_valid_after_utc - now - timedelta(days=days)) < timedelta(minutes=1)
        assert abs(now - cert.not_valid_before_utc - timedelta(hours=1)) < timedelta(minutes=1)


def test_only_the_owner_can_read_secrets(folder):
    call(folder, *HOSTS, "--site", "alpha")
    for path in [folder, *folder.rglob("*")]:
        secret = path.is_dir() or path.suffix in (".key", ".secret")
        assert (stat.S_IMODE(path.stat().st_mode) & 0o077 == 0) == secret, path
    secrets = [path.read_bytes() for path in folder.rglob("superexec.secret")]
    assert len(set(secrets)) == 2 and all(len(secret) == 64 for secret in secrets)


def test_a_site_has_a_p384_key_in_the_format_that_flower_reads(folder):
    call(folder, *HOSTS, "--site", "alpha")
    key = serialization.load_ssh_private_key((folder / "sites/alpha/site.key").read_bytes(), None)
    public = serialization.load_ssh_public_key((folder / "sites/alpha/site.pub").read_bytes())
    assert isinstance(key.curve, ec.SECP384R1) and key.public_key() == public
    assert (folder / "sites/alpha/site.pub").read_text().endswith(" alpha\n")


def test_a_second_call_changes_nothing(folder):
    call(folder, *HOSTS, "--site", "alpha")
    before = contents(folder)
    output = call(folder, "--host", "fl.example.org", "--site", "alpha")
    assert contents(folder) == before
    assert output.startswith("nothing is missing\nca.crt expires 2") and "Next" not in output


def test_a_site_is_added_without_the_key_of_the_ca(folder):
    call(folder, *HOSTS, "--site", "alpha")
    (folder / "ca.key").unlink()
    before = contents(folder)
    output = call(folder, "--site", "beta")
    after = contents(folder)
    assert set(after) - set(before) == {f"sites/beta/{name}" for name in SITE_FILES}
    assert {name: after[name] for name in before} == before
    assert f"register {folder}/sites/beta/site.pub CONNECTION --name beta" in output and "alpha" not in output


def test_a_key_that_was_handed_over_is_not_made_again(folder):
    call(folder, *HOSTS, "--site", "alpha")
    for name in SITE_FILES - {"site.pub"}:
        (folder / "sites/alpha" / name).unlink()
    before = contents(folder)
    call(folder, "--site", "alpha")
    assert contents(folder) == before


def test_files_that_an_interrupted_call_did_not_make_are_added(folder):
    call(folder, *HOSTS, "--site", "alpha")
    before = contents(folder)
    for name in ("site.pub", "ca.crt"):
        (folder / "sites/alpha" / name).unlink()
    call(folder)
    assert contents(folder) == before


def test_the_servers_certificate_is_renewed_with_its_key(folder):
    call(folder, *HOSTS)
    before = contents(folder)
    (folder / "superlink.crt").unlink()
    assert "at least one --host" in call(folder, status=1)
    call(folder, "--host", "new.example.org")
    after = contents(folder)
    assert [name for name in after if after[name] != before[name]] == ["superlink.crt"]
    verify(folder, "new.example.org")


def test_a_renewed_ca_certificate_verifies_the_server_certificate_of_before(folder):
    call(folder, *HOSTS, "--site", "alpha")
    (folder / "ca.crt").unlink()
    assert "sites/alpha/ca.crt differs" in call(folder, status=1)
    (folder / "sites/alpha/ca.crt").unlink()
    call(folder)
    verify(folder, "fl.example.org")
    assert (folder / "sites/alpha/ca.crt").read_bytes() == (folder / "ca.crt").read_bytes()


def test_warns_of_a_certificate_that_expires_soon(folder):
    output = call(folder, *HOSTS, "--days", "30")
    warning = (
        "Warning: superlink.crt expires in 30 days: remove superlink.crt, run the command again "
        "with every --host"
    )
    assert warning in output and warning in call(folder)
    assert output.count("Warning") == 1


def test_does_not_warn_of_a_certificate_that_expires_later(folder):
    assert "Warning" not in call(folder, *HOSTS, "--days", "31")


def test_refuses_a_host_that_the_certificate_is_not_valid_for(folder):
    call(folder, *HOSTS)
    output = call(folder, "--host", "10.0.0.6", status=1)
    assert output == (
        f"Error: superlink.crt in {folder} is not valid for 10.0.0.6: remove superlink.crt and run the "
        "command again with --host fl.example.org --host 10.0.0.5 --host 10.0.0.6\n"
    )


def write_key(key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def swap(folder: Path, other: Path, name: str) -> None:
    (folder / name).write_bytes((other / name).read_bytes())


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda f, o: swap(f, o, "ca.crt"), "ca.crt in {f} does not belong to ca.key"),
        (lambda f, o: swap(f, o, "superlink.crt"), "superlink.crt in {f} does not belong to superlink.key"),
        (lambda f, o: [swap(f, o, "ca.crt"), swap(f, o, "ca.key")], "was not signed by ca.crt"),
        (lambda f, o: (f / "superlink.key").unlink(), "superlink.key is missing in {f}: restore it, or"),
        (lambda f, o: [(f / n).unlink() for n in ("ca.key", "superlink.crt")], "and superlink.crt must"),
        (
            lambda f, o: [(f / n).unlink() for n in ("ca.key", "ca.crt")],
            "ca.key is missing in {f}, and ca.crt",
        ),
        (lambda f, o: swap(f, o, "sites/alpha/site.pub"), "{f}/sites/alpha/site.pub does not belong to its"),
        (lambda f, o: swap(f, o, "sites/alpha/ca.crt"), "{f}/sites/alpha/ca.crt differs from the"),
        (lambda f, o: (f / "ca.crt").write_text("x"), "{f}/ca.crt is not a certificate in PEM"),
        (lambda f, o: (f / "superlink.key").write_text("x"), "{f}/superlink.key is not a private key"),
        (
            lambda f, o: (f / "ca.key").write_bytes(write_key(ed25519.Ed25519PrivateKey.generate())),
            "{f}/ca.key is a key of another kind (Ed25519PrivateKey): expected one of elliptic curves or RSA",
        ),
        (
            lambda f, o: (f / "ca.key").chmod(0o640),
            "{f}/ca.key can be read by other users: run chmod 600 {f}/ca.key",
        ),
        (lambda f, o: (f / "sites/alpha/site.key").chmod(0o604), "{f}/sites/alpha/site.key can be read by"),
    ],
)  # fmt: skip
def test_files_that_do_not_belong_together_are_reported(folder, tmp_path, damage, sentence):
    other = tmp_path / "other"
    for each in (folder, other):
        call(each, *HOSTS, "--site", "alpha")
    damage(folder, other)
    before = contents(folder)
    assert sentence.format(f=folder) in call(folder, *HOSTS, "--site", "beta", status=1)
    assert contents(folder) == before


@pytest.mark.parametrize(
    "host", ["fl.example.org:9092", "https://fl.example.org", "a b", "", "-x.org", "*.org"]
)
def test_refuses_an_invalid_host(folder, host):
    assert f"--host '{host}' is not a host" in call(folder, "--host", host, status=1)
    assert not folder.exists()


@pytest.mark.parametrize("site", ["../x", "a/b", ".hidden", "", "x" * 101, "a,b"])
def test_refuses_an_invalid_site_name(folder, site):
    message = call(folder, *HOSTS, "--site", site, status=1)
    assert f"Error: --site: {site!r} cannot be the name of a site" in message
    assert not folder.exists()
