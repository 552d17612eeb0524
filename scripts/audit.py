"""Ask the advisory service about every package of every lock, with pip-audit; never say "clean" without its answer.

Ends with 0 when it knows of nothing, 1 when it knows of something, 3 when it cannot be asked.
"""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
LOCKS: Final = sorted([*ROOT.glob("*/*/requirements.txt"), *(ROOT / "requirements").glob("*.txt")])
# What pip-audit says when it has compared, and of a package that it has not: it calls the rest clean all the same.
COMPARED: Final = "known vulnerabilit"
PASSED_BY: Final = "could not be audited"
UNASKED: Final = 3


def audit(tools: Path, lock: Path) -> tuple[int, str]:
    """Return (0, 1 or 3 as above, what was said) for one lock."""
    command = [str(tools / "bin" / "pip-audit"), "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    done = subprocess.run([*command, "-r", str(lock)], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    if COMPARED not in said or PASSED_BY in said:
        return UNASKED, next((line for line in said.splitlines() if PASSED_BY in line), said.strip()[-200:])
    return done.returncode, said.strip()


def main(tools: Path) -> int:
    """Audit every lock and return the worst result."""
    now = datetime.now(UTC).date().isoformat()
    worst = 0
    for lock in LOCKS:
        result, said = audit(tools, lock)
        if result == UNASKED:
            sys.stderr.write(
                f"NOT AUDITED ({now}): the advisory service did not answer for {lock.relative_to(ROOT)}: {said}\n"
            )
            return UNASKED
        sys.stdout.write(f"{lock.relative_to(ROOT)} ({now}): {said}\n")
        worst = max(worst, result)
    return worst


if __name__ == "__main__":
    sys.exit(main(ROOT / sys.argv[1]))
