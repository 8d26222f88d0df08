"""The files of deploy/ match their formats and the service; those that cannot be run here are linted."""

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy import locked
from interface.composition.service import in_background
from interface.settings import PREFIX, Settings, read_settings
from tests.support.server import PROJECT, ROOT

DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
KNOWN = {PREFIX + name.upper() for name in Settings.model_fields}
FILES = [
    *(
        path
        for path in DEPLOY.rglob("*")
        if path.is_file() and not {"secrets", "__pycache__"} & set(path.parts)
    ),
    ROOT / "docs" / "installation.md",
]
MANIFESTS = sorted((DEPLOY / "kubernetes").rglob("*.yaml"))
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
UNIT = (DEPLOY / "tickets.service").read_text()
GUIDE = (ROOT / "docs" / "installation.md").read_text()
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
# The oldest and the newest supported cluster.
KUBERNETES = ("1.30.0", "1.37.0")
# The score of systemd-analyze: 10 is a unit without protection, below 2 is the best class.
MOST_EXPOSED = 1.5
EXTRAS = ("nats", "kafka", "otel")
# The supported versions of Python.
PYTHONS = ("3.11", "3.12", "3.13")
PIP_DRY_RUN = (sys.executable, "-m", "pip", "install", "-qq", "--dry-run", "--ignore-installed")

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed (Debian's package systemd)"
)


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    lint(str(BIN / "hadolint"), str(DEPLOY / "Dockerfile"))


def test_hadolint_finds_a_fault(tmp_path: Path) -> None:
    faulty = tmp_path / "Dockerfile"
    faulty.write_text(DOCKERFILE.replace("USER 10001:10001", "USER root"))

    with pytest.raises(AssertionError, match="DL3002"):
        lint(str(BIN / "hadolint"), str(faulty))


def test_the_image_runs_as_a_fixed_user_with_a_health_check_and_without_a_shell() -> None:
    last = DOCKERFILE.split("\nFROM ")[-1].replace("\\\n", " ")
    reported = dict(re.findall(r"^(USER|STOPSIGNAL|HEALTHCHECK|ENTRYPOINT|CMD) +(.*)$", last, re.MULTILINE))

    assert reported["USER"] == "10001:10001"
    assert reported["STOPSIGNAL"] == "SIGTERM"
    check = json.loads(reported["HEALTHCHECK"].partition("CMD")[2])
    assert check == ["python", "-m", "interface.healthcheck", "/livez"]
    assert all(isinstance(json.loads(reported[name]), list) for name in ("ENTRYPOINT", "CMD"))


def test_the_image_installs_only_locked_hashes_and_runs_no_setup_code() -> None:
    installs = re.findall(r"pip install ([^&]*)", DOCKERFILE.replace("\\\n", " "))

    assert len(installs) == 3
    assert all(
        "--no-index" in install or ("--require-hashes" in install and "--only-binary :all:" in install)
        for install in installs
    )


def test_the_build_context_holds_only_the_sources_of_the_image() -> None:
    first, *allowed = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")
    ]
    copied = set(re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE))

    assert first == "*"
    assert {line.removeprefix("!") for line in allowed if line.startswith("!")} == {
        name for line in copied for name in line.split()
    }


def test_every_version_in_deploy_is_that_of_the_project() -> None:
    named = [
        (str(file), version)
        for file in FILES
        for version in re.findall(
            r"(?:\btickets:|ticket_credential_service-|image\.version=\")(\d+(?:\.\d+)*)", file.read_text()
        )
    ]

    assert len(named) >= 8
    assert [name for name in named if name[1] != PROJECT["version"]] == []


def test_the_newest_version_of_the_changelog_is_that_of_the_project() -> None:
    [newest, *_] = re.findall(
        r"^## (\d\S*) - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )

    assert newest == PROJECT["version"]


def test_every_packaging_installs_parts_of_the_lock_by_their_hashes_only() -> None:
    options = ["--require-hashes", "--only-binary", ":all:"]

    assert locked_installs(DOCKERFILE) == [("runtime", options), ("build", options)]
    assert locked_installs(GUIDE) == [("runtime", options)] * 2


@pytest.mark.parametrize("what", ["runtime", "build"])
@pytest.mark.usefixtures("index")
def test_pip_accepts_the_requirements_of_every_packaging(what: str, tmp_path: Path) -> None:
    [options] = {tuple(options) for of, options in locked_installs(DOCKERFILE + GUIDE) if of == what}
    file, report = tmp_path / "part.txt", tmp_path / "report.json"
    file.write_text(part(what))

    lint(*PIP_DRY_RUN, "--report", str(report), *options, "--requirement", str(file))

    installed = {
        (canonicalize_name(found["metadata"]["name"]), found["metadata"]["version"])
        for found in json.loads(report.read_text())["install"]
    }
    assert installed == pins(part(what), ".".join(map(str, sys.version_info[:2])))


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("what", ["runtime", "build"])
@pytest.mark.usefixtures("index")
def test_every_version_of_python_gets_its_entries(what: str, python: str, tmp_path: Path) -> None:
    # pip evaluates the markers of the Python that runs it; uv evaluates those of any version.
    file = tmp_path / "part.txt"
    file.write_text(part(what))

    output = lint(
        *(str(BIN / "uv"), "pip", "install", "--dry-run", "--target", str(tmp_path / "target")),
        *("--python-version", python, "--require-hashes", "--only-binary", ":all:"),
        *("--requirement", str(file)),
    )

    assert set(re.findall(r"^ \+ (\S+)==(\S+)$", output, re.MULTILINE)) == pins(part(what), python)


@pytest.mark.parametrize("python", PYTHONS)
def test_the_runtime_part_satisfies_the_wheel_and_its_extras(python: str) -> None:
    versions = dict(pins(part("runtime"), python))
    optional = [line for extra in EXTRAS for line in PROJECT["optional-dependencies"][extra]]

    needed = [Requirement(line) for line in (*PROJECT["dependencies"], *optional)]
    assert [
        str(one) for one in needed if versions.get(canonicalize_name(one.name), "") not in one.specifier
    ] == []
    assert not {"pytest", "mypy", "hypothesis", "hatchling", "pip-audit"} & versions.keys()


@pytest.mark.parametrize("what", ["runtime", "build"])
def test_a_part_holds_entries_of_the_lock_unchanged(what: str) -> None:
    assert set(entries(part(what))) <= set(entries((ROOT / "requirements.lock").read_text()))


def test_a_package_with_two_entries_keeps_both() -> None:
    lock = (
        "a==1 ; python_full_version < '3.12' \\\n    --hash=sha256:1\n    # via b\n"
        "a==2 ; python_full_version >= '3.12' \\\n    --hash=sha256:2\n    # via b\n"
        "b==3 \\\n    --hash=sha256:3\n    # via c (pyproject.toml)\n"
        "d==4 \\\n    --hash=sha256:4\n    # via a\n"
    )

    assert locked.part(lock, {"b"}) == lock


def test_the_bill_of_materials_lists_every_dependency_with_its_version_and_hashes(tmp_path: Path) -> None:
    path = tmp_path / "sbom.json"
    lint(
        "make",
        "-o",
        ".venv/.ready",
        f"BIN={BIN}",
        f"SBOM={path}",
        "SBOM_ARGS=--no-validate",
        "sbom",
        cwd=ROOT,
    )

    bill = json.loads(path.read_text())
    about = bill["metadata"]["component"]
    listed = {
        (canonicalize_name(found["name"]), found["version"]): found["description"]
        for found in bill["components"]
    }
    pinned = {
        (canonicalize_name(pin.name), version_of(pin)): pin.marker for pin in requirements(part("runtime"))
    }

    assert (about["name"], about["version"]) == (PROJECT["name"], PROJECT["version"])
    assert listed.keys() == pinned.keys()
    assert len(bill["components"]) == len(pinned)
    assert all(str(marker) in listed[pin].replace("'", '"') for pin, marker in pinned.items() if marker)
    assert all(
        reference.get("hashes")
        for found in bill["components"]
        for reference in found["externalReferences"]
        if reference["type"] == "distribution"
    )


def test_compose_matches_its_specification() -> None:
    lint(
        str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml")
    )


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_a_service_of_compose_is_confined(name: str) -> None:
    service = COMPOSE["services"][name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("privileged")
    assert service["healthcheck"].get("test") or service["restart"] == "no"
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert set(service.get("secrets", ())) <= COMPOSE["secrets"].keys()


def test_no_file_of_deploy_contains_a_secret() -> None:
    environments = [service.get("environment", {}) for service in COMPOSE["services"].values()]
    environments += [manifest["data"] for manifest in manifests("ConfigMap")]
    given = [(name, str(value)) for environment in environments for name, value in environment.items()]

    assert not [name for name, value in given if re.search("PASSWORD|SECRET|KEY", name) and value[0] != "/"]
    assert not [name for name, value in given if re.search("://[^/]*@", value)]
    assert not manifests("Secret")


def test_every_setting_named_in_deploy_exists() -> None:
    for file in FILES:
        named = set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", file.read_text()))
        named |= {
            name.upper() for name in re.findall(r"\btickets_(?:database|smtp)_[a-z]+\b", file.read_text())
        }
        assert named <= KNOWN, file


def test_every_command_named_in_deploy_exists() -> None:
    named = {COMPOSE["services"]["migrate"]["command"][0], COMPOSE["services"]["tickets"]["command"][0]}
    named |= set(re.findall(r"^Exec\w+=\S*/tickets (\w+)", UNIT, re.MULTILINE))
    for pods in manifests("Deployment") + manifests("Job"):
        named |= {container["args"][0] for container in pods["spec"]["template"]["spec"]["containers"]}

    assert named == {"migrate", "serve"}
    named |= set(
        re.findall(r"(?:-- |sudo |run --rm (?:--no-deps tickets )?|exec tickets |`)tickets ([a-z]+)", GUIDE)
    )
    assert named > {"migrate", "serve", "doctor", "backup", "restored", "replay"}
    help_text = lint(sys.executable, "-m", "interface.main", "--help", cwd=ROOT)
    assert all(re.search(rf"^│ {name} ", help_text, re.MULTILINE) for name in named)


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_manifests_match_the_api_of_kubernetes(version: str) -> None:
    for manifest in all_manifests():
        kubernetes_validate.validate(manifest, version, strict=True)


def test_an_unknown_name_in_a_manifest_is_found() -> None:
    [deployment] = manifests("Deployment")
    probe = deployment["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]
    probe["httpget"] = probe.pop("httpGet")

    with pytest.raises(kubernetes_validate.ValidationError, match="httpget"):
        kubernetes_validate.validate(deployment, KUBERNETES[-1], strict=True)


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_every_pod_is_within_the_restricted_profile(kind: str) -> None:
    [pods] = manifests(kind)
    pod = pods["spec"]["template"]["spec"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert {next(iter(volume.keys() - {"name"})) for volume in pod["volumes"]} <= {
        *("configMap", "emptyDir", "persistentVolumeClaim", "secret")
    }
    assert "initContainers" not in pod
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}


def test_a_ready_pod_gets_requests_and_a_dead_pod_is_replaced() -> None:
    [deployment] = manifests("Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    paths = {
        kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")
    }

    assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}


def test_every_selector_matches_the_pods_of_the_deployment() -> None:
    [deployment] = manifests("Deployment")
    [service], [budget], [job] = (manifests(kind) for kind in ("Service", "PodDisruptionBudget", "Job"))
    policy, shared = manifests("NetworkPolicy")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]

    chosen = [
        deployment["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        budget["spec"]["selector"]["matchLabels"],
        policy["spec"]["podSelector"]["matchLabels"],
        *(constraint["labelSelector"]["matchLabels"] for constraint in spread),
    ]
    assert all(labels == selector for selector in chosen)
    assert budget["spec"]["minAvailable"] < deployment["spec"]["replicas"]
    assert policy["spec"]["policyTypes"] == shared["spec"]["policyTypes"] == ["Ingress", "Egress"]
    # A command is not a server: it gets no request, and it reaches only the database.
    own = job["spec"]["template"]["metadata"]["labels"]
    assert own != labels
    assert shared["spec"]["podSelector"]["matchExpressions"] == [
        {"key": name, "operator": "In", "values": [labels[name], own[name]]} for name in labels
    ]


def test_an_upgrade_is_a_backup_a_migration_and_new_processes() -> None:
    assert "migrate" not in re.findall(r"^Exec.*$", UNIT, re.MULTILINE)[0]
    assert len(re.findall(r"^Exec", UNIT, re.MULTILINE)) == 1
    assert COMPOSE["services"]["migrate"]["profiles"] == ["migrate"]
    assert "migrate" not in COMPOSE["services"]["tickets"]["depends_on"]
    assert not list(
        (DEPLOY / "kubernetes").glob("*migrat*")
    )  # `apply` takes one directory, and none below it
    assert "TICKETS_MIGRATE_AT_START" not in str(all_manifests()) + str(COMPOSE) + UNIT

    upgrade = GUIDE.partition("\n## Upgrade\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", upgrade, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        steps = [
            "pg_dump",
            r"(?:run --rm|sudo tickets|command/)\W*migrate",
            r"up --wait|start tickets|apply",
        ]
        places = [re.search(step, block) for step in steps]
        found = [place.start() for place in places if place]
        assert len(found) == len(steps)
        assert found == sorted(found)
        assert "pg_dump" in block.splitlines()[0]


def test_the_metrics_require_a_token_if_others_can_reach_them() -> None:
    name = "tickets_metrics_token"

    assert name in COMPOSE["services"]["tickets"]["secrets"]
    assert f"\nLoadCredential={name}:" in UNIT
    [made] = re.findall(r"create secret generic tickets \$\((.*?)\)", GUIDE, re.DOTALL)
    assert name in made


def test_addresses_come_from_the_ingress_and_traces_reach_their_collector() -> None:
    [data] = [manifest["data"] for manifest in manifests("ConfigMap")]
    policy, _ = manifests("NetworkPolicy")
    text = (DEPLOY / "kubernetes" / "settings.yaml").read_text()

    assert Settings(trusted_proxies=data["TICKETS_TRUSTED_PROXIES"]).proxies
    [port] = re.findall(r"OTEL_EXPORTER_OTLP_ENDPOINT: http://[a-z.-]+\.monitoring:(\d+)", text)
    [where] = [
        rule for rule in policy["spec"]["egress"] if {"protocol": "TCP", "port": int(port)} in rule["ports"]
    ]
    assert where["to"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}


def test_every_supervisor_waits_longer_than_a_stop_takes() -> None:
    graces = [field.default for name, field in Settings.model_fields.items() if "grace" in name]
    [deployment] = manifests("Deployment")
    waits = {
        "compose": int(COMPOSE["services"]["tickets"]["stop_grace_period"].removesuffix("s")),
        "systemd": int(re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)[0]),
        # Its hook before the signal takes five.
        "kubernetes": deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] - 5,
    }

    assert all(wait > grace for wait in waits.values() for grace in graces), waits


def test_a_failed_start_is_retried_without_limit() -> None:
    assert "\nStartLimitIntervalSec=0\n" in UNIT.partition("[Service]")[0]
    assert "\nRestart=on-failure\n" in UNIT


def test_the_service_leaves_no_core_dump() -> None:
    assert "\nLimitCORE=0\n" in UNIT


def test_a_command_is_run_by_systemd_as_the_service_is(unit_and_command: tuple[str, list[str]]) -> None:
    unit, reported = unit_and_command
    place = reported.index("--")
    options, command = reported[:place], reported[place + 1 :]
    properties = [
        option.removeprefix("--property=") for option in options if option.startswith("--property=")
    ]
    [name] = [option.removeprefix("--unit=") for option in options if option.startswith("--unit=")]

    assert command == ["/opt/tickets/bin/tickets", "token", "--sub", "a $$HOME 'b'", ""]
    assert {"--pipe", "--wait", "--collect"} <= set(options)
    kept = {line for line in unit.partition("[Service]")[2].splitlines() if re.match("[A-Z]", line)}
    at_a_start = {line for line in kept if re.match("Exec|Type|Restart|Kill|Timeout", line)}
    credentials = f"/run/credentials/{name}.service"
    expected = {line.replace("%d", credentials).replace("%S", "/var/lib") for line in kept - at_a_start}
    assert len(at_a_start) == 8
    assert set(properties) == (expected - {"WantedBy=multi-user.target"}) | {
        'Environment="TICKETS_LANGUAGE=de"'
    }
    # The first of these makes it a list of allowed calls.
    filters = [value for value in properties if value.startswith("SystemCallFilter=")]
    assert filters == re.findall(r"^SystemCallFilter=.*$", unit, re.MULTILINE)


@needs_systemd
def test_systemd_accepts_the_properties_of_the_command(
    unit_and_command: tuple[str, list[str]], tmp_path: Path
) -> None:
    _, reported = unit_and_command
    properties = [
        option.removeprefix("--property=") for option in reported if option.startswith("--property=")
    ]
    path = tmp_path / "tickets-command.service"
    path.write_text("\n".join(["[Service]", f"ExecStart={sys.executable}", *properties, ""]))

    assert lint("systemd-analyze", "verify", str(path)) == ""


@needs_systemd
def test_systemd_accepts_the_unit(unit: Path) -> None:
    assert lint("systemd-analyze", "verify", str(unit)) == ""


@needs_systemd
def test_systemd_finds_a_fault(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("ProtectHome=yes", "ProtectHouse=yes"))

    assert "ProtectHouse" in lint("systemd-analyze", "verify", str(unit))


@needs_systemd
def test_the_unit_has_a_low_exposure(unit: Path) -> None:
    threshold = str(round(MOST_EXPOSED * 10))

    report = lint("systemd-analyze", "security", "--offline=true", f"--threshold={threshold}", str(unit))

    assert "Overall exposure level" in report


def test_the_service_runs_without_writable_executable_memory(tmp_path: Path) -> None:
    # MemoryDenyWriteExecute= calls prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN).
    script = (
        "import ctypes, os, sys; libc = ctypes.CDLL(None, use_errno=True);"
        "libc.prctl(65, 1, 0, 0, 0) == 0 or sys.exit(77);"
        "os.execv(sys.executable, [sys.executable, '-m', 'interface.main', 'jobs', 'expire'])"
    )
    done = run(sys.executable, "-c", script, cwd=tmp_path, PYTHONPATH=str(ROOT))

    if done.returncode == 77:
        pytest.skip("this kernel does not know PR_SET_MDWE (Linux 6.3)")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_created_secrets_are_accepted_by_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = tmp_path / "secrets"
    lint("sh", str(DEPLOY / "make-secrets.sh"), str(secrets), "db.example", cwd=tmp_path)
    before = contents(secrets)
    lint("sh", str(DEPLOY / "make-secrets.sh"), str(secrets), cwd=tmp_path)

    assert contents(secrets) == before
    assert {file.stat().st_mode & 0o777 for file in secrets.rglob("*") if file.is_file()} == {0o400}
    assert {path.stat().st_mode & 0o777 for path in (secrets, secrets / "ledger")} == {0o700}
    assert set(COMPOSE["secrets"]) <= before.keys()
    credentials = set(re.findall(r"^LoadCredential=\S+:/etc/tickets/secrets/(\S+)$", UNIT, re.MULTILINE))
    assert credentials <= before.keys()

    for name in ("outbox.key", "token.pem", "set.pem"):
        monkeypatch.setenv(f"{PREFIX}{name.partition('.')[0].upper()}_KEY_FILE", str(secrets / name))
    monkeypatch.setenv("TICKETS_LEDGER_KEY_DIR", str(secrets / "ledger"))
    monkeypatch.setenv("TICKETS_SECRETS_DIR", str(secrets))
    token = read_settings().metrics_token
    assert token is not None
    assert len(token.get_secret_value()) == 64
    url = read_settings().database_url
    assert (url.startswith("postgresql://tickets:"), url.endswith("@db.example/tickets")) == (True, True)
    monkeypatch.setenv("TICKETS_DATABASE_URL", f"sqlite:///{tmp_path}/tickets.db")
    with in_background(read_settings()) as (running, _):
        assert running.set_keys.key_set()["keys"]
        assert len(running.keys.public()) == 1
    assert contents(secrets) == before


@pytest.fixture(scope="module")
def index() -> None:
    """Skip a test if pip reaches no package index."""
    done = run(*PIP_DRY_RUN, "--no-deps", "--retries", "0", "--timeout", "10", "hatchling", cwd=None)
    if done.returncode:
        pytest.skip("pip reaches no package index")


@pytest.fixture
def unit_and_command(tmp_path: Path) -> tuple[str, list[str]]:
    """The unit, and the properties that tickets-of-systemd.sh gives to systemd-run if there is a drop-in."""
    drop_in = '\n# a drop-in\n[Service]\nEnvironment="TICKETS_LANGUAGE=de"\n[Unit]\nAfter=else.target\n'
    (tmp_path / "shown").write_text(UNIT + drop_in)
    for name, text in (("systemctl", f'cat "{tmp_path}/shown"'), ("systemd-run", "printf '%s\\0' \"$@\"")):
        stand_in = tmp_path / name
        stand_in.write_text(f"#!/bin/sh\n{text}\n")
        stand_in.chmod(0o755)
    done = run(
        *("bash", str(DEPLOY / "tickets-of-systemd.sh"), "token", "--sub", "a $HOME 'b'", ""),
        cwd=tmp_path,
        PATH=f"{tmp_path}:{os.environ['PATH']}",
    )
    assert (done.returncode, done.stderr) == (0, "")
    return UNIT, done.stdout.split("\0")[:-1]


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that exists on this machine."""
    path = tmp_path / "tickets.service"
    path.write_text(UNIT.replace("/opt/tickets/bin/tickets", sys.executable))
    return path


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(directory)): file.read_bytes() for file in directory.rglob("*") if file.is_file()
    }


def manifests(kind: str) -> list[Any]:
    return [manifest for manifest in all_manifests() if manifest["kind"] == kind]


def all_manifests() -> list[Any]:
    return list(itertools.chain.from_iterable(yaml.safe_load_all(path.read_text()) for path in MANIFESTS))


def locked_installs(text: str) -> list[tuple[str, list[str]]]:
    """Return the part of the lock and the options of each `pip install` in a text."""
    text = text.replace("\\\n", " ")
    parts = {file: part for part, file in re.findall(r"locked\.py (\w+) > (\S+)", text)}
    commands = re.findall(r"pip install ([^&\n]*?)--requirement (\S+)", text)
    return [(parts[file], shlex.split(options)) for options, file in commands]


def part(what: str) -> str:
    return lint(sys.executable, str(DEPLOY / "locked.py"), what)


def entries(lock: str) -> list[str]:
    return re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)[1:]


def requirements(lock: str) -> list[Requirement]:
    return [Requirement(entry.partition("\\")[0]) for entry in entries(lock)]


def version_of(pin: Requirement) -> str:
    [specifier] = pin.specifier
    assert specifier.operator == "=="
    return specifier.version


def pins(lock: str, python: str) -> set[tuple[str, str]]:
    """Return the names and versions that are for a version of Python on this machine. Raises if one is duplicated."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    chosen = [
        (pin.name, version_of(pin))
        for pin in requirements(lock)
        if not pin.marker or pin.marker.evaluate(environment)
    ]
    assert len(dict(chosen)) == len(chosen)
    return set(chosen)


def lint(*command: str, cwd: Path | None = None) -> str:
    """Run a tool, and return its output. Raises AssertionError if it fails."""
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def run(*command: str, cwd: Path | None, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return subprocess.run(
        command,
        cwd=cwd,
        env={**clean, "COLUMNS": "200", "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
