"""/v1/items: a small shop's stock, to list by pages, read, add, change and delete. Kept in memory."""

from dataclasses import dataclass
from typing import Any

from quart import Response, jsonify, request
from quart.typing import ResponseReturnValue

from quart_app.sandbox.access import require
from quart_app.sandbox.wire import Problem, empty, json_object, whole_number

FIRST_ITEMS = (
    ("Brass desk lamp", 8900, 12, ("light", "office")),
    ("Linen notebook, dotted", 1450, 240, ("paper",)),
    ("Enamel coffee pot", 3900, 31, ("kitchen",)),
    ("Walnut cutting board", 5200, 18, ("kitchen", "wood")),
    ("Wool blanket, moss green", 11900, 9, ("textile",)),
    ("Pocket compass", 2750, 64, ("outdoor",)),
    ("Cast-iron pan, 26 cm", 6400, 22, ("kitchen",)),
    ("Fountain pen, fine nib", 4300, 57, ("paper", "office")),
    ("Bottle of blue-black ink", 980, 130, ("paper",)),
    ("Oak bookend, pair", 3600, 40, ("wood", "office")),
    ("Travel chess set", 4950, 15, ("games",)),
    ("Ceramic teapot", 5800, 0, ("kitchen",)),
    ("Beeswax candles, six", 1800, 96, ("light",)),
    ("Canvas tool roll", 3300, 28, ("workshop",)),
    ("Folding ruler, 2 m", 1250, 75, ("workshop", "wood")),
    ("Garden twine, jute", 650, 310, ("garden",)),
    ("Copper watering can", 7400, 7, ("garden",)),
    ("Seed tin: wild flowers", 890, 150, ("garden",)),
    ("Field binoculars, 8×32", 18900, 5, ("outdoor",)),
    ("Rain poncho", 4600, 33, ("outdoor", "textile")),
    ("Wooden train, five cars", 5400, 11, ("games", "wood")),
    ("Star map, northern sky", 2200, 44, ("paper",)),
    ("Hand-bound atlas", 12800, 3, ("paper",)),
    ("Café mug “Größe M”", 1600, 88, ("kitchen",)),
    ("Bicycle bell", 1350, 120, ("outdoor",)),
)
FIELDS = ("name", "price_cents", "stock", "tags")


@dataclass
class Item:
    item_id: int
    fields: dict[str, Any]
    version: int = 1

    @property
    def etag(self) -> str:
        return f"{self.item_id}-{self.version}"

    def as_json(self) -> dict[str, Any]:
        return {"id": self.item_id, **self.fields}


class Items:
    def __init__(self) -> None:
        self.items: dict[int, Item] = {}
        self.last_id = 0
        for values in FIRST_ITEMS:
            self.add(dict(zip(FIELDS, values, strict=True)))

    def add(self, fields: dict[str, Any]) -> Item:
        self.last_id += 1
        item = self.items[self.last_id] = Item(self.last_id, {name: fields[name] for name in FIELDS})
        return item

    async def get_items(self) -> ResponseReturnValue:
        """A page in the order of ids; `next` and Link (RFC 8288) name the next one, without host."""
        require("items:read")
        limit, after = whole_number("limit", 10, 1, 100), whole_number("after", 0, 0, 10**15)
        found = [item for item in self.items.values() if item.item_id > after][: limit + 1]
        page = found[:limit]
        following = f"/v1/items?limit={limit}&after={page[-1].item_id}" if len(found) > limit else None
        response = jsonify({"items": [item.as_json() for item in page], "next": following})
        if following:
            response.headers["Link"] = f'<{following}>; rel="next"'
        return response

    async def post_item(self) -> ResponseReturnValue:
        require("items:write")
        item = self.add({"stock": 0, "tags": []} | checked(await json_object(), ("name", "price_cents")))
        response = shown(item, 201)
        response.headers["Location"] = f"/v1/items/{item.item_id}"
        return response

    async def get_item(self, item_id: int) -> ResponseReturnValue:
        """With ETag; 304 when If-None-Match knows it (RFC 9110 §13.1.2)."""
        require("items:read")
        item = self.find(item_id)
        if request.if_none_match.contains_weak(item.etag):
            return empty(304, {"ETag": f'"{item.etag}"'})
        return shown(item)

    async def put_item(self, item_id: int) -> ResponseReturnValue:
        """All fields anew; 412 when If-Match knows another version (RFC 9110 §13.1.1)."""
        require("items:write")
        fields = {"stock": 0, "tags": []} | checked(await json_object(), ("name", "price_cents"))
        return self.change(item_id, fields)

    async def patch_item(self, item_id: int) -> ResponseReturnValue:
        """Some fields (RFC 7396; none can be removed); 412 as for PUT."""
        require("items:write")
        return self.change(item_id, checked(await json_object(), ()))

    def change(self, item_id: int, fields: dict[str, Any]) -> Response:
        item = self.find(item_id)
        check_match(item)
        item.fields |= fields
        item.version += 1
        return shown(item)

    async def delete_item(self, item_id: int) -> ResponseReturnValue:
        require("items:write")
        check_match(self.find(item_id))
        del self.items[item_id]
        return empty(204)

    def find(self, item_id: int) -> Item:
        if item_id not in self.items:
            raise Problem(404, "Not Found", f"There is no item {item_id}.")
        return self.items[item_id]


def checked(fields: dict[str, Any], needed: tuple[str, ...]) -> dict[str, Any]:
    """`fields`, each known and of its type and none of the `needed` missing; Problem 422 names all faults."""
    faults = [(name, "is missing") for name in needed if name not in fields]
    for name, value in fields.items():
        match name:
            case "name" if not (isinstance(value, str) and 1 <= len(value) <= 200):
                faults.append((name, "must be a text of 1 to 200 characters"))
            case "price_cents" | "stock" if type(value) is not int or not 0 <= value < 10**12:
                faults.append((name, "must be a whole number, not below 0"))
            case "tags" if not (isinstance(value, list) and all(isinstance(tag, str) for tag in value)):
                faults.append((name, "must be a list of texts"))
            case _ if name not in FIELDS:
                faults.append((name, "is not a field of an item"))
    if faults:
        errors = [{"pointer": f"/{escaped(name)}", "detail": f"{name} {fault}"} for name, fault in faults]
        raise Problem(422, "Unprocessable Content", "The item is not right.", errors=errors)
    return fields


def escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")  # RFC 6901 §3


def check_match(item: Item) -> None:
    if request.if_match and not request.if_match.contains(item.etag):
        headers = {"ETag": f'"{item.etag}"'}
        raise Problem(412, "Precondition Failed", "The item was changed meanwhile.", headers=headers)


def shown(item: Item, status: int = 200) -> Response:
    response = jsonify(item.as_json())
    response.status_code = status
    response.set_etag(item.etag)
    return response
