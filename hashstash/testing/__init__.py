"""Contract suites for authors of engines, serializers and encoders; they need pytest alone.

A plug-in's test module inherits a suite and says what it tests::

    from hashstash.testing.engine import EngineContract


    class TestShelfEngine(EngineContract):
        engine_name = "shelf"
"""

import sys

if "pytest" in sys.modules:  # not in the worker processes that some tests start
    sys.modules["pytest"].register_assert_rewrite(
        "hashstash.testing.engine",
        "hashstash.testing.engine_crowds",
        "hashstash.testing.engine_iteration",
        "hashstash.testing.engine_kills",
        "hashstash.testing.engine_places",
        "hashstash.testing.engine_rows",
        "hashstash.testing.engine_swaps",
        "hashstash.testing.engine_transactions",
        "hashstash.testing.serializer",
        "hashstash.testing.encoder",
    )
