"""TLS: contexts, and errors in words for people."""

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

CLOSED = (
    ssl.SSLEOFError,
    ssl.SSLSyscallError,
    ssl.SSLZeroReturnError,
    ssl.SSLWantReadError,
    ssl.SSLWantWriteError,
)


class InvalidFile(Exception):
    """A certificate file is missing or broken; the message names it."""


def context(ca_file: str | None, client_cert_file: str | None) -> ssl.SSLContext:
    """A context with the authorities to trust and the certificate to show.

    :param ca_file: authorities (PEM) in place of the system's.
    :param client_cert_file: certificate and key (PEM, not encrypted).
    :raises InvalidFile: one is missing or broken.
    """
    file = ca_file
    try:
        trusting = _trusting(file)
        if (file := client_cert_file) is not None:
            # With a password, though an empty one: otherwise OpenSSL asks for it on the terminal, and waits.
            trusting.load_cert_chain(file, password="")
    except (OSError, ValueError) as error:
        raise InvalidFile(f"{Path(file or '').name}: {_file_reason(error)}") from error
    return trusting


def _trusting(ca_file: str | None) -> ssl.SSLContext:
    """Authorities are always named: otherwise Python reads them from SSL_CERT_FILE and SSL_CERT_DIR."""
    if ca_file is not None:
        # A path: an empty string would count as None.
        return ssl.create_default_context(cafile=Path(ca_file))
    system = ssl.get_default_verify_paths()
    file = system.openssl_cafile if os.path.exists(system.openssl_cafile) else None
    return ssl.create_default_context(cafile=file, capath=system.openssl_capath)


def _chain(error: BaseException) -> Iterator[BaseException]:
    inner: BaseException | None = error
    while inner is not None:
        yield inner
        inner = inner.__cause__ or inner.__context__


def error_in(error: BaseException) -> ssl.SSLError | None:
    """The TLS error that caused an error. A connection that was closed, even in a handshake, is not one."""
    found = (each for each in _chain(error) if isinstance(each, ssl.SSLError) and not isinstance(each, CLOSED))
    return next(found, None)


def reason(error: ssl.SSLError) -> str:
    """What is wrong with the receiver's TLS, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason or "TLS failed").replace("_", " ").lower()


def _file_reason(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        return reason(error) if error.reason else "it can't be read as PEM"
    return system_reason(error) or "invalid file name"


def system_reason(error: BaseException) -> str:
    """The operating system's message; those of the libraries above it are not made for people."""
    # The number of a TLS error is one of OpenSSL's.
    errors = (each for each in _chain(error) if isinstance(each, OSError) and not isinstance(each, ssl.SSLError))
    return next((os.strerror(each.errno) for each in errors if each.errno), "")
