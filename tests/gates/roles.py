# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the roles equal to the modules that they call: argument specs, what their tasks hand over, defaults, and the READMEs made of these.

As a program it checks every role; with a folder as its argument it writes the argument specs and READMEs of the clone there anew.
A variable of a role that stands for a module's option has the option's type, choices and default, and its description word for word.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .examples import COLLECTION, documented

HERE = Path(__file__).resolve().parents[2]
Options = dict[str, Any]
COPIED = ("type", "elements", "choices", "default", "required")
LOGIN = "kubernetes"
"""The documentation fragment with the options by which every task logs in: the tasks of a role get them as defaults of the action group."""
HEADER = "---\n# SPDX-License-Identifier: GPL-3.0-or-later\n"


@dataclass(frozen=True)
class Called:
    """A module that a role calls for each item of a list.

    variable: the list; left_out: options that the role itself gives; secret: the inner option that the role takes from elsewhere.
    """

    module: str
    variable: str
    left_out: tuple[str, ...]
    secret: str = ""


@dataclass(frozen=True)
class Role:
    """A role: the module whose options are its variables, those whose inner options are variables too, and the modules that it loops over.

    own: options of the module that the role gives a meaning of its own, so that they stand in its spec by hand, or that it gives itself.
    follows: the role whose variables of the login and the namespace count where this role's are not set.
    reads: modules that it calls besides, with whatever options. module "": a role that calls only such ones.
    """

    name: str
    module: str
    flattened: tuple[str, ...] = ()
    lists: tuple[Called, ...] = ()
    own: tuple[str, ...] = ()
    follows: str = ""
    reads: tuple[str, ...] = ()


ROLES = (
    Role(
        "velero",
        "velero_install",
        flattened=("credential",),
        lists=(
            Called("velero_storage_location", "velero_storage_locations", ("namespace",), secret="credential.content"),
            Called("velero_snapshot_location", "velero_snapshot_locations", ("namespace",), secret="credential.content"),
        ),
    ),
    Role("backup", "velero_backup", own=("state", "name", "newer_than"), follows="velero", reads=("kubernetes_info", "velero_info")),
    Role(
        "restore",
        "velero_restore",
        own=("state", "name", "backup_name", "schedule_name"),
        follows="velero",
        reads=("kubernetes_info", "velero_info", "velero_backup_info", "velero_restore_info"),
    ),
    Role("drill", "", follows="velero", reads=("velero_info", "velero_backup_info", "velero_restore")),
    Role("status", "", follows="velero", reads=("velero_info", "velero_backup_info")),
)


def login_options() -> list[str]:
    """Names of the options by which every module logs in, as documented."""
    return fragment_options(LOGIN)


def fragment_options(name: str) -> list[str]:
    """Names of the options of a documentation fragment."""
    fragment = importlib.import_module(f"ansible_collections.{COLLECTION}.plugins.doc_fragments.{name}").ModuleDocFragment
    return list(yaml.safe_load(fragment.DOCUMENTATION)["options"])


def own_options(module: str) -> list[str]:
    """Names of the other options of a module, as documented: ansible-doc sorts them."""
    said = yaml.safe_load(importlib.import_module(f"ansible_collections.{COLLECTION}.plugins.modules.{module}").DOCUMENTATION)
    shared = [
        name.removeprefix(f"{COLLECTION}.") for name in said.get("extends_documentation_fragment", []) if name.count(".") == COLLECTION.count(".") + 1
    ]
    return [*said["options"], *(option for name in shared if name != LOGIN for option in fragment_options(name))]


def renamed(text: str, names: Mapping[str, str]) -> str:
    """A description in which the module's options have the names of the role's variables."""

    def instead(found: re.Match[str]) -> str:
        name, equals, value = found.group(1).partition("=")
        return f"O({names[name]}{equals}{value})" if name in names else found.group(0)

    return re.sub(r"\bO\(([^()]+)\)", instead, text)


def described(option: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """The description of an option as a list of paragraphs."""
    said = option["description"]
    return [renamed(line, names) for line in ([said] if isinstance(said, str) else said)]


def specified(option: Mapping[str, Any], names: Mapping[str, str], left_out: tuple[str, ...] = ()) -> Options:
    """An option of a module as an option of a role's argument spec. left_out: inner options by their path below this one."""
    spec: Options = {"description": described(option, names)}
    spec |= {key: option[key] for key in COPIED if option.get(key) is not None and (key, option[key]) != ("required", False)}
    inner = {name: specified(value, names) for name, value in (option.get("suboptions") or {}).items() if name not in left_out}
    return spec | ({"options": inner} if inner else {})


def paths(options: Options, flattened: tuple[str, ...], prefix: str) -> dict[str, str]:
    """The variable of each option, by the option's name or path."""
    found = {}
    for name, option in options.items():
        found[name] = f"{prefix}_{name}"
        for inner in option.get("suboptions") or {}:
            found[f"{name}.{inner}"] = f"{prefix}_{name}_{inner}" if name in flattened else f"{prefix}_{name}.{inner}"
    return found


def mirrored(role: Role, modules: Mapping[str, Any]) -> Options:
    """The part of a role's argument spec that comes from modules."""
    # a role that only reads has the login options of what it reads by
    options = modules[f"{COLLECTION}.{role.module or role.reads[0]}"]["doc"]["options"]
    names = paths(options, role.flattened, role.name)
    login = login_options()
    spec: Options = {}
    for name in [*(own_options(role.module) if role.module else ["namespace"]), *login]:
        option = options[name]
        if name in role.own:
            continue
        if role.follows and name in {"namespace", *login} - {"timeout"}:
            kept = {key: value for key, value in specified(option, names).items() if key not in ("default", "required")}
            spec[f"{role.name}_{name}"] = kept | {"description": [*kept["description"], f"By default what C({role.follows}_{name}) says."]}
        elif name in login:
            # without a value the module takes its environment variable, and then its default
            kept = {key: value for key, value in specified(option, names).items() if key != "default"}
            after = [f"The modules' own default is V({str(option['default']).lower()})."] if option.get("default") is not None else []
            spec[f"{role.name}_{name}"] = kept | {"description": kept["description"] + after}
        elif name in role.flattened:
            for inner, value in option["suboptions"].items():
                # the option as a whole is left out unless one of them is given
                spec[f"{role.name}_{name}_{inner}"] = {key: what for key, what in specified(value, names).items() if key != "required"}
        else:
            spec[f"{role.name}_{name}"] = specified(option, names)
    for called in role.lists:
        own = modules[f"{COLLECTION}.{called.module}"]["doc"]["options"]
        outer, _dot, inner = called.secret.partition(".")
        inside = {
            name: specified(own[name], {"namespace": f"{role.name}_namespace"}, (inner,) if name == outer else ())
            for name in own_options(called.module)
            if name not in called.left_out
        }
        spec[called.variable] = {"options": inside}
    return spec


def joined(options: Options) -> Options:
    """The same options with one text each: every play of the role reads and templates every text of the file, 0.05 s as lists of sentences."""
    found: Options = {}
    for name, option in options.items():
        found[name] = dict(option)
        if isinstance(option.get("description"), list):
            found[name]["description"] = " ".join(option["description"])
        if option.get("options"):
            found[name]["options"] = joined(option["options"])
    return found


class Dumper(yaml.SafeDumper):
    """Writes YAML as yamllint wants it: lists indented, long texts folded."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent lists inside mappings."""
        super().increase_indent(flow, False)


def specification_text(role: Role, modules: Mapping[str, Any], there: Options) -> str:
    """The text of a role's meta/argument_specs.yml: what stands there, with everything that comes from modules made anew."""
    main = there["argument_specs"]["main"]
    own = main.get("options") or {}
    wanted = mirrored(role, modules)
    options = {name: {**own.get(name, {}), **value} if set(value) == {"options"} else value for name, value in wanted.items()}
    options |= {name: value for name, value in own.items() if name not in options}
    whole = {"argument_specs": {"main": {**{key: value for key, value in main.items() if key != "options"}, "options": joined(options)}}}
    return HEADER + yaml.dump(whole, Dumper=Dumper, sort_keys=False, width=100, allow_unicode=True)


MARKUP = (
    (re.compile(r"\b[OVC]\(([^()]*(?:\([^()]*\)[^()]*)*)\)"), r"`\1`"),
    (re.compile(r"\bRV\((?:ignore:)?([^()]+)\)"), r"`\1`"),
    (re.compile(r"\bM\(([^()]+)\)"), r"`\1`"),
    (re.compile(r"\bE\(([^()]+)\)"), r"`\1`"),
    (re.compile(r"\b[BI]\(([^()]+)\)"), r"*\1*"),
    (re.compile(r"\bU\(([^()]+)\)"), r"<\1>"),
)


def markdown(text: str) -> str:
    """A description in Markdown."""
    for pattern, instead in MARKUP:
        text = pattern.sub(instead, text)
    return text


def cell(text: str) -> str:
    """A text that may stand in a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def rows(options: Options, above: str = "") -> Iterator[str]:
    """The lines of the table of variables, inner ones below their own."""
    for name, option in options.items():
        said = option["description"]
        text = " ".join(markdown(line) for line in ([said] if isinstance(said, str) else said))
        kind = option.get("type", "str") + (f" of {option['elements']}" if option.get("elements") else "")
        if option.get("choices"):
            text += f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}."
        default = "*required*" if option.get("required") else ""
        if "default" in option:
            default = f"`{option['default'] if isinstance(option['default'], str) else json.dumps(option['default'])}`"
        yield f"| `{above}{name}` | {kind} | {cell(default)} | {cell(text)} |"
        yield from rows(option.get("options") or {}, f"{above}{name}{'[]' if option.get('type') == 'list' else ''}.")


def commands(name: str) -> list[str]:
    """What a person who has the collection types to use a role."""
    secrets = "my-inventory/group_vars/all/secrets.yml"
    play = f"ansible-playbook -i my-inventory --ask-vault-pass {COLLECTION}.{name}"
    installed = "~/.ansible/collections/ansible_collections/" + COLLECTION.replace(".", "/")
    return [f"cp -r {installed}/inventories/s3_compatible my-inventory", f"ansible-vault encrypt {secrets}", f"{play} --check --diff", play]


def readme_text(role: Role, spec: Options) -> str:
    """The text of a role's README."""
    main = spec["argument_specs"]["main"]
    book = (HERE / "playbooks" / f"{role.name}.yml").read_text().split("\n", 2)[2].strip()
    variables = (HERE / "inventories" / "s3_compatible" / "group_vars" / "all" / f"{role.name}.yml").read_text().split("\n", 2)[2].strip()
    said = main["description"]
    lines = [
        f"# {COLLECTION}.{role.name}",
        "",
        f"<!-- Made by `make generated` from meta/argument_specs.yml, playbooks/{role.name}.yml and inventories/s3_compatible. -->",
        "",
        f"{main['short_description']}.",
        "",
        *(f"{markdown(line)}\n" for line in ([said] if isinstance(said, str) else said)),
        "## Use",
        "",
        "```yaml",
        book,
        "```",
        "",
        f"With these variables (`inventories/s3_compatible/group_vars/all/{role.name}.yml`):",
        "",
        "```yaml",
        variables,
        "```",
        "",
        f"The playbook is part of the collection. Copy the inventory of your kind of cloud, fill in `{role.name}.yml` and `secrets.yml` in its "
        "`group_vars/all`, encrypt the latter, look at what would be done, and do it:",
        "",
        "```",
        *commands(role.name),
        "```",
        "",
        "Without a word about the cluster it is the one of your kubeconfig's current context. A second run finds nothing to do and writes nothing.",
        "",
        "## Variables",
        "",
        "A variable that is not set is neither compared nor changed, unless it has a default.",
        "",
        "| variable | type | default | |",
        "|---|---|---|---|",
        *rows(main["options"]),
        "",
    ]
    return "\n".join(lines)


def handed_over(folder: Path) -> dict[str, set[str]]:
    """The options that a role's tasks hand to each module, those of the defaults of the action group under the group's name."""
    found: dict[str, set[str]] = {}
    waiting: list[Any] = [task for path in sorted((folder / "tasks").glob("*.yml")) for task in yaml.safe_load(path.read_text())]
    while waiting:
        task = waiting.pop()
        waiting += [inner for part in ("block", "rescue", "always") for inner in task.get(part) or []]
        for key, value in {**task, **(task.get("module_defaults") or {})}.items():
            if key.startswith((f"{COLLECTION}.", f"group/{COLLECTION}.")):
                found.setdefault(key.removeprefix(f"{COLLECTION}."), set()).update(value)
    return found


def not_handed_over(role: Role, folder: Path, modules: Mapping[str, Any]) -> Iterator[str]:
    """Options that a role's tasks do not hand over, or that no module has, as sentences."""
    handed = handed_over(folder)
    login = set(login_options())
    wanted = {f"group/{COLLECTION}.all": login}
    for module in (*([role.module] if role.module else []), *(called.module for called in role.lists)):
        wanted[module] = set(modules[f"{COLLECTION}.{module}"]["doc"]["options"]) - login
    for module in role.reads:
        known = modules[f"{COLLECTION}.{module}"]["doc"]["options"]
        yield from (f"tasks: {module} has no option {option}" for option in sorted(handed.pop(module, set()) - set(known)))
    for name in sorted(set(wanted) | set(handed)):
        for option in sorted(wanted.get(name, set()) ^ handed.get(name, set())):
            yield f"tasks: {name} is {'not ' if option in wanted.get(name, set()) else ''}given {option}"


def findings(role: Role, modules: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a role."""
    folder = HERE / "roles" / role.name
    text = (folder / "meta" / "argument_specs.yml").read_text()
    spec = yaml.safe_load(text)
    if text != specification_text(role, modules, spec):
        yield "meta/argument_specs.yml differs from the documentation of the modules: run `make generated`"
    readme = folder / "README.md"
    if not readme.is_file() or readme.read_text() != readme_text(role, spec):
        yield "README.md is not that of meta/argument_specs.yml: run `make generated`"
    options = spec["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((folder / "defaults" / "main.yml").read_text())
    said = {name: option["default"] for name, option in options.items() if "default" in option}
    for name in sorted(set(defaults) | set(said)):
        if defaults.get(name) != said.get(name) or (name in defaults) is not (name in said):
            yield f"defaults/main.yml: {name} is {defaults.get(name)!r}, documented as {said.get(name)!r}"
    yield from not_handed_over(role, folder, modules)


def main(write_to: Path | None) -> int:
    """Check every role and print a count, or write what is made of documentation."""
    modules = documented()
    if write_to is not None:
        for role in ROLES:
            folder = write_to / "roles" / role.name
            spec = specification_text(role, modules, yaml.safe_load((folder / "meta" / "argument_specs.yml").read_text()))
            (folder / "meta" / "argument_specs.yml").write_text(spec)
            (folder / "README.md").write_text(readme_text(role, yaml.safe_load(spec)))
        return 0
    bad = {role.name: list(findings(role, modules)) for role in ROLES}
    left = {path.parent.name for path in (HERE / "roles").glob("*/tasks")} - set(bad)
    bad |= {name: ["tests/gates/roles.py does not know it"] for name in sorted(left)}
    for name, sentences in bad.items():
        for sentence in sentences:
            print(f"{name}: {sentence}")
    failed = sum(1 for sentences in bad.values() if sentences)
    print(f"{len(bad) - failed} passed, {failed} failed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if sys.argv[1:] else None))
