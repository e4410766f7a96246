"""Arguments are recorded with their defaults, and overrides come back typed as the script expects them."""

import argparse
import dataclasses
import enum
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from larder.capture import arguments

from .recorder import FakeRun


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    made.add_argument("--lr", type=float, default=0.1)
    made.add_argument("--epochs", type=int, default=3)
    made.add_argument("--data", type=Path, default=Path("data/a.csv"))
    made.add_argument("--name", default=None)
    made.add_argument("--layers", type=int, nargs="+", default=[64, 32])
    made.add_argument("--fast", action="store_true")
    made.add_argument("--shuffle", action=argparse.BooleanOptionalAction, default=True)
    made.add_argument("-v", dest="verbose", action="count", default=0)
    made.set_defaults(function=parser)
    return made


def test_every_argument_is_recorded_with_its_default(run: FakeRun) -> None:
    parser().parse_args(["--lr", "0.01"])
    assert run.params == {
        "lr": 0.01, "epochs": 3, "data": "data/a.csv", "name": None, "layers": "[64, 32]", "fast": False,
        "shuffle": True, "verbose": 0, "function": "parser",
    }  # fmt: skip


def test_overrides_win_over_the_command_line_in_the_type_of_the_argument(run: FakeRun) -> None:
    run.overrides = {
        "lr": "0.5", "epochs": 7.0, "data": "data/b.csv", "name": "x", "layers": "[8, 4]", "fast": "true",
        "shuffle": False, "verbose": 2, "function": "parser", "unknown": 1,
    }  # fmt: skip
    found = parser().parse_args(["--lr", "0.01"])
    assert vars(found) == {
        "lr": 0.5, "epochs": 7, "data": Path("data/b.csv"), "name": "x", "layers": [8, 4], "fast": True,
        "shuffle": False, "verbose": 2, "function": parser,
    }  # fmt: skip
    assert type(found.epochs) is int
    assert run.params["lr"] == "0.5"


def test_an_override_that_does_not_fit_leaves_the_others(run: FakeRun, warnings: set[str]) -> None:
    run.overrides = {"lr": "fast", "epochs": 9}
    found = parser().parse_args([])
    assert (found.lr, found.epochs) == (0.1, 9)
    assert warnings == {"arguments"}
    assert run.states["arguments"].startswith("failed: ValueError")
    warnings.clear()


def test_arguments_of_sub_parsers_are_recorded_once_with_those_of_the_parser(run: FakeRun) -> None:
    made = argparse.ArgumentParser()
    made.add_argument("--seed", type=int, default=1)
    commands = made.add_subparsers(dest="command")
    train = commands.add_parser("train")
    train.add_argument("--depth", type=int, default=4)
    run.overrides = {"depth": "6"}
    found = made.parse_args(["train"])
    assert found.depth == 6
    assert run.params == {"seed": 1, "command": "train", "depth": "6"}


def test_a_parser_that_refuses_the_command_line_records_nothing(
    run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--lr", "much"])
    assert run.params == {}
    parser().parse_args([])
    assert run.params["lr"] == 0.1


def test_a_library_that_parses_its_own_command_line_is_not_recorded(run: FakeRun) -> None:
    library = compile("found = made.parse_args([])", f"{sys.prefix}/lib/site-packages/launcher.py", "exec")
    exec(library, {"made": parser(), "__name__": "launcher"})
    assert run.params == {}


def test_arguments_that_were_parsed_before_the_run_are_found_in_the_callers() -> None:
    args = argparse.Namespace(lr=0.1, depth=3)
    run = FakeRun({"lr": 0.2})
    assert arguments.begin(run) == "active"
    assert (args.lr, args.depth) == (0.2, 3)
    assert run.params == {"lr": 0.2, "depth": 3}


class Loss(enum.Enum):
    MAE = "mae"
    MSE = "mse"


@dataclasses.dataclass(frozen=True)
class Optimizer:
    lr: float = 0.1


@dataclasses.dataclass
class Settings:
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    loss: Loss = Loss.MAE
    epochs: int = 3


def test_dataclasses_that_are_named_like_arguments_are_found_in_the_callers() -> None:
    training_args, other = Settings(), Settings(epochs=9)
    run = FakeRun({"optimizer.lr": 0.2, "loss": "mse"})
    arguments.begin(run)
    assert run.params == {"optimizer.lr": 0.2, "loss": "mse", "epochs": 3}
    assert training_args == Settings(Optimizer(0.2), Loss.MSE)
    assert other == Settings(epochs=9)


class LazyStandIn:
    """Like the proxies of web frameworks, it may not be asked outside of a request."""

    def __getattribute__(self, name: str) -> object:
        raise RuntimeError("working outside of context")


def test_looking_for_arguments_wakes_no_lazy_stand_in(warnings: set[str]) -> None:
    config = LazyStandIn()
    run = FakeRun()
    assert arguments.begin(run) == "active"
    assert run.params == {}
    assert config is not None


def test_click_options_are_recorded_and_overridden(run: FakeRun) -> None:
    seen: dict[str, object] = {}

    @click.group()
    @click.option("--seed", type=int, default=1)
    def main(seed: int) -> None:
        seen["seed"] = seed

    @main.command()
    @click.option("--lr", type=float, default=0.1)
    @click.option("--fast/--slow", default=False)
    @click.option("--layer", type=int, multiple=True)
    @click.argument("path", type=click.Path(path_type=Path))
    def train(lr: float, fast: bool, layer: tuple[int, ...], path: Path) -> None:
        seen.update(lr=lr, fast=fast, layer=layer, path=path)

    run.overrides = {"lr": "0.5", "fast": "true", "layer": "[3, 2]", "seed": 5}
    result = CliRunner().invoke(main, ["train", "a.csv", "--layer", "1"], catch_exceptions=False)
    assert result.exit_code == 0
    assert seen == {"seed": 5, "lr": 0.5, "fast": True, "layer": (3, 2), "path": Path("a.csv")}
    assert run.params == {"seed": 5, "lr": "0.5", "fast": "true", "layer": "[3, 2]", "path": "a.csv"}


def test_click_options_are_found_when_the_run_begins_inside_the_command() -> None:
    inner = FakeRun()

    @click.command()
    @click.option("--lr", type=float, default=0.1)
    def main(lr: float) -> None:
        arguments.begin(inner)

    CliRunner().invoke(main, [], catch_exceptions=False)
    assert inner.params == {"lr": 0.1}


HYDRA = """
import hydra

@hydra.main(version_base=None, config_path=None, config_name="config")
def main(cfg):
    seen.append((cfg.lr, cfg.model.depth, list(cfg.model.layers)))
"""


def test_hydra_configurations_are_recorded_resolved_and_overridden(
    run: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text("lr: 0.1\ncopy: ${lr}\nmodel:\n  depth: 3\n  layers: [1, 2]\n")
    script = tmp_path / "train.py"
    script.write_text(HYDRA.replace("config_path=None", f"config_path={str(tmp_path)!r}"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", "model.depth=4"])
    seen: list[object] = []
    scope = {"__name__": "train_with_hydra", "__file__": str(script), "seen": seen}
    run.overrides = {"lr": "0.5", "model.layers": "[5]"}
    exec(compile(script.read_text(), str(script), "exec"), scope)
    scope["main"]()  # type: ignore[operator]
    assert seen == [(0.5, 4, [5])]
    assert run.params["model.depth"] == 4
    assert run.params["copy"] == 0.1
    assert not any("hydra" in name for name in run.params)


def test_a_hydra_configuration_is_found_when_the_run_begins_inside_the_task() -> None:
    from omegaconf import OmegaConf

    cfg = OmegaConf.create({"lr": 0.1, "model": {"depth": 3}})
    run = FakeRun({"model.depth": 5})
    arguments.begin(run)
    assert run.params == {"lr": 0.1, "model.depth": 5}
    assert cfg.model.depth == 5
