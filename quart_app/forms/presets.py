"""Presets: well-known APIs as data, so that a connection to one is begun by its name. Each is a file in `presets/`."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from quart_app.errors import Fault, Invalid, NotFound
from quart_app.forms.connections import SECRET_FIELDS
from quart_app.outbound.headers import header_name

ID_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
VARIABLE = re.compile(r"\{([a-z][a-z0-9_]*)\}")
CLIENT_ID = "client_id"
"""A variable that no preset declares: it stands for the client that a person registered."""


def secure(url: str) -> str:
    if not url.startswith("https://"):
        raise ValueError("must begin with https://")
    return url


def expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return pattern


Sentence = Annotated[str, Field(min_length=1, max_length=300)]
Url = Annotated[str, Field(max_length=500), AfterValidator(secure)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Variable(Part):
    """What differs from account to account, as `{name}` in the preset's texts. `pattern` must match the whole value."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: Annotated[str, Field(max_length=60)]
    help: str = ""
    example: str = ""
    default: str = ""
    pattern: Annotated[str, AfterValidator(expression)] = r".+"


class Scope(Part):
    """A scope that one may ask for; `chosen` ones are asked for unless a person says otherwise."""

    name: Annotated[str, Field(pattern=r"^[\x21-\x7e]+$")]
    means: Sentence
    chosen: bool = False


class Preset(Part):
    """All that is known of an API beforehand: the parts of a ConnectionForm, and what a person has to know.

    `auth` lacks what only the person has. `rotates`: whether a refresh answers with a new refresh token and ends the
    old one; None where the documentation does not say. `check` is a path below the base URL that tells by GET whether
    the credential is good, empty where there is none.
    """

    id: Annotated[str, Field(pattern=ID_PATTERN)]
    title: Annotated[str, Field(min_length=1, max_length=60)]
    aliases: tuple[Annotated[str, Field(min_length=1, max_length=60)], ...] = ()
    docs_url: Url
    register_url: Url | None = None
    base_url: Url
    variables: tuple[Variable, ...] = ()
    auth: dict[str, Any]
    credential_help: str = ""
    scopes: tuple[Scope, ...] = ()
    headers: dict[Annotated[str, AfterValidator(header_name)], str] = {}
    check: Annotated[str, Field(pattern=r"^(/[^#\s]*)?$")] = ""
    rotates: bool | None = None
    oddities: tuple[Sentence, ...] = ()

    @model_validator(mode="after")
    def check_auth(self) -> "Preset":
        secrets = SECRET_FIELDS & self.auth.keys()
        if secrets:
            raise ValueError(f"holds a secret: {', '.join(sorted(secrets))}")
        if self.scopes and self.auth.get("scheme") != "oauth2":
            raise ValueError("has scopes, which only oauth2 knows")
        return self

    @model_validator(mode="after")
    def check_variables(self) -> "Preset":
        declared = {variable.name for variable in self.variables}
        used = set(variables_in([self.base_url, self.auth, self.headers, self.check])) - {CLIENT_ID}
        if declared != used:
            raise ValueError(f"declares or uses variables that it does not use or declare: {sorted(declared ^ used)}")
        return self


def variables_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from VARIABLE.findall(value)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from variables_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from variables_in(part)


@cache
def catalogue() -> Mapping[str, Preset]:
    """Every preset by its id, sorted by title. The id is the name of its file."""
    found = [
        Preset.model_validate({"id": file.name.removesuffix(".toml"), **tomllib.loads(file.read_text("utf-8"))})
        for file in files("quart_app").joinpath("presets").iterdir()
        if file.name.endswith(".toml")
    ]
    return {preset.id: preset for preset in sorted(found, key=lambda preset: (preset.title.lower(), preset.id))}


def find(id_: str) -> Preset:
    """Raises NotFound `unknown_preset`."""
    try:
        return catalogue()[id_]
    except KeyError:
        raise NotFound("unknown_preset", "There is no preset of this id.") from None


def search(text: str) -> list[Preset]:
    """Presets whose title, aliases or id have the text in them, whatever the case; those that begin with it first."""
    wanted = " ".join(text.lower().split())
    ranked = [(rank(preset, wanted), preset) for preset in catalogue().values()]
    return [preset for place, preset in sorted(ranked, key=lambda pair: pair[0]) if place < NOT_FOUND]


NOT_FOUND = 9


def rank(preset: Preset, wanted: str) -> int:
    """0: it is its name; 1: its name begins so; 2: an alias does; 3: a word of a name does; 4: a name has it inside."""
    own, others = (preset.title.lower(), preset.id), [alias.lower() for alias in preset.aliases]
    if wanted in own:
        return 0
    if any(name.startswith(wanted) for name in own):
        return 1
    if any(name.startswith(wanted) for name in others):
        return 2
    if any(word.startswith(wanted) for name in (*own, *others) for word in re.split(r"[\s\-.,/()]+", name)):
        return 3
    return 4 if any(wanted in name for name in (*own, *others)) else NOT_FOUND


def filled(preset: Preset, values: Mapping[str, str], auth: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a ConnectionForm that a preset makes with values for its variables and a person's part of `auth`.

    What `auth` gives goes before what the preset has; scopes are those that are chosen beforehand, unless it gives any.
    Raises Invalid with each variable that is unknown, missing or not as it must be, as `/variables/<name>`.
    """
    known = checked(preset, values) | {CLIENT_ID: str(auth.get(CLIENT_ID, ""))}
    chosen = " ".join(scope.name for scope in preset.scopes if scope.chosen)
    return {
        "title": preset.title,
        "base_url": replaced(preset.base_url, known),
        "auth": ({"scope": chosen} if chosen else {}) | replaced(preset.auth, known) | dict(auth),
        "headers": replaced(preset.headers, known),
        "metadata": {"preset": preset.id} | ({"check": replaced(preset.check, known)} if preset.check else {}),
    }


def checked(preset: Preset, values: Mapping[str, str]) -> dict[str, str]:
    given = {variable.name: values.get(variable.name) or variable.default for variable in preset.variables}
    faults = [*unknown(values, given), *wrong(preset.variables, given)]
    if faults:
        raise Invalid("invalid_input", "The input has faults; each is listed.", faults, status=422)
    return given


def unknown(values: Iterable[str], known: Mapping[str, str]) -> Iterator[Fault]:
    for name in values:
        if name not in known:
            named = f"it has {', '.join(known)}" if known else "it has none"
            yield {"pointer": f"/variables/{name[:64]}", "detail": f"is no variable of this preset; {named}"}


def wrong(variables: Iterable[Variable], given: Mapping[str, str]) -> Iterator[Fault]:
    for variable in variables:
        value = given[variable.name]
        if not re.fullmatch(variable.pattern, value):
            shown = f"; such as {variable.example}" if variable.example else ""
            detail = f"is not a {variable.title}{shown}" if value else f"is required: the {variable.title}{shown}"
            yield {"pointer": f"/variables/{variable.name}", "detail": detail}


def replaced(value: Any, known: Mapping[str, str]) -> Any:
    """The value with each `{name}` in its texts replaced; texts in braces that are no variable stay."""
    if isinstance(value, str):
        return VARIABLE.sub(lambda found: known.get(found[1], found[0]), value)
    if isinstance(value, Mapping):
        return {name: replaced(part, known) for name, part in value.items()}
    return value


def way(preset: Preset) -> str:
    """How one signs in: the scheme, or the grant where it is OAuth 2."""
    return str(preset.auth.get("grant") or preset.auth["scheme"])


def listed(preset: Preset) -> dict[str, Any]:
    """What a list shows of a preset."""
    return {"id": preset.id, "title": preset.title, "aliases": list(preset.aliases), "way": way(preset)}


def view(preset: Preset) -> dict[str, Any]:
    """A preset in the form of the API."""
    return preset.model_dump(mode="json") | {"way": way(preset)}
