"""A virtual environment for each subject, so that none of them decides what another one runs on."""

from __future__ import annotations

import subprocess
import venv
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from process import BenchmarkError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
REPO_VENV = ROOT / ".venv"


def ensure(name: str, requirements: Sequence[str]) -> Path:
    """The folder of the venv `name` with `requirements` in it; made anew only when they have changed."""
    folder = HERE / ".venvs" / name
    stamp, wanted = folder / "requirements.txt", "\n".join(requirements) + "\n"
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    venv.EnvBuilder(with_pip=True, clear=True, symlinks=True).create(folder)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.run([*pip, *requirements]).returncode:
        raise BenchmarkError(f"pip could not install what the subject {name!r} needs; its message is above.")
    stamp.write_text(wanted)
    return folder


def versions(folder: Path, packages: Sequence[str]) -> dict[str, str]:
    """The installed versions of `packages` in a venv, in that order; what is not there is left out."""
    path = [str(site) for site in folder.glob("lib/python*/site-packages")]
    found = {dist.name.lower(): dist.version for dist in metadata.distributions(path=path)}
    return {package: found[package.lower()] for package in packages if package.lower() in found}


def same_as_ours(packages: Sequence[str]) -> list[str]:
    """Requirements that pin `packages` to the versions Switchboard runs on."""
    ours = versions(REPO_VENV, packages)
    missing = [package for package in packages if package not in ours]
    if missing:
        raise BenchmarkError(f"Not installed in .venv: {', '.join(missing)}. Run `make bench`.")
    return [f"{package}=={version}" for package, version in ours.items()]
