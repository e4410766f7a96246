"""Objects become files in the safest format that holds them, and come back by the name of that format.

The formats: `file` and `folder` (as they are), `text`, `bytes`, `json`, `npy`, `parquet`, `csv`, `png` and other images,
`lightgbm` (its text), `xgboost` (its JSON, of a scikit-learn wrapper with the name of the class), `torch` (a state
dict), `joblib` and `pickle`. The last two execute what their author wrote when they are loaded.
"""

import csv
import importlib
import io
import json
import os
import pickle
import sys
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from larder import media
from larder.journal import spool

IMAGES = ("png", "jpeg", "gif", "webp", "svg", "html")


@dataclass(frozen=True)
class Saved:
    """An object as files: their names, each with a path or with the bytes."""

    kind: str
    format: str
    files: dict[str, "Path | bytes"]
    metadata: dict[str, Any] = field(default_factory=dict)


def save(value: Any, name: str, scratch: Path) -> Saved:
    """The files for an object that is to be kept as `name`; `scratch` is a folder for drafts.

    A string that names an existing file or folder is a path; one that looks like a path and names nothing is an error.
    """
    stem = name.rsplit("/", 1)[-1]
    if isinstance(value, os.PathLike) or (isinstance(value, str) and _is_path(value)):
        return _path(Path(value))
    if isinstance(value, str):
        return Saved("text", "text", {f"{stem}.txt": value.encode("utf-8", "replace")})
    if isinstance(value, bytes | bytearray | memoryview):
        return Saved("file", "bytes", {stem: bytes(value)})
    homes = _homes(value)
    if "lightgbm" in homes or "xgboost" in homes or "torch" in homes or "sklearn" in homes:
        return _model(value, homes, stem, scratch)
    if "pandas" in homes or "polars" in homes or "pyarrow" in homes:
        return table(value, stem, scratch)
    if "numpy" in homes and hasattr(value, "dtype"):
        return _array(value, stem)
    if "matplotlib" in homes or "plotly" in homes:
        format, content = media.figure(value)
        return Saved("figure", format, {f"{stem}.{format}": content})
    if "PIL" in homes:
        return Saved("image", "png", {f"{stem}.png": media.image(value)[1]})
    if isinstance(value, Mapping) and _has_tensors(value):
        return _torch(value, stem, scratch)
    try:
        return Saved("json", "json", {f"{stem}.json": msgspec.json.format(msgspec.json.encode(value), indent=2)})
    except (TypeError, ValueError, msgspec.MsgspecError):
        return Saved("model" if callable(getattr(value, "predict", None)) else "object", *_pickled(value, stem))


def table(value: Any, name: str, scratch: Path) -> Saved:
    """A data frame, a list of rows or a mapping of columns, as Parquet where pyarrow is installed, else as CSV.

    Images among the cells become files beside the CSV, which names them; `images` of the metadata names the columns.
    """
    stem = name.rsplit("/", 1)[-1]
    if isinstance(value, str | os.PathLike):
        saved = _path(Path(value))
        return Saved("table", Path(value).suffix.lstrip(".") or saved.format, saved.files)
    if callable(getattr(value, "to_frame", None)) and not hasattr(value, "columns"):
        value = value.to_frame()
    homes = _homes(value)
    size = {"rows": len(value), "columns": len(value.columns)} if hasattr(value, "columns") else {}
    draft = scratch / f"{stem}.parquet"
    if "pyarrow" in homes:
        importlib.import_module("pyarrow.parquet").write_table(value, draft)
        return Saved("table", "parquet", {draft.name: draft}, {"rows": value.num_rows, "columns": value.num_columns})
    if "polars" in homes:
        value.write_parquet(draft)
        return Saved("table", "parquet", {draft.name: draft}, size)
    if "pandas" in homes and _has_pictures(value):
        rows = [[str(name) for name in value.columns], *map(list, value.itertuples(index=False, name=None))]
        return _text_table(rows, stem)
    if "pandas" in homes:
        try:
            value.to_parquet(draft)
            return Saved("table", "parquet", {draft.name: draft}, size)
        except Exception:  # no engine, or a column that Parquet cannot hold: text can
            return Saved("table", "csv", {f"{stem}.csv": value.to_csv(index=not _plain_index(value)).encode()}, size)
    return _text_table(_rows(value), stem)


def load(path: "str | os.PathLike[str]", format: str) -> Any:
    """The object that was saved in a file; files and folders as they were come as a path."""
    place = Path(path)
    family, _, detail = format.partition(".")
    if family == "text":
        return place.read_text(encoding="utf-8")
    if family == "bytes":
        return place.read_bytes()
    if family == "json":
        return json.loads(place.read_bytes())
    if family == "npy":
        return importlib.import_module("numpy").load(place, allow_pickle=False)
    if family == "parquet":
        return importlib.import_module("pandas").read_parquet(place)
    if family == "csv":
        return _read_csv(place)
    if family == "lightgbm":
        return importlib.import_module("lightgbm").Booster(model_file=str(place))
    if family == "xgboost":
        if detail and not (detail.isidentifier() and detail.startswith("XGB")):
            raise ValueError(f"{format!r} names no class of xgboost")
        model = getattr(importlib.import_module("xgboost"), detail or "Booster")()
        model.load_model(place)
        return model
    if family == "torch":
        return importlib.import_module("torch").load(place, map_location="cpu", weights_only=True)
    if family == "joblib":
        return importlib.import_module("joblib").load(place)
    if family == "pickle":
        with place.open("rb") as file:
            return pickle.load(file)
    if family in IMAGES and family not in ("svg", "html"):
        try:
            return importlib.import_module("PIL.Image").open(place)
        except ImportError:
            return place
    return place


def _is_path(text: str) -> bool:
    if not text or len(text) > 4096 or "\n" in text or "\0" in text:
        return False
    try:
        exists = os.path.exists(text)
    except (OSError, ValueError):
        return False
    if not exists and " " not in text and (os.sep in text or os.path.splitext(text)[1][1:].isalnum()):
        raise FileNotFoundError(f"there is no file {text!r}; a text is kept with log_text")
    return exists


def _path(path: Path) -> Saved:
    if path.is_dir():
        files: dict[str, Path | bytes] = dict(spool.tree(path))
        left_out = spool.skipped(path)
        if not files:
            raise ValueError(f"the folder {path} holds no files")
        return Saved("folder", "folder", files, {"left_out": left_out} if left_out else {})
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    return Saved("file", "file", {path.name: path})


def _model(value: Any, homes: set[str], stem: str, scratch: Path) -> Saved:
    facts = {"class": f"{type(value).__module__}.{type(value).__qualname__}"}
    if "lightgbm" in homes:
        booster = value if type(value).__name__ == "Booster" else getattr(value, "_Booster", None)
        # The text of a classifier lacks the names of its classes.
        if booster is not None and not hasattr(value, "classes_"):
            text = booster.model_to_string(num_iteration=-1)
            return Saved("model", "lightgbm", {f"{stem}.txt": text.encode()}, facts)
    if "xgboost" in homes and callable(getattr(value, "save_model", None)):
        own = type(value).__module__.partition(".")[0] == "xgboost"
        if own:
            draft = scratch / f"{stem}.json"
            value.save_model(draft)
            name = type(value).__name__
            return Saved("model", "xgboost" if name == "Booster" else f"xgboost.{name}", {draft.name: draft}, facts)
    if "torch" in homes:
        return _torch(value, stem, scratch)
    return Saved("model", *_pickled(value, stem), facts)


def _torch(value: Any, stem: str, scratch: Path) -> Saved:
    draft = scratch / f"{stem}.pt"
    state = value.state_dict() if callable(getattr(value, "state_dict", None)) else value
    sys.modules["torch"].save(state, draft)
    return Saved(
        "model", "torch", {draft.name: draft}, {"class": f"{type(value).__module__}.{type(value).__qualname__}"}
    )


def _has_tensors(value: Any) -> bool | None:
    """Whether plain containers hold tensors of torch; None when they hold what its safe way of loading refuses."""
    if value is None or type(value) in (bool, int, float, str):
        return False
    if "torch" in _homes(value) and (callable(getattr(value, "detach", None)) or type(value).__name__ == "Size"):
        return True
    if type(value) in (dict, OrderedDict):
        if not all(type(key) in (str, int) for key in value):
            return None
        inside = list(value.values())
    elif type(value) in (list, tuple):
        inside = list(value)
    else:
        return None
    found = [_has_tensors(each) for each in inside]
    return None if None in found else any(found)


def _pickled(value: Any, stem: str) -> tuple[str, dict[str, "Path | bytes"]]:
    if "sklearn" in _homes(value):
        try:
            joblib = importlib.import_module("joblib")
        except ImportError:
            pass
        else:
            buffer = io.BytesIO()
            joblib.dump(value, buffer)
            return "joblib", {f"{stem}.joblib": buffer.getvalue()}
    return "pickle", {f"{stem}.pickle": pickle.dumps(value)}


def _array(value: Any, stem: str) -> Saved:
    numpy = importlib.import_module("numpy")
    if value.dtype.hasobject:
        return Saved("array", *_pickled(value, stem))
    buffer = io.BytesIO()
    numpy.save(buffer, value, allow_pickle=False)
    return Saved(
        "array", "npy", {f"{stem}.npy": buffer.getvalue()}, {"shape": list(value.shape), "type": str(value.dtype)}
    )


def _homes(value: Any) -> set[str]:
    """The libraries in which an object's classes live, told without importing any."""
    return {kind.__module__.partition(".")[0] for kind in type(value).__mro__}


def _plain_index(frame: Any) -> bool:
    return type(frame.index).__name__ == "RangeIndex"


def _rows(value: Any) -> list[list[Any]]:
    if isinstance(value, Mapping):
        names = [str(name) for name in value]
        columns = [list(column) for column in value.values()]
        if len({len(column) for column in columns}) > 1:
            raise ValueError("the columns of a table are equally long")
        return [names, *map(list, zip(*columns, strict=True))]
    if isinstance(value, Iterable):
        rows = list(value)
        if rows and all(isinstance(row, Mapping) for row in rows):
            names = list(dict.fromkeys(str(name) for row in rows for name in row))
            return [names, *([row.get(name) for name in names] for row in rows)]
        if rows and all(isinstance(row, list | tuple) for row in rows):
            return [[f"column_{index}" for index in range(len(rows[0]))], *map(list, rows)]
    raise TypeError(f"a {type(value).__name__} is no table; give a data frame, a list of rows or a mapping of columns")


def _text_table(rows: list[list[Any]], stem: str) -> Saved:
    """Rows, the first of which has the names, as CSV; the images in them as files of their own."""
    files: dict[str, Path | bytes] = {}
    pictured: dict[str, None] = {}
    for number, row in enumerate(rows[1:]):
        for column, cell in enumerate(row):
            if _is_picture(cell):
                form, content = media.image(cell)
                path = f"images/{number}-{column}.{form}"
                files[path] = content
                row[column] = path
                pictured[str(rows[0][column])] = None
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    metadata: dict[str, Any] = {"rows": len(rows) - 1, "columns": len(rows[0])}
    if pictured:
        metadata["images"] = list(pictured)
    return Saved("table", "csv", {f"{stem}.csv": buffer.getvalue().encode("utf-8", "replace"), **files}, metadata)


def _has_pictures(frame: Any) -> bool:
    for name, kind in zip(frame.columns, frame.dtypes, strict=True):
        if str(kind) == "object":
            first = next((cell for cell in frame[name].head(100) if cell is not None), None)
            if _is_picture(first):
                return True
    return False


def _is_picture(cell: Any) -> bool:
    """Whether a cell is an image of PIL, a figure, or an array of rows of pixels."""
    if callable(getattr(cell, "save", None)) and hasattr(cell, "mode"):
        return True
    if callable(getattr(cell, "savefig", None)):
        return True
    shape = getattr(cell, "shape", ())
    return len(shape) in (2, 3) and hasattr(cell, "__array__") and 0 not in tuple(shape)


def _read_csv(path: Path) -> Any:
    if path.is_dir():  # with images beside it, which it names
        path = next(path.glob("*.csv"))
    try:
        return importlib.import_module("pandas").read_csv(path)
    except ImportError:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
