"""What a channel says is what a solver needs, also of packages that nobody has made."""

import json

from fixtures.channel import Package, linux_twins, write_channel
from fixtures.channel.peer import solve

LEAF = Package("leaf", "1.0", "py_0", depends=("root >=2",), subdir="noarch", noarch="generic")


def test_a_package_without_an_archive_is_solved_for(tmp_path):
    roots = [Package("root", version) for version in ("1.9", "2.0", "2.1")]
    found = solve(write_channel(tmp_path, [LEAF, *roots]), "leaf")
    assert found == {"leaf": "leaf-1.0-py_0.conda", "root": "root-2.1-0.conda"}


def test_a_package_of_another_platform_is_not_found(tmp_path):
    url = write_channel(tmp_path, [Package("appnope", "0.1.4", subdir="osx-arm64")])
    assert "appnope" in solve(url, "appnope")[""]
    assert solve(url, "appnope", platform="osx-arm64") == {"appnope": "appnope-0.1.4-0.conda"}


def test_a_conflict_names_both_sides(tmp_path):
    packages = [LEAF, Package("root", "1.0"), Package("root", "2.0")]
    said = solve(write_channel(tmp_path, packages), "leaf", "root <2")[""]
    assert "leaf" in said
    assert "root" in said


def test_constraints_and_virtual_packages_count(tmp_path):
    new = Package("root", "2.0", depends=("__glibc >=2.40",))
    old = Package("root", "1.0", constrains=("leaf >=2",))
    url = write_channel(tmp_path, [new, old])
    assert solve(url, "root") == {"root": "root-1.0-0.conda"}
    assert solve(url, "root", glibc="2.40") == {"root": "root-2.0-0.conda"}


def test_thousands_of_packages_are_solved(tmp_path):
    chain = [
        Package(f"p{n}", f"{version}.0", depends=(f"p{n + 1} >={version}",))
        for n in range(999)
        for version in "123"
    ]
    url = write_channel(tmp_path, [*chain, Package("p999", "3.0")])
    assert len(solve(url, "p0")) == 1000


def test_the_same_packages_give_the_same_bytes(tmp_path):
    for name, packages in {"a": linux_twins(), "b": reversed(linux_twins())}.items():
        write_channel(tmp_path / name, packages)
    for path in (tmp_path / "a").rglob("*.json"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_every_platform_has_a_repodata(tmp_path):
    write_channel(tmp_path)
    for subdir in ("linux-64", "osx-arm64", "win-64", "noarch"):
        said = json.loads((tmp_path / subdir / "repodata.json").read_text())
        assert said["info"]["subdir"] == subdir
