"""Copy the console's front-end libraries from npm's packages as tools/console/package-lock.json pins them, or with
--check fail when what is committed is not what they hold. Needs npm, which nobody else does: the files are committed.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "tools" / "console"
TARGET = ROOT / "services" / "gateway" / "src" / "gateway" / "console" / "static" / "vendor"
# Our name for the file: the package and the file in it.
FILES = {
    "preact.mjs": ("preact", "dist/preact.mjs"),
    "hooks.mjs": ("preact", "hooks/dist/hooks.mjs"),
    "htm.mjs": ("htm", "dist/htm.mjs"),
    "preact.LICENSE": ("preact", "LICENSE"),
    "htm.LICENSE": ("htm", "LICENSE"),
}


def install(folder: Path) -> Path:
    """Install what the lock pins, without running anything of it, and return the folder of packages."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(LOCK / name, folder / name)
    subprocess.run(["npm", "ci", "--ignore-scripts", "--silent"], check=True, cwd=folder)
    return folder / "node_modules"


def vendored(packages: Path) -> dict[str, bytes]:
    """Return every file by our name, and the list of them with package, version, licence and hash."""
    files = {name: (packages / package / path).read_bytes() for name, (package, path) in FILES.items()}
    listed = []
    for name, (package, path) in FILES.items():
        described = json.loads((packages / package / "package.json").read_text())
        facts = {"file": name, "package": package, "version": described["version"], "licence": described["license"]}
        listed.append({**facts, "from": path, "sha256": hashlib.sha256(files[name]).hexdigest()})
    return {**files, "vendored.json": (json.dumps(listed, indent=2) + "\n").encode()}


def main() -> int:
    """Write the files, or report those that are not what the packages hold."""
    with tempfile.TemporaryDirectory() as folder:
        files = vendored(install(Path(folder)))
    if "--check" in sys.argv[1:]:
        other = [name for name, content in files.items() if (TARGET / name).read_bytes() != content]
        for name in other:
            sys.stderr.write(f"{name} is not what npm's package holds: run scripts/console_vendor.py\n")
        return 1 if other else 0
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (TARGET / name).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
