"""Objects become files and come back; pictures become PNG with and without a library."""

import sys
import types
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from larder import media, serial


def there_and_back(value: Any, tmp_path: Path, *, kind: str, form: str) -> Any:
    saved = serial.save(value, "thing", tmp_path)
    assert (saved.kind, saved.format) == (kind, form)
    ((name, content),) = saved.files.items()
    path = tmp_path / "back" / name
    path.parent.mkdir()
    path.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    return serial.load(path, form)


@pytest.mark.parametrize(
    ("value", "kind", "form"),
    [
        ({"a": [1, None, "x"]}, "json", "json"),
        ("some words", "text", "text"),
        (b"\x00\x01", "file", "bytes"),
        (1 + 2j, "object", "pickle"),
    ],
)
def test_plain_things_come_back(value: Any, kind: str, form: str, tmp_path: Path) -> None:
    assert there_and_back(value, tmp_path, kind=kind, form=form) == value


def test_arrays(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(6.0).reshape(2, 3)
    assert (there_and_back(array, tmp_path, kind="array", form="npy") == array).all()


def test_frames_as_parquet(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", None]})
    assert there_and_back(frame, tmp_path, kind="table", form="parquet").equals(frame)


def test_frames_as_csv_where_parquet_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")

    def refuse(*_: Any, **__: Any) -> None:
        raise ImportError("no engine")

    monkeypatch.setattr(pandas.DataFrame, "to_parquet", refuse)
    frame = pandas.DataFrame({"a": [1, 2]})
    assert there_and_back(frame, tmp_path, kind="table", form="csv").equals(frame)


@pytest.mark.parametrize("table", [[{"a": 1, "b": 2}, {"a": 3}], {"a": [1, 3], "b": [2, None]}])
def test_tables_of_plain_python(table: Any, tmp_path: Path) -> None:
    saved = serial.table(table, "errors", tmp_path)
    assert saved.files == {"errors.csv": b"a,b\r\n1,2\r\n3,\r\n"}
    assert saved.metadata == {"rows": 2, "columns": 2}


def test_models(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    linear = pytest.importorskip("sklearn.linear_model")
    x, y = numpy.random.default_rng(0).random((60, 3)), numpy.arange(60.0)
    model = linear.LinearRegression().fit(x, y)
    back = there_and_back(model, tmp_path, kind="model", form="joblib")
    assert (back.predict(x) == model.predict(x)).all()


@pytest.mark.parametrize("wrapped", [True, False])
def test_lightgbm(tmp_path: Path, wrapped: bool) -> None:
    numpy = pytest.importorskip("numpy")
    lightgbm = pytest.importorskip("lightgbm")
    x, y = numpy.random.default_rng(0).random((60, 3)), numpy.arange(60.0)
    model = lightgbm.LGBMRegressor(n_estimators=3, verbose=-1, n_jobs=1).fit(x, y)
    model = model if wrapped else model.booster_
    back = there_and_back(model, tmp_path, kind="model", form="lightgbm")
    assert numpy.allclose(back.predict(x), model.predict(x))


def test_a_classifier_of_lightgbm_keeps_its_classes(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    lightgbm = pytest.importorskip("lightgbm")
    x, y = numpy.random.default_rng(0).random((60, 3)), numpy.array(["a", "b"] * 30)
    model = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, n_jobs=1).fit(x, y)
    back = there_and_back(model, tmp_path, kind="model", form="joblib")
    assert set(back.predict(x)) <= {"a", "b"}


def test_xgboost(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    xgboost = pytest.importorskip("xgboost")
    x, y = numpy.random.default_rng(0).random((60, 3)), numpy.arange(60.0)
    model = xgboost.XGBRegressor(n_estimators=3, n_jobs=1).fit(x, y)
    back = there_and_back(model, tmp_path, kind="model", form="xgboost.XGBRegressor")
    assert numpy.allclose(back.predict(x), model.predict(x))


def test_a_format_cannot_name_what_is_no_model(tmp_path: Path) -> None:
    pytest.importorskip("xgboost")
    with pytest.raises(ValueError, match="no class"):
        serial.load(tmp_path / "x", "xgboost.callback")


def test_a_path_that_names_nothing_is_an_error(tmp_path: Path) -> None:
    for value in ("models/best.pt", "best.pt", tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError):
            serial.save(value, "model", tmp_path)


# -- pictures


def pixels(png: bytes) -> tuple[tuple[int, int], bytes]:
    """Size and raw rows of a PNG without filters."""
    width, height = int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
    start = png.index(b"IDAT") + 4
    length = int.from_bytes(png[start - 8 : start - 4])
    return (width, height), zlib.decompress(png[start : start + length])


def test_a_png_without_a_library() -> None:
    size, raw = pixels(media.png(2, 1, 3, bytes([255, 0, 0, 0, 255, 0])))
    assert size == (2, 1)
    assert raw == bytes([0, 255, 0, 0, 0, 255, 0])


def test_what_is_written_here_is_read_elsewhere(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for channels, mode in ((1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")):
        path = tmp_path / f"{channels}.png"
        path.write_bytes(media.png(3, 2, channels, bytes(range(6 * channels))))
        with image.open(path) as read:
            assert (read.mode, read.size, read.tobytes()) == (mode, (3, 2), bytes(range(6 * channels)))


def test_arrays_are_pictures() -> None:
    numpy = pytest.importorskip("numpy")
    image = pytest.importorskip("PIL.Image")
    import io

    def read(picture: Any) -> Any:
        form, content = media.image(picture)
        assert form == "png"
        assert isinstance(content, bytes)
        return numpy.asarray(image.open(io.BytesIO(content)))

    grey = numpy.array([[0, 255], [7, 9]], dtype="uint8")
    assert (read(grey) == grey).all()
    assert (read(grey / 255.0) == grey).all()
    assert (read(grey > 8) == (grey > 8) * 255).all()
    colour = numpy.arange(60, dtype="uint8").reshape(4, 5, 3)
    assert (read(colour) == colour).all()
    assert (read(colour.transpose(2, 0, 1)) == colour).all()
    for bad in (numpy.zeros(3), numpy.zeros((2, 2, 7)), numpy.zeros((0, 4)), "nowhere.png", object()):
        with pytest.raises((TypeError, ValueError, FileNotFoundError)):
            media.image(bad)


def test_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure, axes = pyplot.subplots()
    for each in (figure, axes):
        form, content = media.figure(each)
        assert (form, content[:8]) == ("png", b"\x89PNG\r\n\x1a\n")
    pyplot.close(figure)
    with pytest.raises(TypeError):
        media.figure(3)


def test_a_state_with_tensors_inside_is_kept_in_the_safe_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tensor:
        def detach(self) -> "Tensor":
            return self

    Tensor.__module__ = "torch"
    library = types.ModuleType("torch")
    library.save = lambda state, path: path.write_bytes(repr(sorted(state)).encode())  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", library)
    state = {"model": OrderedDict(a=Tensor()), "optimizer": {"state": {0: [Tensor(), 1e-3]}}, "epoch": 3}
    assert serial.save(state, "checkpoint", tmp_path).format == "torch"
    # what only a pickle can hold stays one, and plain values stay readable
    assert serial.save({"epoch": 3, "lr": [0.1]}, "checkpoint", tmp_path).format == "json"
    assert serial.save({"other": complex(1, 2), "t": range(3)}, "checkpoint", tmp_path).format == "pickle"


def test_images_in_a_table_become_files_that_it_names(tmp_path):
    numpy = pytest.importorskip("numpy")
    image = pytest.importorskip("PIL.Image")
    rows = [
        {"image": image.new("RGB", (4, 4), "red"), "label": "cat", "loss": 0.25},
        {"image": numpy.zeros((4, 4), "uint8"), "label": "dog", "loss": 1.5},
    ]
    saved = serial.table(rows, "eval/samples", tmp_path)
    assert (saved.kind, saved.format, saved.metadata["images"]) == ("table", "csv", ["image"])
    assert set(saved.files) == {"samples.csv", "images/0-0.png", "images/1-0.png"}
    assert saved.files["samples.csv"].decode().splitlines()[1] == "images/0-0.png,cat,0.25"
    pandas = pytest.importorskip("pandas")
    framed = serial.table(pandas.DataFrame(rows), "samples", tmp_path)
    assert set(framed.files) == set(saved.files) and framed.metadata["images"] == ["image"]
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "samples.csv").write_bytes(saved.files["samples.csv"])
    assert list(serial.load(tmp_path / "back", "csv")["label"]) == ["cat", "dog"]
