"""TensorBoard writers, of torch and of tensorboardX: the same series under the same names, beside the event files."""

import functools
import inspect
import json
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from larder.integrations import active

SOURCE = "tensorboard"

MOST = 200
"""Images, histograms and texts of one tag that are kept in one run."""

_writing = threading.local()
_counts: dict[tuple[int, str], int] = {}


def patch_writer(writer: Any) -> None:
    """Extend the methods of `SummaryWriter`."""
    for name, record in _METHODS.items():
        method = getattr(writer.SummaryWriter, name, None)
        if method is not None:
            setattr(writer.SummaryWriter, name, _recording(method, record))


def _recording(original: Callable[..., Any], record: "Callable[..., None]") -> Callable[..., Any]:
    signature = inspect.signature(original)

    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        run = None if getattr(_writing, "inside", False) else active.current(SOURCE)
        if run is None:
            return original(self, *args, **kwargs)
        with active.watched(SOURCE):
            given = signature.bind(self, *args, **kwargs)
            given.apply_defaults()
            record(run, given.arguments)
        _writing.inside = True
        try:
            return original(self, *args, **kwargs)
        finally:
            _writing.inside = False

    return method


def _step(given: Mapping[str, Any]) -> int | None:
    step = given.get("global_step")
    return None if step is None else int(step)


def _scalar(run: active.Recorder, given: Mapping[str, Any]) -> None:
    run.log({str(given["tag"]): _number(given["scalar_value"])}, step=_step(given))


def _scalars(run: active.Recorder, given: Mapping[str, Any]) -> None:
    values = {f"{given['main_tag']}/{key}": _number(value) for key, value in given["tag_scalar_dict"].items()}
    run.log(values, step=_step(given))


def _histogram(run: active.Recorder, given: Mapping[str, Any]) -> None:
    numpy: Any = sys.modules["numpy"]
    tag, step = str(given["tag"]), _step(given)
    values = numpy.asarray(_array(given["values"]), dtype=float).ravel()
    finite = values[numpy.isfinite(values)]
    if not finite.size:
        return
    summary = {"mean": finite.mean(), "std": finite.std(), "min": finite.min(), "max": finite.max()}
    run.log({f"{tag}/{key}": float(value) for key, value in summary.items()}, step=step)
    if not _wanted(run, tag):
        return
    counts, edges = numpy.histogram(finite, bins=64)
    document = {"counts": counts.tolist(), "edges": edges.tolist(), "left_out": int(values.size - finite.size)}
    with tempfile.TemporaryDirectory(prefix="larder-") as folder:
        path = Path(folder) / "histogram.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        run.log_artifact(tag, path, kind="histogram", step=step)


def _image(run: active.Recorder, given: Mapping[str, Any]) -> None:
    tag = str(given["tag"])
    if _wanted(run, tag):
        image = _array(given["img_tensor"])
        run.log_image(tag, _rows_columns_channels(image, str(given.get("dataformats") or "CHW")), step=_step(given))


def _images(run: active.Recorder, given: Mapping[str, Any]) -> None:
    numpy: Any = sys.modules["numpy"]
    tag = str(given["tag"])
    if _wanted(run, tag):
        images, layout = _array(given["img_tensor"]), str(given.get("dataformats") or "NCHW")
        pictures = numpy.moveaxis(images, layout.index("N"), 0)[:8]
        rest = layout.replace("N", "")
        row = numpy.concatenate([_rows_columns_channels(picture, rest) for picture in pictures], axis=1)
        run.log_image(tag, row, step=_step(given))


def _figure(run: active.Recorder, given: Mapping[str, Any]) -> None:
    tag = str(given["tag"])
    figures = given["figure"] if isinstance(given["figure"], list | tuple) else [given["figure"]]
    for figure in figures:
        if _wanted(run, tag):
            run.log_figure(tag, figure, step=_step(given))


def _text(run: active.Recorder, given: Mapping[str, Any]) -> None:
    if _wanted(run, str(given["tag"])):
        run.log_text(str(given["tag"]), str(given["text_string"]), step=_step(given))


def _hparams(run: active.Recorder, given: Mapping[str, Any]) -> None:
    run.record_params(dict(given["hparam_dict"]), source=SOURCE)
    run.log({str(key): _number(value) for key, value in (given["metric_dict"] or {}).items()})


_METHODS: Mapping[str, Callable[[active.Recorder, Mapping[str, Any]], None]] = {
    "add_scalar": _scalar,
    "add_scalars": _scalars,
    "add_histogram": _histogram,
    "add_image": _image,
    "add_images": _images,
    "add_figure": _figure,
    "add_text": _text,
    "add_hparams": _hparams,
}


def _wanted(run: active.Recorder, tag: str) -> bool:
    key = (id(run), tag)
    _counts[key] = _counts.get(key, 0) + 1
    return _counts[key] <= MOST


def _number(value: Any) -> float:
    return float(value.item() if callable(getattr(value, "item", None)) else value)


def _array(value: Any) -> Any:
    if callable(getattr(value, "detach", None)):  # a tensor, on whatever device
        value = value.detach().cpu().numpy()
    return sys.modules["numpy"].asarray(value)


def _rows_columns_channels(image: Any, layout: str) -> Any:
    numpy: Any = sys.modules["numpy"]
    order = [layout.index(axis) for axis in "HWC" if axis in layout]
    return numpy.transpose(image, order)
