"""Fetch the servers that the tests need, so that these need no network.

Run it in the folder above: ``cd tests && python -m servers.fetch``. It needs Java and Maven for
MongoDB's stand-in, unless there is a ``mongod``, and Go for the S3 server.
"""

from __future__ import annotations

import sys

from . import ServerMissingError, mongo, redis, s3


def main() -> int:
    """Find or fetch each server; return how many are missing."""
    missing = 0
    for name, find in (("redis", redis.find), ("mongo", mongo.find), ("s3", s3.find)):
        try:
            found = find()
        except ServerMissingError as exc:
            missing += 1
            print(f"{name}: {exc}", file=sys.stderr)
        else:
            print(f"{name}: {found if isinstance(found, str) else ' '.join(found)}")
    return missing


if __name__ == "__main__":
    sys.exit(main())
