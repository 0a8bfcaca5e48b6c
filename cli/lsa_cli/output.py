"""Write a report where the user wants it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lsa_cli.terminal import results
from lsa_onnx.errors import DataError, LsaError
from lsa_onnx.files import check_writable
from lsa_onnx.inputs import sidecar_path
from lsa_onnx.inputs.archives import IMAGE_SUFFIXES, Folder
from lsa_onnx.report import dumps, write_json
from lsa_onnx.stored import read_stored

if TYPE_CHECKING:
    from rich.console import Console

    from lsa_onnx.report.json_file import Document


def require_writable(
    targets: Mapping[str, str | Path | None],
    models: Iterable[str | Path],
    inputs: Iterable[str | Path] = (),
    texts: Iterable[str] = (),
) -> None:
    """Fail now rather than after a long run, and never write over what is read.

    Args:
        targets: Flag → the file that it names, ``None`` for none; ``-`` for stdout with ``--json``.
        models: Models that the run reads; their weights and sidecars may be files of their own.
        inputs: Other files that it reads, and folders of images.
        texts: Flags besides ``--json`` for which ``-`` is stdout.

    Raises:
        DataError: A path cannot be written, is an input, or is given twice.
    """
    if targets.get("--html") == "-":
        raise DataError("--html '-' is not a file; name one such as report.html")
    printed = [flag for flag in ("--json", *texts) if targets.get(flag) == "-"]
    if len(printed) > 1:
        raise DataError(
            f"{' and '.join(printed)} are '-', but stdout takes one of them; name files for the others"
        )
    paths = {
        flag: str(path)
        for flag, path in targets.items()
        if path is not None and flag not in printed
    }
    sources = [*inputs, *_files_of(models, deep=any(Path(p).exists() for p in paths.values()))]
    for flag, path in paths.items():
        if any(same_file(path, source) or _is_image_in(path, source) for source in sources):
            raise DataError(
                f"{path!r} is an input of this run, which is never overwritten; name another file with "
                f"{flag}"
            )
        check_writable(path)
    for (first, path), (second, other) in itertools.combinations(paths.items(), 2):
        if same_file(path, other):
            raise DataError(f"{first} and {second} are both {path!r}; name two different files")


def require_distinct(models: Sequence[str]) -> None:
    """Refuse a model that is given twice.

    Raises:
        DataError: One is.
    """
    for first, second in itertools.combinations(models, 2):
        if same_file(first, second):
            again = "" if first == second else f", also as {second!r}"
            raise DataError(f"{first!r} is given twice{again}; name each model once")


def deliver(
    document: Document,
    files: Mapping[str, str | None],
    writers: Mapping[str, Callable[[str], None]],
    show: Callable[[Console], None],
    printers: Mapping[str, Callable[[], str]] | None = None,
) -> None:
    """The text whose flag is ``-`` alone on stdout, else the terminal view; and files as asked for.

    Files come first, so that a pager that is left early does not cost them. Where one cannot be
    written, the results still appear before the error does.

    Args:
        document: What was found.
        files: Flag → the file that it names, ``None`` for none.
        writers: Flag → what writes that file; ``--json`` is not among them.
        show: Prints the terminal view.
        printers: Flag → what gives its text, for the flags besides ``--json`` that take ``-``.

    Raises:
        LsaError: A file cannot be written; what was there before is intact.
    """
    failure = _written({"--json": partial(write_json, document), **writers}, files)
    texts: dict[str, Callable[[], str]] = {"--json": partial(dumps, document), **(printers or {})}
    printed = next((flag for flag in texts if files.get(flag) == "-"), None)
    if printed is not None:
        # As bytes, so that line ends stay what they are.
        click.echo(texts[printed]().encode("utf-8"), nl=False)
    else:
        show(results())
    if failure is not None:
        raise failure


def _written(
    writers: Mapping[str, Callable[[str], None]], files: Mapping[str, str | None]
) -> LsaError | None:
    """Write each file that is named but for stdout; the first failure, once all were tried."""
    failure: LsaError | None = None
    for flag, write in writers.items():
        path = files.get(flag)
        if path is None or path == "-":
            continue
        try:
            write(path)
        except LsaError as error:
            failure = failure or error
    return failure


def _files_of(models: Iterable[str | Path], *, deep: bool) -> Iterator[Path]:
    """The models and their sidecars; ``deep``: also the files beside them that hold their weights.

    To know those, the models are read, which only pays where something could be overwritten.
    """
    for model in models:
        # A folder's path such as "/" has no name to put another ending to; the run says what is wrong.
        if not Path(model).name:
            continue
        yield from (Path(model), sidecar_path(model))
        # What is no model has no such files; the run says what is wrong with it.
        with suppress(LsaError):
            yield from read_stored(model).files.values() if deep else ()


def same_file(first: str | Path, second: str | Path) -> bool:
    """Whether two paths lead to one regular file, or to one that does not exist yet."""
    one, other = Path(first), Path(second)
    if one.exists() and other.exists():
        return one.is_file() and one.samefile(other)
    return one.resolve() == other.resolve()


def _is_image_in(path: str, source: str | Path) -> bool:
    """Whether ``path`` leads to an image in the folder ``source``, or would be taken for one later."""
    file, folder = Path(path), Path(source)
    if not folder.is_dir():
        return False
    if not file.exists():
        real, images = (Path(os.path.realpath(each)) for each in (file, folder))
        return real.suffix.lower() in IMAGE_SUFFIXES and images in real.parents
    known = file.stat()
    # What cannot be read is told of by the run.
    with suppress(DataError):
        # Links may lead out of the folder and into it again, under any name.
        members = Folder(folder).list_images().members
        return any(os.path.samestat(known, Path(folder, m.name).stat()) for m in members)
    return False
