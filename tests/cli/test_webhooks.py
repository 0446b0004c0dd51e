"""`switchboard webhook` beside a running server and without one."""

from pathlib import Path

import pytest

from tests.served import Served
from tests.test_cli import Shell
from tests.webhooks.receiver import receiving, verified

URL = "https://hooks.example.com/services/T0/key-in-path?key=in-query"


@pytest.fixture
def alone(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "data")


def test_a_webhook_is_added_listed_and_removed(alone: Shell, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{URL}\n")
    done = alone.run("webhook", "add", f"@{tmp_path / 'url'}", "--event=recovered", "--event=needs_sign_in")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("whsec_")
    assert done.stdout.count("\n") == 1
    listed = alone.says("webhook", "list")
    (row,) = listed.splitlines()[1:]
    webhook_id, *rest = row.split()
    assert rest == ["https://hooks.example.com/services/…", "needs_sign_in", "recovered"]
    assert webhook_id in done.stderr
    for hidden in ("key-in-path", "in-query", done.stdout.strip()):
        assert hidden not in listed + done.stderr
    assert alone.says("webhook", "deliveries", webhook_id).split()[:2] == ["id", "event"]
    assert alone.says("webhook", "remove", webhook_id) == ""
    assert alone.says("webhook", "list").splitlines()[1:] == []
    assert "There is no webhook of this id" in alone.refuses("webhook", "remove", webhook_id)
    assert "There is no webhook of this id" in alone.refuses("webhook", "deliveries", webhook_id)
    assert alone.says("audit", "--json", "--limit=1").count("webhook_deleted") == 1


def test_every_fault_of_a_webhook_is_said_at_once(alone: Shell) -> None:
    said = alone.refuses("webhook", "add", "http://127.0.0.1/in-query", "--event=nope")
    assert "/events/0: " in said
    assert "/allow_private: egress rule loopback" in said
    assert "in-query" not in said


def test_a_webhook_added_beside_a_server_is_told_by_it_and_its_delivery_is_listed(served: Served) -> None:
    with receiving() as (url, arrived):
        secret = served.cli("webhook", "add", f"{url}/in", "--allow-private")
        webhook_id = served.cli("webhook", "list").splitlines()[1].split()[0]
        status, asked = served.request("POST", f"/api/webhooks/{webhook_id}/deliveries")
        assert status == 201, asked
        seen = arrived.get(timeout=20)
    assert verified(seen, secret)["type"] == "webhook.test"
    assert seen.header("webhook-id") == asked["id"]
    row = served.cli("webhook", "deliveries", webhook_id).splitlines()[1].split()
    assert row[:3] == [asked["id"], "test", "-"]
