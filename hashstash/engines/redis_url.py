"""What the URL of a Redis server says."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from hashstash.errors import ConfigurationError, suggestion

_PORTS = {"": 6379, "cluster": 6379, "sentinel": 26379}
_SCHEMES = {"unix"} | {f"{s}{k and '+'}{k}" for s in ("redis", "rediss") for k in _PORTS}
_LOGIN = frozenset({"db", "username", "password", "client_name"})
_TLS = frozenset(
    {
        "ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname",
        "ssl_ciphers", "ssl_keyfile", "ssl_password",
    }
)  # fmt: skip
"""Arguments of a ``rediss`` URL, by the names that redis-py has for them."""
_SENTINEL = frozenset({"sentinel_username", "sentinel_password"})


@dataclass
class RedisUrl:
    """The parts of a URL.

    Attributes:
        kind: ``cluster``, ``sentinel``, or nothing where the server itself tells.
        tls: whether connections are encrypted.
        hosts: host and port of the server, or of those to ask first.
        path: the Unix socket, if it is one.
        service: what the Sentinels call the server.
        db: number of the database.
        arguments: everything else, by redis-py's names.
        sentinel: the same for connections to the Sentinels.
    """

    kind: str
    tls: bool
    hosts: list[tuple[str, int]] = field(default_factory=list)
    path: str = ""
    service: str = ""
    db: int = 0
    arguments: dict[str, str | bool] = field(default_factory=dict)
    sentinel: dict[str, str | bool] = field(default_factory=dict)


def parse(url: str) -> RedisUrl:
    """Return what ``url`` says.

    Raises:
        ConfigurationError: it cannot be understood; the message shows no password.

    Example:
        >>> parse("redis+sentinel://one:26379,two/mymaster/3").hosts
        [('one', 26379), ('two', 26379)]
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ConfigurationError(
            f"{parts.scheme}:// is no Redis URL. Known: {', '.join(sorted(_SCHEMES))}."
        )
    scheme, _, kind = parts.scheme.partition("+")
    said = RedisUrl(kind, scheme == "rediss")
    user, _, netloc = parts.netloc.rpartition("@")
    _add_arguments(said, parts.query)
    name, _, password = user.partition(":")
    for option, value in (("username", name), ("password", password)):
        if value:
            said.arguments[option] = unquote(value)
    db = said.arguments.pop("db", "0")
    if scheme == "unix":
        said.path = unquote(parts.path)
    else:
        said.hosts = [_host(text, _PORTS[kind]) for text in netloc.split(",")]
        path = parts.path.strip("/")
        if kind == "sentinel":
            service, _, path = path.partition("/")
            said.service = unquote(service)
        db = path or db
    said.db = _number(str(db))
    _check(said, scheme)
    return said


def _add_arguments(said: RedisUrl, query: str) -> None:
    known = (
        _LOGIN | (_TLS if said.tls else set()) | (_SENTINEL if said.kind == "sentinel" else set())
    )
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            hint = suggestion(name, known) or f" Known: {', '.join(sorted(known))}."
            raise ConfigurationError(f"Unknown argument {name!r} in the Redis URL.{hint}")
        if name in _SENTINEL:
            said.sentinel[name.removeprefix("sentinel_")] = value
        else:
            said.arguments[name] = value
    if said.tls:
        verify = said.arguments.get("ssl_check_hostname", "true")
        if verify not in {"true", "false"}:
            raise ConfigurationError(f"ssl_check_hostname is true or false, not {verify!r}")
        unverified = said.arguments.get("ssl_cert_reqs") == "none"
        said.arguments["ssl_check_hostname"] = verify == "true" and not unverified


def _host(text: str, default: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):  # the colons of an IPv6 address
        host, port = text, ""
    return unquote(host).strip("[]") or "localhost", int(port) if port else default


def _number(db: str) -> int:
    if not db.isdecimal():
        raise ConfigurationError(
            f"The database of a Redis URL is a number, as in redis://host:6379/0, not {db!r}. The "
            "name of a stash is given to HashStash, or follows a '#' in the URL."
        )
    return int(db)


def _check(said: RedisUrl, scheme: str) -> None:
    problem = ""
    if scheme == "unix" and not said.path:
        problem = "unix:// is followed by the path of the socket: unix:///run/redis.sock"
    elif said.kind == "sentinel" and not said.service:
        problem = "A Sentinel URL names the service: redis+sentinel://host1,host2/mymaster/0"
    elif said.kind == "cluster" and said.db:
        problem = "A Redis Cluster has the database 0 alone"
    elif not said.kind and len(said.hosts) > 1:
        problem = "Several hosts are for redis+cluster:// (some nodes of it) and redis+sentinel://"
    if problem:
        raise ConfigurationError(problem)
