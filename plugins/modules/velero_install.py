#!/usr/bin/python
# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: velero_install
short_description: Install, change, upgrade or remove Velero, and prove that it runs and can store
version_added: 0.1.0
author:
  - serverops.circleci contributors (@serverops)
description:
  - Keeps an installation of Velero as the options say. C(velero install) only ever makes what is not there. Run again with another bucket,
    image or key it changes nothing and reports success.
  - A task with O(state=present) succeeds only when the server itself answers with the wanted version, every node agent is ready, and the server has
    validated the default location after the last change and found it available.
  - Works with installations made by this module or by Velero's own program, of Velero 1.6 to 1.18. One that Helm, the OADP operator or something
    else made is refused and left alone.
  - An option that is left out is neither compared nor changed, except where a default is documented. What nobody asked for, such as what an
    admission webhook added, stays. Two things are always seen to. The server's Deployment has one replica and the strategy C(Recreate), since two
    servers on one namespace harm each other. Arguments and plugins that the wanted release would refuse are dropped, or renamed where they have
    a new name, and a warning says so.
options:
  namespace:
    description:
      - The namespace that Velero runs in. It is made when it does not exist.
    type: str
    default: velero
    version_added: 0.1.0
  state:
    description:
      - With V(present) Velero runs as the other options say.
      - With V(absent) Velero is gone. The namespace goes too, when it was made for Velero and holds nothing else. What is in the bucket stays.
        Schedules and further locations go with the namespace, and a warning names them.
    type: str
    choices: [present, absent]
    default: present
    version_added: 0.1.0
  version:
    description:
      - Velero's version, such as V(1.17.2). Needed to install Velero, unless the tag of O(image) is a version.
      - When left out the version that runs is kept. Going back to an older version is refused, as is skipping minor versions that Velero's
        documentation does not let you skip, see O(allow_skipped_minors).
    type: str
    version_added: 0.1.0
  image:
    description: Velero's image. By default C(velero/velero:vVERSION), from O(registry) if given.
    type: str
    version_added: 0.1.0
  registry:
    description: A registry, with a folder if wanted, from which Velero's default images come. O(image) and O(plugins) are taken as they are.
    type: str
    version_added: 0.1.0
  image_pull_secrets:
    description: Names of the Secrets by which the images are pulled. An empty list takes them away.
    type: list
    elements: str
    version_added: 0.1.0
  image_pull_policy:
    description: When the images are pulled. By default V(IfNotPresent) for an image with a tag and V(Always) for others.
    type: str
    choices: [Always, IfNotPresent, Never]
    version_added: 0.1.0
  plugins:
    description:
      - Images of Velero's plugins. Needed to install Velero with a location.
      - Compared as a whole, each known by its name without registry and tag, so that another tag changes a plugin and does not add one.
    type: list
    elements: str
    version_added: 0.1.0
  provider:
    description: Name of the plugin that stores, such as V(aws) or V(gcp). Needed to install Velero with a location.
    type: str
    version_added: 0.1.0
  bucket:
    description: The bucket of the location C(default). It has to exist. Needed to install Velero, unless O(no_default_backup_location=true).
    type: str
    version_added: 0.1.0
  prefix:
    description: Folder inside the bucket. An empty string removes it.
    type: str
    version_added: 0.1.0
  backup_location_config:
    description:
      - The provider's settings of the location C(default), such as C(region), C(s3Url) and C(s3ForcePathStyle) of V(aws).
      - When given it is compared as a whole, so a setting that is not in it is removed.
    type: dict
    version_added: 0.1.0
  object_storage_ca_cert:
    description: Certificates of the authority that signed the store's certificate, as PEM text. An empty string removes them.
    type: str
    version_added: 0.1.0
  no_default_backup_location:
    description: Make no location, and neither look at nor prove one. One that exists is left as it is.
    type: bool
    default: false
    version_added: 0.1.0
  use_volume_snapshots:
    description:
      - Whether there is a volume snapshot location C(default). A new installation gets one, unless this is V(false).
      - With V(false) none is made or changed. One that exists is left as it is.
    type: bool
    version_added: 0.1.0
  snapshot_location_config:
    description: The provider's settings of the volume snapshot location C(default), compared as a whole.
    type: dict
    version_added: 0.1.0
  credential:
    description:
      - The Secret with the provider's credentials that server and node agents work with. Needed to install Velero, unless O(no_secret=true).
      - Pods that are older than the last change of the Secret are made anew, whoever changed it.
    type: dict
    version_added: 0.1.0
    suboptions:
      name:
        description: Name of the Secret in O(namespace).
        type: str
        default: cloud-credentials
        version_added: 0.1.0
      key:
        description: Key in the Secret under which the credentials file stands.
        type: str
        default: cloud
        version_added: 0.1.0
      content:
        description:
          - Text of the provider's credentials file. When given, the Secret is made, or its key is kept at this value.
          - When left out, the Secret has to exist.
        type: str
        version_added: 0.1.0
  no_secret:
    description: Work without a Secret, because nodes or service account give the rights. A Secret that the pods mount is taken from them.
    type: bool
    default: false
    version_added: 0.1.0
  service_account_name:
    description: A service account that exists and has all rights, in place of the one that is made otherwise.
    type: str
    version_added: 0.1.0
  service_account_annotations:
    description: Annotations of the service account, such as C(iam.gke.io/gcp-service-account). A value of null removes one.
    type: dict
    version_added: 0.1.0
  features:
    description: Features to switch on, such as V(EnableCSI), compared as a whole.
    type: list
    elements: str
    version_added: 0.1.0
  restore_only:
    description: Run a server that makes no backups. Always compared, so that leaving it out lifts it again.
    type: bool
    default: false
    version_added: 0.1.0
  use_node_agent:
    description:
      - Whether a node agent for the contents of volumes runs on every node. Up to Velero 1.9 it is called restic.
      - With V(false) it is removed. When left out it stays as it is.
    type: bool
    version_added: 0.1.0
  use_node_agent_windows:
    description: Whether a node agent runs on every node with Windows. From Velero 1.16.
    type: bool
    version_added: 0.1.0
  privileged_node_agent:
    description: Whether the node agent's containers are privileged.
    type: bool
    version_added: 0.1.0
  node_agent_disable_host_path:
    description: Whether the node agent has to work without the folders of its host. From Velero 1.17.
    type: bool
    version_added: 0.1.0
  kubelet_root_dir:
    description: The kubelet's folder on the nodes, when it is not V(/var/lib/kubelet).
    type: str
    version_added: 0.1.0
  uploader_type:
    description: What copies the contents of volumes. From Velero 1.10. Velero 1.17 and newer make no backups by V(restic).
    type: str
    choices: [restic, kopia]
    version_added: 0.1.0
  default_volumes_to_fs_backup:
    description: Whether the contents of all volumes are backed up without being asked for.
    type: bool
    version_added: 0.1.0
  default_snapshot_move_data:
    description: Whether snapshots by CSI are moved into the bucket. From Velero 1.12.1.
    type: bool
    version_added: 0.1.0
  disable_informer_cache:
    description: Whether restores work without a cache of what is in the cluster. From Velero 1.12.1.
    type: bool
    version_added: 0.1.0
  schedule_skip_immediately:
    description: Whether a new schedule waits for its first time although that has passed. From Velero 1.13.
    type: bool
    version_added: 0.1.0
  csi_snapshot_early_frequent_polling:
    description: Whether snapshots by CSI are looked at often in their first seconds. From Velero 1.18.1.
    type: bool
    version_added: 0.1.0
  default_repo_maintain_frequency:
    description: Time between two cleanings of a repository, such as V(168h). V(0) is the server's default.
    type: str
    version_added: 0.1.0
  garbage_collection_frequency:
    description: Time between two looks for expired backups, such as V(1h). V(0) is the server's default. From Velero 1.9.
    type: str
    version_added: 0.1.0
  pod_volume_operation_timeout:
    description: Longest time for the contents of a pod's volumes, such as V(4h).
    type: str
    version_added: 0.1.0
  item_block_worker_count:
    description: How many items of a backup are worked on at once. From Velero 1.16.
    type: int
    version_added: 0.1.0
  concurrent_backups:
    description: How many backups are worked on at once. From Velero 1.18.
    type: int
    version_added: 0.1.0
  backup_repository_configmap:
    description: Name of the ConfigMap with settings of the repositories. From Velero 1.15.
    type: str
    version_added: 0.1.0
  repo_maintenance_job_configmap:
    description: Name of the ConfigMap with settings of the jobs that clean repositories. From Velero 1.15.
    type: str
    version_added: 0.1.0
  node_agent_configmap:
    description: Name of the ConfigMap with settings of the node agents. From Velero 1.15.
    type: str
    version_added: 0.1.0
  keep_latest_maintenance_jobs:
    description:
      - How many finished jobs that clean a repository are kept. Velero 1.14 to 1.16.
      - Newer servers take it from the ConfigMap of O(repo_maintenance_job_configmap) and end at once with this argument.
    type: int
    version_added: 0.1.0
  maintenance_job_resources:
    description: What jobs that clean repositories ask for. Velero 1.14 to 1.16, as O(keep_latest_maintenance_jobs).
    type: dict
    version_added: 0.1.0
    suboptions: &amounts
      requests:
        description: What is set aside for it. An empty text takes it away.
        type: dict
        version_added: 0.1.0
        suboptions:
          cpu:
            description: CPU, such as V(500m).
            type: str
            version_added: 0.1.0
          memory:
            description: Memory, such as V(128Mi).
            type: str
            version_added: 0.1.0
      limits:
        description: What it may use at most. An empty text takes it away.
        type: dict
        version_added: 0.1.0
        suboptions:
          cpu:
            description: CPU, such as V(1).
            type: str
            version_added: 0.1.0
          memory:
            description: Memory, such as V(512Mi).
            type: str
            version_added: 0.1.0
  resources:
    description: What the server asks for. A new one gets what Velero's own program gives it, 500m and 128Mi, at most 1 and 512Mi.
    type: dict
    version_added: 0.1.0
    suboptions: *amounts
  node_agent_resources:
    description: What each node agent asks for. A new one gets what Velero's own program gives it, from Velero 1.14 nothing.
    type: dict
    version_added: 0.1.0
    suboptions: *amounts
  server_priority_class_name:
    description: Priority class of the server's pod. An empty string takes it away.
    type: str
    version_added: 0.1.0
  node_agent_priority_class_name:
    description: Priority class of the node agents' pods. An empty string takes it away.
    type: str
    version_added: 0.1.0
  node_selector:
    description: Labels of the nodes that the server may run on. When given it replaces the one that is there.
    type: dict
    version_added: 0.1.0
  tolerations:
    description: Taints that the server's pod tolerates, as in a pod. When given they replace those that are there.
    type: list
    elements: dict
    version_added: 0.1.0
  affinity:
    description: Affinity of the server's pod, as in a pod. When given it replaces the one that is there.
    type: dict
    version_added: 0.1.0
  node_agent_node_selector:
    description: Labels of the nodes that get a node agent, as O(node_selector).
    type: dict
    version_added: 0.1.0
  node_agent_tolerations:
    description: Taints that the node agents tolerate, as O(tolerations).
    type: list
    elements: dict
    version_added: 0.1.0
  node_agent_affinity:
    description: Affinity of the node agents' pods, as O(affinity).
    type: dict
    version_added: 0.1.0
  env:
    description: Environment variables of the server. Others stay. A value of null removes one.
    type: dict
    version_added: 0.1.0
  node_agent_env:
    description: Environment variables of the node agents, as O(env).
    type: dict
    version_added: 0.1.0
  server_args:
    description:
      - Arguments of the server that have no option here, by their names without dashes. Others stay. A value of null removes one.
      - One that only other releases know is dropped with a warning. One that no release knows is refused.
    type: dict
    version_added: 0.1.0
  node_agent_args:
    description: Arguments of the node agents, as O(server_args).
    type: dict
    version_added: 0.1.0
  pod_annotations:
    description: Annotations of the pods of server and node agents. Others stay. A value of null removes one.
    type: dict
    version_added: 0.1.0
  pod_labels:
    description: Labels of the pods of server and node agents. Others stay. A value of null removes one.
    type: dict
    version_added: 0.1.0
  labels:
    description:
      - Labels of every object that belongs to the installation, custom resource definitions aside. Others stay. A value of null removes one.
    type: dict
    version_added: 0.1.0
  annotations:
    description: Annotations of the same objects as O(labels). Others stay. A value of null removes one.
    type: dict
    version_added: 0.1.0
  namespace_labels:
    description: Labels of the namespace, such as those of pod security. Others stay. A value of null removes one.
    type: dict
    version_added: 0.1.0
  repository_password:
    description:
      - Password by which the contents of volumes are encrypted in the bucket. Without it Velero uses one that everybody knows.
      - It can be chosen only before the server runs for the first time. Another one than that in use is refused.
    type: str
    version_added: 0.1.0
  crds_from:
    description:
      - Where the custom resource definitions of the wanted version come from. They are Velero's own and not part of this collection.
      - V(job) runs the wanted image in the cluster, once for each version, and reads its log. In check mode it does not run.
      - V(cli) runs O(velero_program) where the task runs. V(file) reads O(crds_file) there.
      - Definitions that were written for the wanted version and not changed since are left alone, and none of this is needed then.
    type: str
    choices: [job, cli, file]
    default: job
    version_added: 0.1.0
  crds_file:
    description: A file with what C(velero install --crds-only --dry-run -o yaml) of the wanted version prints. With O(crds_from=file).
    type: path
    version_added: 0.1.0
  velero_program:
    description: The wanted version's C(velero). With O(crds_from=cli).
    type: path
    default: velero
    version_added: 0.1.0
  allow_skipped_minors:
    description: Upgrade over minor versions that Velero's documentation does not let you skip.
    type: bool
    default: false
    version_added: 0.1.0
  unfinished:
    description:
      - What to do before a restart or removal of the server while it works on a backup, a restore or a movement of data.
      - With V(wait) it is waited for until the task's time is over. With V(fail) the task fails. With V(ignore) the work is broken off.
      - What a server up to 1.8 left unfinished when it ended stays so for ever. It is named in a warning and not waited for.
    type: str
    choices: [wait, fail, ignore]
    default: wait
    version_added: 0.1.0
  remove_crds:
    description: With O(state=absent) also remove Velero's custom resource definitions. Refused while another namespace uses them.
    type: bool
    default: false
    version_added: 0.1.0
extends_documentation_fragment:
  - serverops.circleci.kubernetes
  - serverops.circleci.attributes
  - serverops.circleci.attributes.action_group
  - serverops.circleci.attributes.ways
attributes:
  check_mode:
    support: full
    details: With O(crds_from=job) it cannot know which custom resource definitions differ, and says that all of them will be written.
  diff_mode:
    support: full
  idempotent:
    support: full
  async:
    support: full
  platform:
    support: full
    platforms: posix
  action_group:
    support: full
    membership:
      - serverops.circleci.all
notes:
  - The custom resource definitions are marked by the annotation C(serverops.circleci/crds) with the version for which they were written.
    Pods that were made anew for another Secret are marked by C(serverops.circleci/restarted-at) in their template.
  - An image that cannot be pulled, a container that ends again and again, and a node without room are reported after half a minute, with the
    reason and the last words of the container.
seealso:
  - module: serverops.circleci.velero_info
  - module: serverops.circleci.velero_storage_location
"""

EXAMPLES = r"""
- name: Install Velero for an S3-compatible store
  serverops.circleci.velero_install:
    kubeconfig: "{{ kubeconfig }}"
    version: 1.17.2
    provider: aws
    plugins:
      - velero/velero-plugin-for-aws:v1.14.3
    bucket: "{{ bucket }}"
    prefix: installed
    backup_location_config:
      region: "{{ region }}"
      s3Url: "{{ s3_url }}"
      s3ForcePathStyle: true
    use_volume_snapshots: false
    credential:
      content: "{{ credentials_file }}"
    use_node_agent: true

- name: Give the server more memory
  serverops.circleci.velero_install:
    kubeconfig: "{{ kubeconfig }}"
    resources:
      limits:
        memory: 1Gi

- name: Log more, until a task gives null for it
  serverops.circleci.velero_install:
    kubeconfig: "{{ kubeconfig }}"
    server_args:
      log-level: debug

- name: Say what would be removed
  serverops.circleci.velero_install:
    kubeconfig: "{{ kubeconfig }}"
    state: absent
  check_mode: true
"""

RETURN = r"""
installation:
  description:
    - The installation as it is after the task, in the form of RV(serverops.circleci.velero_info#module:velero) without unfinished work.
      None when it is absent.
    - In check mode what would be written, in the words of the diff.
  returned: success
  type: dict
  contains:
    namespace:
      description: Its namespace.
      type: str
      sample: velero
    installed_by:
      description: Who made it, C(cli) for this module and Velero's own program.
      type: str
      sample: cli
    server:
      description: The server, with the version and the plugins of its own answer.
      type: dict
    storage_locations:
      description: The backup storage locations.
      type: list
      elements: dict
    snapshot_locations:
      description: The volume snapshot locations.
      type: list
      elements: dict
    node_agents:
      description: The node agents, one per node.
      type: list
      elements: dict
backups:
  description: What becomes of the backups of an installation that is removed.
  returned: with O(state=absent)
  type: dict
  sample: {count: 0, names: [], fate: null}
requests:
  description: Method and path of every write that was done, or in check mode would be done.
  returned: always
  type: list
  elements: dict
  sample: [{method: PATCH, path: /apis/apps/v1/namespaces/velero/deployments/velero}]
waited:
  description: Seconds until the change was seen to be in force, and the state last seen.
  returned: when something was changed
  type: dict
  sample: {seconds: 2.9, last: "phase Available, last validated 2026-11-21T23:15:02Z (0 s ago)"}
ran:
  description: Where the task ran, C(controller) or C(module).
  returned: always
  type: str
  sample: controller
"""

from ansible_collections.serverops.circleci.plugins.module_utils._core.ansible_module import run_module
from ansible_collections.serverops.circleci.plugins.module_utils._velero.install import DEFINITION


def main() -> None:
    """Run the module."""
    run_module(DEFINITION)


if __name__ == "__main__":
    main()
