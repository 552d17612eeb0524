"""Write deploy/k8s/prod/release: where the images of a release are, by their digests. Nothing else of it is touched."""

import json
import re
import sys
from pathlib import Path
from typing import Final

TARGET: Final = Path(__file__).resolve().parent.parent / "deploy/k8s/prod/release/kustomization.yaml"
SERVICES: Final = ("gateway", "vault", "verifier")
HEAD: Final = """\
# Which images run, by digest. The release writes this file; zeros are no image, and nothing starts with them.
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
images:
"""


def component(prefix: str, digests: dict[str, str]) -> str:
    """Return the file for images `<prefix>-<service>`; raise ValueError unless each has a digest."""
    lines = []
    for service in SERVICES:
        digest = digests.get(service, "")
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            raise ValueError(f"{service} has no digest: {digest!r}")
        lines.append(f'  - {{ name: strongroom-{service}, newName: "{prefix}-{service}", digest: "{digest}" }}\n')
    return HEAD + "".join(lines)


if __name__ == "__main__":
    TARGET.write_text(component(sys.argv[1].lower(), json.loads(sys.argv[2])))
