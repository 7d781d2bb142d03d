"""The way to the SuperLink, tried before the node uses it."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from client_app.join.checks import CheckError, check_validity

TIMEOUT_SECONDS = 10.0


class Address(NamedTuple):
    """Where the SuperLink's Fleet API is."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """From HOST:PORT or [IPV6]:PORT; ValueError for anything else."""
        host, _, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host or "/" in host:
            host = ""
        if not host or not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError(f"expected HOST:PORT, such as fl.example.org:9092, got '{text}'")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def server_certificate(address: Address) -> x509.Certificate:
    """The certificate that is shown there, believed or not; Problem when there is no gRPC over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    shown, protocol = _handshake(address, context)
    if protocol != "h2":
        raise CheckError(
            f"{address} speaks TLS, but not gRPC: give the address of the SuperLink's Fleet API, by default "
            "port 9092"
        )
    return x509.load_der_x509_certificate(shown)


def verify_certificate(address: Address, authorities: Path, shown: x509.Certificate) -> str:
    """Verify the SuperLink by the authorities in that file, as gRPC will; how long its certificate lasts."""
    remedy = "its administrator renews it (condi credentials)"
    told = check_validity([shown], f"the SuperLink's certificate at {address}", remedy)
    context = ssl.create_default_context(cafile=str(authorities))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # which Python sets from 3.13 on, and gRPC does not
    try:
        _handshake(address, context)
    except ssl.SSLCertVerificationError as error:
        raise CheckError(_verification_error(error, address, authorities, shown)) from None
    return told


def _verification_error(
    error: ssl.SSLCertVerificationError, address: Address, authorities: Path, shown: x509.Certificate
) -> str:
    # X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL.
    if error.verify_code in (62, 64):
        return (
            f"the SuperLink's certificate is not for {address.host} but for {_names(shown)}: use one of "
            "these names, or have the certificate made anew (condi credentials --host)"
        )
    # Local issuer unknown, self-signed, signature wrong.
    if error.verify_code in (7, 18, 19, 20, 21):
        return (
            f"the SuperLink's certificate was signed by another authority than {authorities}: ask the "
            "coordinator for its ca.crt, and whether this address is right"
        )
    return f"the SuperLink's certificate is not believed ({error.verify_message}): tell the coordinator"


def _names(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "no host at all"
    return ", ".join(str(name.value) for name in names)


def _handshake(address: Address, context: ssl.SSLContext) -> tuple[bytes, str | None]:
    """Certificate (DER) and protocol of a TLS handshake; Problem when it does not come to one."""
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection(address, TIMEOUT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=address.host) as tls,
        ):
            return tls.getpeercert(binary_form=True), tls.selected_alpn_protocol()
    except ssl.SSLCertVerificationError:
        raise
    except socket.gaierror:
        raise CheckError(
            f"no machine is known as {address.host}: check the name, and this machine's DNS"
        ) from None
    except ConnectionRefusedError:
        raise CheckError(
            f"nobody listens at {address}: is the SuperLink running, and is the port that of its Fleet API?"
        ) from None
    except (ssl.SSLError, ConnectionResetError):
        raise CheckError(
            f"{address} does not speak TLS: check the address; a SuperLink that was started with --insecure "
            "must be given certificates (condi credentials)"
        ) from None
    except TimeoutError:
        raise CheckError(
            f"{address} does not answer within {TIMEOUT_SECONDS:g} s: does a firewall here or there let it through?"
        ) from None
    except OSError as error:
        raise CheckError(f"{address} cannot be reached: {error.strerror}") from None
