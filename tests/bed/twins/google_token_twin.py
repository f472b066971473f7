# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Twin of Google's OAuth2 token endpoint for service accounts: takes a signed JWT, checks it, and gives an access token.

usage: google_token_twin.py ADDRESS:PORT FOLDER [CERTIFICATE KEY]

FOLDER holds one public key per account, <client_email>.pub (PEM); accounts may come and go while the twin runs. As the real endpoint does,
it wants the grant type jwt-bearer, algorithm RS256, a known issuer, a signature by that issuer's key, its own URL as audience, a scope, and
at most one hour between iat and exp, now inside of it (ten minutes of difference between the clocks are allowed). One line per request goes
to standard output: outcome, issuer, audience, scope; never the token or the assertion.
"""

from __future__ import annotations

import base64
import binascii
import http.server
import json
import secrets
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path
from typing import Any

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CLOCK_DIFFERENCE = 600
LIFETIME = 3599


class Refused(Exception):
    """The request is answered with 400; code and description as the real endpoint words them."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


def decode(part: str) -> bytes:
    """Bytes of one part of a JWT (base64url without padding). ValueError when it is none."""
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise ValueError(str(error)) from error


def signed_by(key: Path, signed: bytes, signature: bytes) -> bool:
    """Whether openssl accepts the RS256 signature with this public key."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(signature)
        file.flush()
        command = ["openssl", "dgst", "-sha256", "-verify", str(key), "-signature", file.name]
        done = subprocess.run(command, input=signed, capture_output=True, check=False)
    return done.returncode == 0


def check(form: dict[str, list[str]], folder: Path, claims: dict[str, Any], now: float) -> None:
    """Refused unless the form holds an assertion that the real endpoint would accept; fills claims as far as they could be read."""
    if form.get("grant_type") != [GRANT]:
        raise Refused("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', [''])[0]}")
    try:
        head, body, signature = form.get("assertion", [""])[0].split(".")
        header = json.loads(decode(head))
        claims.update(json.loads(decode(body)))
        raw_signature = decode(signature)
    except ValueError:
        raise Refused("invalid_grant", "Invalid JWT: Failed to decode the assertion.") from None
    if header.get("alg") != "RS256":
        raise Refused("invalid_grant", "Invalid JWT: Only RS256 is supported.")
    issuer = str(claims.get("iss", ""))
    key = folder / f"{issuer}.pub"
    if "/" in issuer or not key.is_file():
        raise Refused("invalid_grant", "Invalid grant: account not found")
    if not signed_by(key, f"{head}.{body}".encode(), raw_signature):
        raise Refused("invalid_grant", "Invalid JWT Signature.")
    if urllib.parse.urlsplit(str(claims.get("aud", ""))).path not in ("/token", "/oauth2/v4/token"):
        raise Refused("invalid_grant", "Invalid JWT: Failed audience check.")
    issued, expires = claims.get("iat", 0), claims.get("exp", 0)
    if expires - issued > 3600 or issued > now + CLOCK_DIFFERENCE or expires < now - CLOCK_DIFFERENCE:
        raise Refused(
            "invalid_grant",
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
            "Check your iat and exp values in the JWT claim.",
        )
    if not claims.get("scope") and not claims.get("target_audience"):
        raise Refused("invalid_scope", "Invalid OAuth scope or ID token audience provided.")


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves POST /token."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    folder: Path

    def do_POST(self) -> None:
        """Check the assertion and answer with a token or a refusal."""
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode(errors="replace"))
        claims: dict[str, Any] = {}
        try:
            check(form, self.folder, claims, time.time())
            status, outcome = 200, "given"
            answer: dict[str, Any] = {"access_token": f"ya29.bed-{secrets.token_urlsafe(24)}", "token_type": "Bearer", "expires_in": LIFETIME}
        except Refused as refused:
            status, outcome = 400, f"refused: {refused.description}"
            answer = {"error": refused.code, "error_description": refused.description}
        sys.stdout.write(f"{outcome} iss={claims.get('iss')} aud={claims.get('aud')} scope={claims.get('scope')}\n")
        sys.stdout.flush()
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """The real endpoint answers 404 to anything else; the bed asks it whether the twin lives."""
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing beside the one line of do_POST."""


class Server(http.server.ThreadingHTTPServer):
    """Makes the TLS handshake in the connection's own thread, so that a client that hangs in it hinders nobody."""

    daemon_threads = True
    tls: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection."""
        if self.tls:
            request.settimeout(30)
            try:
                request = self.tls.wrap_socket(request, server_side=True)
            except (OSError, ssl.SSLError):
                return
        super().finish_request(request, client_address)


def main() -> None:
    """Serve until killed."""
    address, port = sys.argv[1].rsplit(":", 1)
    Handler.folder = Path(sys.argv[2])
    server = Server((address, int(port)), Handler)
    if len(sys.argv) > 4:
        server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.tls.load_cert_chain(sys.argv[3], sys.argv[4])
    server.serve_forever()


if __name__ == "__main__":
    main()
