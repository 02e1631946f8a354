"""What engines over a network share: clients, errors that help, URLs without their passwords."""

from __future__ import annotations

import os
import re
import threading
import weakref
from abc import abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar
from urllib.parse import quote, unquote

from hashstash.errors import ConfigurationError, EngineError, EngineUnavailableError

from .base import Engine, Place

if TYPE_CHECKING:
    from typing_extensions import Self

TIMEOUT = 5.0
"""Seconds that connecting, or waiting for one answer, may take."""

HIDDEN = "***"

C = TypeVar("C")

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.DOTALL)
_HOST = re.compile(r"(\[[0-9a-fA-F:.%]*\]|[^:,\[\]]*)(:\d{0,5})?")
_SECRET_ARGUMENT = re.compile(
    r"(?i)([?&][^=&#]*(?:password|secret|token|mechanismproperties)[^=&#]*=)([^&#]+)"
)
_given_here: dict[str, str] = {}
"""Full URLs given in this process, by what is shown of them, for stashes that are unpickled."""


class SecretUrl(str):
    """A URL that is shown, compared and pickled without the passwords in it.

    As text it has ``***`` in their place. The full one is known to the process that was given
    it (and to its forks); elsewhere it is taken from the environment on first need.

    Args:
        url: the URL, full or as it is shown.

    Raises:
        ConfigurationError: it is no URL, or has a password that is not percent-encoded.

    Example:
        >>> SecretUrl("redis://reader:pa55word@host:6379/0")
        'redis://reader:***@host:6379/0'
    """

    __slots__ = ("_full",)
    _full: str | None

    def __new__(cls, url: str) -> Self:
        """Return ``url`` with what it must not show kept aside."""
        if isinstance(url, cls):
            return url
        shown = _masked(url)
        made = super().__new__(cls, shown)
        made._full = None
        if shown != url:
            made._full = _given_here[shown] = url
        elif HIDDEN not in shown:
            made._full = url
        return made

    def reveal(self, variable: str) -> str:
        """Return the URL with its passwords.

        Args:
            variable: the environment variable that may have it.

        Raises:
            ConfigurationError: nobody gave this process the passwords.
        """
        full = self._full or _given_here.get(self)
        if full is None:
            full = os.environ.get(variable, "")
            if not full or _masked(full) != self:
                raise ConfigurationError(
                    f"This process does not know the password of {self}: passwords do not "
                    f"travel in pickles and settings. Set {variable} here to the full URL."
                )
        return full

    def hide(self, text: str) -> str:
        """Return ``text`` without this URL's passwords."""
        full = self._full or _given_here.get(self, self)
        text = text.replace(full, self)
        for secret in _secrets(full):
            for form in (secret, unquote(secret)):
                text = text.replace(form, HIDDEN)
        return text

    def __reduce__(self) -> tuple[type[SecretUrl], tuple[str]]:
        return SecretUrl, (str(self),)


def _masked(url: str) -> str:
    found = _URL.fullmatch(url)
    if found is None:
        raise ConfigurationError("url is a URL such as 'redis://host:6379/0'; this is not one")
    user, at, hosts = found["authority"].rpartition("@")
    astray = not at and ":" in hosts and "@" in found["rest"]
    if astray or not all(_HOST.fullmatch(host) for host in hosts.split(",")):
        # A '/', '?' or '#' in a password ends the authority early: show nothing of what is left.
        raise ConfigurationError(
            f"The {found['scheme']}:// URL cannot be read: write special characters in names and "
            "passwords percent-encoded, '/' as %2F, '@' as %40, '#' as %23, ':' as %3A."
        )
    name, colon, secret = user.partition(":")
    if secret:
        user = f"{name}{colon}{HIDDEN}"
    rest = _SECRET_ARGUMENT.sub(rf"\1{HIDDEN}", found["rest"])
    return f"{found['scheme']}://{user}{at}{hosts}{rest}"


def _secrets(url: str) -> list[str]:
    """Return the passwords in ``url``, as they are written there."""
    found = _URL.fullmatch(url)
    assert found is not None
    password = found["authority"].rpartition("@")[0].partition(":")[2]
    others = [argument[1] for argument in _SECRET_ARGUMENT.findall(found["rest"])]
    return [secret for secret in (password, *others) if secret not in {"", HIDDEN}]


class Target(Generic[C]):
    """One client of one server, shared by every engine of this process that names that server.

    Hold it in a local variable while its client is used: the client is closed when nobody
    holds the target any more.
    """

    __slots__ = ("__weakref__", "_closed", "client", "inherited")

    def __init__(self, client: C, disconnect: Callable[[C], object]) -> None:
        self.client = client
        self.inherited = False
        self._closed: list[bool] = []
        weakref.finalize(self, _close_own, client, disconnect, os.getpid(), self._closed)

    @property
    def usable(self) -> bool:
        """Whether the client is this process's own, and open.

        At the end of the process it is closed while stashes still refer to it, of which a
        temporary one is yet to be removed.
        """
        return not self.inherited and not self._closed


def _close_own(
    client: C, disconnect: Callable[[C], object], owner: int, closed: list[bool]
) -> None:
    closed.append(True)
    if os.getpid() == owner:
        disconnect(client)
    else:
        _inherited.append(client)  # its connections are the parent's: not even to be collected


_inherited: list[Any] = []
_targets: weakref.WeakValueDictionary[Hashable, Target[Any]] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def _start_anew() -> None:
    """Leave the parent's connections to it: in a fork, every target is opened again."""
    global _lock, _targets  # noqa: PLW0603 - whoever held the lock is not in this process
    _lock = threading.Lock()
    for reference in _targets.valuerefs():
        target = reference()
        if target is not None:
            target.inherited = True
    _targets = weakref.WeakValueDictionary()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


class RemoteEngine(Engine, Generic[C]):
    """The base of engines whose rows are in a server.

    A subclass names its client's errors in ``unreachable`` and implements ``connect`` and
    ``disconnect``; ``self._held().client`` is then the client.

    Args:
        place: where the rows are kept.
        url: the server; by default ``HASHSTASH_<ENGINE>_URL``, else the one on this machine.
        timeout: seconds that connecting, or waiting for one answer, may take.

    Raises:
        ConfigurationError: the URL or the timeout cannot be used.
    """

    remote = True
    default_url: ClassVar[str]
    """The server when nobody names one."""
    unreachable: ClassVar[tuple[type[BaseException], ...]]
    """The client's errors that say that the server is not there, or did not answer."""
    refusals: ClassVar[tuple[type[BaseException], ...]] = ()
    """Those of them that are answers nevertheless: a wrong password."""

    def __init__(self, place: Place, *, url: str | None = None, timeout: float = TIMEOUT) -> None:
        super().__init__(place)
        self.url = self.complete({"url": url})["url"]
        if not isinstance(timeout, (int, float)) or not 0 < timeout < float("inf"):
            raise ConfigurationError(f"timeout is a number of seconds above 0, not {timeout!r}")
        self.timeout = timeout
        self._target: Target[C] | None = None

    @classmethod
    def complete(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options with the URL that they, the environment or the default give."""
        url = options.get("url") or os.environ.get(cls.variable()) or cls.default_url
        if not isinstance(url, str):
            raise TypeError(f"url is text, not {type(url).__name__}")
        if "#" in url:
            raise ConfigurationError(
                "'#' names a stash only in a URL that is the first argument of HashStash; in "
                f"url= and {cls.variable()} leave it out, and write %23 in a password."
            )
        return {**options, "url": SecretUrl(url)}

    @classmethod
    def variable(cls) -> str:
        """Return the environment variable that names the server."""
        return f"HASHSTASH_{cls.name.upper()}_URL"

    @property
    def location(self) -> str:
        """The server's URL without passwords, with the stash's name behind ``#``."""
        return f"{self.url}#{quote(self.place.name, errors='surrogatepass')}"

    @abstractmethod
    def connect(self) -> C:
        """Return a new client of the server at ``self.url.reveal(self.variable())``."""

    @staticmethod
    @abstractmethod
    def disconnect(client: C) -> object:
        """Close a client that nobody uses."""

    def same_client(self) -> Hashable:
        """Return what engines must have in common to share a client."""
        return (type(self), self.url.reveal(self.variable()), self.timeout)

    def _held(self) -> Target[C]:
        """Return the target to use, to be kept in a local variable meanwhile."""
        target = self._target
        if target is None or not target.usable:
            target = self._target = self._shared()
        return target

    def _shared(self) -> Target[C]:
        key = self.same_client()
        with _lock:
            target = _targets.get(key)
        if target is None or not target.usable:
            made = Target(self.connect(), self.disconnect)  # may take a while: no lock is held
            with _lock:
                target = _targets.get(key)
                if target is None or not target.usable:
                    target = _targets[key] = made
        return target

    def close(self) -> None:
        """Let go of the client, which is closed when no other engine uses it."""
        self._target = None

    def sibling(self, table: str) -> Self:
        """Return an engine over another table, with the same client."""
        made = self._at(replace(self.place, table=table))
        made._target = self._target
        return made

    def advice(self, exc: BaseException) -> str:
        """Return what to do about the client's error ``exc``, where there is more to say."""
        return ""

    def _at(self, place: Place) -> Self:
        return type(self)(place, url=self.url, timeout=self.timeout)

    def failure(self, operation: str, exc: BaseException) -> EngineError:
        """Return the error to raise ``from exc``: ours, and without passwords."""
        said = self.url.hide(str(exc)) or type(exc).__name__
        about = {"engine": self.name, "operation": operation, "place": self.location}
        if isinstance(exc, self.refusals) or not isinstance(exc, self.unreachable):
            message = f"{self.name} {operation} failed at {self.location}: {said}"
            return EngineError(_sentences(message, self.advice(exc)), **about)
        message = f"{self.name} {operation}: no answer from {self.url}: {said}"
        check = (
            "Check that the server runs, that the URL is right and reachable from here, and that "
            f"timeout={self.timeout:g} (seconds) is enough."
        )
        return EngineUnavailableError(_sentences(message, self.advice(exc), check), **about)


def _sentences(*parts: str) -> str:
    return " ".join(part if part.endswith((".", "?")) else f"{part}." for part in parts if part)
