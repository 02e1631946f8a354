"""What the server does in one step: scripts, known to it by their checksum."""

from __future__ import annotations

import hashlib

from .base import ETAG


class Script:
    """A script that is sent once and called by name afterwards.

    Args:
        text: in Lua.
    """

    __slots__ = ("name", "text")

    def __init__(self, text: str) -> None:
        self.text = text.encode("ascii")
        self.name = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode("ascii")


SWAP = Script(f"""
local row = redis.call('HGET', KEYS[1], ARGV[1])
if not row or string.sub(row, {ETAG.start + 1}, {ETAG.stop}) ~= ARGV[2] then return 0 end
if ARGV[3] then redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
else redis.call('HDEL', KEYS[1], ARGV[1]) end
return 1
""")
"""Replace a field of a hash (or remove it) if it has an ETag: field, ETag, new row."""

FETCH = Script(f"""
local row = redis.call('HGET', KEYS[1], ARGV[1])
if row and string.sub(row, {ETAG.start + 1}, {ETAG.stop}) == ARGV[2] then return 1 end
return row
""")
"""Return a field of a hash, or 1 if it has an ETag: field, ETag."""

SIZES = Script("""
local sizes = {}
for number, name in ipairs(KEYS) do sizes[number] = redis.call('HLEN', name) end
return sizes
""")
"""How many fields each of the hashes has, all at one instant."""
