"""The folder of built files: compressed where understood, kept where the name holds a hash, and never left."""

import pytest
from starlette.requests import Request

from larder_server.kernel.files import Folder


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "pages"
    (root / "assets").mkdir(parents=True)
    (root / "index.html").write_text("<p>page</p>")
    (root / "assets" / "a-1234.js").write_text("plain")
    (root / "assets" / "a-1234.js.br").write_bytes(b"brotli")
    (root / "assets" / "a-1234.js.gz").write_bytes(b"gzip")
    (tmp_path / "secret").write_text("not for you")
    return root


def ask(folder, name, **headers):
    listed = [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()]
    return folder.answer(Request({"type": "http", "method": "GET", "headers": listed}), name)


@pytest.mark.parametrize(
    ("understood", "body", "encoding"),
    [
        ("gzip, deflate, br", b"brotli", "br"),
        ("gzip", b"gzip", "gzip"),
        ("gzip;q=0.5, br;q=0", b"gzip", "gzip"),
        ("identity", b"plain", None),
    ],
)
def test_the_best_that_the_browser_understands_is_sent(root, understood, body, encoding):
    answer = ask(Folder(root), "assets/a-1234.js", accept_encoding=understood)
    assert answer.body == body
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["vary"] == "accept-encoding"
    assert answer.headers["content-type"].startswith("text/javascript")


def test_a_name_with_a_hash_is_kept_for_good_and_another_asked_for_each_time(root):
    folder = Folder(root)
    assert "immutable" in ask(folder, "assets/a-1234.js").headers["cache-control"]
    assert ask(folder, "index.html").headers["cache-control"] == "no-cache"


def test_what_the_browser_has_is_not_sent_again(root):
    folder = Folder(root)
    first = ask(folder, "index.html")
    again = ask(folder, "index.html", if_none_match=first.headers["etag"])
    assert again.status_code == 304 and again.body == b""


def test_a_file_that_is_built_anew_is_read_anew(root):
    folder = Folder(root)
    before = ask(folder, "index.html").headers["etag"]
    (root / "index.html").write_text("<p>another page</p>")
    after = ask(folder, "index.html", if_none_match=before)
    assert after.status_code == 200 and after.body == b"<p>another page</p>"


@pytest.mark.parametrize(
    "name", ["../secret", "assets/../../secret", "/etc/passwd", "assets//a", "assets", "", "a\0b", "..\\secret", "none"]
)
def test_nothing_outside_the_folder_and_no_folder_is_sent(root, name):
    assert ask(Folder(root), name) is None
