"""Make the development environment from hashed locks; needs nothing but Python 3.11 and a package index."""

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(log: Path, *command: str) -> None:
    """Run one step; on failure keep what it said in `log` and end with one line that says what to do."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        log.write_text(done.stdout + done.stderr)
        sys.exit(f"Could not install the packages: is a Python package index reachable? What pip said is in {log}.")


def main(target: Path, members: list[str]) -> None:
    """Create `target`, install the locked packages, then the members themselves."""
    if sys.version_info < (3, 11):  # noqa: UP036  this file is what an older Python meets first
        sys.exit(
            f"Strongroom needs Python 3.11 or newer; this is {sys.version.split()[0]}. Try `make PYTHON=python3.11`."
        )
    sys.stderr.write("Making the environment (once, about half a minute)…\n")
    python = target / "bin" / "python"
    if not python.exists():
        venv.create(target, with_pip=True)
    log = target / "install.log"
    run(log, str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", "requirements/bootstrap.txt")
    uv = [str(python), "-m", "uv", "pip", "install", "--quiet", "--python", str(python)]
    run(log, *uv, "--require-hashes", "-r", "requirements/dev.txt")
    run(log, *uv, "--no-deps", "--no-build-isolation", *(word for member in members for word in ("-e", member)))


if __name__ == "__main__":
    main(ROOT / sys.argv[1], sys.argv[2:])
