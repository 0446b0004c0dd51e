"""`switchboard doctor`: a table of all, one in full, and an exit code for scripts."""

import json

from tests.test_cli import Shell
from tests.test_cli import alone as alone  # fixtures
from tests.test_cli import api as api
from tests.test_cli import beside as beside
from tests.test_cli import shell as shell

KEY = ("--scheme=api_key", "--auth=name=X-Api-Key", "--auth=value=very-secret", "--allow-private")
OAUTH = (
    "--scheme=oauth2",
    "--auth=grant=client_credentials",
    "--auth=token_url=http://127.0.0.1:9/token",
    "--auth=client_id=me",
    "--auth=client_secret=very-secret",
    "--allow-private",
)


def test_all_are_told_in_a_table_and_the_exit_code_says_whether_all_are_well(shell: Shell, api: str) -> None:
    shell.says("connection", "add", "good", api, *KEY)
    assert [line.split(maxsplit=3) for line in shell.says("doctor").splitlines()] == [
        ["name", "well", "state", "how it is"],
        ["good", "yes", "ready", "Nothing was sent through it yet."],
    ]
    shell.says("connection", "add", "bad", f"{api}/refused", *KEY)
    shell.says("call", "bad", "GET", "/")
    done = shell.run("doctor")
    assert (done.returncode, done.stderr) == (1, "")
    assert [line.split(maxsplit=3) for line in done.stdout.splitlines()[1:]] == [
        ["bad", "no", "ready", "The API refuses the credential: the last call was answered 401."],
        ["good", "yes", "ready", "Nothing was sent through it yet."],
    ]
    assert shell.run("doctor", "good").returncode == 0
    for name in ("good", "bad"):
        shell.says("connection", "remove", name)


def test_one_is_told_in_full(alone: Shell, api: str) -> None:
    alone.says("connection", "add", "items", api, *OAUTH)
    assert alone.says("doctor", "items").startswith("Well: the first call gets a token.\n")
    assert alone.run("call", "items", "GET", "/").returncode == 1
    done = alone.run("doctor", "items")
    assert (done.returncode, done.stderr) == (1, "")
    first, *rest = done.stdout.splitlines()
    assert first.startswith("The token endpoint was not reached ")
    lines = {line[:15].rstrip(): line[15:] for line in rest}
    assert lines.keys() == {
        "what to do", "failure", "detail", "next try", "last exchange", "token", "sign in again", "last used",
    }  # fmt: skip
    assert lines["failure"].startswith("network (connect_failed), 20")
    assert lines["last exchange"].startswith("failed, expired, 20")
    assert lines["sign in again"].startswith("never: ")
    assert "very-secret" not in done.stdout


def test_json_is_as_the_api_gives_it(alone: Shell, api: str) -> None:
    for name in ("one", "two"):
        alone.says("connection", "add", name, api, *KEY)
    lines = [json.loads(line) for line in alone.says("doctor", "--json").splitlines()]
    assert [(health["connection"], health["well"]) for health in lines] == [("two", True), ("one", True)]
    assert json.loads(alone.says("doctor", "two", "--json")) == lines[0]


def test_an_unknown_connection_is_said_on_stderr(alone: Shell) -> None:
    assert alone.refuses("doctor", "nothing") == "Error: There is no connection of this name.\n"


def test_without_connections_all_are_well(alone: Shell) -> None:
    assert alone.says("doctor").splitlines() == ["name  well  state  how it is"]
