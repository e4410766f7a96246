"""What stands around every page: the bar, the keys, the theme, signing in, and what is said when the server is away."""

import re
import urllib.error
import urllib.parse
import urllib.request

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_an_unknown_address_says_so_and_leads_back(up, page):
    server = up()
    answer = page.goto(f"{server.url}/no/such/page")
    assert answer.status == 404
    expect(page.get_by_role("heading", level=1)).to_have_text("There is nothing at this address")
    page.get_by_role("link", name="To the first page").click()
    page.wait_for_url(server.url + "/")


def test_the_keys_are_listed_and_lead_to_the_pages(up, page):
    server = up()
    page.goto(server.url)
    page.locator("h1").wait_for()
    page.keyboard.press("?")
    listed = page.get_by_role("dialog", name="Keys")
    expect(listed).to_contain_text("Find anything")
    page.keyboard.press("Shift+Q")  # covered by the dialog
    assert page.url == server.url + "/"
    page.keyboard.press("Escape")
    expect(listed).to_have_count(0)
    for key, path in (("Shift+Q", "/queues"), ("Shift+A", "/agents"), ("Shift+R", "/runs"), ("Shift+H", "/")):
        page.keyboard.press(key)
        page.wait_for_url(server.url + path)
    page.keyboard.press("Control+K")
    page.get_by_role("dialog").wait_for()


def test_the_first_tab_leads_past_the_bar(up, page):
    server = up()
    page.goto(server.url)
    page.locator("h1").wait_for()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_another_page_takes_the_focus_and_names_the_window(up, page):
    server = up()
    page.goto(server.url)
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page.locator("main")).to_be_focused()
    expect(page).to_have_title(re.compile("uns · Larder"))


def test_the_theme_follows_the_system_until_it_is_chosen(up, page):
    server = up()
    dark = "getComputedStyle(document.documentElement).colorScheme"
    page.emulate_media(color_scheme="dark")
    page.goto(server.url)
    assert page.evaluate(dark) == "dark"
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("menuitemcheckbox", name="Light").click()
    assert page.evaluate(dark) == "light"
    page.reload(wait_until="commit")
    page.locator("#root").wait_for(state="attached")
    assert page.evaluate(dark) == "light"  # before anything else is drawn


def test_the_pages_say_when_the_server_is_away_and_go_on_by_themselves(up, page):
    server = up()
    page.goto(server.url)
    page.locator("h1").wait_for()
    server.stop()
    page.get_by_text("The server does not answer").wait_for(timeout=30_000)
    server.start()
    page.get_by_text("The server does not answer").wait_for(state="detached", timeout=30_000)


def test_who_is_not_known_signs_in_with_a_token(up, page):
    server = up(host="0.0.0.0")  # beyond this machine: tokens rule
    page.goto(f"{server.url}/runs")
    page.get_by_label("Token").fill(server.token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{server.url}/runs")  # back where one wanted to go
    expect(page.get_by_label("Token")).to_have_count(0)
    expect(page.locator("h1")).to_be_visible()


def test_a_wrong_token_is_said_beside_its_field_and_no_token_ever_stands_in_an_address(up, page):
    server = up(host="0.0.0.0")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{server.url}/queues?x=1")
    page.get_by_label("Token").fill("larder_default.wrong.token")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("This token is unknown, revoked or expired.")
    page.get_by_label("Token").fill(server.token)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Queues", level=1).wait_for()
    assert page.url == f"{server.url}/queues?x=1"
    assert not [url for url in asked if server.token in url or "wrong.token" in url]
    (session,) = [cookie for cookie in page.context.cookies() if cookie["name"] == "larder_session"]
    assert session["httpOnly"] and session["sameSite"] == "Strict"


def test_who_has_signed_in_signs_out_again(up, page):
    server = up(host="0.0.0.0")
    page.goto(f"{server.url}/sign-in?next=/settings")
    page.get_by_label("Token").fill(server.token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{server.url}/settings")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{server.url}/sign-in")
    assert page.context.cookies() == []
    page.goto(f"{server.url}/runs")
    page.get_by_label("Token").wait_for()


def test_the_local_user_is_offered_no_sign_out(up, page):
    server = up()
    page.goto(f"{server.url}/settings")
    page.get_by_text("You also give others their tokens and teams.").wait_for()
    expect(page.get_by_role("button", name="Sign out")).to_have_count(0)


def test_a_sign_in_leads_to_a_page_of_this_server_only(up, page):
    server = up(host="0.0.0.0")
    for elsewhere in ("https://example.org/", "//example.org/", "/\\example.org/", "javascript:window.hurt=1"):
        page.context.clear_cookies()
        page.goto(f"{server.url}/sign-in?next={urllib.parse.quote(elsewhere, safe='')}")
        page.get_by_label("Token").fill(server.token)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="No runs yet").wait_for()
        assert page.url == f"{server.url}/" and page.evaluate("window.hurt") is None


def test_the_policy_lets_nothing_in_from_elsewhere_and_no_inline_code(up):
    server = up()
    for path in ("/", "/runs", "/share/none"):
        try:
            headers = urllib.request.urlopen(server.url + path).headers
        except urllib.error.HTTPError as problem:
            headers = problem.headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "object-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"


def test_a_shared_address_signs_nobody_in(up):
    server = up()
    assert "set-cookie" not in urllib.request.urlopen(f"{server.url}/share/x").headers
    assert "set-cookie" in urllib.request.urlopen(server.url).headers


def test_files_whose_names_hold_a_hash_are_kept_for_good_and_come_compressed(up, page):
    server = up()
    got = []
    page.on("response", lambda response: got.append((response.url, response.headers)))
    page.goto(server.url)
    page.locator("h1").wait_for()
    scripts = [headers for url, headers in got if "/assets/index-" in url and url.endswith(".js")]
    assert scripts and "immutable" in scripts[0]["cache-control"] and scripts[0]["content-encoding"] in ("br", "gzip")
    assert all(url.startswith((server.url, "data:", "blob:")) for url, _ in got)


def test_a_pages_own_files_are_named_in_the_answer_so_that_they_come_beside_the_first_script(up):
    server = up()
    for path, part in (("/", "home"), ("/runs", "runs"), ("/projects/a/b", "runs"), ("/runs/some/metrics", "run")):
        link = urllib.request.urlopen(server.url + path).headers["link"]
        assert re.search(rf"</assets/{part}-[^>]+\.js>; rel=modulepreload", link), path


def test_the_api_page_lists_the_endpoints_without_the_internet(up, page):
    server = up()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.url + "/api")
    page.get_by_text("Find runs").wait_for(timeout=15_000)
    assert all(url.startswith((server.url, "data:")) for url in asked)
