"""When a token is refreshed ahead of its end, and that what is held does not show itself."""

import pytest

from quart_app.tokens.held import refresh_moment


@pytest.mark.parametrize(("life", "least", "most"), [(3600.0, 60.0, 72.0), (100.0, 10.0, 12.0), (10.0, 1.0, 1.2)])
def test_how_early_is_the_sooner_of_a_minute_and_a_tenth(life: float, least: float, most: float) -> None:
    early = []
    for _ in range(50):
        moment = refresh_moment(1000.0, life, None)
        assert moment is not None
        early.append(1000.0 + life - moment)
    assert min(early) >= least - 1e-9
    assert max(early) <= most + 1e-9
    assert len(set(early)) > 1, "not all processes at once"


def test_a_life_that_is_unknown_has_no_moment() -> None:
    assert refresh_moment(1000.0, None, None) is None


@pytest.mark.parametrize("life", [None, 7200.0, 90 * 86400.0])
def test_it_is_never_later_than_half_of_the_life_of_the_refresh_token(life: float | None) -> None:
    for _ in range(50):
        moment = refresh_moment(1000.0, life, 3600.0)
        assert moment is not None
        assert 1000.0 + 1600.0 <= moment <= 1000.0 + 1800.0


def test_a_long_lived_refresh_token_changes_nothing() -> None:
    moment = refresh_moment(1000.0, 100.0, 90 * 86400.0)
    assert moment is not None
    assert 1088.0 - 1e-9 <= moment <= 1090.0 + 1e-9
