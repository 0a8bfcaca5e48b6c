"""The books of a scan under way: every record is entered, and what was entered is never lost."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from lsa_onnx.accounts import Account, Applied, Clean, Entry, Frame, Record
from lsa_onnx.accounts.balance import Extent, balance
from lsa_onnx.accounts.store import Part, RecordWriter, writing_records
from lsa_onnx.attacks import Perturbation
from lsa_onnx.model import digest
from lsa_onnx.report.document import Example, Partial, Report, Shard
from lsa_onnx.scanning.scoring_pass import Bench, measured


@dataclass
class Books:
    """Enters what is measured, perturbation by perturbation.

    Attributes:
        frame: What the scan settled before.
        clean: The clean samples of ``part``.
        part: Which of the samples are run.
        bench: What measuring needs.
        started: When the scan began, by ``time.perf_counter``.
        sharded: Whether the report is that of a shard.
        entries: The accounts that are closed.
        account: The one that is open.
    """

    frame: Frame
    clean: Clean
    part: Part
    bench: Bench
    started: float
    sharded: bool
    entries: list[Entry] = field(default_factory=list)
    account: Account | None = None

    def keep(self, perturbations: Sequence[Perturbation], records: Path | None) -> None:
        """Measure and enter all samples under each perturbation.

        Args:
            perturbations: Those of the frame, in its order.
            records: An npz for what the runtime returned, if it is wanted.
        """
        with nullcontext() if records is None else writing_records(records) as writer:
            for perturbation, applied in zip(perturbations, self.frame.applied, strict=True):
                self._enter(perturbation, applied, writer)
            if writer is not None:
                run = dataclasses.replace(self.frame.run, seconds=self._seconds)
                frame = dataclasses.replace(self.frame, run=run)
                writer.finish(self.part, frame, self.clean, self._examples)

    def report(self, records: Path | None) -> Report:
        """Of a scan that ran to its end; ``records`` as given to ``keep``."""
        extent = Extent(self._seconds, shard=self._shard(records))
        return balance(self.frame, self.entries, self.clean, extent, self._examples)

    def report_so_far(self) -> Report | None:
        """Of a scan that was interrupted; ``None`` where no sample was scored."""
        done, open_account = len(self.entries), self.account
        cut = None
        if open_account is not None and open_account.balanced and open_account.samples:
            cut = self.frame.applied[done].name
            self.entries.append(open_account.close(self.clean.first(open_account.samples)))
        if not self.entries:
            return None
        begun = done + (cut is not None)
        partial = Partial(
            reason="interrupted",
            cut=cut,
            samples=open_account.samples if open_account is not None and cut is not None else 0,
            wanted=self.part.stop - self.part.start,
            missing=[applied.name for applied in self.frame.applied[begun:]],
        )
        extent = Extent(self._seconds, partial=partial)
        names = {entry.result.name for entry in self.entries}
        examples = [each for each in self._examples if each.perturbation in names]
        return balance(self.frame, self.entries, self.clean, extent, examples)

    def _enter(
        self, perturbation: Perturbation, applied: Applied, writer: RecordWriter | None
    ) -> None:
        span = range(self.part.start, self.part.stop)
        self.bench.listener.begin(applied.name, len(span))
        self.account = Account(self.frame, applied)
        written: list[Record] = []
        for record in measured(self.bench, perturbation, span):
            self.account.add(record)
            if writer is not None:
                written.append(record)
        if writer is not None:
            writer.write(written)
        entry = self.account.close(self.clean)
        # In this order: an interrupt in between must not find the account both open and closed.
        self.account = None
        self.entries.append(entry)

    @property
    def _examples(self) -> list[Example]:
        return self.bench.gallery.examples if self.bench.gallery is not None else []

    @property
    def _seconds(self) -> float:
        return time.perf_counter() - self.started

    def _shard(self, records: Path | None) -> Shard | None:
        part = self.part
        if records is None or not self.sharded:
            return None
        return Shard(part.number, part.count, part.start, part.stop, part.total, digest(records))
