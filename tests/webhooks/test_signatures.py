"""Signatures by the Standard Webhooks specification: its published example, and what a change of any part does."""

import base64
import re
import time
from pathlib import Path
from typing import Any

import pytest

from quart_app.webhooks.signatures import headers, new_secret
from tests.upstream import Seen
from tests.webhooks.receiver import Forged, verified

EXAMPLE = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'


def arrived(given: list[tuple[str, str]], body: bytes = BODY) -> Seen:
    return Seen("POST", "/", given, body)


def test_the_published_example_is_signed_as_it_is_published() -> None:
    assert headers([EXAMPLE], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330.9, BODY) == [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ]


def test_a_change_of_body_id_time_or_secret_does_not_verify() -> None:
    secret = new_secret()
    given = headers([secret], "id-1", 1e9, BODY)
    assert verified(arrived(given), secret) == {"test": 2432232314}
    (id_, at, signature) = given
    changed = [
        (arrived(given, BODY.replace(b"4}", b"5}")), secret),
        (arrived([("webhook-id", "id-2"), at, signature]), secret),
        (arrived([id_, ("webhook-timestamp", "1000000001"), signature]), secret),
        (arrived(given), new_secret()),
    ]
    for seen, by in changed:
        with pytest.raises(Forged):
            verified(seen, by)


def test_two_secrets_make_two_signatures_and_either_is_enough() -> None:
    one, other = new_secret(), new_secret()
    seen = arrived(headers([one, other], "id", 1e9, BODY))
    assert len((seen.header("webhook-signature") or "").split(" ")) == 2
    assert verified(seen, one) == verified(seen, other)


def test_each_secret_is_new_and_has_256_bits() -> None:
    made = {new_secret() for _ in range(50)}
    assert len(made) == 50
    assert {len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) for secret in made} == {32}


def test_the_receiver_in_the_documents_takes_what_is_ours_and_refuses_what_is_not() -> None:
    text = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    is_ours, one, other = names["is_ours"], new_secret(), new_secret()
    given = dict(headers([one, other], "id", time.time(), BODY))
    assert is_ours(one, given, BODY)
    assert is_ours(other, given, BODY)
    assert not is_ours(one, given, BODY + b" ")
    assert not is_ours(new_secret(), given, BODY)
    assert not is_ours(one, dict(headers([one], "id", time.time() - 301, BODY)), BODY)
