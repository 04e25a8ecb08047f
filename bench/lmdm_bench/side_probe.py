"""What a side's own interpreter imports: a script for it, which needs nothing but Python."""

import importlib
import importlib.metadata
import json
import sys
import traceback
from pathlib import Path
from typing import Any


def main(arguments: list[str]) -> None:
    """Write, as one line of JSON, where modules came from and which versions packages have.

    The arguments are the folder of the side's files, then JSON: [names of modules, of packages].
    """
    folder, asked = arguments
    modules, packages = json.loads(asked)
    found: dict[str, Any] = {"files": {}, "failure": None, "missing": None, "versions": {}}
    try:
        for name in modules:
            found["files"][name] = importlib.import_module(name).__file__
    except (Exception, SystemExit) as error:
        found["failure"] = _words(error, Path(folder))
        found["missing"] = getattr(error, "name", None)
    for name in packages:
        try:
            found["versions"][name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found["versions"][name] = "not installed"
    # A module may have written something that ends without a newline.
    sys.stdout.write("\n" + json.dumps(found) + "\n")


def _words(error: BaseException, folder: Path) -> str:
    """What was raised, and the last place of the side's own that it came through."""
    words = " ".join(f"{type(error).__name__}: {error}".split())
    places = [
        f"{Path(frame.filename).relative_to(folder)}, line {frame.lineno}: "
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(folder)
    ]
    return (places or [""])[-1] + words


if __name__ == "__main__":
    main(sys.argv[1:])
