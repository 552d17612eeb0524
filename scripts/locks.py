"""Write, or with --check compare, the hashed requirement locks: one for development, one per member, and two that stand
apart, for the exchange clients that tests drive and for the tools that look at manifests and packages.

Every lock holds names, versions and hashes only, never an address. Members are resolved under the
development lock as a constraint, so that what is tested is what each image installs.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEV = ROOT / "requirements" / "dev.txt"
APART = {"tests/clients/requirements.in": "requirements/clients.txt", "scripts/tools.in": "requirements/tools.txt"}
MEMBERS = sorted(path.parent for path in ROOT.glob("*/*/pyproject.toml"))
OWN = ["strongroom-" + member.name for member in MEMBERS]


def resolve(source: Path, target: Path, previous: Path, *options: str) -> None:
    """Resolve `source` into `target`, keeping the versions of `previous` where they still fit."""
    if previous.exists() and previous != target:
        target.write_bytes(previous.read_bytes())
    skip = [word for name in OWN for word in ("--no-emit-package", name)]
    command = [sys.executable, "-m", "uv", "pip", "compile", str(source), "-o", str(target), *options, *skip]
    command += ["--quiet", "--universal", "--generate-hashes", "--python-version", "3.11", "--no-header"]
    subprocess.run(command, check=True, cwd=ROOT)


def write(folder: Path) -> list[tuple[Path, Path]]:
    """Resolve every lock into `folder`; return pairs of (committed lock, lock just resolved)."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = [(DEV, folder / "dev.txt")]
    resolve(ROOT / "pyproject.toml", pairs[0][1], DEV, "--group", "dev")
    for member in MEMBERS:
        committed, fresh = member / "requirements.txt", folder / f"{member.name}.txt"
        resolve(member / "pyproject.toml", fresh, committed, "--constraint", str(pairs[0][1]), "--no-annotate")
        pairs.append((committed, fresh))
    for source, lock in APART.items():
        committed, fresh = ROOT / lock, folder / Path(lock).name
        resolve(ROOT / source, fresh, committed, "--no-annotate")
        pairs.append((committed, fresh))
    return pairs


def requirements(path: Path) -> list[str]:
    """Return the lines of a lock without comments, which name the paths it was resolved from."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def main() -> int:
    """Write the locks, or report those that no longer follow from the pyproject files."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = write(Path(folder))
        stale = [str(old.relative_to(ROOT)) for old, new in pairs if requirements(old) != requirements(new)]
        if "--check" in sys.argv[1:]:
            for name in stale:
                sys.stderr.write(f"{name} does not follow from its pyproject.toml: run `make locks`\n")
            return 1 if stale else 0
        for committed, fresh in pairs:
            committed.write_text("\n".join(requirements(fresh)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
