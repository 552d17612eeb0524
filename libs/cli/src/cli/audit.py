"""`strongroom audit`: check a trail, tell what is in it, and write down what it can be checked against.

Exit status 0: the trail holds. 1: it does not. 2: it could not be checked. Files are read line by line.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from common.trail import files_of
from common.trail_check import Chain, Check

from cli.audit_own import listed
from cli.processes import LaunchError

if TYPE_CHECKING:
    from cli.audit_anchors import Anchors

app = typer.Typer(no_args_is_help=True, help="Check and read the audit trail of the vault service.")
app.command("list")(listed)
Files = Annotated[list[Path], typer.Argument(help="files of a trail, or folders of them; their order does not matter")]
PublicKey = Annotated[Path | None, typer.Option(help="the audit key's public half: PEM, or what `audit heads` wrote")]
Kept = Annotated[Path | None, typer.Option("--heads", help="compare with what `audit heads` wrote")]
VaultUrl = Annotated[str, typer.Option("--vault", help="ask this Vault for the public key and the kept heads")]
TokenFile = Annotated[Path | None, typer.Option(help="file with a token that has the policy strongroom-auditor")]
CaFile = Annotated[Path | None, typer.Option(help="the authority of Vault's certificate; else the system's")]
Home = Annotated[Path | None, typer.Option(help="ask the embedded stack that runs with this state folder")]
Partial = Annotated[bool, typer.Option("--partial", help="the files before and after these may be elsewhere")]
Everything = Annotated[bool, typer.Option("--all", help="these are the files of all processes: none is missing")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON value a line, for programs")]


@app.command()
def verify(
    files: Files,
    *,
    public_key: PublicKey = None,
    heads: Kept = None,
    vault: VaultUrl = "",
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    home: Home = None,
    partial: Partial = False,
    everything: Everything = False,
    as_json: AsJson = False,
) -> None:
    """Find what was edited, deleted, reordered, inserted or cut, and name the file and the line."""
    with _unchecked():
        live = _live(vault, token_file, ca_file, home)
        keys, kept = _file(public_key) or live, _file(heads) or live
        check = Check(
            _all(files), keys.proves if keys and keys.keys else None, kept.kept if kept else {}, partial=partial
        )
        for _ in check.read():
            pass
    if everything:
        for instance in check.absent:
            check.fault(instance, 0, "chain_missing", "a trail of this process was kept in Vault, and has no file here")
    notes = [] if check.proves else ["signatures were not checked: no public key was given"]
    notes += [] if kept else ["the end was not compared: lines cut off it are not found without the kept heads"]
    if check.proves:
        young = [f"{one.instance} from line {one.signed_to + 1}" for one in check.chains.values() if _young(one)]
        notes += [f"no head speaks of the end of {', '.join(young)}: the chain alone protects it"] if young else []
    if check.absent and not everything:
        notes.append(f"trails of other processes, which are not here: {', '.join(check.absent)}")
    _say(json.dumps(_document(check, notes))) if as_json else _tell(check, notes)
    raise typer.Exit(1 if check.faults else 0)


@app.command()
def report(
    files: Files,
    *,
    binding: Annotated[str, typer.Option(help="who used this key")] = "",
    tenant: Annotated[str, typer.Option(help="only of this tenant")] = "",
    action: Annotated[str, typer.Option(help="only this: sign, bind, revoke, …")] = "",
    since: Annotated[str, typer.Option("--from", help="from this time on, for example 2026-11-28T17:00:00Z")] = "",
    until: Annotated[str, typer.Option("--to", help="before this time")] = "",
    partial: Partial = False,
    as_json: AsJson = False,
) -> None:
    """Tell who did what when, one row for each action; a chain that does not hold is told at the end."""
    from cli.audit_report import Wanted, heading, moment, rows, shown  # noqa: PLC0415

    with _unchecked():
        wanted = Wanted(binding, tenant, action, since and moment(since), until and moment(until))
        check = Check(_all(files), partial=partial)
        if not as_json:
            _say(heading())
        count = 0
        for row in rows(check.read(), wanted):
            count += 1
            _say(json.dumps(row) if as_json else shown(row))
    if not as_json:
        _say(f"{count} actions in {check.lines} lines.")
    if check.faults:
        first = check.faults[0]
        sys.stderr.write(f"strongroom: the chain does not hold ({first.file}:{first.line}): see `audit verify`\n")
    raise typer.Exit(1 if check.faults else 0)


@app.command()
def heads(vault: VaultUrl = "", token_file: TokenFile = None, ca_file: CaFile = None, home: Home = None) -> None:
    """Write down the public key and where Vault was told that each trail is, as JSON, for a check elsewhere."""
    with _unchecked():
        live = _live(vault, token_file, ca_file, home)
        if live is None:
            raise LaunchError("Name a Vault (--vault and --token-file) or an embedded stack (--home).")
    _say(live.document())


def _live(vault: str, token_file: Path | None, ca_file: Path | None, home: Path | None) -> "Anchors | None":
    from cli.audit_anchors import Anchors  # noqa: PLC0415

    if home:
        return Anchors.of_stack(home)
    if not vault:
        return None
    if token_file is None:
        raise LaunchError("--vault needs --token-file.")
    return Anchors.of_vault(vault, token_file.read_text().strip(), ca_file)


def _file(path: Path | None) -> "Anchors | None":
    from cli.audit_anchors import Anchors  # noqa: PLC0415

    return Anchors.of_file(path) if path else None


def _all(files: list[Path]) -> list[Path]:
    """Return the files, with those of each folder; raise LaunchError for a folder without any."""
    found: list[Path] = []
    for path in files:
        inside = [file.path for file in files_of(path)] if path.is_dir() else [path]
        if not inside:
            raise LaunchError(f"{path} has no file of an audit trail.")
        found += inside
    return found


@contextmanager
def _unchecked() -> Iterator[None]:
    """End with 2 and one line when something cannot be read."""
    try:
        yield
    except LaunchError as error:
        sys.stderr.write(f"strongroom: {error}\n")
        raise typer.Exit(2) from None
    except OSError as error:
        sys.stderr.write(f"strongroom: {error.strerror}: {error.filename}\n")
        raise typer.Exit(2) from None


def _young(chain: Chain) -> bool:
    """Tell whether there are lines after the last proven head, besides the head's own."""
    return chain.last > chain.signed_to + 1


def _document(check: Check, notes: list[str]) -> dict[str, Any]:
    return {
        "holds": not check.faults,
        "lines": check.lines,
        "faults": [asdict(fault) for fault in check.faults],
        "faults_in_all": check.faults_in_all,
        "chains": [asdict(chain) for chain in check.chains.values()],
        "notes": notes,
    }


def _tell(check: Check, notes: list[str]) -> None:
    for chain in check.chains.values():
        signed = f", signed up to line {chain.signed_to}" if chain.signed_to else ""
        _say(
            f"{chain.instance}: lines {chain.first} to {chain.last} in {len(chain.files)} files, "
            f"{chain.heads} heads{signed}"
        )
    for fault in check.faults:
        _say(f"{fault.file}:{fault.line}: {fault.code}: {fault.detail}")
    for note in notes:
        _say(f"Note: {note}.")
    _say("The trail holds." if not check.faults else f"The trail does NOT hold: {check.faults_in_all} faults.")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
