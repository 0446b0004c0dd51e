"""The command line beside a running server, a process for each command, and without one.

Without one the commands run in this process, which takes a tenth of the time; `Served` and one test here run them
as processes as well.
"""

import json
import re
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import click
import pytest
from click.testing import CliRunner

from quart_app.cli import main
from tests.outbound.certificates import issued
from tests.served import SWITCHBOARD, Served, clean_environment

SECRET = "very-secret-password"


class Echo(BaseHTTPRequestHandler):
    """Says what was asked; 401 under /refused."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode("latin-1")
        said = {"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body}
        content = json.dumps(said).encode()
        self.send_response(401 if self.path.startswith("/refused") else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@dataclass
class Shell:
    """Runs commands on one data folder, as processes beside a server if there is one."""

    data: Path
    served: Served | None = None

    def run(self, *arguments: str) -> Done:
        given = [*arguments, "--data", str(self.data)]
        if self.served is not None:
            return in_a_process(*given)
        done = CliRunner().invoke(main, given)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
        return Done(done.exit_code, done.stdout, done.stderr)

    def says(self, *arguments: str) -> str:
        """What a command that works prints."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refuses(self, *arguments: str) -> str:
        """What a command that does not work says, on stderr and nowhere else."""
        done = self.run(*arguments)
        assert (done.returncode, done.stdout) == (1, ""), done
        assert done.stderr.startswith("Error: ")
        return done.stderr


def in_a_process(*arguments: str) -> Done:
    command, environment = [*SWITCHBOARD, *arguments], clean_environment()
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with Served.running(tmp_path_factory.mktemp("cli") / "data") as served:
        yield Shell(served.data, served)


@pytest.fixture
def alone(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "data")


@pytest.fixture(params=["beside", "alone"])
def shell(request: pytest.FixtureRequest) -> Shell:
    found: Shell = request.getfixturevalue(request.param)
    return found


def test_a_connection_is_added_listed_shown_checked_and_removed(shell: Shell, api: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    auth = ["--scheme=basic", "--auth=username=me", f"--auth=password=@{file}", "--header=X-Team: blue"]
    added = shell.says("connection", "add", "orders", api, *auth, "--policy=concurrency=64", "--allow-private")
    assert added == "orders is ready: switchboard call orders GET /\n"
    assert shell.says("connection", "list").splitlines()[1].split() == ["orders", "ready", "basic", api]
    shown = json.loads(text := shell.says("connection", "show", "orders"))
    assert SECRET not in text
    assert shown["auth"]["password"].keys() == {"set", "fingerprint"}
    assert (shown["headers"], shown["policy"]["concurrency"]) == ({"X-Team": "blue"}, 64)
    assert shell.says("connection", "check", "orders") == "The API answers (200).\n"
    called = shell.run(
        "call", "orders", "put", "/items?a=1", '--json={"hoge": "val"}', "--query=b= 2", "--header=X-B:  3 "
    )
    assert called.returncode == 0, called.stderr
    said = json.loads(called.stdout)
    assert (said["method"], said["path"], said["body"]) == ("PUT", "/items?a=1&b=+2", '{"hoge":"val"}')
    assert (said["headers"]["x-b"], said["headers"]["x-team"]) == ("3", "blue")
    assert SECRET not in called.stdout
    found = re.fullmatch(r"200 in \d\.\d{3} s, call ([0-9a-f-]{36})\n", called.stderr)
    assert found is not None
    assert [(state, origin) for id_, state, origin in calls(shell.data) if id_ == found[1]] == [("done", "api")]
    if shell.served is not None:  # the server knows at once what the command made
        assert shell.served.request("GET", f"/api/calls/{found[1]}")[0] == 200
        assert shell.served.request("GET", "/proxy/orders/")[0] == 200
    assert shell.says("connection", "remove", "orders") == ""
    if shell.served is not None:
        assert shell.served.request("GET", "/api/connections/orders")[0] == 404


def calls(data: Path) -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(data / "switchboard.db")) as database:
        return database.execute("SELECT id, state, origin FROM calls").fetchall()


def test_a_key_is_made_listed_and_revoked(shell: Shell) -> None:
    key = shell.says("key", "create", "robot", "--scope=read").strip()
    assert re.fullmatch(r"sb_[0-9a-f]{12}_[0-9a-f]{64}_[0-9a-f]{8}", key)
    key_id = key.split("_")[1]
    (line,) = [line for line in shell.says("key", "list").splitlines() if key_id in line]
    assert line.split() == [key_id, "robot", "read", "good"]
    if shell.served is not None:
        headers = [("Authorization", f"Bearer {key}")]
        assert shell.served.request("GET", "/api/calls", headers=headers)[0] == 200
    assert shell.says("key", "revoke", key_id) == ""
    assert key.split("_")[2] not in (listed := shell.says("key", "list"))
    assert f"{key_id}  robot" in listed
    assert "revoked" in listed


def test_an_account_is_made_and_gets_links(shell: Shell) -> None:
    links = [shell.says("account", "create", "ann"), shell.says("account", "link", "ann")]
    tokens = [re.search(r"http://\S+/sign-in#(\S+)", text) for text in links]
    assert None not in tokens
    assert len({found[1] for found in tokens if found}) == 2
    if shell.served is not None:
        own = [("X-Requested-By", "switchboard"), ("Sec-Fetch-Site", "same-origin")]
        for found in tokens:
            assert found is not None
            status, answer = shell.served.request("POST", "/api/sign-ins", {"token": found[1]}, own)
            assert (status, answer) == (201, {"account": {"name": "ann"}})


def test_a_connection_that_a_person_must_sign_in_for_says_where(alone: Shell, api: str) -> None:
    auth = ["--scheme=oauth2", "--auth=grant=authorization_code", "--auth=client_id=me", f"--auth=issuer={api}"]
    said = alone.says("connection", "add", "orders", api, *auth, "--allow-private")
    assert "http://127.0.0.1:8000/connections/orders\n" in said
    assert "http://127.0.0.1:8000/oauth/callback/orders\n" in said
    assert alone.says("connection", "list").splitlines()[1].split()[1] == "needs_sign_in"
    assert alone.says("connection", "remove", "orders") == ""


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/revoke", "orders is removed, and its token was taken back at the provider.\n"),
        (
            "/refused",
            "orders is removed, but its token was not taken back at the provider: The provider answered 401.\n",
        ),
    ],
)
def test_a_removal_says_what_became_of_the_token(alone: Shell, api: str, path: str, said: str) -> None:
    auth = ["--scheme=oauth2", "--auth=grant=refresh_token", "--auth=client_id=me", "--auth=refresh_token=given"]
    auth += [f"--auth=token_url={api}/token", f"--auth=revocation_url={api}{path}"]
    alone.says("connection", "add", "orders", api, *auth, "--allow-private")
    assert alone.says("connection", "remove", "orders") == said
    assert alone.says("connection", "list").splitlines()[1:] == []


def test_a_backup_is_a_whole_database_for_its_owner_only(shell: Shell, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    done = shell.run("backup", str(copy))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    key_id = shell.says("rotate-key", "--show").splitlines()[1].split()[0]
    assert done.stderr == f"{copy}: {copy.stat().st_size} bytes. It needs key {key_id}, which is not in it.\n"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM installation").fetchone() == (1,)
    restored = tmp_path / "restored"
    restored.mkdir(0o700)
    copy.rename(restored / "switchboard.db")
    (restored / "switchboard.key").write_bytes((shell.data / "switchboard.key").read_bytes())
    (restored / "switchboard.key").chmod(0o600)
    assert Shell(restored).says("connection", "list") == Shell(shell.data).says("connection", "list")


def test_the_key_is_rotated_and_the_one_before_named(shell: Shell) -> None:
    shell.says("connection", "add", "rotated", "http://x.example", "--scheme=bearer", f"--auth=token={SECRET}")
    path = shell.data / "switchboard.key"
    old, values, *what = shell.says("rotate-key", "--show").splitlines()[1].split()
    assert " ".join(what) == f"seals and reads, in {path}"
    done = shell.run("rotate-key")
    assert done.returncode == 0, done.stderr
    new = re.fullmatch(r"Key ([0-9a-f]{8}) seals now; (\d+) values were sealed anew\.", done.stdout.splitlines()[0])
    assert new
    assert new[2] == values
    assert done.stdout.splitlines()[1:] == [f"Backups made before need {path}.{old}: keep it with them."]
    assert shell.says("rotate-key", "--show").splitlines()[1:] == [f"{new[1]}  {values:6}  seals and reads, in {path}"]
    assert "fingerprint" in shell.says("connection", "show", "rotated")
    shell.says("connection", "remove", "rotated")


def test_values_that_do_not_open_are_named_and_the_exit_code_is_1(alone: Shell) -> None:
    alone.says("connection", "add", "orders", "http://x.example", "--scheme=bearer", f"--auth=token={SECRET}")
    with closing(sqlite3.connect(alone.data / "switchboard.db")) as database:
        sealed = b"\1" + bytes(40)
        database.execute("UPDATE connections SET sealed_secrets = ?", [sealed])
        database.commit()
    assert alone.says("rotate-key", "--show").splitlines()[2].split() == ["00000000", "1", "missing"]
    done = alone.run("rotate-key")
    assert (done.returncode, "2 values were sealed anew" in done.stdout) == (1, True)
    assert "connections.sealed_secrets was sealed with key 00000000. It is not here" in done.stderr


def test_a_sealing_key_is_not_taken_from_the_command_line_where_all_users_see_it(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["serve", "--data", str(tmp_path / "data"), f"--sealing-key={SECRET}"])
    assert done.exit_code == 2
    assert "--sealing-key would show in the list of processes: give it as SWITCHBOARD_SEALING_KEY." in done.stderr
    assert SECRET not in done.stderr
    assert "sealing" not in CliRunner().invoke(main, ["serve", "--help"]).stdout.replace("sealing keys;", "")
    assert not (tmp_path / "data").exists()


def test_what_cannot_be_done_is_said_on_stderr(alone: Shell, api: str, tmp_path: Path) -> None:
    alone.says("account", "create", "ann")
    for arguments, said in (
        (["connection", "show", "unknown"], "There is no connection of this name."),
        (["connection", "remove", "unknown"], "There is no connection of this name."),
        (["connection", "add", "private", api], "allow_private"),
        (["call", "unknown", "GET", "/"], "There is no connection of this name."),
        (["key", "revoke", "0" * 12], "There is no key of this id."),
        (["key", "create", "robot", "--scope=everything"], "Scopes are call, read, manage"),
        (["account", "create", "ann"], "There is an account named ann already."),
        (["account", "link", "bob"], "There is no account of this name."),
        (["backup", str(alone.data / "switchboard.key")], "File exists"),
        (["backup", str(tmp_path / "nowhere" / "copy.db")], "No such file"),
    ):
        assert said in alone.refuses(*arguments), arguments


def test_every_fault_of_an_input_is_said_at_once(alone: Shell) -> None:
    said = alone.refuses(
        "connection", "add", "Not A Name", "ftp://x", "--scheme=bearer", "--auth=tokem=x", "--policy=concurrency=0"
    )
    for pointer in ("/name", "/base_url", "/auth", "/policy/concurrency"):
        assert f"\n  {pointer}" in said
    said = alone.refuses("call", "orders", "NOT A METHOD", "/", "--text=x", "--json=1", "--header=X Y: 1")
    assert "\n  /method" in said
    assert "\n  /headers" in said


def test_files_go_as_they_are_and_answers_into_them(alone: Shell, api: str, tmp_path: Path) -> None:
    image, answer = tmp_path / "a.png", tmp_path / "answer"
    image.write_bytes(bytes(range(256)))
    alone.says("connection", "add", "orders", api, "--allow-private")
    alone.says(
        "call", "orders", "PUT", "/", f"--file={image}", "--header=Content-Type: image/png", f"--output={answer}"
    )
    said = json.loads(answer.read_bytes())
    assert (said["body"].encode("latin-1"), said["headers"]["content-type"]) == (image.read_bytes(), "image/png")
    parts = ["--part=a=1=2", f"--part=b=@{image}", f"--part=c=@{image};type=text/x; charset=latin1"]
    said = json.loads(alone.says("call", "orders", "POST", "/", *parts))
    kind, _, boundary = said["headers"]["content-type"].partition("; boundary=")
    assert kind == "multipart/form-data"
    heads = [part.partition("\r\n\r\n")[0].strip() for part in said["body"].split(f"--{boundary}")][1:-1]
    assert heads == [
        'Content-Disposition: form-data; name="a"',
        'Content-Disposition: form-data; name="b"; filename="a.png"\r\nContent-Type: image/png',
        'Content-Disposition: form-data; name="c"; filename="a.png"\r\nContent-Type: text/x; charset=latin1',
    ]
    assert said["body"].count("".join(map(chr, range(256)))) == 2


def test_a_body_may_come_from_stdin(alone: Shell, api: str) -> None:
    alone.says("connection", "add", "orders", api, "--allow-private")
    for option, expected in (("--file=-", "\0\xff"), ("--part=a=@-", 'name="a"\r\nContent-Type: application/octet')):
        arguments = ["call", "orders", "POST", "/", option, "--data", str(alone.data)]
        done = CliRunner().invoke(main, arguments, input=b"\0\xff")
        assert expected in json.loads(done.stdout)["body"]


def test_a_file_that_cannot_be_read_or_written_is_named(alone: Shell, api: str, tmp_path: Path) -> None:
    alone.says("connection", "add", "orders", api, "--allow-private")
    missing, huge = tmp_path / "missing", tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(100 * 1024**2 + 1)
    assert f"{missing}: No such file" in alone.refuses("call", "orders", "POST", "/", f"--file={missing}")
    assert f"{missing}: No such file" in alone.refuses("call", "orders", "POST", "/", f"--part=a=@{missing}")
    assert "send it through /proxy" in alone.refuses("call", "orders", "POST", "/", f"--file={huge}")
    assert "/multipart/0/media_type" in alone.refuses(
        "call", "orders", "POST", "/", f"--part=a=@{api and __file__};type=x"
    )


def test_a_call_that_fails_says_why(alone: Shell, api: str) -> None:
    alone.says("connection", "add", "nobody", "http://127.0.0.1:1", "--allow-private")
    failed = alone.run("call", "nobody", "GET", "/")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert re.fullmatch(
        r"failed in \S+ s, call \S+\nError: connect_failed: The upstream refused the connection.\n", failed.stderr
    )
    assert "The upstream refused the connection." in alone.refuses("connection", "check", "nobody")
    alone.says("connection", "add", "refusing", f"{api}/refused", "--allow-private")
    refused = alone.run("call", "refusing", "GET", "/")  # an upstream's 401 is an answer
    assert (refused.returncode, json.loads(refused.stdout)["path"]) == (0, "/refused/")
    assert "refused the credential (401)" in alone.refuses("connection", "check", "refusing")
    assert "There is no connection of this name." in alone.refuses("call", "unknown", "GET", "/")


def test_a_command_that_fails_ends_its_process_with_code_1(alone: Shell) -> None:
    done = in_a_process("connection", "check", "unknown", "--data", str(alone.data))
    assert done == Done(1, "", "Error: There is no connection of this name.\n")


# Without a data folder


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["connection", "add", "x", "http://x.example", "--auth", "no-separator"], "is not NAME=VALUE"),
        (["connection", "add", "x", "http://x.example", "--policy", "concurrency=many"], "is not JSON"),
        (["call", "x", "GET", "/", "--json", "{"], "is not JSON"),
        (["call", "x", "GET", "/", "--output=."], "is a directory"),
        (["call", "x", "GET", "/", "--output=nowhere/file"], "nowhere is not a folder"),
        (["call", "x", "GET"], "Missing argument 'PATH'"),
        (["nonsense"], "No such command 'nonsense'"),
    ],
)
def test_what_is_typed_wrong_is_said_with_exit_code_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    options = ["--data", str(tmp_path / "data")] if len(arguments) > 1 else []
    done = CliRunner().invoke(main, [*arguments, *options])
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_secret_may_come_from_a_file_that_has_to_be_there(tmp_path: Path) -> None:
    given = ["connection", "add", "x", "http://x.example", "--scheme=bearer", "--auth=token=@/nowhere/token"]
    done = CliRunner().invoke(main, [*given, "--data", str(tmp_path / "data")])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "/nowhere/token: No such file or directory" in done.stderr


def test_a_setting_that_cannot_be_read_is_said_by_name(tmp_path: Path) -> None:
    (tmp_path / "switchboard.toml").write_text('link_minutes = "soon"\ncolour = "blue"\n')
    done = CliRunner().invoke(main, ["key", "list", "--data", str(tmp_path)])
    assert done.exit_code == 1
    assert "link_minutes" in done.stderr
    assert "colour is not a setting" in done.stderr


def test_schema_is_printed_as_it_is() -> None:
    done = CliRunner().invoke(main, ["schema"])
    assert (done.exit_code, done.stdout) == (0, (Path(__file__).parents[1] / "schema.sql").read_text())


def commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


def test_every_command_says_what_it_does() -> None:
    found = dict(commands(main))
    assert found.keys() >= {("serve",), ("demo",), ("schema",), ("backup",), ("call",), ("connection", "check")}
    for path, command in found.items():
        for option in ("--help", "-h"):
            done = CliRunner().invoke(main, [*path, option])
            assert (done.exit_code, done.stderr) == (0, ""), path
            assert done.stdout.startswith("Usage: ")
            assert command.help
            assert command.help.split("\n")[0] in " ".join(done.stdout.split())


def test_version_is_the_packages() -> None:
    done = CliRunner().invoke(main, ["--version"])
    assert (done.exit_code, bool(re.search(r"\d+\.\d+\.\d+", done.stdout))) == (0, True)


def test_tls_and_a_proxy_are_given_by_files_and_shown_without_their_secrets(alone: Shell, tmp_path: Path) -> None:
    pair = issued("client.example")
    (tmp_path / "cert.pem").write_text(pair.certificate)
    (tmp_path / "key.pem").write_text(pair.key)
    tls = [f"--tls=certificate=@{tmp_path}/cert.pem", f"--tls=key=@{tmp_path}/key.pem", "--tls=verify=false"]
    proxy = ["--proxy=url=http://proxy.example.com:3128", "--proxy=username=me", f"--proxy=password={SECRET}"]
    alone.says("connection", "add", "orders", "https://api.example.com", *tls, *proxy)
    shown = json.loads(text := alone.says("connection", "show", "orders"))
    assert (shown["tls"]["verify"], shown["tls"]["key"].keys()) == (False, {"set", "fingerprint"})
    assert shown["proxy"] | {"password": None} == {
        "url": "http://proxy.example.com:3128", "username": "me", "password": None,
    }  # fmt: skip
    assert SECRET not in text
    assert "PRIVATE" not in text
    wrong = alone.refuses("connection", "add", "b", "https://api.example.com", tls[0])
    assert "/tls/key: is missing" in wrong


def test_the_audit_is_listed_and_checked(shell: Shell) -> None:
    shell.says("key", "create", "audited")
    shell.says("account", "create", "audited")
    listed = shell.says("audit").splitlines()
    assert listed[0].split() == ["number", "at", "actor", "action", "subject", "detail"]
    assert [line.split()[3] for line in listed[1:4]] == ["link_created", "account_created", "key_created"]
    assert json.loads(shell.says("audit", "--json", "--limit=1"))["action"] == "link_created"
    assert re.match(r"All \d+ entries hold\. The last one's hash is [0-9a-f]{64}\.", shell.says("audit", "--verify"))


def test_an_audit_that_was_changed_is_told_with_the_first_entry_that_does_not_fit(alone: Shell) -> None:
    assert alone.says("audit", "--verify") == "The audit is empty.\n"
    for number in range(3):
        alone.says("key", "create", f"key-{number}")
    with closing(sqlite3.connect(alone.data / "switchboard.db")) as database, database:
        database.execute("UPDATE audit_entries SET subject = 'other' WHERE number = 2")
    assert "entry 2 does not follow from entry 1" in alone.refuses("audit", "--verify")


def test_an_entry_of_egress_allow_that_is_none_is_told(alone: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHBOARD_EGRESS_ALLOW", "10.0.0.0/8, 0.0.0.0/0")
    assert "egress_allow: 0.0.0.0/0 is wider than the rule" in alone.refuses("connection", "list")
