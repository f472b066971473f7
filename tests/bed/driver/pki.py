# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, certificates and kubeconfigs of a bed, made by openssl: a cluster CA per cluster, a storage CA per bed, one cloud CA per cache.

The storage CA is the store's and not the cluster's: a new cluster on the same bed meets the certificate that it knows. The cloud CA signs the bed's
stand-ins of a cloud provider's own names and is carried by the Velero images; the others are known to nobody who was not told, so that a client
without them must fail.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .paths import BedError, cache, write

DAYS = "3650"


def openssl(*argv: str) -> bytes:
    """Standard output of an openssl command. BedError with openssl's last line."""
    done = subprocess.run(["openssl", *argv], capture_output=True, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no output"]
        raise BedError(f"openssl {argv[0]} failed: {last[0]}; the bed needs OpenSSL 3.0 or newer")
    return done.stdout


def _extensions(*lines: str) -> str:
    return "[req]\ndistinguished_name=n\nx509_extensions=e\n[n]\n[e]\nsubjectKeyIdentifier=hash\n" + "\n".join(lines) + "\n"


def _issue(folder: Path, name: str, subject: str, config: str, *extra: str) -> None:
    settings = folder / f"{name}.cnf"
    settings.write_text(config)
    openssl(
        "req",
        "-x509",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        DAYS,
        "-sha256",
        "-subj",
        subject,
        "-config",
        str(settings),
        "-keyout",
        str(folder / f"{name}.key"),
        "-out",
        str(folder / f"{name}.crt"),
        *extra,
    )
    settings.unlink()
    (folder / f"{name}.key").chmod(0o600)


def authority(folder: Path, name: str, common_name: str) -> None:
    """Make folder/name.crt and .key, a certificate authority."""
    folder.mkdir(parents=True, exist_ok=True)
    _issue(
        folder, name, f"/CN={common_name}", _extensions("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature")
    )


def certificate(folder: Path, name: str, subject: str, usage: str, names: str = "", by: tuple[Path, str] | None = None) -> None:
    """Make folder/name.crt and .key, signed by the authority (folder, name), by default folder/ca. usage and names as openssl writes them."""
    ca_folder, ca_name = by or (folder, "ca")
    lines = ["basicConstraints=CA:FALSE", "keyUsage=digitalSignature,keyEncipherment", f"extendedKeyUsage={usage}", "authorityKeyIdentifier=keyid"]
    if names:
        lines.append(f"subjectAltName={names}")
    _issue(folder, name, subject, _extensions(*lines), "-CA", str(ca_folder / f"{ca_name}.crt"), "-CAkey", str(ca_folder / f"{ca_name}.key"))


def kubeconfig(folder: Path, user: str, server: str) -> dict[str, Any]:
    """Kubeconfig of a client certificate of the folder, everything inline."""

    def data(file: str) -> str:
        return base64.b64encode((folder / file).read_bytes()).decode()

    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bed",
        "clusters": [{"name": "bed", "cluster": {"server": server, "certificate-authority-data": data("ca.crt")}}],
        "users": [{"name": user, "user": {"client-certificate-data": data(f"{user}.crt"), "client-key-data": data(f"{user}.key")}}],
        "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": user}}],
    }


#: Users of the cluster: file name, certificate subject.
USERS = {
    "admin": "/O=system:masters/CN=admin",
    "driver": "/O=system:masters/CN=bed-driver",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "kube-proxy": "/CN=system:kube-proxy",
    "coredns": "/O=system:masters/CN=coredns",
    "kube-router": "/O=system:masters/CN=kube-router",
    "local-path": "/O=system:masters/CN=local-path-provisioner",
}


def lasting_authority(folder: Path, common_name: str) -> Path:
    """The folder itself, with ca.crt and ca.key of an authority that is made once."""
    if not (folder / "ca.crt").is_file():
        fresh = folder.with_name(f".{folder.name}-{os.getpid()}")
        authority(fresh, "ca", common_name)
        try:
            fresh.rename(folder)
        except OSError:
            # another driver was quicker
            for path in fresh.iterdir():
                path.unlink()
            fresh.rmdir()
    return folder


def cloud_authority() -> Path:
    """Folder with ca.crt and ca.key of the cloud CA of this cache; made once."""
    return lasting_authority(cache() / "cloud-ca", "bed cloud CA")


def make_cluster(folder: Path, storage: Path, port: int, address: str, service_address: str) -> None:
    """All keys, certificates and kubeconfigs of the control plane.

    storage: folder of the storage CA, which is made when it is not there. port: of the API server, the same inside and outside.
    """
    authority(folder, "ca", "bed cluster CA")
    lasting_authority(storage, "bed storage CA")
    cloud = cloud_authority()
    cluster_names = "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
    jobs: list[tuple[Any, ...]] = [
        (folder, "apiserver", "/CN=kube-apiserver", "serverAuth", f"{cluster_names},IP:127.0.0.1,IP:{service_address},IP:{address}"),
        (folder, "apiserver-kubelet", "/O=system:masters/CN=apiserver-kubelet", "clientAuth"),
        (folder, "front-proxy", "/CN=front-proxy", "clientAuth"),
        (folder, "s3", "/CN=s3", "serverAuth", f"DNS:localhost,IP:127.0.0.1,IP:{address}", (storage, "ca")),
        (folder, "google", "/CN=storage.googleapis.com", "serverAuth", "DNS:storage.googleapis.com,DNS:oauth2.googleapis.com", (cloud, "ca")),
        *((folder, user, subject, "clientAuth") for user, subject in USERS.items()),
    ]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda job: certificate(*job), jobs))
    for user in USERS:
        write(folder / f"{user}.kubeconfig", json.dumps(kubeconfig(folder, user, f"https://127.0.0.1:{port}"), indent=1) + "\n", 0o600)
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(folder / "service-account.key"))
    (folder / "service-account.key").chmod(0o600)
    (folder / "service-account.pub").write_bytes(openssl("pkey", "-in", str(folder / "service-account.key"), "-pubout"))


def make_node(folder: Path, cluster: Path, node: str, address: str, server: str) -> None:
    """Certificate and kubeconfigs of one node in folder; cluster is the folder that make_cluster filled. server: URL of the API server."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder != cluster:
        for file in ("ca.crt", *(f"{user}.{kind}" for user in ("kube-proxy", "kube-router") for kind in ("crt", "key"))):
            (folder / file).write_bytes((cluster / file).read_bytes())
            (folder / file).chmod(0o600)
    certificate(folder, "node", f"/O=system:nodes/CN=system:node:{node}", "serverAuth,clientAuth", f"DNS:{node},IP:{address}", (cluster, "ca"))
    for user in ("node", "kube-proxy", "kube-router"):
        write(folder / f"{user}.kubeconfig", json.dumps(kubeconfig(folder, user, server), indent=1) + "\n", 0o600)
