"""`larder share`, `larder views` and `larder runs explain` against a server, as people type them."""

import json

import pytest
from click.testing import CliRunner

import larder
import larder.views
from larder.cli import group
from larder.contract import runs, shares
from larder.contract.endpoint import Role
from larder.contract.errors import Invalid, NotFound
from larder.contract.runs import NewRun, Points, PointsBatch
from larder.contract.tenants import ISSUE_TOKEN, NewToken
from larder.views import Question, get

pytestmark = pytest.mark.journey


def call(*words, status=0):
    result = CliRunner().invoke(group.larder, list(words), prog_name="larder")
    assert result.exit_code == status, result.output
    return result


@pytest.fixture
def made(up):
    """A server, and three runs of which the later ones are deeper and better."""
    server = up()
    made = []
    for depth in (2, 4, 8):
        order = NewRun(project="bakery", name=f"depth {depth}", params={"depth": depth, "seed": 1})
        run = server.transport.call(runs.CREATE, order)
        batch = PointsBatch(metrics=[Points(name="val/mae", values=[9.0, 10.0 / depth])])
        server.transport.call(runs.LOG_METRICS, batch, run_id=run.id)
        made.append(run)
    return server, made


def test_a_share_is_made_listed_and_revoked(made):
    server, (first, second, third) = made
    done = call("share", "create", first.id[-8:], "--title", "For the board", "--days", "7", "--against", third.id[-8:])
    address = done.stdout.strip()
    assert address.startswith(f"{server.url}/share/share_default.") and "those who sign in until" in done.stderr
    opened = server.transport.call(shares.OPEN, token=address.rsplit("/", 1)[-1])
    assert (opened.title, opened.kind, [run.name for run in opened.runs]) == (
        "For the board", "run", ["depth 2", "depth 8"],
    )  # fmt: skip
    both = json.loads(call("share", "create", f"run:{first.id}", f"run:{second.id}", "--json").stdout)
    assert both["runs"] == [first.id, second.id]
    head, *rows = call("share", "ls").stdout.splitlines()
    assert head.split()[:2] == ["id", "what"] and [row.split()[1:3] for row in rows] == [
        ["2", "runs"],
        ["run", first.id[-8:]],
    ]
    assert address in rows[1] and len(json.loads(call("share", "ls", second.id, "--json").stdout)) == 1
    assert call("share", "revoke", address, both["id"][-8:]).stdout.splitlines()[1] == both["id"]
    assert call("share", "ls").stdout == "" and call("share", "revoke", address, status=4).stdout == ""


def test_a_share_that_cannot_be_says_why(made):
    server, (first, *_) = made
    assert "one of them" in call("share", "create", status=2).stderr
    assert "1 to 365 days" in call("share", "create", first.id, "--days", "0", status=2).stderr
    assert "names no run" in call("share", "create", "nothing", status=4).stderr
    assert "only to those who sign in" in call("share", "create", first.id, "--public", status=1).stderr
    assert call("share", "policy").stdout == "signed-in\n"
    assert json.loads(call("share", "policy", "--public", "--json").stdout) == {"public": True}
    assert "anybody who has it" in call("share", "create", first.id, "--public").stderr


def test_a_viewer_may_share_nothing(made, monkeypatch):
    server, (first, *_) = made
    order = NewToken(user="vera", role=Role.VIEWER)
    monkeypatch.setenv("LARDER_TOKEN", server.transport.call(ISSUE_TOKEN, order).secret)
    assert call("share", "create", first.id, status=3).stdout == ""
    assert call("share", "policy", "--public", status=3).stdout == ""


def test_a_view_keeps_a_question_and_answers_it(made):
    server, _ = made
    words = ["-p", "bakery", "-w", "params.depth > 2", "-s", "val/mae", "--asc", "-c", "params.depth,val/mae,created"]
    done = call("views", "save", "leaders", *words, "--shared")
    view = get(done.stdout.strip())
    assert (view.name, view.shared, view.project) == ("leaders", True, "bakery")
    assert f"{server.url}/projects/bakery?view={view.id}" in done.stderr
    assert Question.of(view).state == view.state and get("leaders") == get(done.stderr.split()[-1]) == view
    head, *rows = call("views", "show", "leaders").stdout.splitlines()
    assert head.split() == ["id", "name", "params.depth", "val/mae", "created"]
    assert [row.split()[1:5] for row in rows] == [["depth", "8", "8", "1.25"], ["depth", "4", "4", "2.5"]]
    assert "1 of 2 runs" in call("views", "show", view.id, "-n", "1").stderr
    assert json.loads(call("views", "show", view.id, "--json").stdout)["state"] == view.state
    assert call("views", "ls").stdout.splitlines()[1].split()[:4] == [view.id, "leaders", "runs", "bakery"]
    assert call("views", "ls", "--page", "compare").stdout == "" == call("views", "ls", "-p", "none").stdout
    call("views", "save", "best", "--replace", "leaders", "--private", "-w", "params.depth = 8")
    changed = get(view.id)
    assert (changed.name, changed.shared, Question.of(changed).where) == ("best", False, "params.depth = 8")
    opened = json.loads(call("share", "create", "--view", "best", "--json").stdout)["view"]
    assert (opened["project"], opened["where"], opened["order_by"]) == ("bakery", "params.depth = 8", "created")
    assert call("views", "rm", "best").stdout == f"{view.id}\n"
    assert call("views", "show", "best", status=4).stdout == "" == call("views", "ls").stdout


def test_a_view_of_the_pages_is_understood(made):
    grouped = larder.views.save(
        "where=depth+%3E+1&sort=runs+desc&cols=complete%2Cparams.depth%2Cparams.%60a%2Cb%60&group=params.depth&archived=1",
        "groups", project="bakery",
    )  # fmt: skip
    question = Question.of(grouped)
    assert question.columns == ["complete", "params.depth", "params.`a,b`"] and question.by == ["params.depth"]
    assert question.archived and Question.of(get(larder.views.save(question.state).id)).state == question.state
    plain = larder.views.save("group=params.depth&sort=runs+desc", "plain", project="bakery")
    shown = call("views", "show", plain.id)
    assert len(shown.stdout.splitlines()) == 4 and "groups them by params.depth" in shown.stderr
    compared = larder.views.save("runs=1%2C2", "two", page="compare")
    assert call("views", "show", "two").stdout.strip().endswith(f"/compare?view={compared.id}")
    assert "of the page compare" in call("share", "create", "--view", "two", status=2).stderr
    larder.views.save("where=x", "two")
    assert "Several views" in call("views", "show", "two", status=2).stderr
    assert call("views", "save", "x", "-w", "depth < < 3", status=2).stdout == ""
    assert "behind each name" in call("views", "save", "x", "-s", "name, created", "--desc", status=2).stderr
    with pytest.raises(NotFound):
        get("nothing")
    with pytest.raises(Invalid):
        Question.of(compared)


def test_what_differs_is_explained(made):
    server, (first, second, third) = made
    done = call("runs", "explain", first.id, third.id[-8:])
    sentence, head, row, *_ = done.stdout.splitlines()
    assert "val/mae" in sentence and head.split()[:5] == ["weight", "kind", "what", first.id[-8:], third.id[-8:]]
    assert row.split()[1:5] == ["param", "depth", "2", "8"]
    found = json.loads(call("runs", "explain", first.id, third.id, "--metric", "val/mae", "--json").stdout)
    assert (found["metric"], found["a"], found["differences"][0]["name"]) == ("val/mae", 5.0, "depth")
    assert larder.run(first.id).explain(third.id).differences[0].name == "depth"
    assert "two different runs" in call("runs", "explain", first.id, first.id, status=2).stderr
    other = server.transport.call(runs.CREATE, NewRun(project="bakery", params={"data_version": "v2"}))
    told = call("runs", "compare", first.id, other.id)
    assert "data_version" not in call("runs", "compare", first.id, third.id).stderr
    assert "by the parameter data_version" in told.stderr and "params.data_version" in told.stdout
