"""What an event and its door may be, which door takes it, and what its action is told. Pure."""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from blake3 import blake3

from larder.contract.doors import CloudEvent, EventDoor
from larder.contract.errors import Invalid, NotFound

LONGEST = 500
"""Characters of an event's id, source, type and subject."""

KEPT = 90 * 86_400 * 1_000_000
"""For so long (µs) an event is known again."""

BATCH = "application/cloudevents-batch"

KEEP = "events.keep"
"""The action of doors that keep what their events say."""

LARGEST = 1 << 20
"""Bytes of what an event says that are kept."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
_PLACE = re.compile(r"\$\{([^{}]*)\}")
_HEADERS = ("id", "source", "type", "specversion", "subject", "time", "dataschema")


def door(name: str) -> str:
    """The name, when a door may be called so."""
    if not _NAME.match(name):
        raise Invalid(
            "a door's name has at most 100 letters, digits and . _ -, and begins with a letter or digit", field="door"
        )
    return name


def text(value: str, field: str, *, needed: bool = True) -> str:
    """An attribute, when it is what the specification calls a string, and not too long to be kept."""
    if needed and not value:
        raise Invalid(f"{field} is empty", field=field)
    if len(value) > LONGEST or not value.isprintable():
        raise Invalid(f"{field} has at most {LONGEST} printable characters", field=field)
    return value


def event(given: CloudEvent) -> CloudEvent:
    """The event, when it is one of version 1.0."""
    if given.specversion != "1.0":
        raise Invalid(
            f"this is a CloudEvent of version {given.specversion[:20]!r}; here 1.0 is understood", field="specversion"
        )
    for field in ("id", "source", "type"):
        text(getattr(given, field), field)
    text(given.subject, "subject", needed=False)
    return given


def key(given: CloudEvent) -> str:
    """What names an event: its source and its id."""
    return blake3(f"{given.source}\n{given.id}".encode("utf-8", "surrogatepass")).hexdigest()


def binary(headers: Mapping[str, str], body: bytes) -> CloudEvent:
    """An event whose attributes came as headers and whose data is the body. Invalid: one that it needs is not there."""
    attributes = {name: headers[f"ce-{name}"].strip('"') for name in _HEADERS if f"ce-{name}" in headers}
    for name in ("id", "source", "type"):
        if name not in attributes:
            raise Invalid(f"the header ce-{name} is missing", field=name)
    kind = headers.get("content-type", "").strip()
    plain = kind.partition(";")[0].strip().lower()
    data: Any = None
    packed = ""
    if plain in ("application/json", "text/json") or plain.endswith("+json"):
        try:
            data = json.loads(body) if body else None
        except (ValueError, RecursionError) as problem:
            raise Invalid(f"the event's data is not readable as JSON: {str(problem)[:200]}", field="data") from None
    elif plain.startswith("text/"):
        data = body.decode("utf-8", "replace")
    elif body:
        packed = base64.b64encode(body).decode()
    return CloudEvent(**attributes, datacontenttype=kind, data=data, data_base64=packed)


def kept(given: CloudEvent) -> str:
    """What an event says, as it is kept. Invalid: it is too large."""
    text = json.dumps(_data(given), ensure_ascii=False)
    if len(text) > LARGEST or "\\u0000" in text:
        raise Invalid(f"what an event says may have {LARGEST >> 20} MB to be kept, and no NUL", field="data",
                      hint="send where the data lies")  # fmt: skip
    return text


def taking(doors: Sequence[EventDoor], given: CloudEvent) -> EventDoor:
    """The door that takes an event: one for its source goes before one for all. NotFound: none does."""
    mine = [each for each in doors if each.type == given.type and each.source in ("", given.source)]
    if not mine:
        raise NotFound(
            f"no event door takes events of the type {given.type!r} from {given.source!r}",
            field="type", hint="PUT /v1/event-doors/NAME makes one",
        )  # fmt: skip
    return min(mine, key=lambda each: (not each.source, each.name))


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Invalid: the arguments are too large, or name a place in an event that there cannot be."""
    if len(json.dumps(arguments)) > 20_000:
        raise Invalid("the arguments of a door have at most 20,000 characters", field="arguments")
    for place in _PLACE.findall(json.dumps(arguments, ensure_ascii=False)):
        first = place.split(".")[0]
        if first != "data" and (place != first or first not in ("id", "source", "type", "subject", "time")):
            raise Invalid(
                f"an event has no place {place[:100]!r}", field="arguments",
                hint="${id}, ${source}, ${type}, ${subject}, ${time}, or ${data.NAME} with more names or numbers after it",
            )  # fmt: skip


def filled(arguments: Mapping[str, Any], given: CloudEvent) -> dict[str, Any]:
    """The arguments of an action, with what the event says. Invalid: it does not say it."""
    return {name: _filled(value, given) for name, value in arguments.items()}


def _filled(value: Any, given: CloudEvent) -> Any:
    if isinstance(value, dict):
        return {name: _filled(each, given) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, given) for each in value]
    if not isinstance(value, str):
        return value
    if whole := _PLACE.fullmatch(value):
        return _at(whole[1], given)
    return _PLACE.sub(lambda match: _as_text(_at(match[1], given)), value)


def _at(place: str, given: CloudEvent) -> Any:
    first, *rest = place.split(".")
    found: Any = _data(given) if first == "data" else getattr(given, first)
    for name in rest:
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdecimal() and len(name) < 7 and int(name) < len(found):
            found = found[int(name)]
        else:
            raise Invalid(f"the event says nothing at {place!r}, which its door asks for", field="data")
    return found


def _data(given: CloudEvent) -> Any:
    """The data of an event; of what came packed, the JSON that it says to be."""
    if given.data is not None or not given.data_base64:
        return given.data
    try:
        raw = base64.b64decode(given.data_base64, validate=True)
        if "json" in given.datacontenttype or not given.datacontenttype:
            return json.loads(raw)
        return raw.decode()
    except (binascii.Error, ValueError, RecursionError):
        raise Invalid("the event's data is not what it says to be", field="data_base64") from None


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
