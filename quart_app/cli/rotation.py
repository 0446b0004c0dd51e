"""`switchboard rotate-key`: everything sealed with a new key, while servers run."""

import time

import click

from quart_app import rekeying
from quart_app.cli.options import STORE, actor, opened, print_table, run, settings_options
from quart_app.rekeying import Rotation
from quart_app.services import Services

TOLD_SECONDS = 1.0


@click.command("rotate-key")
@click.option("--show", is_flag=True, help="Change nothing: list the keys, where they are and how much each sealed.")
@settings_options(*STORE)
def rotate_key(show: bool, **options: str | None) -> None:
    """Seal everything with a new key while servers run; what was stopped is continued."""

    async def work() -> Rotation:
        async with opened(options) as services:
            return await rekeying.rotate(services, actor=actor(), progress=Progress())

    if show:
        print_table(("key", "values", "is"), run(listed(options)))
    else:
        tell(run(work()))


class Progress:
    """A line a second."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()

    def __call__(self, moved: int, total: int) -> None:
        if time.monotonic() - self._told_at > TOLD_SECONDS:
            self._told_at = time.monotonic()
            say(f"{moved} of {total} values")


def tell(rotation: Rotation) -> None:
    """What came of it. Raises ClickException that names what does not open."""
    click.echo(f"Key {rotation.key_id.hex()} seals now; {rotation.moved} values were sealed anew.")
    for path in rotation.kept:
        click.echo(f"Backups made before need {path}: keep it with them.")
    if rotation.unopened:
        raise click.ClickException("\n".join(("These were left as they are:", *rotation.unopened)))


async def listed(options: dict[str, str | None]) -> list[tuple[str, int, str]]:
    async with opened(options) as services:
        counts = await rekeying.values_by_key(services)
        ids = [*services.vault.key_ids, *sorted(counts.keys() - set(services.vault.key_ids))]
        return [(key_id.hex(), counts[key_id], what(services, key_id)) for key_id in ids]


def what(services: Services, key_id: bytes) -> str:
    """What a key does and where it is, in words."""
    vault = services.vault
    does = "seals and reads" if key_id == vault.key_id else "reads"
    if vault.file is None:
        return f"{does}, in SWITCHBOARD_SEALING_KEY" if key_id in vault.key_ids else "missing"
    if key_id in [key.id for key in vault.file.read()]:
        return f"{does}, in {vault.file.path}"
    return f"{does}, in {vault.file.old_path(key_id)}" if vault.file.old(key_id) else "missing"


def say(text: str) -> None:
    click.echo(text, err=True)
