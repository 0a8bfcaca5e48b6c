"""What one case is: the files of a folder, and the command that is run there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

# Where a case runs, beside a folder that nothing may read or change.
FOLDER = "case"
OUTSIDE = "outside"
DECOY = "decoy.bin"
# As text in a document may name it, from within the folder.
TO_DECOY = f"../{OUTSIDE}/{DECOY}"
# Names from a file with this in them must never reach a page as they are.
MARKUP = "<script>fuzz</script>"


@dataclass(frozen=True)
class Case:
    """One run of the command line.

    Attributes:
        files: Path within the folder → content.
        arguments: Of ``lsa-onnx``; with "read" first, of ``tests.fuzz.reading``.
        outputs: Paths that the command may write.
        links: Path within the folder → where the symbolic link leads.
        own_paths: Whether what is read is the user's own, and may name any file.
    """

    files: Mapping[str, bytes]
    arguments: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    own_paths: bool = False

    def write(self, folder: Path) -> None:
        """Make the files and links in ``folder``."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for name, target in self.links.items():
            (folder / name).symlink_to(target)


Maker = Callable[[Random], Case]


def few(rng: Random, most: int = 8) -> int:
    """1 or a little more: half of all cases have one defect alone, and none more than ``most``."""
    count = 1
    while count < most and rng.random() < 0.5:
        count += 1
    return count
