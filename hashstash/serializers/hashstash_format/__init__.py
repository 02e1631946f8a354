"""The parts of the ``hashstash`` serializer: a JSON head with binary segments.

``docs/format.md`` describes the bytes. Going in, ``plain`` hands what is plain to the JSON
encoder; ``writer`` takes the rest apart, or ``graph_writer`` where it is cyclic or deep, with the
help of the vocabulary: one module for each family of types, with both directions in it.
"""
