from __future__ import annotations

import os
import sys
from pathlib import Path

import platformdirs
import pytest

from hashstash.errors import ConfigurationError
from hashstash.locations import cache_root, check_dbname, data_root, resolve_root, shorten_home


def test_the_folders_are_those_of_platformdirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HASHSTASH_ROOT", raising=False)
    for value in ("", "/elsewhere"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        monkeypatch.setenv("XDG_DATA_HOME", value)
        assert cache_root() == platformdirs.user_cache_dir("hashstash", False)
        assert data_root() == platformdirs.user_data_dir("hashstash", False)


def test_the_root_variable_moves_names_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HASHSTASH_ROOT", str(tmp_path))
    assert resolve_root("name") == str(tmp_path / "name")
    assert resolve_root("/abs/path") == "/abs/path"
    monkeypatch.setenv("HASHSTASH_ROOT", "~/stashes")
    assert resolve_root("name") == os.path.expanduser("~/stashes/name")


@pytest.mark.parametrize("name", ["name", "my.project", "with space", ".hidden", "v1.2.json"])
def test_a_bare_name_is_a_name_also_with_a_dot(name: str) -> None:
    assert resolve_root(name) == os.path.join(cache_root(), name)


@pytest.mark.parametrize("path", ["./name", "a/b", ".", "..", "~/x", "~", "/abs", "/abs/../x"])
def test_a_path_is_a_path(path: str) -> None:
    assert resolve_root(path) == os.path.abspath(os.path.expanduser(path))


def test_a_path_object_is_a_path_even_without_separator() -> None:
    assert resolve_root(Path("name")) == os.path.abspath("name")


@pytest.mark.parametrize("root", ["", "a\x00b"])
def test_roots_that_cannot_be(root: str) -> None:
    with pytest.raises(ConfigurationError):
        resolve_root(root)


def test_a_root_of_bytes_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        resolve_root(b"name")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        ".",
        "../x",
        "a/../b",
        "/abs",
        "a//b",
        "a/",
        "a\x00b",
        "a\\b",
        "data.db",
        "x/data.v",
    ],
)
def test_a_dbname_never_leads_elsewhere(name: str) -> None:
    with pytest.raises(ConfigurationError, match="dbname"):
        check_dbname(name)


@pytest.mark.parametrize("name", ["main", "a/b", "f.<locals>.<lambda>", "ünï", "...", "database"])
def test_dbnames_that_can_be(name: str) -> None:
    assert check_dbname(name) == name


@pytest.mark.skipif(sys.platform == "win32", reason="paths are POSIX ones here")
def test_home_is_shortened_only_where_it_is_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert shorten_home("/home/ann/x") == "~/x"
    assert shorten_home("/home/ann") == "~"
    assert shorten_home("/home/annabel/x") == "/home/annabel/x"
    assert shorten_home("/mnt/home/ann/x") == "/mnt/home/ann/x"
