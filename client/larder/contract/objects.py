"""Objects: immutable bytes named by the BLAKE3 hash of their content, 64 hexadecimal digits, kept per tenant."""

from dataclasses import dataclass

from larder.contract.endpoint import Bytes, Endpoint, Nothing, Role


@dataclass(frozen=True, kw_only=True)
class Hashes:
    """A list of content hashes, at most 10,000."""

    hashes: list[str]


MISSING = Endpoint(
    "POST",
    "/v1/objects/missing",
    Hashes,
    Hashes,
    "Which of these objects the store does not hold",
    Role.CONTRIBUTOR,
    for_runs=True,
)
PUT = Endpoint(
    "PUT",
    "/v1/objects/{hash}",
    Bytes,
    Nothing,
    "Store an object; its bytes must have the hash",
    Role.CONTRIBUTOR,
    for_runs=True,
)
