"""Wrong settings are named by their variable; secrets are never shown; each value's origin is."""

from pathlib import Path

import pytest

from edumeet_recording.cli.settings import BadSettings, in_force, load
from edumeet_recording.config import ClientSettings, NodeSettings, OrchestratorSettings, environment_of_child


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of the machine's: neither its environment nor a .env."""
    monkeypatch.chdir(tmp_path)
    for kind in (OrchestratorSettings, NodeSettings, ClientSettings):
        for name in kind.model_fields:
            monkeypatch.delenv(f"{kind.model_config.get('env_prefix', '')}{name}".upper(), raising=False)


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "99999")
    monkeypatch.setenv("JWT_SECRET", "short")
    with pytest.raises(BadSettings) as raised:
        load(OrchestratorSettings)
    assert "PORT: Input should be less than or equal to 65535" in raised.value.message
    assert "JWT_SECRET: must have at least 32 characters" in raised.value.message
    assert "short" not in raised.value.message


def test_a_rule_over_several_settings_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RTP_PORT_MAX", "40001")
    with pytest.raises(BadSettings, match=r"^RTP_PORT_MAX must be at least 4 above RTP_PORT_MIN$"):
        load(NodeSettings)


def test_options_come_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDUMEET_RECORDING_URL", "http://environment")
    assert load(ClientSettings).url == "http://environment"
    assert load(ClientSettings, url="http://option").url == "http://option"


def test_what_is_in_force_names_its_origin_and_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NODE_REGION=from-file\nREGISTRATION_SECRET=from-the-file\n")
    monkeypatch.setenv("JWT_SECRET", "x" * 32)
    monkeypatch.setenv("EDUMEET_RECORDING_URL", "http://service")
    rows = in_force()
    found = {variable: (value, origin) for _section, variable, value, origin in rows}
    assert found["JWT_SECRET"] == ("(set)", "environment")
    assert found["REGISTRATION_SECRET"] == ("(set)", ".env")
    assert found["NODE_REGION"] == ("from-file", ".env")
    assert found["EDUMEET_RECORDING_URL"] == ("http://service", "environment")
    assert found["EDUMEET_RECORDING_TOKEN"] == ("", "default")
    assert found["STORAGE_ALLOW_HTTP"] == ("false", "default")
    assert len(found) == len(rows)


def test_a_child_gets_the_settings_it_is_given_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://ours")
    monkeypatch.setenv("EDUMEET_RECORDING_TOKEN", "ours")
    monkeypatch.setenv("LC_ALL", "C")
    environment = environment_of_child({"PORT": "0"})
    assert environment["PORT"] == "0"
    assert environment["LC_ALL"] == "C"
    assert environment.keys().isdisjoint({"DATABASE_URL", "EDUMEET_RECORDING_TOKEN"})


@pytest.mark.parametrize(
    ("policy", "complaint"),
    [
        ("{", "Invalid JSON"),
        ('{"eu": {"maxNodes": "many"}}', r"eu.maxNodes: Input should be a valid integer"),
        ('{"*": {"maxnodes": 3}}', r"\*.maxnodes: Extra inputs are not permitted"),
        ('{"eu": {"minNodes": 3, "maxNodes": 2}}', "eu: minNodes 3 is above maxNodes 2"),
        ('{"*": {"maxNodes": 2}, "eu": {"minNodes": 3}}', "eu: minNodes 3 is above maxNodes 2"),
        ('{"eu": {"targetUtilisation": 0}}', r"eu.targetUtilisation: Input should be greater than 0"),
    ],
)
def test_a_wrong_policy_names_region_and_field(monkeypatch: pytest.MonkeyPatch, policy: str, complaint: str) -> None:
    monkeypatch.setenv("AUTOSCALE_POLICY", policy)
    with pytest.raises(BadSettings, match=f"^AUTOSCALE_POLICY: {complaint}"):
        load(OrchestratorSettings)


def test_a_regions_policy_goes_before_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSCALE_POLICY", '{"*": {"maxNodes": 20, "spareNodes": 0}, "eu": {"maxNodes": 5}}')
    settings = load(OrchestratorSettings)
    assert settings.scaled_regions == {"eu"}
    eu, other = settings.scaling_of("eu"), settings.scaling_of("us")
    assert (eu.max_nodes, eu.spare_nodes, other.max_nodes, other.min_nodes) == (5, 0, 20, 1)
