"""How to start a server for the demo, for who has none yet."""

from __future__ import annotations

from hashstash.errors import ConfigurationError, EngineUnavailableError, HashStashError

_START = {
    "redis": """\
  apt-get install redis-server          # or: docker run -d -p 6379:6379 redis
  redis-server --appendonly yes
If there is one elsewhere, name it:
  export HASHSTASH_REDIS_URL=redis://user:password@host:6379/0""",
    "mongo": """\
  docker run -d -p 27017:27017 mongo    # or: https://www.mongodb.com/docs/manual/installation
If there is one elsewhere, name it:
  export HASHSTASH_MONGO_URL=mongodb://user:password@host:27017""",
    "s3": """\
  go install github.com/versity/versitygw/cmd/versitygw@latest
  mkdir -p s3/stashes                   # a bucket is a folder
  ROOT_ACCESS_KEY=me ROOT_SECRET_KEY=secret versitygw --port 127.0.0.1:9000 posix s3
  export HASHSTASH_S3_URL='s3://me:secret@stashes?endpoint_url=http://127.0.0.1:9000'
If there is a bucket elsewhere, name it; credentials are found as boto3 finds them:
  export HASHSTASH_S3_URL=s3://my-bucket""",
}


def how_to_start(engine: str, exc: HashStashError) -> str:
    """Return what to type when the server of ``engine`` is not there, or nothing.

    >>> how_to_start("s3", ConfigurationError("no bucket")).splitlines()[-1]
    '  export HASHSTASH_S3_URL=s3://my-bucket'
    >>> how_to_start("lmdb", ConfigurationError("no map_size"))
    ''
    """
    if engine not in _START or not isinstance(exc, (EngineUnavailableError, ConfigurationError)):
        return ""
    return f"To start a server on this machine:\n{_START[engine]}"
