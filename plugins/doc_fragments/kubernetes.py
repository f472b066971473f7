# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options by which a module logs in to a Kubernetes cluster."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of a kubeconfig file, several of them joined as in E(KUBECONFIG), or the content of one as a mapping.
      - Without any login option the module uses what C(kubectl) would, E(KUBECONFIG) or C(~/.kube/config);
        in a pod without such a file, the service account of the pod.
      - Each of the options O(host), O(api_key), O(client_cert), O(ca_cert), O(proxy) and O(impersonate_user) overrides
        what the kubeconfig says.
      - If the value is not given, the value of the environment variable E(K8S_AUTH_KUBECONFIG) is used.
    type: raw
    version_added: 0.1.0
  context:
    description:
      - Context of the kubeconfig; by default its current context.
      - If the value is not given, the value of the environment variable E(K8S_AUTH_CONTEXT) is used.
    type: str
    version_added: 0.1.0
  host:
    description:
      - URL of the API server.
      - If the value is not given, the value of the environment variable E(K8S_AUTH_HOST) is used.
    type: str
    version_added: 0.1.0
  api_key:
    description:
      - Bearer token.
      - If the value is not given, the value of the environment variable E(K8S_AUTH_API_KEY) is used.
    type: str
    version_added: 0.1.0
  client_cert:
    description:
      - Path of a client certificate (PEM). Needs O(client_key).
      - If the value is not given, the value of the environment variable E(K8S_AUTH_CERT_FILE) is used.
    type: path
    aliases: [cert_file]
    version_added: 0.1.0
  client_key:
    description:
      - Path of the key of O(client_cert) (PEM, without a password).
      - If the value is not given, the value of the environment variable E(K8S_AUTH_KEY_FILE) is used.
    type: path
    aliases: [key_file]
    version_added: 0.1.0
  ca_cert:
    description:
      - Path of the certificate of the cluster's CA (PEM). By default that of the kubeconfig, else the CAs of the system.
      - If the value is not given, the value of the environment variable E(K8S_AUTH_SSL_CA_CERT) is used.
    type: path
    aliases: [ssl_ca_cert]
    version_added: 0.1.0
  validate_certs:
    description:
      - Whether the server's certificate is checked. It is not when this is V(false) or the kubeconfig says so.
      - If the value is not given, the value of the environment variable E(K8S_AUTH_VERIFY_SSL) is used.
    type: bool
    default: true
    aliases: [verify_ssl]
    version_added: 0.1.0
  proxy:
    description:
      - URL of an HTTP proxy, C(http://user:password@host:port). By default C(proxy-url) of the kubeconfig,
        else E(HTTPS_PROXY), which does not apply to hosts in E(NO_PROXY).
      - If the value is not given, the value of the environment variable E(K8S_AUTH_PROXY) is used.
    type: str
    version_added: 0.1.0
  no_proxy:
    description:
      - Comma-separated hosts, domains and networks that are reached without any proxy.
      - If the value is not given, the value of the environment variable E(K8S_AUTH_NO_PROXY) is used.
    type: str
    version_added: 0.1.0
  impersonate_user:
    description:
      - User in whose name the requests are made.
      - If the value is not given, the value of the environment variable E(K8S_AUTH_IMPERSONATE_USER) is used.
    type: str
    version_added: 0.1.0
  impersonate_groups:
    description:
      - Groups of O(impersonate_user).
      - If the value is not given, the value of the environment variable E(K8S_AUTH_IMPERSONATE_GROUPS) is used.
    type: list
    elements: str
    version_added: 0.1.0
  eks:
    description:
      - An Amazon EKS cluster. Endpoint and CA are asked of AWS (C(eks:DescribeCluster)) unless O(host) and O(ca_cert) are given,
        and the token is made in this process, so neither a kubeconfig nor the AWS CLI is needed. Needs C(boto3).
      - Excludes O(gke), O(kubeconfig), O(context), O(api_key) and O(client_cert).
    type: dict
    suboptions:
      cluster_name:
        description: Name of the cluster.
        type: str
        required: true
      region:
        description: Region of the cluster. By default that of the profile or of the environment.
        type: str
      profile:
        description: AWS profile. By default boto3 looks for credentials in its usual places.
        type: str
      role_arn:
        description: Role to assume before anything is asked.
        type: str
    version_added: 0.1.0
  gke:
    description:
      - A Google GKE cluster. Endpoint and CA are asked of Google (C(container.clusters.get)) unless O(host) and O(ca_cert) are given,
        and the token is made in this process, so neither a kubeconfig nor C(gke-gcloud-auth-plugin) is needed.
        Needs C(google-auth) and C(requests).
      - Excludes O(eks), O(kubeconfig), O(context), O(api_key) and O(client_cert).
    type: dict
    suboptions:
      cluster_name:
        description: Name of the cluster.
        type: str
        required: true
      location:
        description: Region or zone of the cluster.
        type: str
        required: true
      project:
        description: Project of the cluster.
        type: str
        required: true
      service_account_file:
        description: Path of the JSON key of a service account. By default Google's application default credentials.
        type: path
    version_added: 0.1.0
  timeout:
    description:
      - Seconds that the whole task may take, waiting included.
    type: int
    default: 300
    version_added: 0.1.0
requirements:
  - kubernetes >= 24
  - boto3 (for O(eks))
  - google-auth and requests (for O(gke))
"""
