"""The import contracts of `.importlinter` hold, and the one of our own finds what it must find."""

from pathlib import Path

import grimp
from importlinter import cli

from tools.doors import Doors

ROOT = Path(__file__).resolve().parents[2]


def test_every_import_contract_holds(capsys):
    status = cli.lint_imports(config_filename=str(ROOT / ".importlinter"), no_cache=True)
    assert status == cli.EXIT_STATUS_SUCCESS, capsys.readouterr().out


def doors(*imports):
    graph = grimp.ImportGraph()
    for name in ("house", "house.app", "house.app.wiring", "house.kernel", "house.kernel.context", "house.apple"):
        graph.add_module(name)
    for slice_ in ("runs", "queues"):
        for name in ("", ".service", ".events", ".store", ".store.metrics"):
            graph.add_module(f"house.{slice_}{name}")
    for importer, imported in imports:
        graph.add_import(importer=importer, imported=imported)
    contract = Doors(
        name="doors",
        session_options={},
        contract_options={"container": "house", "doors": ["service", "events"], "exempt": ["app", "kernel"]},
    )
    return contract.check(graph, False).metadata["broken"]


def test_a_neighbour_comes_in_by_service_and_events():
    assert doors(("house.runs.service", "house.queues.service"), ("house.queues.jobs", "house.runs.events")) == []


def test_a_slice_moves_freely_inside_itself_and_over_the_kernel():
    assert doors(("house.runs.service", "house.runs.store.metrics"), ("house.runs.store", "house.kernel.context")) == []


def test_the_composition_root_may_enter_anywhere():
    assert doors(("house.app", "house.runs.store"), ("house.app.wiring", "house.runs.store")) == []


def test_going_around_a_door_is_found():
    around = ("house.runs.service", "house.queues.store.metrics")
    assert doors(around) == [around]


def test_a_name_that_only_begins_like_an_exempt_one_is_not_exempt():
    around = ("house.apple", "house.runs.store")
    assert doors(around) == [around]
