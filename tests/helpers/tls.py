"""Make certificates and keys, and run a small TLS server that presents a certificate."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Authority:
    """A CA whose certificate is in `file`; `first` and `last` are days from now."""

    def __init__(self, folder: Path, first: float = -1, last: float = 100) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.file = folder / "ca.crt"
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {folder.name}")])
        certificate = self._build(self.name, self.key.public_key(), first, last, ca=True)
        self.file.write_bytes(certificate.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def server(self, *hosts: str, first: float = -1, last: float = 90) -> Path:
        """Write the key and certificate of a server for these hosts, and return the file."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.IPAddress(ip_address(h)) if h[0].isdigit() else x509.DNSName(h) for h in hosts]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        builder = self._build(subject, key.public_key(), first, last, ca=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        file = self.folder / "server.pem"
        file.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)
        )
        return file

    def _build(self, subject, key, first: float, last: float, ca: bool) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder(self.name, subject, key, x509.random_serial_number())
            .not_valid_before(now + timedelta(days=first))
            .not_valid_after(now + timedelta(days=last, minutes=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )


def write_key(path: Path, key, form=PrivateFormat.OpenSSH, mode: int = 0o600) -> Path:
    path.write_bytes(key.private_bytes(Encoding.PEM, form, NoEncryption()))
    path.chmod(mode)
    return path


@contextmanager
def listening(server: Path | None, protocol: str = "h2", say: bytes = b"") -> Iterator[int]:
    """Yield the port of a server that presents a certificate; without one it sends `say` and hangs up."""
    context = None
    if server is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server)
        context.set_alpn_protocols([protocol])

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(5)
                if context is None:
                    connection.recv(1000)
                    connection.sendall(say)
                else:
                    context.wrap_socket(connection, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, daemon=True).start()
        yield listener.getsockname()[1]
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
