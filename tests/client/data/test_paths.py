"""Which paths and addresses there may be."""

import pytest

from larder.contract import addresses, paths
from larder.contract.errors import Invalid


@pytest.mark.parametrize("path", [b"a", b"a/b.c", "ü/ß".encode(), b"..a/b..", b".hidden", b"a b"])
def test_paths_that_are_fine(path):
    assert paths.path_problem(path) == ""


@pytest.mark.parametrize(
    "path, word",
    [
        (b"", "empty"),
        (b"/etc/passwd", "absolute"),
        (b"../a", "`..`"),
        (b"a/../b", "`..`"),
        (b"a//b", "empty part"),
        (b"./a", "empty part"),
        (b"a/", "empty part"),
        (b"a\0b", "NUL"),
        (b"\xff", "UTF-8"),
        (b"a/" * 2048 + b"b", "longer"),
        (b"x" * 256, "255"),
    ],
)
def test_paths_that_are_not(path, word):
    assert word in paths.path_problem(path)
    with pytest.raises(Invalid, match="path"):
        paths.check_path(path)


def test_a_file_is_no_folder():
    assert "is a file and also the folder" in paths.tree_problem([b"a", b"a/b"])
    assert "is a file and also the folder" in paths.tree_problem([b"a/b/c/d", b"a/b"])
    assert paths.tree_problem([b"a/b", b"a-b", b"ab"]) == ""


@pytest.mark.parametrize("names", [[b"a", b"A"], [b"x/a", b"X/b"], ["straße".encode(), b"STRASSE"]])
def test_names_that_differ_by_case_only(names):
    assert "upper and lower case" in paths.tree_problem(names)
    assert paths.tree_problem(names, cases=True) == ""


@pytest.mark.parametrize("path, target", [(b"a", b"b"), (b"x/a", b"../b"), (b"x/y/a", b"../../b/c"), (b"a", b"b/./c")])
def test_links_within_the_tree(path, target):
    assert paths.link_problem(path, target) == ""


@pytest.mark.parametrize(
    "path, target", [(b"a", b"../b"), (b"a", b"/etc/passwd"), (b"x/a", b"../../b"), (b"x/a", b"b/../../c"), (b"a", b"")]
)
def test_links_out_of_the_tree(path, target):
    assert paths.link_problem(path, target)


def test_addresses():
    parse, parsed = addresses.parse, addresses.Parsed
    assert parse("shelf") == parsed(name="shelf")
    assert parse("bakery/shelf@v3") == parsed(project="bakery", name="shelf", number=3)
    assert parse("shelf@ready") == parsed(name="shelf", label="ready")
    an_id = "0193b5c0-0000-7000-8000-000000000000"
    assert parse(an_id) == parsed(name="", id=an_id)
    assert parse(f"shelf@{an_id}") == parsed(name="shelf", id=an_id)


@pytest.mark.parametrize("text", ["", "@", "shelf@", "@v1", "a//b", "shelf@-x", "sh\nelf", "x" * 128, "../x"])
def test_no_addresses(text):
    with pytest.raises(Invalid):
        addresses.parse(text)


@pytest.mark.parametrize("label", ["v3", "", "a@b", "-a"])
def test_no_labels(label):
    with pytest.raises(Invalid):
        addresses.check_label(label)
