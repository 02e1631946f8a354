"""How commands reach Redis: connections, redirections, patience, and answers that got lost."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import Any, NamedTuple

from redis import exceptions as errors
from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from .lost_answers import LostAnswerError
from .redis_scripts import Script
from .redis_url import RedisUrl, parse

Command = tuple[Any, ...]

REFUSALS = (errors.AuthenticationError, errors.AuthorizationError)
"""Answers to a login: redis-py counts them among the connection errors."""

_PASSING = (errors.BusyLoadingError, errors.ClusterDownError, errors.TryAgainError)
"""Answers that say: not executed, try again soon."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.25


class _Failure(NamedTuple):
    """What came instead of an answer.

    Attributes:
        error: a copy of redis-py's error. One that was raised leads, by its traceback, to the
            variables of whoever asked, and these back to it: the client would stay open.
        pool: the node that was to answer.
        connected: whether there was a connection to it.
        sent: whether the server may have the whole command.
        passing: whether it says that nothing was done, and that it will be possible soon.
    """

    error: errors.RedisError
    pool: ConnectionPool
    connected: bool
    sent: bool
    passing: bool

    def final(self, again: bool) -> errors.RedisError | LostAnswerError:
        """Return a new error to raise if nothing can be done about this one."""
        error = copy(self.error)
        if again or not self.sent or not _is_transport(error) or self.passing:
            return error
        return LostAnswerError(error)


class RedisServer:
    """A server, a cluster or what Sentinels watch over, as one place to send commands to.

    Every command has one key, so that a cluster can be asked as if it were one server; that a
    server belongs to a cluster is learnt from its answers.

    Args:
        url: the server.
        timeout: seconds that connecting, or waiting for one answer, may take.
    """

    def __init__(self, url: str, timeout: float) -> None:
        said = parse(url)
        self.timeout = timeout
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, int], ConnectionPool] = {}
        self._slots: list[ConnectionPool | None] | None = None
        self._options = _connection_options(said, timeout)
        self._sentinel: Sentinel | None = None
        self._by_socket = bool(said.path)
        if said.kind == "sentinel":
            self._sentinel = _sentinel(said, timeout)
            self._first = _sentinel_pool(self._sentinel, said, self._options)
        elif said.path:
            self._first = ConnectionPool(path=said.path, **self._options)
        else:
            self._first = self._node(*said.hosts[0])
            for host in said.hosts[1:]:
                self._node(*host)

    def execute(self, *command: Any, again: bool = False) -> Any:
        """Return the answer to a command.

        Args:
            *command: name and arguments, the first of which is the key (the third of a script).
            again: whether it does no harm to execute it twice.

        Raises:
            LostAnswerError: the answer was lost, and ``again`` is false.
            RedisError: the server refused it, or cannot be reached.
        """
        pool = self._first if self._slots is None else self._pool_of(command)
        reply = _ask(pool, command)
        return self._insist(reply, command, again) if type(reply) is _Failure else reply

    def run(
        self, script: Script, keys: Sequence[bytes], *arguments: Any, again: bool = False
    ) -> Any:
        """Return what a script returns, as ``execute`` does."""
        given = (len(keys), *keys, *arguments)
        try:
            return self.execute(b"EVALSHA", script.name, *given, again=again)
        except errors.NoScriptError:
            return self.execute(b"EVAL", script.text, *given, again=again)

    def execute_many(self, commands: Sequence[Command], *, again: bool = False) -> list[Any]:
        """Return the answers to many commands, which each node is sent in one go.

        Raises:
            LostAnswerError: an answer was lost, and ``again`` is false.
            RedisError: the server refused one of them, or cannot be reached.
        """
        groups: dict[ConnectionPool, list[int]] = {}
        for number, command in enumerate(commands):
            groups.setdefault(self._pool_of(command), []).append(number)
        replies: list[Any] = [None] * len(commands)
        failure = _exchange(groups, commands, replies)
        if failure is not None and not again:
            self._learn_anew(failure.pool)
            raise failure.final(again)
        for number, reply in enumerate(replies):
            if type(reply) is _Failure:
                replies[number] = self._insist(reply, commands[number], again)
        return replies

    @property
    def clustered(self) -> bool:
        """Whether it is known to be a cluster, where a script has the keys of one slot only."""
        return self._slots is not None

    def memory_info(self) -> dict[str, str]:
        """Return what the server says about its memory; nothing if it may not be asked.

        Raises:
            RedisError: none of the hosts can be reached.
        """
        for pool in list(self._pools.values()) or [self._first]:
            reply = _ask(pool, (b"INFO", b"memory"))
            self._first = pool
            if type(reply) is not _Failure:
                lines = reply.decode("ascii", "replace").splitlines()
                return {name: value for name, _, value in (line.partition(":") for line in lines)}
            if isinstance(reply.error, errors.ResponseError) or reply.passing:
                return {}
        assert type(reply) is _Failure
        raise reply.final(again=True)

    def scan(self, pattern: bytes) -> Iterator[bytes]:
        """Yield the names in the whole server that match; some may come twice."""
        for pool in {pool for pool in self._slots or () if pool is not None} or {self._first}:
            cursor = b"0"
            while True:
                reply = _ask(pool, (b"SCAN", cursor, b"MATCH", pattern, b"COUNT", 1000))
                if type(reply) is _Failure:
                    raise reply.final(again=True)
                cursor, names = reply
                yield from names
                if cursor == b"0":
                    break

    def close(self) -> None:
        """Close all connections."""
        for pool in {self._first, *self._pools.values()}:
            pool.disconnect()
        for sentinel in self._sentinel.sentinels if self._sentinel is not None else ():
            sentinel.close()

    # -- where a command goes ---------------------------------------------------------------

    def _pool_of(self, command: Command) -> ConnectionPool:
        slots = self._slots
        if slots is None:
            return self._first
        key = command[3] if command[0] in {b"EVALSHA", b"EVAL"} else command[1]
        return slots[key_slot(key)] or self._first

    def _node(self, host: str, port: int) -> ConnectionPool:
        with self._lock:
            pool = self._pools.get((host, port))
            if pool is None:
                pool = ConnectionPool(host=host, port=port, **self._options)
                self._pools[host, port] = pool
            return pool

    def _named(self, error: errors.AskError, told_by: ConnectionPool) -> ConnectionPool:
        return self._node(_host(error.host, told_by), error.port)

    def _learn(self, asked: Iterable[ConnectionPool]) -> None:
        """Learn which node has which slot from the first of ``asked`` that tells."""
        for pool in asked:
            ranges = _ask(pool, (b"CLUSTER", b"SLOTS"))
            if type(ranges) is _Failure or not ranges:
                continue
            slots: list[ConnectionPool | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
            for first, last, (host, port, *_), *_replicas in ranges:
                node = self._node(_host((host or b"").decode(), pool), port)
                slots[first : last + 1] = [node] * (last + 1 - first)
            self._slots = slots
            return

    def _learn_anew(self, failed: ConnectionPool) -> None:
        """Ask the other nodes of a cluster where things are, as ``failed`` is in trouble."""
        self._learn(pool for pool in list(self._pools.values()) if pool is not failed)

    def _redirect(self, error: errors.MovedError, told_by: ConnectionPool) -> None:
        if self._slots is None:
            self._learn([told_by])
        slots = self._slots or [None] * REDIS_CLUSTER_HASH_SLOTS
        slots[error.slot_id] = self._named(error, told_by)
        self._slots = slots

    # -- what to do when no answer came -----------------------------------------------------

    def _insist(self, failure: _Failure, command: Command, again: bool) -> Any:
        """Return the answer to ``command``, sent again where that helps and does no harm."""
        deadline = time.monotonic() + self.timeout
        reconnected = False
        for attempt in itertools.count():
            error, asked = failure.error, None
            if isinstance(error, errors.AskError) and self._by_socket:
                raise failure.final(again)  # a cluster: no socket leads to its other nodes
            if isinstance(error, errors.MovedError):
                self._redirect(error, failure.pool)
            elif isinstance(error, errors.AskError):
                asked = self._named(error, failure.pool)
            elif isinstance(error, errors.ClusterDownError):
                self._learn_anew(failure.pool)
            elif not failure.passing:
                if reconnected or not self._may_reconnect(failure, command, again):
                    raise failure.final(again)
                reconnected = True
            if attempt and time.monotonic() > deadline:
                raise failure.final(again)
            if failure.passing or attempt > 2:
                time.sleep(min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE))
            reply = _ask(asked or self._pool_of(command), command, asking=asked is not None)
            if type(reply) is not _Failure:
                return reply
            failure = reply
        raise AssertionError("unreachable")

    def _may_reconnect(self, failure: _Failure, command: Command, again: bool) -> bool:
        """Report whether a new connection, or another node, is worth one more attempt."""
        if not _is_transport(failure.error):
            return False
        self._learn_anew(failure.pool)
        if failure.sent and not again:
            return False
        stale = failure.connected and not isinstance(failure.error, errors.TimeoutError)
        return stale or self._pool_of(command) is not failure.pool


def _ask(pool: ConnectionPool, command: Command, *, asking: bool = False) -> Any:
    """Return the answer to ``command``, or a _Failure."""
    connected = sent = False
    try:
        connection = pool.get_connection()
        connected = True
        try:
            if asking:
                connection.send_command(b"ASKING")
                connection.read_response(disconnect_on_error=True)
            connection.send_command(*command)
            sent = True
            return connection.read_response(disconnect_on_error=True)
        finally:
            pool.release(connection)
    except errors.RedisError as exc:
        return _Failure(copy(exc), pool, connected, sent, _is_passing(exc))


def _exchange(
    groups: dict[ConnectionPool, list[int]], commands: Sequence[Command], replies: list[Any]
) -> _Failure | None:
    """Fill ``replies`` with answers and failures; return the one that stopped it, if any did."""
    taken: list[tuple[ConnectionPool, Connection, list[int]]] = []
    waiting = dict.fromkeys(range(len(commands)))
    failure = None
    asked = next(iter(groups), None)
    try:
        for asked, numbers in groups.items():
            connection = asked.get_connection()
            taken.append((asked, connection, numbers))
            packed = connection.pack_commands([commands[number] for number in numbers])
            connection.send_packed_command(packed)
        for asked, connection, numbers in taken:
            for number in numbers:
                try:
                    replies[number] = connection.read_response(disconnect_on_error=True)
                except errors.ResponseError as exc:
                    replies[number] = _Failure(copy(exc), asked, True, True, _is_passing(exc))
                del waiting[number]
    except errors.RedisError as exc:
        assert asked is not None
        begun = bool(taken)
        failure = _Failure(copy(exc), asked, begun, begun, _is_passing(exc))
        for number in waiting:
            replies[number] = failure
    finally:
        for pool, connection, numbers in taken:
            if numbers[-1] in waiting:
                connection.disconnect()  # answers are still to come: never to be read by others
            pool.release(connection)
    return failure


def _is_passing(error: errors.RedisError) -> bool:
    """Report whether ``error`` says that nothing was done, and that it will be possible soon."""
    if isinstance(error, _PASSING) or isinstance(error.__context__, errors.ReadOnlyError):
        return True  # the latter: what was the master until Sentinel chose another
    return isinstance(error, errors.ResponseError) and str(error).startswith("BUSY ")


def _is_transport(error: errors.RedisError) -> bool:
    return isinstance(error, (errors.ConnectionError, errors.TimeoutError)) and not isinstance(
        error, REFUSALS
    )


def _host(told: str, told_by: ConnectionPool) -> str:
    """Return the host of a node; one that does not know its own name is where it was asked."""
    if told in {"", "?"}:
        host: str = told_by.connection_kwargs["host"]
        return host
    return told


def _connection_options(said: RedisUrl, timeout: float) -> dict[str, Any]:
    """Return how connections are made: bytes as they are, no retries but our own."""
    options: dict[str, Any] = {
        **said.arguments,
        "db": said.db,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "max_connections": 1 << 30,
    }
    if said.path:
        options["connection_class"] = UnixDomainSocketConnection
    else:
        options["socket_keepalive"] = True
        if said.kind != "sentinel":
            options["connection_class"] = SSLConnection if said.tls else Connection
    return options


def _sentinel(said: RedisUrl, timeout: float) -> Sentinel:
    options = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        **said.sentinel,
    }
    if said.tls:
        options |= {"ssl": True, **{k: v for k, v in said.arguments.items() if k[:4] == "ssl_"}}
    return Sentinel(said.hosts, sentinel_kwargs=options)


def _sentinel_pool(sentinel: Sentinel, said: RedisUrl, options: dict[str, Any]) -> ConnectionPool:
    return SentinelConnectionPool(said.service, sentinel, ssl=said.tls, **options)
