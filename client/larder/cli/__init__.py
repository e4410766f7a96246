"""The command line: it parses and prints over the SDK and decides nothing; each command is imported when called."""

import importlib
import os
import sys


class Command:
    """Where a command lives: `module:name` of ours, or the name of an entry point that another distribution brings."""

    # No dataclass: making one takes longer than all the rest of `larder --help`.
    def __init__(self, section: str, help: str, home: str = "", *, distribution: str = "") -> None:
        self.section = section
        self.help = help
        self.home = home
        self.distribution = distribution


COMMANDS: dict[str, Command] = {
    "up": Command("Start", "Start a server on this machine.", distribution="larder-server"),
    "demo": Command("Start", "Start everything and train on real retail data.", distribution="larder-recipes"),
    "login": Command("Start", "Remember a server and a token.", "larder.cli.login:login"),
    "tokens": Command("Start", "Issue, list and revoke tokens.", "larder.cli.tokens:tokens"),
    "users": Command("Start", "See users and put them into teams.", "larder.cli.users:users"),
    "doctor": Command("Start", "Say what is wrong with this set-up, and the mend.", "larder.cli.doctor:doctor"),
    "completion": Command("Start", "Print the completion script of a shell.", "larder.cli.completion:completion"),
    "run": Command("Record", "Run a command untouched and record it.", "larder.cli.run:run"),
    "sync": Command("Record", "Send what offline or killed runs have left on this machine.", "larder.cli.sync:sync"),
    "import": Command("Record", "Turn the rows of a CSV sheet into runs.", "larder.cli.sheet:import_sheet"),
    "runs": Command("Find and re-run", "Find, read, compare, clone and stop runs.", "larder.cli.runs:runs"),
    "logs": Command("Find and re-run", "Print the console of a run; -f follows it.", "larder.cli.runs:logs"),
    "views": Command("Find and re-run", "Keep questions about runs under names.", "larder.cli.views:views"),
    "share": Command("Find and re-run", "Send links that only open what they name.", "larder.cli.share:share"),
    "open": Command("Find and re-run", "Open the page of a run in the browser.", "larder.cli.open:open_page"),
    "checkpoint": Command(
        "Find and re-run", "List and fetch the states that runs have kept.", "larder.cli.checkpoint:checkpoint"
    ),
    "code": Command("Find and re-run", "Bring back the code of a run.", "larder.cli.code:code"),
    "debug": Command("Find and re-run", "Execute a run here, with a debugger.", "larder.cli.debug:debug"),
    "data": Command("Data", "Commit, fetch, compare and check versions of data.", "larder.cli.data_more:data"),
    "lineage": Command("Data", "See where data and runs come from, and what came of them.", "larder.cli.lineage:show"),
    "queues": Command("Execute", "See what waits and why; change its order.", "larder.cli.queues:queues"),
    "agent": Command("Execute", "Execute queued runs on this machine.", "larder.cli.agent:agent"),
    "agents": Command("Execute", "See who executes what, and end an agent.", "larder.cli.agents:agents"),
}


def overview() -> str:
    """The help of `larder` itself."""
    lines = ["Usage: larder COMMAND [ARGS]...", "", "  Record, find and re-run machine-learning experiments."]
    for section in dict.fromkeys(command.section for command in COMMANDS.values()):
        lines += ["", f"{section}:"]
        lines += [f"  {name:<12}{command.help}" for name, command in COMMANDS.items() if command.section == section]
    lines += ["", "`larder COMMAND --help` says more. Exit status: 0 done, 1 a check or a run failed, 2 usage,"]
    lines += ["3 denied, 4 not found, 5 server out of reach."]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """The `larder` command."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    completes = "_LARDER_COMPLETE" in os.environ  # then a shell asks, and says in its environment what was typed
    if arguments in ([], ["--help"], ["-h"]) and not completes:
        print(overview())  # the most frequent question is answered before click is loaded
        return
    importlib.import_module("larder.cli.group").larder.main(args=arguments, prog_name="larder")
