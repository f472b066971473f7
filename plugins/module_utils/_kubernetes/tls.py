# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS to the API server: a context from PEM texts, without leaving a file, and what a TLS failure means.

Private to this collection; may change without notice.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.serverops.circleci.plugins.module_utils._core.errors import InputError


def context(
    *, verify: bool, authority: str = "", certificate: str = "", key: str = "", option: str = "ca_cert", certificate_option: str = "client_cert"
) -> ssl.SSLContext:
    """Return a client context.

    authority: PEM of the CAs to trust, the system's when empty. certificate and key: PEM of a client certificate.
    option and certificate_option: the options to name when the PEM is not usable (InputError).
    """
    # not create_default_context: from Python 3.13 on it refuses CAs without key identifiers, which many clusters have
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    elif authority:
        try:
            made.load_verify_locations(cadata=authority)
        except (ssl.SSLError, ValueError):
            raise InputError(option, "the CA certificate is not PEM", "Give the certificate of the cluster's CA (BEGIN CERTIFICATE)") from None
    else:
        made.load_default_certs()
    if certificate:
        with _as_files(certificate, key) as (certificate_path, key_path):
            try:
                # a password would be asked for at the terminal; an empty one makes an encrypted key an error
                made.load_cert_chain(certificate_path, key_path, password="")
            except (ssl.SSLError, ValueError, OSError):
                raise InputError(
                    certificate_option,
                    "the client certificate and its key are not PEM, do not belong together, or the key is encrypted",
                    "Give a matching pair, the key without a password",
                ) from None
    return made


@contextlib.contextmanager
def _as_files(certificate: str, key: str) -> Iterator[tuple[str, str]]:
    """Give two PEM texts as paths, since OpenSSL reads a key from a file only: in memory where the kernel can, else in a folder removed at once."""
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        with contextlib.ExitStack() as stack:
            paths: list[str] = []
            for text in (certificate, key):
                handle = os.memfd_create("serverops", os.MFD_CLOEXEC)
                stack.callback(os.close, handle)
                os.write(handle, text.encode())
                paths.append(f"/proc/self/fd/{handle}")
            yield paths[0], paths[1]
        return
    with tempfile.TemporaryDirectory(prefix="serverops-") as folder:
        files = [os.path.join(folder, name) for name in ("certificate", "key")]  # noqa: PTH118  os.open takes it as it is
        for path, text in zip(files, (certificate, key), strict=True):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(handle, text.encode())
            finally:
                os.close(handle)
        yield files[0], files[1]


def explain(error: BaseException) -> tuple[str, str] | None:
    """Return (what was seen, what to do next) for a TLS failure that a repeat would not cure; None when a repeat may."""
    reason = str(getattr(error, "reason", "") or "")
    text = f"{reason} {error}"
    if isinstance(error, ssl.SSLCertVerificationError) or type(error).__name__ == "CertificateError" or "CERTIFICATE_VERIFY_FAILED" in text:
        return _unverified(str(getattr(error, "verify_message", "")) or text)
    if "WRONG_VERSION_NUMBER" in text or "HTTP_REQUEST" in text or "PACKET_LENGTH_TOO_LONG" in text or "RECORD_LAYER_FAILURE" in text:
        return "the server does not speak TLS at this address", "Use http:// if it serves plain HTTP (kubectl proxy), or correct the port"
    if "CERTIFICATE_REQUIRED" in text:
        return "the server requires a client certificate", "Give client_cert and client_key, or a kubeconfig that has them"
    if any(
        word in text
        for word in (
            "ALERT_UNKNOWN_CA",
            "ALERT_BAD_CERTIFICATE",
            "CERTIFICATE_EXPIRED",
            "CERTIFICATE_REVOKED",
            "CERTIFICATE_UNKNOWN",
            "ALERT_ACCESS_DENIED",
        )
    ):
        return "the server does not accept the client certificate", "Check that it was made by the cluster's CA and has not expired"
    if "ALERT_PROTOCOL_VERSION" in text or "UNSUPPORTED_PROTOCOL" in text or "ALERT_HANDSHAKE_FAILURE" in text:
        return "the server and this Python have no TLS version or cipher in common", "Use a server with TLS 1.2 or newer"
    return None


def _unverified(message: str) -> tuple[str, str]:
    if "expired" in message:
        return "the server's certificate has expired", "Renew it on the server"
    if "not yet valid" in message:
        return "the server's certificate is not valid yet", "Check the clock of this machine"
    if "mismatch" in message or "doesn't match" in message or "not valid for" in message:
        return "the server's certificate is for another name", "Use the name or address that stands in it, or tls-server-name in the kubeconfig"
    return (
        f"the server's certificate is not signed by a CA that is trusted here ({message})",
        "Give the cluster's CA by ca_cert or the kubeconfig (certificate-authority-data)",
    )
