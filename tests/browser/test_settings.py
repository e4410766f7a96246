"""Settings: who I am, my tokens, how the pages look."""

import pytest
from playwright.sync_api import expect

from larder.contract import tenants
from larder.contract.endpoint import Nothing, Role
from larder.transport import Transport

pytestmark = pytest.mark.browser


def test_a_token_is_made_shown_once_used_and_revoked(up, page):
    server = up()
    page.goto(f"{server.url}/settings/tokens")
    page.get_by_role("button", name="New token").click()
    page.get_by_label("What it is for").fill("laptop")
    page.get_by_label("What it may do").select_option("viewer")
    page.get_by_role("button", name="Make it").click()
    secret = page.get_by_role("region", name="The token").inner_text().strip()
    assert Transport(server.url, secret).call(tenants.WHOAMI, Nothing()).role is Role.VIEWER
    page.get_by_role("button", name="Done").click()
    row = page.get_by_role("row").filter(has_text="laptop")
    expect(row).to_contain_text("viewer")
    expect(page.locator("body")).not_to_contain_text(secret)
    row.get_by_role("button", name="Revoke “laptop”").click()
    page.get_by_role("button", name="Revoke it").click()
    row.wait_for(state="detached")
    with pytest.raises(Exception, match="revoked"):
        Transport(server.url, secret).call(tenants.WHOAMI, Nothing())


def test_who_is_no_admin_sees_and_makes_only_their_own(up, page):
    server = up()
    call = server.transport.call
    call(tenants.ISSUE_TOKEN, tenants.NewToken(user="joe", name="joe's"))
    secret = call(tenants.ISSUE_TOKEN, tenants.NewToken(user="evi", name="the browser")).secret
    page.goto(f"{server.url}/sign-in?token={secret}")
    page.goto(f"{server.url}/settings/tokens")
    page.get_by_text("this sign-in").wait_for()
    expect(page.locator("body")).not_to_contain_text("joe's")
    page.get_by_role("button", name="New token").click()
    expect(page.get_by_label("What it may do").locator("option")).to_have_count(2)
    expect(page.get_by_label("For whom")).to_have_count(0)
    page.get_by_label("What it is for").fill("notebook")
    page.get_by_role("button", name="Make it").click()
    page.get_by_role("region", name="The token").wait_for()
    page.get_by_role("button", name="Done").click()
    page.get_by_role("row").filter(has_text="notebook").wait_for()


def test_the_theme_is_kept(up, page):
    server = up()
    page.goto(f"{server.url}/settings/appearance")
    page.get_by_role("radio", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.get_by_role("radio", name="Dark")).to_have_attribute("aria-checked", "true")


def test_the_profile_says_who_asks_and_teams_are_changed_with_undo(up, page):
    server = up()
    server.transport.call(tenants.ISSUE_TOKEN, tenants.NewToken(user="evi"))
    page.goto(f"{server.url}/settings")
    page.get_by_text("You also give others their tokens and teams.").wait_for()
    page.get_by_role("link", name="People").click()
    page.get_by_role("button", name="Change the team of evi").click()
    page.get_by_role("textbox", name="Team").fill("vision")
    page.get_by_role("button", name="Save").click()
    row = page.get_by_role("row").filter(has_text="evi")
    expect(row).to_contain_text("vision")
    page.get_by_role("button", name="Undo").click()
    expect(row).not_to_contain_text("vision")


@pytest.mark.parametrize("section", ["", "/tokens", "/appearance", "/people", "/shares"])
def test_a_phone_needs_no_sideways_scrolling(up, page, section):
    server = up()
    server.transport.call(tenants.ISSUE_TOKEN, tenants.NewToken(user="e" * 200, name="n" * 200))
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"{server.url}/settings{section}?whose=all")
    page.get_by_role("heading", name="Settings").wait_for()
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
