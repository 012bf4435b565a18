"""Asks PyPI whether anything that is locked has a known hole: ``make audit``.

Ends with 1 if something has; with 0 if nothing has, or if PyPI's advisories can't be had from here, which is said.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements-dev.lock"
AUDIT = ["--no-deps", "--disable-pip", "--require-hashes", "--format=json", "--progress-spinner=off", "--timeout=10"]
LIMIT = 300.0


def main() -> int:
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "tool", "run", "--quiet", "pip-audit@2.10.1", *AUDIT, "--requirement", str(LOCK)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
        found = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError) as error:
        print(f"audit: nothing was audited: pip-audit can't be had or PyPI does not answer ({type(error).__name__})")
        return 0
    audited = [each for each in found if "skip_reason" not in each]
    if not audited:
        print(f"audit: nothing was audited: PyPI's advisories can't be had from here ({len(found)} packages)")
        return 0
    weak = [each for each in audited if each["vulns"]]
    for each in weak:
        names = ", ".join(hole["id"] for hole in each["vulns"])
        fixed = sorted({version for hole in each["vulns"] for version in hole["fix_versions"]})
        print(f"audit: {each['name']} {each['version']}: {names}; fixed in {', '.join(fixed) or 'no version yet'}")
    print(f"audit: {len(audited)} of {len(found)} locked packages looked at, {len(weak)} with known holes")
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(main())
