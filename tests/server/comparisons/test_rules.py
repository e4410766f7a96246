"""Rows show what differs first, mismatches are named, and a planted cause is the first of the reasons."""

import math

import pytest

from larder.contract.directions import main_metric
from larder.contract.meanings import names_data, names_metric, names_seed
from larder.contract.reading import FileDiff
from larder.contract.runs import MetricSummary, Run, RunStatus
from larder_server.comparisons.rules import comparable, consoles, reasons, rows
from larder_server.comparisons.rules.comparable import Told
from larder_server.comparisons.rules.reasons import Earlier, Seen


def run(name="a", *, status=RunStatus.COMPLETED, **metrics):
    return Run(
        id=name, project="bakery", name=name, status=status, created=0,
        metrics={key.replace("__", "/"): summary(*value) for key, value in metrics.items()},
    )  # fmt: skip


def summary(last, low=None, high=None, last_step=9):
    low, high = last if low is None else low, last if high is None else high
    return MetricSummary(last=last, last_step=last_step, min=low, min_step=1, max=high, max_step=2, mean=last, count=10)


# -- rows ----------------------------------------------------------------------------------------------------------


def test_what_differs_comes_first_and_absence_is_a_difference():
    found = rows.rows([{"b": 1, "a": 1, "c": None}, {"b": 2, "a": 1.0}])
    assert [(row.name, row.differs, row.absent) for row in found] == [
        ("b", True, []), ("c", True, [1]), ("a", False, []),
    ]  # fmt: skip


def test_true_is_not_one_and_nan_is_like_nan():
    assert not rows.alike(True, 1)
    assert rows.alike(math.nan, float("nan")) and not rows.alike("1", 1)


def test_the_best_is_marked_by_each_statistic_and_only_where_the_name_tells_the_direction():
    both = [run(val__mae=(3.0, 1.0, 9.0), width=(5.0,)), run(val__mae=(2.0, 1.5, 8.0), width=(4.0,))]
    mae, width = rows.metrics(both, system=False)
    assert mae.name == "val/mae" and mae.lower_is_better is True
    assert mae.best == {"last": 1, "min": 0, "max": 1, "mean": 1}
    assert width.lower_is_better is None and width.best == {}


def test_nan_is_never_the_best_and_one_value_has_no_rival():
    assert rows.best_of([math.nan, 2.0, 3.0], lower=True) == 1
    assert rows.best_of([math.nan, 2.0, None], lower=True) == -1
    assert rows.best_of([2.0, 2.0], lower=False) == 0


def test_the_curves_of_the_machine_are_left_out_unless_asked_for():
    one = run()
    one.metrics.update({"system/cpu_percent": summary(3.0), "rank.1/system/cpu_percent": summary(3.0)})
    assert rows.metrics([one, run()], system=False) == []
    assert len(rows.metrics([one, run()], system=True)) == 2


def test_the_main_metric_is_one_of_validation_that_all_have():
    assert main_metric(["train/loss", "val/mae", "epoch", "system/cpu", "rank.1/val/a_mae"]) == "val/mae"
    assert main_metric(["epoch", "lr"]) == "lr" and main_metric(["system/cpu"]) == ""
    assert rows.main([run(val__mae=(1,), train__loss=(1,)), run(train__loss=(2,))]) == "train/loss"


# -- what names say ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["data", "data_version", "args.dataset", "data.version", "testSet", "val_split", "fold",
                                  "train_data_path", "datasetHash", "data.train.sha256", "test_set"])  # fmt: skip
def test_names_of_data(name):
    assert names_data(name)


@pytest.mark.parametrize("name", ["lr", "data.batch_size", "RandomForest.min_samples_split", "data_loader_workers", "set",
                                  "lightgbm.min_data_in_leaf", "data_random_seed", "data_augmentation", "split_gain",
                                  "version", "train"])  # fmt: skip
def test_names_of_something_else(name):
    assert not names_data(name)


def test_names_of_seeds_and_metrics():
    assert names_seed("seed") and names_seed("Ridge.random_state") and names_seed("data_random_seed")
    assert not names_seed("state") and names_metric("lightgbm.metric") and names_metric("evalMetric")


# -- whether they may be compared ------------------------------------------------------------------------------------


def test_runs_of_one_kind_are_comparable():
    told = [Told(params={"data_version": "v3"}), Told(params={"data_version": "v3"})]
    assert comparable.mismatches([run("a"), run("b")], told) == []


def test_another_data_version_is_named_with_who_says_what_and_the_parameter_that_mends_it():
    told = [Told(params={"data_version": value}) for value in ("v3", "v3", "v4")]
    (found,) = comparable.mismatches([run("a"), run("b"), run("c")], told)
    assert found.about == "data" and found.param == "data_version" and found.values == ["v3", "v3", "v4"]
    assert "“v3” (a and b), “v4” (c)" in found.sentence


def test_the_same_file_in_another_folder_is_the_same_data():
    told = [Told(params={"data_path": "/home/a/sales.csv"}), Told(params={"data_path": "/mnt/sales.csv"})]
    assert comparable.mismatches([run("a"), run("b")], told) == []
    told = [Told(params={"data_path": "/home/a/sales.csv"}), Told(params={"data_path": "/home/a/sales2.csv"})]
    assert comparable.mismatches([run("a"), run("b")], told)


def test_a_hash_of_the_test_set_in_the_facts_counts_and_silence_does_not():
    told = [Told(data={"test": "abc"}), Told(data={"test": "def"}), Told()]
    (found,) = comparable.mismatches([run("a"), run("b"), run("c")], told)
    assert found.about == "data" and found.param == "" and "nothing said (c)" in found.sentence
    assert comparable.mismatches([run("a"), run("c")], [told[0], told[2]]) == []


def test_samples_count_only_where_nothing_was_said_of_the_data():
    told = [Told(samples={"Ridge": 100}), Told(samples={"Ridge": 90})]
    (found,) = comparable.mismatches([run("a"), run("b")], told)
    assert "Ridge" in found.sentence and found.about == "data"


def test_another_definition_of_a_metric_is_named():
    told = [Told(definitions={"val/mae.unit": "pieces"}), Told(definitions={"val/mae.unit": "euro"})]
    (found,) = comparable.mismatches([run("a"), run("b")], told)
    assert found.about == "metric" and "pieces" in found.sentence
    told = [Told(metric_params={"metric": "l1"}), Told(metric_params={"metric": "l2"})]
    (found,) = comparable.mismatches([run("a"), run("b")], told)
    assert found.param == "metric"


def test_a_run_that_goes_on_is_told_beside_one_that_has_ended():
    two = [run("a"), run("b", status=RunStatus.RUNNING)]
    (found,) = comparable.mismatches(two, [Told(), Told()])
    assert found.about == "unfinished" and found.sentence.startswith("b has not ended")
    assert comparable.mismatches([two[1], two[1]], [Told(), Told()]) == []


# -- reasons -------------------------------------------------------------------------------------------------------


def seen(name="a", *, mae=2.0, params=None, **more):
    return Seen(run=run(name, val__mae=(mae,)), params={"lr": 0.1, "seed": 1, **(params or {})}, **more)


HISTORY = [
    Earlier(params={"lr": 0.1 * (1 + index % 4), "depth": 3 + index % 3, "seed": index},
            value=(1 + index % 4) + 0.05 * (index % 3))
    for index in range(24)
]  # fmt: skip
SCRIPT = FileDiff(path="train.py", change="changed", diff="@@ -1 +1 @@\n-x = 1\n+x = 2", added=1, removed=1)
README = FileDiff(path="README.md", change="changed", diff="@@ -1 +1 @@\n-a\n+b", added=1, removed=1)
PLANTED = {
    "param": (seen(), seen("b", params={"lr": 0.4, "out_dir": "x", "seed": 2}), [], "lr"),
    "param that history knows": (
        seen(params={"depth": 3}), seen("b", params={"lr": 0.4, "depth": 5, "seed": 9}), [], "lr",
    ),
    "data": (
        seen(data={"test": "a"}), seen("b", data={"test": "b"}, params={"lr": 0.11}), [SCRIPT], "test",
    ),
    "data by a parameter": (
        seen(params={"data_version": "v3"}), seen("b", params={"data_version": "v4", "lr": 0.11}), [SCRIPT],
        "data_version",
    ),
    "code": (
        seen(packages={"numpy": "1.26.1"}), seen("b", packages={"numpy": "1.26.4"}, params={"seed": 2}, script="/x/train.py"),
        [README, SCRIPT], "train.py",
    ),
    "package": (
        seen(packages={"lightgbm": "3.3.5", "rich": "12.0"}, imported=frozenset({"lightgbm"})),
        seen("b", packages={"lightgbm": "4.0.0", "rich": "13.0"}, params={"out_dir": "x"}), [README], "lightgbm",
    ),
    "machine": (
        seen(facts={"machine.gpus": "T4", "machine.host": "a"}), seen("b", facts={"machine.gpus": "A100", "machine.host": "b"}),
        [README], "gpus",
    ),
    "seed": (seen(facts={"machine.host": "a"}), seen("b", params={"seed": 2}, facts={"machine.host": "b"}), [], "seed"),
}  # fmt: skip


@pytest.mark.parametrize("a,b,code,cause", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_cause_ranks_first(a, b, code, cause):
    history = HISTORY if "depth" in a.params else []
    found = reasons.differences(a, b, metric="val/mae", code=code, earlier=history)
    assert found[0].name == cause
    assert all(0 <= one.score <= 1 for one in found)


def test_a_parameter_that_never_mattered_ranks_below_one_that_did():
    found = reasons.differences(
        seen(params={"depth": 3}), seen("b", params={"depth": 5, "lr": 0.2}), metric="val/mae", code=[], earlier=HISTORY
    )
    scores = {one.name: one.score for one in found}
    assert scores["lr"] > 0.7 > 0.3 > scores["depth"]
    assert "24 earlier runs" in found[0].evidence


def test_chance_with_many_groups_is_not_evidence():
    noise = [Earlier(params={"tag_of": f"x{index}"}, value=float(index % 7)) for index in range(20)]
    assert reasons.spread("tag_of", noise) is None
    few = [Earlier(params={"kind": "abc"[index % 3]}, value=float((index * 7919) % 13)) for index in range(30)]
    assert reasons.spread("kind", few) < 0.25
    assert reasons.spread("lr", HISTORY[:7]) is None


def test_comments_in_a_script_are_no_reason():
    words = FileDiff(path="train.py", change="changed", diff="--- a\n+++ b\n@@ -1 +1 @@\n-# old\n+# new\n+", added=2)
    (found,) = reasons.differences(seen(), seen("b"), metric="val/mae", code=[words], earlier=[])
    assert found.score < 0.1 and "comments" in found.evidence


def test_a_longer_run_and_one_that_was_stopped_are_reasons():
    a = Seen(run=run("a", val__mae=(2.0, None, None, 10)))
    b = Seen(run=run("b", status=RunStatus.STOPPED, val__mae=(3.0, None, None, 4)))
    assert {one.kind for one in reasons.differences(a, b, metric="val/mae", code=[], earlier=[])} == {
        "status",
        "length",
    }


def test_the_sentence_says_what_came_out_and_why():
    a, b = seen("a", mae=2.0), seen("b", mae=1.0, params={"lr": 0.2})
    found = reasons.differences(a, b, metric="val/mae", code=[], earlier=[])
    said = reasons.sentence(a.run, b.run, metric="val/mae", before=2.0, after=1.0, first=found[0])
    assert said == "b reached val/mae 1, 50 % better than a (2). The most likely reason: lr from 0.1 to 0.2."
    assert "Nothing that was recorded differs" in reasons.sentence(
        a.run, b.run, metric="val/mae", before=2.0, after=2.0, first=None
    )
    assert reasons.change(2.0, 3.0, "val/mae") == "50 % worse than"
    assert reasons.change(2.0, 3.0, "width") == "50 % more than"
    assert reasons.change(0.0, 3.0, "val_acc") == "3 better than"


# -- consoles ------------------------------------------------------------------------------------------------------


def test_lines_that_differ_in_numbers_only_are_the_same_line_unless_asked():
    a, b = ["epoch 1 loss 0.31", "done"], ["epoch 1 loss 0.29", "warning: nan", "done"]
    found = consoles.diff(a, b, numbers=False)
    assert (found.added, found.removed) == (1, 0) and "+warning: nan" in found.diff
    assert " epoch 1 loss 0.29" in found.diff
    assert consoles.diff(a, b, numbers=True).removed == 1
    assert consoles.diff(a, a, numbers=True).diff == ""
