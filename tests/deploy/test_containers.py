"""``Dockerfile`` and ``compose.yaml``: linted, and what they name is there. No image is built here."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from lib.settings import Settings
from web.shutdown import DRAIN_SECONDS

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
DOCUMENT = (ROOT / "docs" / "docker.md").read_text()
OURS = {f.metadata["variable"] for f in fields(Settings)}
# read by Gradio, huggingface_hub, Python and the shell
THEIRS = {
    "GRADIO_SERVER_NAME",
    "GRADIO_SERVER_PORT",
    "HF_HOME",
    "HOME",
    "PATH",
    "PYTHONUNBUFFERED",
    "PYTHONDONTWRITEBYTECODE",
}
OF_COMPOSE = {"BIND", "PORT", "GRAFANA_PORT", "TORCH_INDEX", "REQUIREMENTS"}


def tool(name: str) -> str:
    """A linter of requirements-dev.txt, beside the interpreter that runs the tests."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert found, f"pip install -r requirements-dev.txt brings {name}"
    return found


def instructions(word: str) -> list[str]:
    """The arguments of each ``word`` of the Dockerfile."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.M).replace("\\\n", " ")
    return [line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith(f"{word} ")]


def yaml_of(name: str) -> Any:
    return yaml.safe_load((ROOT / "deploy" / name).read_text())


@pytest.mark.parametrize(
    "words", [["hadolint", "Dockerfile"], ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"]]
)
def test_lint(words: list[str]) -> None:
    run = subprocess.run([tool(words[0]), *words[1:]], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps ``path`` from the build: the last line that fits decides."""
    found = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if not line or line.startswith("#"):
            continue
        parts = path.split("/")
        heads = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        names = parts if pattern.startswith("**/") else heads
        if any(fnmatch.fnmatchcase(name, pattern.removeprefix("**/")) for name in names):
            found = not line.startswith("!")
    return found


def test_what_is_copied_is_there_and_enough() -> None:
    copied = [path for line in instructions("COPY") if not line.startswith("--from") for path in line.split()[:-1]]
    assert all((ROOT / path).exists() and not ignored(path) for path in copied)
    code = {"app.py", "lib", "web", "spaces", "models"}  # tests/test_architecture.py: app.py imports nothing else
    assert code <= set(copied) and "requirements.txt" in copied and "packages.txt" in copied
    kept = [path for path in tracked() if not ignored(path)]
    assert {path.split("/")[0] for path in kept} == set(copied)
    assert not [path for path in kept if path.startswith("lib/deploy") or "__pycache__" in path]
    assert ignored(".git/config") and ignored(".env") and ignored("tests/tiny.py") and not ignored("lib/jobs.py")


def tracked() -> list[str]:
    found = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [path for path in found if path]


def test_the_code_that_is_copied_runs(tmp_path: Path) -> None:
    """The files of the image alone say what is wrong with a setting, so all that app.py imports is there."""
    for path in tracked():
        if not ignored(path) and (ROOT / path).is_file():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, tmp_path / path)
    run = subprocess.run(
        [sys.executable, "app.py"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "JOBS": "zero", "DATA_FOLDER": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 2 and "JOBS was 'zero'" in run.stderr, run.stderr


def test_it_runs_as_nobody_and_is_probed() -> None:
    assert instructions("USER") == ["1000"] and instructions("STOPSIGNAL") == ["SIGTERM"]
    assert instructions("CMD")[-1] == '["python", "app.py"]' and instructions("ENTRYPOINT") == ['["tini", "--"]']
    assert instructions("EXPOSE") == ["7860"] and instructions("VOLUME") == ["/data"]
    (probe,) = instructions("HEALTHCHECK")
    code = json.loads(probe[probe.index("[") :])
    assert code[:2] == ["python", "-c"] and "/readyz" in code[2]
    compile(code[2], "HEALTHCHECK", "exec")


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (503, 1)])
def test_the_probe_tells_a_ready_app_from_one_that_loads(status: int, expected: int) -> None:
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    (probe,) = instructions("HEALTHCHECK")
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        words = [sys.executable, *json.loads(probe[probe.index("[") :])[1:]]
        run = subprocess.run(words, env={"GRADIO_SERVER_PORT": str(server.server_port)}, capture_output=True, timeout=60)
    assert run.returncode == expected


def test_variables_are_settings() -> None:
    own = {name for line in instructions("ENV") for name in re.findall(r"(\w+)=", line)}
    services = COMPOSE["services"].values()
    given = {name for service in services for name in service.get("environment", {})}
    asked = set(re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text()))
    assert own <= OURS | THEIRS and given <= OURS
    assert asked <= OURS | OF_COMPOSE and asked >= OF_COMPOSE
    built = {line.partition("=")[0] for line in instructions("ARG")}
    assert {name for service in services if "build" in service for name in service["build"]["args"]} <= built
    assert all(f"`{name}`" in DOCUMENT for name in OF_COMPOSE)
    Settings.from_environment({name: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value) for name, value in given_values().items()})


def given_values() -> dict[str, str]:
    return {name: str(value) for s in COMPOSE["services"].values() for name, value in s.get("environment", {}).items()}


def test_files_and_volumes_are_there() -> None:
    for name, service in COMPOSE["services"].items():
        for volume in service.get("volumes", []):
            source, target, *mode = volume.split(":")
            if source.startswith("."):
                assert (ROOT / source).is_file() and mode == ["ro"], (name, volume)
            else:
                assert source in COMPOSE["volumes"] and target.startswith("/")
        assert set(service.get("secrets", [])) <= COMPOSE["secrets"].keys()
        assert set(service.get("depends_on", [])) <= COMPOSE["services"].keys()
    assert {v.split("/")[-1] for v in map(str, (ROOT / "deploy").iterdir())} <= set(
        re.findall(r"[\w.-]+\.yml", str(COMPOSE))
    )


def test_profiles() -> None:
    by_profile = {name: service["profiles"] for name, service in COMPOSE["services"].items()}
    assert by_profile == {"app": ["app"], "page": ["workers"], "prometheus": ["operate"], "grafana": ["operate"]}
    said = re.findall(r"docker compose ((?:--profile \w+ )+)up", DOCUMENT)
    known = {profile for profiles in by_profile.values() for profile in profiles}
    assert {name for words in said for name in words.split() if name != "--profile"} == known
    app, page = COMPOSE["services"]["app"], COMPOSE["services"]["page"]
    assert page["deploy"]["resources"]["reservations"]["devices"][0]["driver"] == "nvidia" and "deploy" not in app
    for service in (app, page):
        assert float(service["stop_grace_period"].rstrip("s")) > DRAIN_SECONDS + 10
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
        written = {volume.split(":")[1] for volume in service["volumes"]}
        assert written == {"/data", "/tmp"}  # the image sets HOME, HF_HOME and DATA_FOLDER below /data


def test_prometheus_and_grafana_find_each_other() -> None:
    config = yaml_of("prometheus.yml")
    (job,) = config["scrape_configs"]
    alerts = (ROOT / "docs" / "alerts.yml").read_text()
    assert f'job="{job["job_name"]}"' in alerts
    (target,) = job["static_configs"][0]["targets"]
    host, port = target.split(":")
    for name in ("app", "page"):
        service = COMPOSE["services"][name]
        assert host in service["networks"]["default"]["aliases"] and service["ports"][0].endswith(f":{port}")
    prometheus, grafana = COMPOSE["services"]["prometheus"], COMPOSE["services"]["grafana"]
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{prometheus['secrets'][0]}"
    assert COMPOSE["secrets"] == {"metrics_token": {"environment": "METRICS_TOKEN"}}
    assert any(volume.split(":")[1] in config["rule_files"] for volume in prometheus["volumes"])
    (source,) = yaml_of("grafana-sources.yml")["datasources"]
    assert source["type"] == "prometheus" and source["url"] == "http://prometheus:9090" and source["isDefault"]
    (provider,) = yaml_of("grafana-dashboards.yml")["providers"]
    assert any(volume.split(":")[1].startswith(provider["options"]["path"]) for volume in grafana["volumes"])
    assert json.loads((ROOT / "docs" / "grafana.json").read_text())["templating"]["list"][0]["query"] == source["type"]


@pytest.mark.skipif(not shutil.which("promtool"), reason="Debian's package prometheus has promtool")
def test_promtool(tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text(
        (ROOT / "deploy" / "prometheus.yml")
        .read_text()
        .replace("/etc/prometheus", str(ROOT / "docs"))
        .replace("/run/secrets/metrics_token", str(ROOT / "LICENSE"))
    )
    run = subprocess.run(["promtool", "check", "config", str(tmp_path / "prometheus.yml")], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
