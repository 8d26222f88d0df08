"""The health check uses TLS if the service does, and imports only the standard library."""

import subprocess
import sys
from pathlib import Path

import pytest

from interface.healthcheck import serves_tls
from interface.settings import PREFIX, Settings, read_settings
from tests.support.server import ROOT


@pytest.mark.parametrize("where", ["environment", "lower case", "secrets", "nowhere"])
def test_it_uses_tls_if_the_service_does(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"TICKETS_SECRETS_DIR": str(tmp_path)}
    for name in ("tls_cert_file", "tls_key_file"):
        if where == "secrets":
            (tmp_path / f"tickets_{name}").write_text("/run/own.pem")
        elif where != "nowhere":
            given["tickets_" + name if where == "lower case" else PREFIX + name.upper()] = "/run/own.pem"
    for name, text in given.items():
        monkeypatch.setenv(name, text)

    assert serves_tls(given) is bool(read_settings().tls_cert_file)
    assert serves_tls(given) is (where != "nowhere")
    assert "tls_cert_file" in Settings.model_fields


def test_it_imports_the_standard_library_only() -> None:
    script = "import sys, interface.healthcheck; print(*{name.partition('.')[0] for name in sys.modules})"
    reported = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {script}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout.split()

    assert set(reported) - sys.stdlib_module_names == {"__main__", "interface"}
