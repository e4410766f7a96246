"""The pages of data: datasets, the versions of one in time, a version's files, statistics, changes and lineage."""

import struct
import time
import zlib
from pathlib import Path

import pytest
from playwright.sync_api import expect

import larder.data
from larder.contract import datasets, events, runs, tenants
from larder.contract.datasets import NewUse
from larder.contract.endpoint import Role
from larder.contract.runs import NewRun

pytestmark = pytest.mark.browser

EVIL = '"><img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'


def picture(width, height, shade):
    """A PNG with a gradient."""
    lines = b"".join(
        b"\0" + bytes((shade, (row * 255) // height, (column * 255) // width)[part] for column in range(width) for part in range(3))
        for row in range(height)
    )  # fmt: skip

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def fill(folder: Path, *, pictures=12):
    """A folder as people have them: pictures, a table, a text."""
    for number in range(pictures):
        place = folder / "photos" / ("cereal" if number % 3 else "bread") / f"{number:03}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture(32 + number, 24, number * 20 % 255))
    rows = [f"{number},{['bread', 'cereal'][number % 2]},{number * 0.37:.2f}" for number in range(200)]
    (folder / "labels.csv").write_text("\n".join(["item,label,price", *rows]) + "\n")
    (folder / "read me.md").write_text("# Shelves\n\nPhotographed in *march*.\n")
    (folder / "notes.txt").write_text("first line\nsecond line\n")
    return folder


def commit(server, name, folder, **options):
    return larder.data.commit(name, folder, transport=server.transport, progress=None, **options)


def shelves(server, folder):
    """Two versions of a dataset: one picture changed, one gone, one new, one under another name."""
    fill(folder)
    first = commit(server, "bakery/shelf-images", folder, message="march delivery", tags=["march"])
    photos = folder / "photos"
    (photos / "cereal" / "001.png").write_bytes(picture(40, 40, 250))
    (photos / "cereal" / "002.png").unlink()
    (photos / "cereal" / "new.png").write_bytes(picture(64, 48, 7))
    (photos / "bread" / "000.png").rename(photos / "bread" / "zero.png")
    second = commit(server, "bakery/shelf-images", folder, message="april delivery")
    larder.data.alias("bakery/shelf-images@v1", "ready", transport=server.transport)
    return first, second


def run_of(server, name):
    return server.transport.call(runs.CREATE, NewRun(project="bakery", name=name))


def use(server, version, run, role="input", **served):
    server.transport.call(datasets.USE, NewUse(run=run.id, role=role, served=served), version_id=version.id)


def row(page, path):
    return page.get_by_role("list", name="Files").locator(f'[data-item="{path}"]')


def change(page, path):
    return page.get_by_role("list", name="Changes").get_by_role("listitem").filter(has_text=path)


def text_of_clipboard(page):
    return page.evaluate("navigator.clipboard.readText()")


def test_an_empty_server_teaches_the_first_commit_and_shows_it_when_it_comes(up, page, tmp_path):
    server = up()
    page.goto(f"{server.url}/datasets")
    page.get_by_role("heading", name="No data yet").wait_for()
    expect(page.get_by_role("region", name="Commit a folder")).to_contain_text(
        "larder data commit photos/ --to shelf-images"
    )
    page.wait_for_timeout(500)
    shelves(server, tmp_path / "data")
    found = page.get_by_role("list", name="Datasets").get_by_role("listitem")
    expect(found).to_have_count(1)
    expect(found).to_contain_text("shelf-images")
    expect(found).to_contain_text("ready v1")
    expect(found).to_contain_text("april delivery")
    expect(found).to_contain_text("2 versions")


def test_datasets_are_found_by_name_tag_and_project(up, page, tmp_path):
    server = up()
    shelves(server, tmp_path / "data")
    other = tmp_path / "other"
    other.mkdir()
    (other / "sales.csv").write_text("a,b\n1,2\n")
    commit(server, "tills/sales", other)
    page.goto(f"{server.url}/datasets")
    names = page.locator("[data-dataset]")
    expect(names).to_have_text(["sales", "shelf-images"])
    page.get_by_role("searchbox").fill("march")
    expect(names).to_have_text(["shelf-images"])
    page.wait_for_url("**/datasets?text=march")
    page.get_by_role("searchbox").fill("")
    page.get_by_label("Project").select_option("tills")
    expect(names).to_have_text(["sales"])
    page.goto(f"{server.url}/datasets?text=nothing+of+this+kind")
    page.get_by_text("has “nothing of this kind” in its name").wait_for()


def test_the_versions_of_a_dataset_stand_in_time_and_an_alias_is_moved_with_undo(up, page, tmp_path):
    server = up()
    shelves(server, tmp_path / "data")
    page.goto(f"{server.url}/datasets/shelf-images?project=bakery")
    versions = page.get_by_role("region", name="Versions").get_by_role("listitem")
    expect(versions).to_have_count(2)
    expect(versions.nth(0)).to_contain_text("april delivery")
    expect(versions.nth(0).get_by_role("img", name="files added")).to_have_text("+2−2~1")
    expect(versions.nth(1)).to_contain_text("ready")
    expect(versions.nth(1)).to_contain_text("march")
    page.get_by_role("button", name="Actions for ready").click()
    page.get_by_role("menuitem", name="Move to v2").click()
    expect(versions.nth(0)).to_contain_text("ready")
    assert larder.data.resolve("bakery/shelf-images@ready", transport=server.transport).number == 2
    page.get_by_role("button", name="Undo").click()
    expect(versions.nth(1)).to_contain_text("ready")
    page.get_by_role("button", name="Actions for ready").click()
    page.get_by_role("menuitem", name="Show its history").click()
    expect(page.get_by_role("list", name="History of ready").get_by_role("listitem")).to_have_count(3)


def test_a_protected_alias_is_not_moved_by_a_contributor(up, page, tmp_path):
    server = up()
    shelves(server, tmp_path / "data")
    page.goto(f"{server.url}/datasets/shelf-images")
    page.get_by_role("button", name="New alias").click()
    page.get_by_label("Alias", exact=True).fill("golden")
    page.get_by_label("Who may move it").select_option("maintainer")
    page.get_by_role("button", name="Set it").click()
    page.get_by_text("moved by a maintainer only").wait_for()
    secret = server.transport.call(tenants.ISSUE_TOKEN, tenants.NewToken(user="evi", role=Role.CONTRIBUTOR)).secret
    page.context.clear_cookies()
    page.goto(f"{server.url}/sign-in?token={secret}")
    page.goto(f"{server.url}/datasets/shelf-images")
    page.get_by_role("button", name="Actions for golden").click()
    page.get_by_role("menuitem", name="Move to v1").click()
    page.get_by_role("alert").wait_for()
    assert larder.data.resolve("bakery/shelf-images@golden", transport=server.transport).number == 2


def test_a_commit_is_seen_by_who_looks_at_the_dataset(up, page, tmp_path):
    server = up()
    folder = tmp_path / "data"
    shelves(server, folder)
    page.goto(f"{server.url}/datasets/shelf-images")
    versions = page.get_by_role("region", name="Versions").get_by_role("listitem")
    expect(versions).to_have_count(2)
    page.wait_for_timeout(800)
    (folder / "notes.txt").write_text("a third line\n")
    commit(server, "bakery/shelf-images", folder, message="while you look")
    expect(versions).to_have_count(3)
    expect(versions.nth(0)).to_contain_text("while you look")


def test_the_tree_is_walked_and_files_are_looked_at_with_their_place_in_the_address(up, page, tmp_path):
    server = up()
    shelves(server, tmp_path / "data")
    page.goto(f"{server.url}/datasets/shelf-images/v1")
    row(page, "photos").click()
    page.wait_for_url("**/v1?path=photos")
    row(page, "photos/cereal").click()
    first = row(page, "photos/cereal/001.png")
    # pictures are shown as pictures
    first.locator("img").wait_for()
    expect(first.locator("img")).to_have_js_property("naturalWidth", 33)
    first.click()
    page.wait_for_url("**/v1?path=photos%2Fcereal&file=photos%2Fcereal%2F001.png")
    look = page.get_by_role("region", name="001.png")
    expect(look.get_by_role("img", name="001.png")).to_have_js_property("naturalWidth", 33)
    page.keyboard.press("]")
    page.wait_for_url("**/v2?path=photos%2Fcereal&file=photos%2Fcereal%2F001.png")
    expect(look.get_by_role("img", name="001.png")).to_have_js_property("naturalWidth", 40)
    page.keyboard.press("Escape")
    expect(look).to_have_count(0)
    page.keyboard.press("u")
    page.keyboard.press("u")
    row(page, "labels.csv").click()
    table = page.get_by_role("region", name="labels.csv").last
    expect(table.get_by_role("columnheader")).to_have_text(["#", "item", "label", "price"])
    page.get_by_text("200 rows, 3 columns").wait_for()
    row(page, "read me.md").click()
    page.get_by_role("heading", name="Shelves").wait_for()
    row(page, "notes.txt").click()
    page.get_by_text("second line").wait_for()
    page.go_back()
    page.get_by_role("heading", name="Shelves").wait_for()
    page.reload()
    page.get_by_role("heading", name="Shelves").wait_for()


def test_keys_walk_the_tree(up, page, tmp_path):
    server = up()
    shelves(server, tmp_path / "data")
    page.goto(f"{server.url}/datasets/shelf-images/v1")
    row(page, "photos").wait_for()
    page.keyboard.press("j")
    expect(row(page, "photos")).to_be_focused()
    page.keyboard.press("j")
    expect(row(page, "labels.csv")).to_be_focused()
    page.keyboard.press("k")
    expect(row(page, "photos")).to_be_focused()
    page.keyboard.press("Enter")
    row(page, "photos/bread").wait_for()
    page.keyboard.press("g")
    page.wait_for_url("**view=grid")
    page.keyboard.press("3")
    page.wait_for_url("**/v1/changes*")
    page.keyboard.press("Shift+D")
    page.get_by_role("heading", name="Data", exact=True).wait_for()


def test_a_long_folder_is_asked_for_as_far_as_it_is_looked_at(up, page, tmp_path):
    server = up()
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(1500):
        (folder / f"{number:05}.txt").write_text(str(number))
    commit(server, "bakery/many", folder)
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "/folder?" in request.url else None)
    page.goto(f"{server.url}/datasets/many/v1")
    row(page, "00000.txt").wait_for()
    assert len(asked) == 1, asked
    page.get_by_role("list", name="Files").evaluate("node => node.scrollTo(0, node.scrollHeight)")
    row(page, "01499.txt").wait_for()
    assert page.get_by_role("listitem").count() < 200
    assert len(asked) < 6, asked


def test_changes_against_any_version_with_pictures_side_by_side(up, page, tmp_path):
    server = up()
    folder = tmp_path / "data"
    shelves(server, folder)
    (folder / "third.txt").write_text("three")
    commit(server, "bakery/shelf-images", folder)
    page.goto(f"{server.url}/datasets/shelf-images/v2/changes")
    expect(page.get_by_role("radio", name="All 4")).to_have_attribute("aria-checked", "true")
    changed = change(page, "photos/cereal/001.png")
    expect(changed.locator("img")).to_have_count(2)
    for at, width in ((0, 33), (1, 40)):
        expect(changed.locator("img").nth(at)).to_have_js_property("naturalWidth", width)
    expect(change(page, "photos/cereal/new.png").locator("img")).to_have_count(1)
    expect(change(page, "photos/bread/zero.png")).to_contain_text("photos/bread/000.png →")
    changed.get_by_role("button", name="Enlarge").click()
    expect(page.get_by_role("dialog").locator("figure")).to_have_count(2)
    page.keyboard.press("Escape")
    page.get_by_role("radio", name="Removed 1").click()
    expect(page.get_by_role("list", name="Changes").get_by_role("listitem")).to_have_count(1)
    page.get_by_role("link", name="photos/cereal/002.png").click()
    # what is gone is looked at where it was
    page.wait_for_url("**/v1?path=*")
    page.goto(f"{server.url}/datasets/shelf-images/v3/changes")
    expect(page.get_by_role("radio", name="All 1")).to_be_visible()
    page.get_by_label("Against").select_option("v1")
    page.wait_for_url("**/v3/changes?against=v1")
    expect(page.get_by_role("radio", name="All 5")).to_be_visible()


def test_statistics_are_drawn(up, page, tmp_path):
    server = up()
    first, _ = shelves(server, tmp_path / "data")
    if not first.statistics:
        pytest.fail("the commit has computed no statistics")
    page.goto(f"{server.url}/datasets/shelf-images/v1/statistics")
    kinds = page.get_by_role("figure", name="Kinds of files")
    expect(kinds).to_contain_text(".png")
    expect(page.get_by_role("region", name="Pictures", exact=True)).to_contain_text("12 pictures")
    page.get_by_role("img", name="Width, pixels: how many have which").wait_for()
    table = page.get_by_role("region", name="Table labels.csv")
    expect(table).to_contain_text("200 rows")
    expect(table.get_by_role("row").filter(has_text="price").get_by_role("img")).to_be_visible()
    expect(table.get_by_role("row").filter(has_text="label")).to_contain_text("bread (100)")


def test_who_reads_and_writes_a_version_is_seen_from_both_sides(up, page, tmp_path):
    server = up()
    first, second = shelves(server, tmp_path / "data")
    cleaning, training = run_of(server, "clean up"), run_of(server, "train")
    use(server, first, cleaning)
    use(server, second, cleaning, "output")
    page.goto(f"{server.url}/datasets/shelf-images/v2/lineage")
    graph = page.get_by_role("region", name="Lineage, from")
    expect(graph.get_by_role("link", name="clean up")).to_be_visible()
    expect(graph).to_contain_text("shelf-images@v1")
    page.wait_for_timeout(800)
    use(server, second, training, cached=10, fetched=2_000_000)
    expect(graph.get_by_role("link", name="train")).to_be_visible()
    readers = page.get_by_role("region", name="Read by")
    expect(readers).to_contain_text("2 MB fetched")
    readers.get_by_role("link", name="train").click()
    page.wait_for_url(f"**/runs/{training.id}/lineage")
    data = page.get_by_role("region", name="Data that it read")
    data.get_by_role("link", name="bakery/shelf-images@v2").click()
    page.get_by_role("heading", name="shelf-images v2").wait_for()
    page.goto(f"{server.url}/runs/{cleaning.id}/lineage")
    expect(page.get_by_role("region", name="Data that it read")).to_contain_text("bakery/shelf-images@v1")
    expect(page.get_by_role("region", name="Data that it wrote")).to_contain_text("bakery/shelf-images@v2")
    page.goto(f"{server.url}/datasets/shelf-images")
    used = page.get_by_role("region", name="Used by")
    expect(used).to_contain_text("train")


def test_tags_are_given_and_taken_away(up, page, tmp_path):
    server = up()
    shelves(server, tmp_path / "data")
    page.goto(f"{server.url}/datasets/shelf-images/v2")
    page.get_by_role("button", name="Tag", exact=True).click()
    page.get_by_label("Tag", exact=True).last.fill("checked")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Remove the tag checked").wait_for()
    assert larder.data.resolve("bakery/shelf-images@v2", transport=server.transport).tags == ["checked"]
    page.get_by_role("button", name="Remove the tag checked").click()
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Remove the tag checked").wait_for()


def test_a_blind_dataset_says_why_and_asks_for_nothing_unasked(up, page, tmp_path):
    server = up()
    folder = tmp_path / "exam"
    folder.mkdir()
    (folder / "answers.csv").write_text("id,answer\n" + "".join(f"{number},{number % 4}\n" for number in range(50)))
    larder.data.create("bakery/exam", blind=True, transport=server.transport)
    commit(server, "bakery/exam", folder)
    secret = server.transport.call(tenants.ISSUE_TOKEN, tenants.NewToken(user="evi")).secret
    page.goto(f"{server.url}/sign-in?token={secret}")
    page.goto(f"{server.url}/datasets")
    expect(page.get_by_role("list", name="Datasets")).to_contain_text("blind")
    page.goto(f"{server.url}/datasets/exam/v1")
    page.get_by_text("only a token with the evaluator right reads its items").wait_for()
    for section in ("statistics", "changes", "lineage"):
        page.goto(f"{server.url}/datasets/exam/v1/{section}")
        page.get_by_role("navigation", name="Parts of the version").wait_for()
        expect(page.locator("[aria-label=Loading]")).to_have_count(0)
        expect(page.get_by_text("answers.csv")).to_have_count(0)

    def named(name):
        found = server.transport.call(events.LIST, events.EventQuery(limit=1000)).events
        return [event for event in found if event.name == name]

    assert named("datasets.blind_refused") == []
    page.goto(f"{server.url}/datasets/exam/v1")
    page.get_by_role("button", name="Ask for its items").click()
    page.get_by_role("alert").wait_for()
    assert [event.user for event in named("datasets.blind_refused")] == ["evi"]
    secret = server.transport.call(tenants.ISSUE_TOKEN, tenants.NewToken(user="eve", evaluator=True)).secret
    page.context.clear_cookies()
    page.goto(f"{server.url}/sign-in?token={secret}")
    page.goto(f"{server.url}/datasets/exam/v1")
    page.get_by_role("button", name="Ask for its items").click()
    row(page, "answers.csv").wait_for()
    assert named("datasets.blind_read")


def test_copied_words_name_the_version_that_is_shown(up, page, tmp_path):
    server = up()
    shelves(server, tmp_path / "data")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{server.url}/datasets/shelf-images/v1")
    page.get_by_role("button", name="Copy as").click()
    page.get_by_role("menuitem", name="Python").click()
    page.get_by_text("Copied as Python").wait_for()
    assert 'larder.data.get("bakery/shelf-images@v1")' in text_of_clipboard(page)
    page.goto(f"{server.url}/datasets/shelf-images/v2/changes")
    expect(page.get_by_role("button", name="Copy as")).to_have_count(2)
    page.get_by_role("button", name="Copy as").last.click()
    page.get_by_role("menuitem", name="Command line").click()
    page.get_by_text("Copied as a command").wait_for()
    assert text_of_clipboard(page) == "larder data diff bakery/shelf-images@v1 bakery/shelf-images@v2"


def test_the_palette_finds_datasets(up, page, tmp_path):
    server = up()
    shelves(server, tmp_path / "data")
    page.goto(f"{server.url}/datasets/shelf-images/v1/changes")
    page.get_by_role("radio", name="All").wait_for()
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="Find anything").fill("shelf")
    page.get_by_role("option", name="shelf-images").wait_for()
    page.get_by_role("option", name="shelf-images").click()
    page.get_by_role("heading", name="shelf-images", exact=True).wait_for()


def test_an_address_that_names_nothing_says_so(up, page, tmp_path):
    server = up()
    shelves(server, tmp_path / "data")
    for address in (
        "nothing-here",
        "shelf-images/v99",
        "shelf-images/nonsense",
        "00000000-0000-7000-8000-000000000000",
    ):
        page.goto(f"{server.url}/datasets/{address}")
        page.get_by_role("heading", name="Not here").wait_for()
    page.goto(f"{server.url}/datasets/shelf-images/v1?path=no/such/folder")
    page.get_by_role("alert").filter(has_text="no/such/folder").wait_for()


def test_names_that_attack_are_shown_as_they_are(up, page, tmp_path):
    server = up()
    folder = tmp_path / "evil"
    (folder / EVIL.replace("/", "\\")).mkdir(parents=True)
    name = EVIL.replace("/", "\\")
    (folder / name / f"{name}.txt").write_text(EVIL)
    (folder / "page.html").write_text(f"<script>parent.hurt=1</script>{EVIL}")
    (folder / "drawing.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>parent.hurt=1</script></svg>')
    (folder / "table.csv").write_text(f"a,b\n1,{EVIL}\n")
    commit(server, "bakery/evil", folder, message=EVIL)
    for address in (
        "",
        "/v1",
        "/v1/statistics",
        "/v1/changes",
        "/v1/lineage",
        "/v1?file=page.html",
        "/v1?file=drawing.svg",
        "/v1?file=table.csv",
    ):
        page.goto(f"{server.url}/datasets/evil{address}")
        page.locator("h1").wait_for()
        expect(page.locator("[aria-label=Loading]")).to_have_count(0)
        page.wait_for_timeout(150)
        assert page.evaluate("window.hurt") is None, address
    page.goto(f"{server.url}/datasets/evil/v1")
    page.get_by_role("list", name="Files").get_by_role("link", name=name).click()
    page.get_by_role("list", name="Files").get_by_role("link", name=name).click()
    page.get_by_role("region", name=f"{name}.txt").first.wait_for()
    assert page.evaluate("window.hurt") is None


def test_a_phone_needs_no_sideways_scrolling(up, page, tmp_path):
    server = up()
    shelves(server, tmp_path / "data")
    page.set_viewport_size({"width": 360, "height": 740})
    whole = "/datasets/shelf-images"
    for address in (
        "/datasets",
        whole,
        f"{whole}/v2?path=photos/cereal",
        f"{whole}/v2?file=labels.csv",
        f"{whole}/v2/statistics",
        f"{whole}/v2/changes",
        f"{whole}/v2/lineage",
    ):
        page.goto(server.url + address)
        page.locator("h1").wait_for()
        expect(page.locator("[aria-label=Loading]")).to_have_count(0)
        deadline = time.monotonic() + 5
        while (width := page.evaluate("document.documentElement.scrollWidth")) > 360 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert width <= 360, address
