"""Presets in a terminal: found, shown, and connections added with them."""

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import rsa

from quart_app.cli import main
from quart_app.cli.presets import command
from quart_app.forms import presets
from tests.outbound.certificates import issued

SECRET = "very-secret-value"
KEY = issued("client.example", key=rsa.generate_private_key(65537, 2048)).key
ONE_OF_EACH = (
    "algolia",
    "azure-devops",
    "box-app",
    "ebay-user",
    "okta",
    "salesforce-jwt",
    "stripe",
    "twilio",
    "zendesk",
)


def says(*arguments: str) -> str:
    done = CliRunner().invoke(main, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(*arguments: str) -> Result:
    done = CliRunner().invoke(main, list(arguments))
    assert done.exit_code != 0
    assert isinstance(done.exception, SystemExit), done.exc_info
    return done


def test_presets_are_listed_and_found() -> None:
    assert len(says("preset", "list").splitlines()) == len(presets.catalogue()) + 1
    assert [line.split()[0] for line in says("preset", "list", "slack").splitlines()] == ["id", "slack", "slack-token"]
    assert "No preset has 'nothing like it'" in refused("preset", "list", "nothing like it").stderr


def test_one_is_shown_with_all_that_it_asks_for_and_how_it_is_added() -> None:
    text = says("preset", "show", "gitlab")
    for part in (
        "https://{host}/api/v4",
        "host [gitlab.com]",
        "* read_user: Read the profile",
        "  api: Read and write",
    ):
        assert part in text
    assert text.endswith("switchboard connection add NAME --preset gitlab --auth client_id=… --auth client_secret=-\n")
    assert json.loads(says("preset", "show", "gitlab", "--json")) == presets.view(presets.find("gitlab"))
    assert "There is no preset 'nope'" in refused("preset", "show", "nope").stderr


@pytest.mark.parametrize("id_", ONE_OF_EACH)
def test_the_command_that_is_shown_adds_it_once_its_gaps_are_filled(id_: str, tmp_path: Path) -> None:
    preset = presets.find(id_)
    (tmp_path / "key.pem").write_text(KEY)
    (tmp_path / "secret").write_text(SECRET)
    typed = command(preset).replace("=-", f"=@{tmp_path}/secret").replace("@key.pem", f"@{tmp_path}/key.pem")
    for variable in preset.variables:
        typed = typed.replace(f"--set {variable.name}=…", f"--set {variable.name}={variable.example}")
    arguments = shlex.split(typed.replace("=…", "=me").replace("NAME", "mine"))[1:]
    added = says(*arguments, "--data", str(tmp_path / "data"))
    assert added.startswith("mine waits for" if presets.way(preset) == "authorization_code" else "mine is ready")
    shown = json.loads(text := says("connection", "show", "mine", "--data", str(tmp_path / "data")))
    assert shown["metadata"]["preset"] == preset.id
    assert SECRET not in text


def test_one_of_each_way_to_sign_in_is_among_those_that_are_tried() -> None:
    tried = {presets.way(presets.find(id_)) for id_ in ONE_OF_EACH}
    assert tried == {presets.way(preset) for preset in presets.catalogue().values()}


def test_what_is_given_goes_before_the_preset(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    given = ["--auth=client_id=me", "--auth=scope=repo read:org", '--auth=authorize_extra={"login": "ann"}']
    given += ["--auth=refresh_token_seconds=86400", "--header=Accept: text/html", "--policy=concurrency=2"]
    added = says(
        "connection", "add", "hub", "https://github.acme.example/api/v3", "--preset=github", *given, "--data", data
    )
    assert "http://127.0.0.1:8000/connections/hub\n" in added
    assert added.endswith("redirect URI: http://127.0.0.1:8000/oauth/callback/hub\n")
    shown = json.loads(says("connection", "show", "hub", "--data", data))
    assert shown["base_url"] == "https://github.acme.example/api/v3"
    assert (shown["auth"]["scope"], shown["auth"]["authorize_extra"]) == ("repo read:org", {"login": "ann"})
    assert shown["auth"]["refresh_token_seconds"] == 86400
    assert shown["headers"] == {"Accept": "text/html", "X-GitHub-Api-Version": "2022-11-28"}
    assert shown["policy"]["concurrency"] == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--preset=nope"], "There is no preset of this id."),
        (["--preset=zendesk"], "/variables/subdomain: is required"),
        (["--preset=zendesk", "--set=subdomain=A/B"], "/variables/subdomain: is not a subdomain; such as acme"),
        (["--preset=github", "--set=host=x"], "/variables/host: is no variable of this preset; it has none"),
        (["--preset=github", "--set=host"], "'host' is not NAME=VALUE"),
        (["--preset=github"], "/auth/client_id: Field required"),
        (["--preset=github", "--auth=client_id=me", "--auth=extra=x"], "'x' is not JSON"),
        ([], "Give BASE_URL, or a --preset that knows it."),
        (["https://api.example.com", "--set=a=b"], "--set is for presets."),
    ],
)
def test_what_does_not_do_is_said(arguments: list[str], says: str, tmp_path: Path) -> None:
    assert says in refused("connection", "add", "mine", *arguments, "--data", str(tmp_path / "data")).stderr
