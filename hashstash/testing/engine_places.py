"""Places, siblings, and the life of an engine: opening, closing, destroying."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hashstash.engines import Engine, Place

from .work import EngineSpec

DESCRIPTORS = Path("/proc/self/fd")


class PlaceTests:
    """Tables and places stay apart; engines of one place see the same rows."""

    def test_siblings_stay_apart(self, engine: Engine) -> None:
        versions, leases = engine.sibling("versions"), engine.sibling("leases")
        for table in (engine, versions, leases):
            table.put(b"k", table.place.table.encode())
        versions.put(b"only here", b"row")
        assert engine.get(b"k") == b"entries"
        assert versions.get(b"k") == b"versions"
        assert leases.get(b"k") == b"leases"
        assert engine.get(b"only here") is None
        assert [table.count() for table in (engine, versions, leases)] == [1, 2, 1]
        assert list(engine.keys()) == [b"k"]
        assert dict(versions.items()) == {b"k": b"versions", b"only here": b"row"}
        versions.clear()
        assert [table.count() for table in (engine, versions, leases)] == [1, 0, 1]
        engine.clear()
        assert leases.get(b"k") == b"leases"

    def test_a_sibling_of_a_sibling(self, engine: Engine) -> None:
        engine.sibling("versions").put(b"k", b"row")
        assert engine.sibling("leases").sibling("versions").get(b"k") == b"row"
        assert engine.sibling("versions").sibling(engine.place.table).count() == 0

    def test_siblings_keep_their_kind_and_place(self, engine: Engine) -> None:
        sibling = engine.sibling("versions")
        assert type(sibling) is type(engine)
        assert sibling.place.folder == engine.place.folder
        assert sibling.place.name == engine.place.name
        assert sibling.place.durability == engine.place.durability

    def test_many_siblings(self, engine: Engine) -> None:
        for number in range(20):
            engine.sibling(f"table_{number}").put(b"k", b"%d" % number)
        for number in range(20):
            assert engine.sibling(f"table_{number}").get(b"k") == b"%d" % number
        assert engine.count() == 0

    def test_places_whose_names_begin_alike(
        self, engine: Engine, at: Callable[[str], Engine]
    ) -> None:
        names = ["pool", "pool2", "pool/deeper", "pool_entries", "p"]
        engines = {name: at(name) for name in names}
        try:
            for name, other in engines.items():
                other.put(b"k", name.encode())
                other.sibling("versions").put(b"k", b"version of " + name.encode())
            for name, other in engines.items():
                assert dict(other.items()) == {b"k": name.encode()}
            engines["pool"].clear()
            engines["p"].destroy()
            counts = {name: other.count() for name, other in engines.items()}
            assert counts == {"pool": 0, "pool2": 1, "pool/deeper": 1, "pool_entries": 1, "p": 0}
            assert engines["pool2"].sibling("versions").get(b"k") == b"version of pool2"
            engines["pool"].destroy()
            assert engines["pool/deeper"].get(b"k") == b"pool/deeper"
        finally:
            for other in engines.values():
                other.destroy()

    def test_opened_twice(self, engine: Engine, spec: EngineSpec) -> None:
        other = spec.build()
        engine.put(b"k", b"1")
        assert other.get(b"k") == b"1"
        other.put(b"k", b"2")
        assert engine.get(b"k") == b"2"
        other.sibling("versions").put(b"v", b"3")
        assert engine.sibling("versions").get(b"v") == b"3"
        other.close()
        assert engine.get(b"k") == b"2"
        engine.put(b"k", b"4")
        assert other.get(b"k") == b"4"
        other.close()

    def test_close_and_use_again(self, engine: Engine) -> None:
        engine.close()
        engine.put(b"k", b"row")
        engine.close()
        engine.close()
        assert engine.get(b"k") == b"row"
        engine.close()
        assert list(engine.keys()) == [b"k"]
        engine.close()
        assert engine.compare_and_set(b"l", None, b"row") is True
        engine.close()
        engine.sweep()
        assert engine.count() == 2

    def test_rows_outlive_the_engine(self, engine: Engine, spec: EngineSpec) -> None:
        engine.put(b"k", b"row")
        engine.close()
        other = spec.build()
        assert other.get(b"k") == b"row"
        other.close()

    def test_constructing_touches_nothing(self, spec: EngineSpec, tmp_path: Path) -> None:
        before = sorted(tmp_path.rglob("*"))
        built = spec.build()
        built.sibling("versions")
        assert built.location
        assert sorted(tmp_path.rglob("*")) == before

    def test_destroy_removes_all(self, engine: Engine, spec: EngineSpec) -> None:
        other = spec.build()
        engine.put(b"k", b"row")
        engine.sibling("versions").put(b"k", b"row")
        engine.destroy()
        assert spec.build().count() == 0
        assert spec.build().sibling("versions").count() == 0
        engine.put(b"k", b"again")
        assert engine.get(b"k") == b"again"
        assert other.get(b"k") == b"again"
        engine.destroy()
        engine.destroy()
        if Path(engine.location).is_absolute():
            assert not Path(engine.location).exists()

    @pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="the system does not list descriptors")
    def test_no_descriptor_is_left_open(self, spec: EngineSpec) -> None:
        def use() -> None:
            built = spec.build()
            versions = built.sibling("versions")
            for number in range(20):
                built.put(b"k%d" % number, b"row")
                versions.put(b"k%d" % number, b"row")
            half_consumed = built.keys()
            assert next(half_consumed)
            assert built.compare_and_set(b"k1", None, b"row") is False
            assert len(list(versions.items())) == 20
            built.clear()
            versions.close()
            built.close()

        use()
        before = len(os.listdir(DESCRIPTORS))
        for _ in range(5):
            use()
        assert len(os.listdir(DESCRIPTORS)) <= before

    def test_durabilities(self, engine: Engine, spec: EngineSpec) -> None:
        for durability in engine.durabilities:
            place = Place(spec.place.folder, spec.place.name, durability=durability)  # type: ignore[arg-type]
            other = EngineSpec(spec.cls, place, spec.options).build()
            other.put(durability.encode(), b"row")
            assert other.delete(durability.encode()) is True
            assert other.compare_and_set(b"swap", None, b"row") is True
            other.clear()
            other.close()
        assert engine.count() == 0
