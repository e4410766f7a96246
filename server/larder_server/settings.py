"""The server's settings: read once, frozen, passed down."""

from dataclasses import dataclass
from pathlib import Path

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `larder up` is told; every field has a default."""

    home: Path
    """The folder of the database, the objects and the backups."""
    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = 8765
    """The port to listen on."""
    database: str = ""
    """postgresql://…, sqlite:///…, or empty for a SQLite file in the home."""
    objects: str = ""
    """s3://bucket/prefix, a folder, or empty for a folder in the home."""
    agents: int = 0
    """How many local agents to start beside the server."""
    tenant: str = "default"
    """The tenant of the local user."""
    lease_seconds: float = 30.0
    """How long an agent may be silent before its runs go back to their queues."""
    local_sign_in: bool = True
    """Whether a browser on this machine is signed in without a token, when the server listens on loopback only."""

    pages: Path | None = None
    """Another folder of built pages, for those who work on them."""

    @property
    def database_url(self) -> str:
        """The database to use."""
        return self.database or f"sqlite:///{self.home / 'larder.sqlite'}"

    @property
    def objects_url(self) -> str:
        """The object store to use."""
        return self.objects or str(self.home / "objects")

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in LOOPBACK

    @property
    def url(self) -> str:
        """The server's address for this machine's clients."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", *LOOPBACK) else self.host
        return f"http://{host}:{self.port}"
