"""What a stash is made of, as names: resolved once, at construction."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from hashlib import blake2b
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .encoders.chain import EncoderChain, encoder_names
from .engines import ENGINES, Engine, Place
from .errors import ConfigurationError, suggestion
from .expiry import seconds_of
from .locations import cache_root, check_dbname, resolve_root
from .serializers import SERIALIZERS

if TYPE_CHECKING:
    from .near import NearEngine

DEFAULT_ROOT = "default_stash"
DEFAULT_DBNAME = "main"
MAX_VALUE_BYTES = 1 << 30
FILENAME = "data.db"

_SERVERS = {
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
    "mongodb": "mongo",
    "s3": "s3",
}
"""What the URL of a server begins with (up to a ``+``), and the engine that uses it."""

_IGNORED = frozenset({"is_function_stash", "is_tmp", "filename"})
"""What ``to_dict`` says beyond what a stash is made from."""


NEAR_MODES = ("validated", "immutable")
NEAR_BYTES = 1 << 30
NEAR_OPTIONS = ("near", "near_mode", "max_age", "near_max_bytes")


@dataclass(frozen=True)
class NearSettings:
    """The near side of a stash.

    Attributes:
        side: an engine, whose folder each process derives from its own cache folder; or the
            settings of a stash, below which the copies are kept.
        mode: ``validated`` or ``immutable``.
        max_age: seconds for which a copy is used without asking.
        max_bytes: how many bytes of copies are kept.
    """

    side: str | Settings
    mode: str = "validated"
    max_age: float | None = None
    max_bytes: int = NEAR_BYTES

    def to_dict(self) -> dict[str, Any]:
        """Return the options of ``HashStash`` that say the same."""
        side = self.side if isinstance(self.side, str) else self.side.to_dict()
        return dict(zip(NEAR_OPTIONS, (side, self.mode, self.max_age, self.max_bytes), strict=True))

    def before(self, far: Engine) -> NearEngine:
        """Return ``far`` with the near side in front of it."""
        from .near import NearEngine

        folder = "" if far.remote else far.place.folder
        identity = f"{far.name}\0{far.location}\0{folder}".encode("utf-8", "surrogatepass")
        name = blake2b(identity, digest_size=16).hexdigest()
        if isinstance(self.side, str):
            kind = ENGINES.load(self.side)
            place = Place(os.path.join(cache_root(), ".near", name, self.side), f"near/{name}")
            near = kind(place, **kind.complete({}))
        else:
            side = replace(self.side, dbname=f"{self.side.dbname}/near/{name}")
            near = side.make_engine()
        return NearEngine(
            far, near, immutable=self.mode == "immutable", max_age=self.max_age,
            max_bytes=self.max_bytes,
        )  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """The names and options that a stash is composed from; all that it pickles as.

    Attributes:
        root_dir: absolute folder.
        dbname: name below it, ``/`` between several.
        engine: name of the engine.
        serializer: name of the serializer of new rows.
        compress: name of the compressor of new rows, or ``raw``.
        b64: whether new rows are base64 too.
        append_mode: whether every version is kept.
        safe: whether rows that need code are refused.
        durability: ``process`` or ``system``.
        namespace: what signatures name the stash by.
        max_value_bytes: the most bytes an encoded value may unfold to.
        options: the engine's own options.
        near: the near side, if there is one.
    """

    root_dir: str
    dbname: str
    engine: str
    serializer: str
    compress: str
    b64: bool
    append_mode: bool
    safe: bool
    durability: str
    namespace: str
    max_value_bytes: int
    options: Mapping[str, Any] = field(default_factory=dict)
    near: NearSettings | None = None

    @property
    def encoders(self) -> tuple[str, ...]:
        """The names of the encoder chain, in the order of encoding."""
        return encoder_names(self.compress, b64=self.b64)

    def make_engine(self) -> Engine:
        """Return the engine, not opened yet."""
        folder = os.path.join(self.root_dir, *self.dbname.split("/"), self.engine)
        name = f"{os.path.basename(self.root_dir)}/{self.dbname}"
        place = Place(folder, name, durability=self.durability)  # type: ignore[arg-type]
        return ENGINES.load(self.engine)(place, **self.options)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a flat dict."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NESTED}
        near = {} if self.near is None else self.near.to_dict()
        return {**plain, **self.options, **near}


_NESTED = frozenset({"options", "near"})


def resolve(given: dict[str, Any]) -> Settings:
    """Return the settings that arguments, the environment and the defaults give, in that order.

    Args:
        given: arguments of ``HashStash`` by name; None means not given.

    Raises:
        UnknownNameError: an engine, serializer or compressor of that name does not exist.
        MissingDependencyError: one needs a package that is not installed.
        ConfigurationError: a value cannot be used.
        TypeError: an option is not known.
    """
    root_dir = given.get("root_dir")
    if isinstance(root_dir, str) and "://" in root_dir:
        given = _from_url(root_dir, given)
    take = {name: value for name, value in given.items() if value is not None}
    root = resolve_root(take.pop("root_dir", DEFAULT_ROOT))
    dbname = check_dbname(take.pop("dbname", DEFAULT_DBNAME))
    engine = take.pop("engine", None) or os.environ.get("HASHSTASH_ENGINE") or "pairtree"
    kind = ENGINES.load(engine)
    settings = Settings(
        root,
        dbname,
        engine,
        serializer=_name(take, "serializer", "hashstash"),
        compress=_compressor(_name(take, "compress", "raw")),
        b64=_flag(take, "b64", default=False),
        append_mode=bool(take.pop("append_mode", False)),
        safe=_flag(take, "safe", default=kind.remote),
        durability=_name(take, "durability", "process"),
        namespace=take.pop("namespace", f"{os.path.basename(root)}/{dbname}"),
        max_value_bytes=take.pop("max_value_bytes", MAX_VALUE_BYTES),
        near=_near(take),
        options=kind.complete(take),
    )
    _check(settings, kind)
    return settings


def _name(take: dict[str, Any], option: str, default: str) -> str:
    name: str = take.pop(option, None) or os.environ.get(f"HASHSTASH_{option.upper()}") or default
    return name


def _flag(take: dict[str, Any], option: str, *, default: bool) -> bool:
    if option in take:
        return bool(take.pop(option))
    variable = f"HASHSTASH_{option.upper()}"
    said = os.environ.get(variable)
    return _truth(variable, said) if said else default


def _check(settings: Settings, kind: type[Engine]) -> None:
    known = _options_of(kind)
    for option in settings.options:
        if option not in known:
            hint = suggestion(option, known | _NAMES)
            raise TypeError(f"Unknown option {option!r} for engine {settings.engine!r}.{hint}")
    if SERIALIZERS.load(settings.serializer).code_only and settings.safe:
        default = f" (the default on {settings.engine})" if kind.remote else ""
        raise ConfigurationError(
            f"serializer={settings.serializer!r} runs code to read, and safe=True{default} "
            "refuses that: use serializer='hashstash', or safe=False with signing_keys."
        )
    if settings.durability not in kind.durabilities:
        raise ConfigurationError(
            f"The {settings.engine!r} engine cannot give durability={settings.durability!r}; "
            f"it gives: {', '.join(sorted(kind.durabilities))}."
        )
    if settings.append_mode and settings.near is not None and settings.near.mode == "immutable":
        raise ConfigurationError(
            "append_mode=True gives a key a new latest version, which near_mode='immutable' would "
            "not see: use near_mode='validated', or max_age=."
        )
    if not isinstance(settings.max_value_bytes, int) or settings.max_value_bytes < 1:
        raise ConfigurationError(
            f"max_value_bytes is a number of bytes, not {settings.max_value_bytes!r}"
        )


_NAMES = frozenset(
    {f.name for f in fields(Settings)} - _NESTED | {"clear", "signing_keys", *NEAR_OPTIONS}
)


def drop_derived(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``to_dict()``'s result without what is not an argument."""
    return {name: value for name, value in settings.items() if name not in _IGNORED}


def _near(take: dict[str, Any]) -> NearSettings | None:
    """Return the near side that ``take`` describes, whose options are taken out of it."""
    side, mode, max_age, max_bytes = (take.pop(option, None) for option in NEAR_OPTIONS)
    if side is None:
        for option, value in zip(NEAR_OPTIONS[1:], (mode, max_age, max_bytes), strict=True):
            if value is not None:
                raise ConfigurationError(f"{option}={value!r} needs a near side: near='lmdb'")
        return None
    side = getattr(side, "_settings", side)  # of a stash, which is a mapping too
    if isinstance(side, str):
        ENGINES.load(side)  # an unknown name or a missing package shows now
    elif isinstance(side, Mapping):
        side = resolve(drop_derived(side))
    elif not isinstance(side, Settings):
        raise TypeError(f"near is an engine's name or a stash, not {type(side).__name__}")
    mode = mode or NEAR_MODES[0]
    if mode not in NEAR_MODES:
        hint = suggestion(str(mode), NEAR_MODES)
        raise ConfigurationError(f"near_mode is validated or immutable, not {mode!r}.{hint}")
    if mode == "immutable" and max_age is not None:
        raise ConfigurationError("near_mode='immutable' never asks, so that max_age has no meaning")
    max_bytes = NEAR_BYTES if max_bytes is None else max_bytes
    if not isinstance(max_bytes, int) or max_bytes < 1:
        raise ConfigurationError(f"near_max_bytes is a number of bytes, not {max_bytes!r}")
    return NearSettings(side, mode, seconds_of(max_age, "max_age"), max_bytes)


@lru_cache(maxsize=64)
def _options_of(engine_class: type[Engine]) -> frozenset[str]:
    parameters = signature(engine_class).parameters.values()
    return frozenset(p.name for p in parameters if p.kind is Parameter.KEYWORD_ONLY)


def _compressor(name: str) -> str:
    EncoderChain(encoder_names(name))  # an unknown name or a missing package shows now
    return name


def _truth(variable: str, text: str) -> bool:
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off"}:
        return False
    raise ConfigurationError(f"{variable} is 1 or 0, not {text!r}")


def _from_url(url: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return ``given`` with what the URL says: ``engine://root/dbname?option=value``."""
    server = _SERVERS.get(url.partition("://")[0].lower().partition("+")[0])
    if server is not None:
        return _from_server_url(url, server, given)
    parts = urlsplit(url)
    said: dict[str, Any] = {"engine": parts.scheme}
    path = unquote(parts.path)
    if parts.netloc:
        said["root_dir"] = unquote(parts.netloc)
        if path.strip("/"):
            said["dbname"] = path.strip("/")
    elif path:
        said["root_dir"] = path
    for name, value in parse_qsl(parts.query, strict_parsing=bool(parts.query)):
        said[name] = _truth(name, value) if name in {"b64", "safe", "append_mode"} else value
    return _joined(repr(url), said, given)


def _from_server_url(url: str, engine: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return ``given`` with the server's URL as an option; ``#root/dbname`` names the stash."""
    from .engines.remote import SecretUrl

    SecretUrl(url)  # a '#' may belong to a password: that is an error, and no name
    address, _, name = url.partition("#")
    said: dict[str, Any] = {"engine": engine, "url": address}
    root, _, dbname = unquote(name).partition("/")
    if root:
        said["root_dir"] = root
    if dbname:
        said["dbname"] = dbname
    return _joined("The URL", said, given)  # not the URL itself: it may have a password


def _joined(source: str, said: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    for name, value in given.items():
        if name == "root_dir" or value is None:
            continue
        if said.setdefault(name, value) != value:
            shown = "" if name == "url" else f": {said[name]!r} and {value!r}"
            raise ConfigurationError(f"{source} and {name}= contradict each other{shown}")
    return said


def check_signing_keys(keys: object) -> Sequence[str | bytes] | None:
    """Return ``keys`` if it is a list of keys; a single one is a likely slip."""
    if keys is None or (isinstance(keys, Sequence) and not isinstance(keys, (str, bytes))):
        return keys
    raise TypeError(f"signing_keys is a list of keys, not {type(keys).__name__}")
