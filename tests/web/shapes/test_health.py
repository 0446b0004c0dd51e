"""Answers of the doctor in every class of failure, held against the shapes of the document."""

from typing import Any, get_args

import pytest

from quart_app.doctor import view
from quart_app.doctor.facts import Facts
from quart_app.doctor.failures import Kind
from quart_app.web.bodies import answer
from quart_app.web.shapes.health import HealthPage, HealthView
from tests.doctor.rows import KEY, connection, exchange, facts, failed, oauth, token, use

CASES: dict[str, Facts] = {
    "well": facts(connection(), token(signed_in_at=1.0, signed_in_by="account:me"), exchange(skew_seconds=99.0)),
    "signed_out": facts(connection(state="needs_sign_in"), token(), failed("signed_out", "invalid_grant")),
    "wrong_client": facts(connection(state="config_error"), token(), failed("wrong_client", "invalid_client")),
    "clock": facts(connection(oauth("jwt_bearer")), token(failures=1), failed("clock", skew_seconds=-99.0)),
    "network": facts(connection(), token(retry_at=2e9, failures=1), failed("network", "dns_failed")),
    "provider_down": facts(connection(), token(refresh_expires_at=2e9, failures=1), failed("provider_down")),
    "odd_answer": facts(
        connection(), token(expires_at=None, failures=1), failed("odd_answer", oddities=["It is a page."])
    ),
    "storage": facts(connection(), token(), exchange("sent", 3), unstored=True),
    "not_signed_in": facts(connection(), None),
    "refused": facts(connection(KEY), uses=[use(401)]),
    "paused": facts(connection(KEY, state="paused")),
}


@pytest.mark.parametrize("name", CASES)
async def test_the_doctor_s_word_has_its_shape_in_every_class(name: str) -> None:
    said: Any = view(CASES[name])
    content = await answer(said).get_data()
    shown = HealthView.model_validate_json(content, strict=True)
    assert (shown.failure.class_ if shown.failure else "well") == name
    page = await answer({"items": [said], "next": None}).get_data()
    assert HealthPage.model_validate_json(page, strict=True).items == [shown]


def test_there_is_a_case_for_every_class() -> None:
    assert CASES.keys() == {*get_args(Kind), "well"}
