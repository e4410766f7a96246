"""What users must be able to do, each scenario run as a user would: a small real script, then the question asked."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import larder
from larder import config
from tests.journeys.conftest import Up, eventually

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One server with an agent for all scenarios; each scenario has a project of its own."""
    folder = tmp_path_factory.mktemp("scenarios")
    made = Up(home=folder / "server", agents=1, environment={"LARDER_HOME": str(folder / "agent")}).start()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def _signed_in(server: Up) -> None:
    config.save(config.Config(server.url, server.token, config.home()))


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A git repository to work in."""
    folder = tmp_path / "desk"
    folder.mkdir()
    (folder / "readme.txt").write_text("ours\n")
    git(folder, "init", "-q", "-b", "main")
    commit(folder)
    return folder


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=evi", "-c", "user.email=evi@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def commit(folder: Path) -> None:
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "a step")


def python(folder: Path, code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Save a script and start it; `larder` is imported in none that does not say so."""
    (folder / "script.py").write_text(code)
    return subprocess.run(
        [sys.executable, "script.py", *arguments],
        cwd=folder, env={**os.environ, **environment}, text=True, capture_output=True, timeout=100,
    )  # fmt: skip


def command(*arguments: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "larder.cli", *arguments],
        cwd=folder, env={**os.environ, **environment}, text=True, capture_output=True, timeout=100,
    )  # fmt: skip


def said(*arguments: str) -> object:
    """The JSON that a command prints."""
    done = command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def only(project: str, where: str = "") -> "larder.RecordedRun":
    (run,) = larder.runs(project=project, where=where)
    return larder.run(run.id)


def ended(project: str) -> "larder.RecordedRun":
    eventually(lambda: larder.runs(project=project) and only(project).status.final)
    return only(project)


# -- tracking --------------------------------------------------------------------------------------------------------

ARGPARSE = """\
import argparse, larder
def parsed():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--layers", type=int, nargs="+", default=[8, 8])
    parser.add_argument("--fast", action="store_true")
    return parser.parse_args()
"""
BEFORE = ARGPARSE + "args = parsed()\nrun = larder.init(project='before')\nrun.log({'loss': args.lr})\n"
AFTER = ARGPARSE + "run = larder.init(project='after')\nargs = parsed()\nrun.log({'loss': args.lr})\n"
GIVEN = """\
import larder
run = larder.init(project="given", params={"lr": 0.1, "layers": [8, 8], "fast": False})
run.log({"loss": run.params["lr"]})
"""
UNTOUCHED = ARGPARSE.replace(", larder", "") + "args = parsed()\nprint('loss', args.lr)\n"


@pytest.mark.parametrize("code", [BEFORE, AFTER, GIVEN, UNTOUCHED], ids=["before", "after", "given", "untouched"])
def test_arguments_are_recorded_and_a_clone_differs_in_one(desk, code, request):
    project = request.node.callspec.id
    if code is UNTOUCHED:
        (desk / "script.py").write_text(code)
        done = command("run", "-p", project, "--", sys.executable, "script.py", "--lr", "0.1", folder=desk)
    else:
        done = python(desk, code)
    assert done.returncode == 0, done.stderr
    original = only(project)
    assert original.params == {"lr": 0.1, "layers": "[8, 8]", "fast": False}
    clone = command("runs", "clone", original.short, "-P", "lr=0.5", "--enqueue", "default", "--wait")
    assert clone.returncode == 0, clone.stderr
    found = larder.compare(original, larder.run(clone.stdout.strip()))
    assert found.params == {"lr": [0.1, 0.5]} and not found.facts
    if code is UNTOUCHED:
        assert "loss 0.5" in found.runs[1].logs()
    else:
        assert found.runs[1].metrics["loss"].last == 0.5
    table = command("runs", "compare", *(run.id for run in found.runs)).stdout.splitlines()
    assert [line.split()[0] for line in table if line.startswith("params.")] == ["params.lr"]


def test_click_and_hydra_arguments_are_recorded(desk):
    code = """
import click, larder
@click.command()
@click.option("--lr", default=0.1)
@click.argument("data", default="x.csv")
def main(lr, data):
    larder.init(project="click").log({"loss": lr})
main()
"""
    assert python(desk, code, "--lr", "0.3").returncode == 0
    assert only("click").params == {"lr": 0.3, "data": "x.csv"}
    (desk / "conf").mkdir()
    (desk / "conf/config.yaml").write_text("lr: 0.1\nmodel: {depth: 3}\n")
    code = """
import hydra, larder
@hydra.main(config_path="conf", config_name="config", version_base=None)
def main(cfg):
    larder.init(project="hydra").log({"loss": cfg.lr})
main()
"""
    assert python(desk, code, "lr=0.2").returncode == 0
    assert only("hydra").params == {"lr": 0.2, "model.depth": 3}


def test_frameworks_are_recorded_without_a_log_call(desk):
    code = """
import larder
larder.init(project="frameworks")
import matplotlib; matplotlib.use("Agg")
import lightgbm, numpy, xgboost
from matplotlib import pyplot
from sklearn.linear_model import Ridge
from tensorboardX import SummaryWriter
X = numpy.random.default_rng(0).normal(size=(100, 3)); y = X[:, 0]
Ridge(alpha=2.0).fit(X, y).score(X, y)
train = lightgbm.Dataset(X, y)
lightgbm.train({"learning_rate": 0.3, "verbose": -1}, train, num_boost_round=3, valid_sets=[train])
matrix = xgboost.DMatrix(X, y)
xgboost.train({"eta": 0.3}, matrix, num_boost_round=4, evals=[(matrix, "train")], verbose_eval=False)
with SummaryWriter("events") as writer:
    for step in range(5):
        writer.add_scalar("train/loss", 1 / (step + 1), step)
    writer.add_image("picture", numpy.zeros((3, 8, 8)))
    writer.add_text("note", "hello")
    writer.add_histogram("weights", numpy.arange(10.0), 1)
pyplot.plot([1, 2]); pyplot.title("the fit"); pyplot.savefig("fit.png")
"""
    done = python(desk, code)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    run = only("frameworks")
    assert run.params["Ridge.alpha"] == 2.0 and run.params["Ridge.fit_intercept"] is True
    assert run.params["lightgbm.learning_rate"] == 0.3 and run.params["xgboost.eta"] == 0.3
    assert run.metrics["sklearn/Ridge/score"].last > 0.9
    assert run.metrics["lightgbm/training/l2"].count == 3 and run.metrics["xgboost/train/rmse"].count == 4
    assert list(run.metrics("train/loss").values) == [1 / (step + 1) for step in range(5)]
    assert {"picture", "note", "weights", "fit", "model"} <= {artifact.name for artifact in run.artifacts()}
    assert set(run.facts["sources"].values()) <= {"active", "absent"}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_log_into_the_run_however_they_get_at_it(desk, method):
    code = """
import multiprocessing, sys, larder
def by_init(number):
    work(larder.init(), number)
def by_current(number):
    work(larder.current(), number)
def work(run, number):
    for step in range(10):
        run.log({f"worker.{number}": step}, step=step)
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    run = larder.init(project=sys.argv[1])
    started = [context.Process(target=by_init, args=(0,)), context.Process(target=by_current, args=(1,)),
               context.Process(target=work, args=(run, 2))]
    for each in started: each.start()
    for each in started: each.join()
    assert not any(each.exitcode for each in started)
    run.log({"loss": 1.0})
"""
    done = python(desk, code, method)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    run = only(method)
    assert run.status == "completed" and run.metrics["loss"].count == 1
    for number in range(3):
        assert list(run.metrics(f"worker.{number}").steps) == list(range(10))


def test_a_dirty_tree_is_restored_as_it_was(desk, tmp_path):
    (desk / "script.py").write_text("")
    commit(desk)
    (desk / "notes.txt").write_text("untracked\n")
    assert python(desk, "import larder; larder.init(project='dirty')").returncode == 0
    before = {path.name: path.read_bytes() for path in desk.iterdir() if path.is_file()}
    (desk / "script.py").write_text("moved on")
    run = only("dirty")
    answer = said("code", "restore", run.short, str(tmp_path / "again"))
    assert answer["tree"] == run.facts["code"]["tree"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir() if path.is_file()} == before
    assert command("code", "restore", run.short, str(tmp_path / "again")).returncode == 2
    assert run.commit == git(desk, "rev-parse", "HEAD").strip() and run.branch == "main"


KERNEL = """
import json, sys
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="python3")
shown = []
def hear(message):
    shown.append(message["content"].get("data", {}).get("text/html", ""))
def execute(code):
    client.execute_interactive(code, output_hook=hear, timeout=60)
execute("import larder; run = larder.init(project='notebook', params={'lr': 1}); run")
execute("for value in range(3): run.log({'loss': value})")
execute("open('id', 'w').write(run.id); 1 / 0")
manager.restart_kernel()
client.wait_for_ready(timeout=60)
execute("import larder; run = larder.init(resume=open('id').read()); run")
execute("for value in range(3): run.log({'loss': 10 + value})")
client.stop_channels()
manager.shutdown_kernel()
print(json.dumps([each for each in shown if each]))
"""


def test_a_notebook_is_recorded_and_goes_on_after_a_restart_of_its_kernel(desk):
    done = python(desk, KERNEL)
    assert done.returncode == 0, done.stderr
    run = ended("notebook")
    cards = json.loads(done.stdout)
    assert len(cards) == 2 and all(run.id in card and run.url in card for card in cards)
    assert run.status == "completed" and run.params == {"lr": 1}
    assert list(run.metrics("loss")) == [(0, 0.0), (1, 1.0), (2, 2.0), (3, 10.0), (4, 11.0), (5, 12.0)]
    stored = [
        json.loads(artifact.load().read_text())
        for artifact in run.artifacts(latest=False)
        if artifact.name == "notebook"
    ]
    first, second = [[cell["source"] for cell in each["cells"]] for each in stored]
    assert "1 / 0" in first[2] and "resume" in second[0]


def test_a_sheet_becomes_runs_once(tmp_path):
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(
        "name,date,lr,optimizer,val_acc,MAE\nresnet try,2024-05-01,0.1,adam,91.7%,2.4\nsecond,,0.01,sgd,0.88,3\n"
    )
    made = said("import", str(sheet), "-p", "sheet")
    assert said("import", str(sheet), "-p", "sheet") == made and len(larder.runs(project="sheet")) == 2
    run = only("sheet", "val_acc = 0.917 and tags has imported")
    assert (
        run.name == "resnet try" and run.params == {"lr": 0.1, "optimizer": "adam"} and run.metrics["MAE"].last == 2.4
    )


def test_what_was_logged_comes_back_as_it_was(desk):
    code = """
import larder, math, numpy, pandas, pathlib
from sklearn.linear_model import Ridge
import matplotlib; matplotlib.use("Agg")
from matplotlib import pyplot
with larder.init(project="kept") as run:
    for value in (math.nan, math.inf, -math.inf, 3.0, 2.0):
        run.log({"odd": value}, step=1)
    run.log({"odd": numpy.float32(0.5)}, step=numpy.int64(2))
    run.log_image("image", numpy.zeros((4, 6, 3))); run.log_figure("figure", pyplot.figure())
    run.log_table("frame", pandas.DataFrame({"a": [1, 2]})); run.log_table("rows", [{"a": 1}, {"a": 2}])
    run.log_text("text", "first"); run.log_text("text", "second ü")
    run.log_artifact("model", Ridge(alpha=2.0)); run.log_artifact("config", {"a": [1]})
    path = pathlib.Path("weights.bin"); path.write_bytes(b"old"); run.log_artifact("file", path); path.write_bytes(b"new")
    folder = pathlib.Path("folder/inner"); folder.mkdir(parents=True); (folder / "a.txt").write_text("A")
    run.log_artifact("folder", "folder")
    run.log_artifact("missing", "no/such/file")
"""
    done = python(desk, code)
    assert done.returncode == 0 and done.stderr.count("warning") == 1 and "no/such/file" in done.stderr
    run = only("kept")
    odd = run.metrics("odd")
    assert list(odd.steps) == [1, 1, 1, 1, 1, 2]
    assert [repr(value) for value in odd.values] == ["nan", "inf", "-inf", "3.0", "2.0", "0.5"]
    loaded = {artifact.name: artifact.load() for artifact in run.artifacts()}
    assert loaded["image"].size == (6, 4) and loaded["figure"].size[0] > 100
    assert list(loaded["frame"]["a"]) == list(loaded["rows"]["a"]) == [1, 2]
    assert loaded["text"] == "second ü" and run.artifact("text", version=1).load() == "first"
    assert loaded["model"].alpha == 2.0 and loaded["config"] == {"a": [1]}
    assert loaded["file"].read_bytes() == b"old" and (loaded["folder"] / "inner/a.txt").read_text() == "A"
    assert "kept" in run._repr_html_() and run.url in run._repr_html_()


def test_a_failed_run_is_resumed_and_a_completed_one_gets_a_child(desk):
    failing = "import larder\nrun = larder.init(project='resumed', params={'lr': 1})\nrun.log({'loss': 1})\nraise ValueError('boom')"
    assert python(desk, failing).returncode == 1
    run = only("resumed")
    assert run.status == "failed" and run.reason == "ValueError: boom" and "boom" in run.facts["exception"]["traceback"]
    going_on = "import sys, larder\nrun = larder.init(resume=sys.argv[1])\nrun.log({'loss': 2})\nprint(run.id, run.params['lr'])"
    assert python(desk, going_on, run.short).stdout.split() == [run.id, "1"]
    assert run.refresh().status == "completed" and list(run.metrics("loss")) == [(0, 1.0), (1, 2.0)]
    done = python(desk, going_on, run.id)
    child = larder.run(done.stdout.split()[0])
    assert child.parent == run.id and child.params == run.params and list(child.metrics("loss")) == [(2, 2.0)]
    assert "is completed" in done.stderr and run.refresh().status == "completed"


def test_the_kind_and_the_parent_of_a_run_are_kept(desk, server):
    code = "import sys, larder\nlarder.init(project='kin', kind=sys.argv[1], parent=sys.argv[2] or None).finish()"
    assert python(desk, code, "train", "").returncode == 0
    parent = only("kin")
    for mode in ("online", "offline"):
        assert python(desk, code, "evaluate", parent.id, LARDER_MODE=mode).returncode == 0
    assert command("sync").returncode == 0
    assert [run.parent for run in larder.runs(project="kin", where="kind = evaluate")] == [parent.id] * 2


# -- when something is missing ---------------------------------------------------------------------------------------

PLAIN = """\
import larder
run = larder.init(project="PROJECT")
for step in range(20):
    run.log({"val_acc": 0.9 + step * 0.0006842}, step=step)
print("trained")
"""


def test_the_modes(desk):
    done = python(desk, PLAIN.replace("PROJECT", "modes"), LARDER_MODE="disabled")
    assert (done.returncode, done.stdout, done.stderr) == (0, "trained\n", "")
    assert not config.load().runs.exists()
    done = python(desk, PLAIN.replace("PROJECT", "modes"), LARDER_MODE="offline")
    assert done.stdout == "trained\n" and "larder sync" in done.stderr and not larder.runs(project="modes")
    assert command("doctor").returncode == 1
    assert len(said("sync")["sent"]) == 1 and said("sync")["sent"] == []
    assert only("modes").status == "completed" and command("doctor").returncode == 0


def test_a_refused_token_costs_one_line_and_nothing_else(desk):
    code = PLAIN.replace("PROJECT", "token") + (
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'import larder; larder.init().log({\"child\": 1})'], check=True)\n"
    )
    began = time.monotonic()
    done = python(desk, code, LARDER_TOKEN="wrong")
    assert done.returncode == 0 and done.stdout == "trained\n" and time.monotonic() - began < 20
    assert done.stderr.count("refuses the token") == 1 and "larder sync" in done.stderr
    assert command("sync").returncode == 0
    assert only("token").metrics["val_acc"].count == 20 and only("token").metrics["child"].count == 1


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    tried = subprocess.run([mount or "false", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], capture_output=True)
    if tried.returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_costs_what_did_not_fit_and_says_so(desk, small):
    shutil.copy(config.home() / "config.json", small)
    code = """
import larder
run = larder.init(project="full", capture=False)
for step in range(60000):
    run.log({"loss": step}, step=step)
print("trained", run.lost_records)
"""
    done = python(desk, code, LARDER_HOME=str(small), LARDER_MODE="offline")
    assert done.returncode == 0 and done.stderr.count("records wait in memory") == 1
    lost = int(done.stdout.split()[1])
    assert 0 < lost < 60000 and "were lost" in done.stderr
    synced = command("sync", LARDER_HOME=str(small))
    assert synced.returncode == 1 and "No space left" in synced.stderr and "Traceback" not in synced.stderr
    subprocess.run(["mount", "-o", "remount,size=4m", str(small)], check=True)
    assert command("sync", LARDER_HOME=str(small)).returncode == 0
    assert list(only("full").metrics("loss").steps) == list(range(60000 - lost))


# -- finding, the queue, the command line ----------------------------------------------------------------------------


def test_a_run_is_found_by_what_is_remembered(desk):
    assert python(desk, PLAIN.replace("PROJECT", "found")).returncode == 0
    run = only("found")
    for text in ("0.913", "val_acc 0.91..0.92 and user:local"):
        assert run.id in [found["id"] for found in said("runs", "ls", text)]
    assert run.id not in [found["id"] for found in said("runs", "ls", "0.912")]
    refused = command("runs", "ls", "--where", "val_acc >")
    assert refused.returncode == 2 and "^" in refused.stderr
    sheet = command("runs", "export", "-p", "found").stdout.splitlines()
    assert sheet[0].startswith("id,name,project") and sheet[1].startswith(run.id) and len(sheet) == 2


def test_the_queue_is_reordered_and_its_runs_are_stopped(desk):
    code = """
import argparse, time, larder
parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=1)
args = parser.parse_args()
run = larder.init(project="queue")
for step in range(args.steps):
    run.log({"loss": step})
    time.sleep(0.2)
"""
    assert python(desk, code).returncode == 0
    original = only("queue")
    names = ("long", "second", "third")
    clones = {name: original.clone({"steps": 300 if name == "long" else 2}, name=name).enqueue() for name in names}
    eventually(lambda: clones["long"].refresh().status == "running" and "loss" in clones["long"].metrics)
    moved = command("queues", "move", clones["third"].short)
    assert moved.returncode == 0 and "place 1." in moved.stderr
    order = [job["subject"] for job in said("queues", "show")]
    assert order == [clones[name].id for name in ("long", "third", "second")]
    shown = command("queues", "show").stdout.splitlines()[1:]
    assert [line.split()[3] for line in shown if "waiting" in line] == ["1", "2"]
    assert command("runs", "stop", clones["long"].id).returncode == 0
    eventually(lambda: clones["long"].refresh().status == "stopped", seconds=10)
    for name in ("third", "second"):
        assert clones[name].wait(timeout=30).status == "completed"
    assert clones["third"].started < clones["second"].started


def test_the_exit_status_and_json_of_commands(desk):
    assert command("runs", "show", "00000000").returncode == 4
    assert command("runs", "ls", LARDER_URL="http://127.0.0.1:1").returncode == 5
    assert command("runs", "ls", LARDER_TOKEN="wrong").returncode == 3
    assert command("runs", "ls", "--no-such-option").returncode == 2
    assert command("run", "-p", "status", "--", "sh", "-c", "exit 7", folder=desk).returncode == 7
    run = only("status")
    assert run.status == "failed" and run.exit_status == 7
    for asked in (
        ["runs", "show", run.id],
        ["runs", "metrics", run.id],
        ["runs", "artifacts", run.id],
        ["queues", "ls"],
        ["doctor"],
    ):
        assert isinstance(said(*asked), dict | list), asked
