"""Names of stashes that a careless engine mixes up, or a server refuses."""

from __future__ import annotations

HOSTILE_NAMES = [
    "a", "A", "aa", "a/b", "a/b/c", "a2", "a_entries", "a/entries", "a/@entries", "a.entries",
    "a*", "a?", "a[b]", "{a}", "a{1,2}", "a b", " a", "a ", "a\tb", "a\nb", "a$b", "$a", "a%b",
    "a%2Fb", "a=2Fb", "a~b", "a:b", "a\\b", "a\"b", "a'b", "a<b>", "a|b", "a#b", "a&b", "a+b",
    ".", "..", "...", "a/..", "../a", ".a", "a.", "a//b", "/a", "a/", "", "system", "system.x",
    "été", "e\u0301te\u0301", "λ", "\U0001f600", "\ud800", "admin", "local", "x" * 60, "x" * 61,
    "x" * 300, "x" * 301, "é" * 100, "/".join("y" * 30), "/".join(["z" * 100] * 12),
]  # fmt: skip
