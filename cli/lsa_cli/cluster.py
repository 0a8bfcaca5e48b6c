"""``--cluster``: a scan of many samples, or of many models, on the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lsa_onnx.errors import DataError
from lsa_onnx.files import check_writable

if TYPE_CHECKING:
    from lsa_onnx.cluster import ClusterOptions
    from lsa_onnx.report import Report
    from lsa_onnx.scanning import Listener, ScanOptions

F = TypeVar("F", bound=Callable[..., Any])


def cluster_options(function: F) -> F:
    """Where shards run; the function gets one ``cluster``, see ``Sharing``."""
    for option in (
        click.option(
            "--reports",
            metavar="FOLDER",
            help="Write NAME.json and NAME.html there, for several models.",
        ),
        click.option(
            "--work",
            metavar="FOLDER",
            help="Keep finished shards there; a run that was lost goes on with them.",
        ),
        click.option("--shards", type=int, metavar="N", help="Parts of each model's samples."),
        click.option(
            "--workers", type=int, metavar="N", help="Shards that run at once.  [default: CPUs]"
        ),
        click.option(
            "--cluster",
            metavar="local|ADDRESS",
            help="Run shards on a Ray cluster: local processes, auto, or HOST:PORT.",
        ),
    ):
        function = option(function)
    return function


@dataclass(frozen=True)
class Sharing:
    """What ``cluster_options`` were given."""

    cluster: str | None
    workers: int | None
    shards: int | None
    work: str | None
    reports: str | None

    def check(
        self, models: Sequence[str], options: ScanOptions, files: Mapping[str, str | None]
    ) -> None:
        """Refuse what does not go together, before anything is opened.

        Args:
            models: Paths of the models.
            options: How each is scanned.
            files: Flag → the file that it names, of one report.

        Raises:
            DataError: Something does not.
        """
        if self.cluster is None:
            names = ("workers", "shards", "work", "reports")
            given = [name for name in names if getattr(self, name) is not None]
            if given:
                raise DataError(
                    f"--{given[0]} is for --cluster; give that, such as --cluster local"
                )
            if len(models) > 1:
                named = ", ".join(map(repr, models[:3])) + (", …" if len(models) > 3 else "")
                raise DataError(
                    f"{len(models)} models are given: {named}; give one, or several with --cluster, such as "
                    "--cluster local, and --reports FOLDER for what is found"
                )
        elif options.shard is not None or options.save_adversarial or options.records:
            raise DataError(
                f"--cluster {self.cluster} shares the samples out by itself; leave out --shard, --records and "
                "--save-adversarial"
            )
        if len(models) > 1 and self.reports is None:
            raise DataError(
                f"{len(models)} models have a report each; give --reports FOLDER for them"
            )
        if self.reports is not None:
            given = [flag for flag, path in files.items() if path is not None]
            if given:
                raise DataError(
                    f"{given[0]} is for the report of one model, --reports {self.reports} for those of several; "
                    "give one of the two"
                )
            for path in self.report_files(models):
                check_writable(path)

    def report_files(self, models: Sequence[str]) -> list[Path]:
        """The JSON file of each model, in the folder of reports.

        Raises:
            DataError: The folder does not exist, or two models have one name.
        """
        folder = Path(self.reports or "")
        if not folder.is_dir():
            raise DataError(f"--reports {str(folder)!r} is no folder; create it, or name another")
        paths = [folder / f"{Path(model).stem}.json" for model in models]
        twice = next((path for path in paths if paths.count(path) > 1), None)
        if twice is not None:
            raise DataError(
                f"two models would write {str(twice)!r}; give models whose file names differ"
            )
        return paths

    def scan(self, model: str, options: ScanOptions, listener: Listener) -> Report:
        """One model, in this process or on the cluster.

        Raises:
            LsaError: It cannot be scanned.
        """
        from lsa_onnx.scanning import scan  # what only parses a command line needs no runtime

        if self.cluster is None:
            return scan(model, options, listener)
        found: list[Report] = []
        self.scan_all([model], options, listener, lambda _, report: found.append(report))
        return found[0]

    def scan_all(
        self,
        models: Sequence[str],
        options: ScanOptions,
        listener: Listener,
        finished: Callable[[str, Report], None],
    ) -> None:
        """Models on the cluster; ``finished`` gets each report as soon as there is one.

        Raises:
            LsaError: A model cannot be scanned, said when all others were.
        """
        from lsa_onnx.cluster import scan_on_cluster

        scan_on_cluster(models, options, self._options(), finished, listener)

    def _options(self) -> ClusterOptions:
        from lsa_onnx.cluster import ClusterOptions

        return ClusterOptions(
            folder=Path(self.work) if self.work is not None else None,
            address=self.cluster or "local",
            workers=self.workers,
            shards=self.shards,
        )
