"""Generate the Python code of protos/ into libs/common/src.

With --check fail when it is not what is committed, or when protos/ breaks what the last release speaks; with --release
keep what protos/ is now as that.
"""

import filecmp
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
TARGET = ROOT / "libs" / "common" / "src"
# The client library imports none of that code: it makes its messages of these descriptions, in a pool of its own.
SIGNING = ROOT / "libs" / "client" / "src" / "strongroom_client" / "signing.binpb"
# What the last release speaks: processes of it run beside those of the next one, and have written what is kept.
RELEASED = PROTOS / "released.binpb"
BUF = str(Path(sys.executable).parent / "buf")


def generate(target: Path) -> None:
    """Run protoc with the Python, gRPC and stub generators."""
    files = [str(path.relative_to(PROTOS)) for path in sorted(PROTOS.rglob("*.proto"))]
    outputs = [f"--{kind}_out={target}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", *outputs, *files]
    search = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # protoc looks there for the stub generators
    subprocess.run(command, check=True, cwd=PROTOS, env={**os.environ, "PATH": search})
    for path in list(target.rglob("*_pb2_grpc.py*")):
        # A proto file without a service yields an empty module: not worth committing.
        if "Stub" not in path.read_text():
            path.unlink()
    (target / "strongroom" / "py.typed").touch()


def describe(target: Path) -> None:
    """Write what the signing service's messages are made of."""
    options = [f"--descriptor_set_out={target}", "--include_imports", "strongroom/signing/v1/signing_service.proto"]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", *options]
    subprocess.run(command, check=True, cwd=PROTOS)


def main() -> int:
    """Generate in place, or compare with a fresh generation."""
    subprocess.run([BUF, "lint"], check=True, cwd=ROOT)
    if subprocess.run([BUF, "breaking", "protos", "--against", RELEASED], check=False, cwd=ROOT).returncode:
        sys.stderr.write("protos/ breaks what the last release speaks: add fields, and reserve what is removed\n")
        return 1
    if "--release" in sys.argv[1:]:
        subprocess.run([BUF, "build", "protos", "--exclude-source-info", "-o", RELEASED], check=True, cwd=ROOT)
        return 0
    if "--check" not in sys.argv[1:]:
        generate(TARGET)
        describe(SIGNING)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = {path.relative_to(folder) for path in Path(folder).rglob("*.py*")}
        committed = {
            path.relative_to(TARGET)
            for path in (TARGET / "strongroom").rglob("*.py*")
            if path.parent.name != "__pycache__"
        }
        different = fresh ^ committed | {
            path for path in fresh & committed if not filecmp.cmp(Path(folder) / path, TARGET / path, shallow=False)
        }
        described = Path(folder) / SIGNING.name
        describe(described)
        if not SIGNING.exists() or not filecmp.cmp(described, SIGNING, shallow=False):
            different.add(SIGNING.relative_to(ROOT))
        for path in sorted(different):
            sys.stderr.write(f"{path} is not what protos/ generates: run `make protos`\n")
        return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
