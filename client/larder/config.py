"""Where the server is, who we are to it, and which folder holds the journals."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from larder.contract.errors import Invalid

if TYPE_CHECKING:
    from larder.transport import Transport

DEFAULT_URL = "http://127.0.0.1:8765"


class Config(NamedTuple):
    """The address of the server, the token for it (empty on loopback), and the home folder."""

    # No dataclass: the module for those takes a training process longer to import than all else that `init` does.

    url: str
    token: str
    home: Path

    @property
    def runs(self) -> Path:
        """The folder with one folder per run that is not yet all on the server."""
        return self.home / "runs"


def home() -> Path:
    """The home folder: LARDER_HOME, else ~/.larder."""
    return Path(os.environ.get("LARDER_HOME") or "~/.larder").expanduser().absolute()


def load(*, url: str | None = None, token: str | None = None, home: Path | None = None) -> Config:
    """What is given, else LARDER_URL and LARDER_TOKEN, else what was saved, else the server of this machine.

    A saved token is sent only to the address for which it was saved.
    """
    folder = home or globals()["home"]()
    saved = _saved(folder / "config.json")
    saved_url = saved.get("url", "")
    address = normal(url or os.environ.get("LARDER_URL") or saved_url or DEFAULT_URL)
    secret = token if token is not None else os.environ.get("LARDER_TOKEN", "")
    if not secret and address == normal(saved_url or DEFAULT_URL):
        secret = saved.get("token", "")
    return Config(address, secret, folder)


def connect(settings: Config | None = None) -> "Transport":
    """A transport to the configured server."""
    # Imported late: a training process reads its configuration and must not pay for HTTP, which it never speaks.
    from larder.transport import Transport

    chosen = settings or load()
    return Transport(chosen.url, chosen.token)


def save(config: Config) -> Path:
    """Writes address and token to the home folder, readable by its owner only."""
    config.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = config.home / "config.json"
    draft = path.with_name(f"config.json.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump({"url": normal(config.url), "token": config.token}, file)
    os.replace(draft, path)
    return path


def normal(url: str) -> str:
    """One spelling of an address: a scheme, no slash at the end, `localhost` by its number."""
    text = url.strip()
    if not text:
        return ""
    scheme, _, rest = (text if "://" in text else f"http://{text}").partition("://")
    rest = rest.rstrip("/")
    host = rest.partition("/")[0].rpartition("@")[2]
    if scheme not in ("http", "https") or not host or not text.isprintable() or " " in text:
        raise Invalid(f"{url!r} is not the address of a server", hint=f"Write it like {DEFAULT_URL}.")
    if host.partition(":")[0] == "localhost":
        rest = rest.replace("localhost", "127.0.0.1", 1)
    return f"{scheme}://{rest}"


def _saved(path: Path) -> dict[str, str]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Invalid(f"{path} cannot be read: {error}", hint="Mend it or `larder login` anew.") from error
    if not isinstance(document, dict):
        return {}
    return {key: value for key, value in document.items() if isinstance(value, str)}
