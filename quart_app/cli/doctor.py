"""`switchboard doctor`: how the connections are, and what to do where one is not well."""

import json
from typing import Any

import click

from quart_app import doctor
from quart_app.cli.options import STORE, opened, print_table, run, settings_options

PAGE = 100


@click.command("doctor")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="JSON as the API gives it, a line for each connection.")
@settings_options(*STORE)
def examine(name: str | None, as_json: bool, **options: str | None) -> None:
    """Tell how all connections are, or all about one. Exit code 1 where one is not well; nothing is dialled."""
    found = run(all_of(options) if name is None else one_of(name, options))
    if as_json:
        for health in found:
            click.echo(json.dumps(health))
    elif name is None:
        print_table(("name", "well", "state", "how it is"), [row(health) for health in found])
    else:
        tell(found[0])
    if not all(health["well"] for health in found):
        click.get_current_context().exit(1)


async def all_of(options: dict[str, str | None]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with opened(options) as services, services.db.session() as session:
        after, full = None, True
        while full:
            items, after = await doctor.page(services, session, limit=PAGE, after=after)
            found += items
            full = len(items) == PAGE
    return found


async def one_of(name: str, options: dict[str, str | None]) -> list[dict[str, Any]]:
    async with opened(options) as services, services.db.session() as session:
        return [await doctor.show(services, session, name)]


def row(health: dict[str, Any]) -> tuple[str, ...]:
    return health["connection"], "yes" if health["well"] else "no", health["state"], health["summary"]


def tell(health: dict[str, Any]) -> None:
    """Line by line, without those that have nothing to say."""
    lines = [("", health["summary"]), ("what to do", health["next"]), *failure_lines(health), *token_lines(health)]
    lines += [(f"oddity {number}", said) for number, said in enumerate(health["oddities"], 1)]
    said = [(title, text) for title, text in lines if text]
    width = max(len(title) for title, _ in said) + 2
    for title, text in said:
        click.echo(f"{title:<{width}}{text}" if title else text)


def failure_lines(health: dict[str, Any]) -> list[tuple[str, str | None]]:
    failure = health["failure"]
    if failure is None:
        return []
    code = f" ({failure['code']})" if failure["code"] else ""
    seen = f", {failure['at']}" if failure["at"] else ""
    return [
        ("failure", f"{failure['class']}{code}{seen}"),
        ("detail", failure["detail"]),
        ("next try", health["retry_at"]),
    ]


def token_lines(health: dict[str, Any]) -> list[tuple[str, str | None]]:
    token, again, last = health["token"], health["sign_in_again"], health["last_exchange"]
    signed_in, used = health["signed_in"], health["last_used"]
    return [
        (
            "last exchange",
            f"{last['state']}, {last['cause']}, {last['claimed_at']}, call {last['id']}" if last else None,
        ),
        ("token", f"generation {token['generation']}, until {token['expires_at'] or 'unknown'}" if token else None),
        ("scope", token["scope"] if token else None),
        ("signed in", f"{signed_in['at']} by {signed_in['by']}" if signed_in else None),
        ("sign in again", f"{again['at'] or again['when']}: {again['why']}"),
        ("last used", f"{used['at']} by {used['actor']} ({used['origin']}), call {used['call']}" if used else None),
    ]
