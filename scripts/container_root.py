"""Run every instruction of the Dockerfile in a Debian made by debootstrap, then animate the demo in it. Needs root.

    sudo python scripts/container_root.py --out outputs/container

Where there is no Docker, this shows that the image builds from its own instructions and works. The base images, which
are Debian with a Python, become Debian's own Python of the same version. Instructions that only say how a container is
started (EXPOSE, VOLUME, HEALTHCHECK) are read; CMD is tried with --help. pip's settings of this machine are taken over.
Writes the log of every instruction.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
BASE = re.compile(r"python:\S+-slim-(\w+)")
PASSED_ON = re.compile(r"PIP_\w+|https?_proxy|no_proxy|SSL_CERT_FILE")
FILES = ("/etc/resolv.conf", "/etc/pip.conf", "~/.config/pip/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
DEMO = "src/magicanimate/assets/demo"


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield a Dockerfile's instructions as (NAME, arguments), continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, arguments = line.strip().partition(" ")
            yield name.upper(), re.sub(r"\s+", " ", arguments.strip())


def expanded(text: str, values: dict[str, str]) -> str:
    """Put values in for $NAME and ${NAME}."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values.get(found[1], found[0]), text)


class Stage:
    """A stage of the image, in a folder."""

    def __init__(self, root: Path, log: Path) -> None:
        self.root, self._log = root, log
        self.environment = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
        self._folder, self._user = "/", "root"

    def run(self, command: str | list[str]) -> None:
        """Run a command as RUN does. Raises SystemExit if it fails."""
        passed = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
        home = "/root" if self._user == "root" else f"/home/{self._user}"
        environment = passed | self.environment | {"HOME": home}
        words = ["/bin/sh", "-c", command] if isinstance(command, str) else command
        entered = ["chroot", f"--userspec={self._user}", str(self.root), "/usr/bin/env", "-C", self._folder, *words]
        with self._log.open("a") as log:
            ended = subprocess.run(entered, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
        if ended.returncode:
            raise SystemExit(f"{words[-1]!r} ended with {ended.returncode}; see {self._log}.")

    def follow(self, name: str, arguments: str, stages: dict[str, Stage]) -> None:
        """Do what one instruction says."""
        if name == "RUN":
            self.run(arguments)
        elif name == "ENV":
            pairs = re.findall(r'(\w+)=("[^"]*"|\S+)', arguments)
            self.environment |= {key: expanded(value.strip('"'), self.environment) for key, value in pairs}
        elif name == "WORKDIR":
            self._folder = arguments
            self.inside(arguments).mkdir(parents=True, exist_ok=True)
        elif name == "USER":
            self._user = arguments
        elif name == "COPY":
            options, *sources, target = arguments.split() if arguments.startswith("--") else ("", *arguments.split())
            origin = stages[options.removeprefix("--from=")].root if options else HERE
            for source in sources:
                self._copy(origin / source.lstrip("/"), target)
        elif name == "CMD":
            self.run([*json.loads(arguments), "--help"])
        elif name not in ("EXPOSE", "VOLUME", "HEALTHCHECK"):
            raise SystemExit(f"{name} is not an instruction that this script knows.")

    def inside(self, path: str) -> Path:
        """Return where a path of the stage is on this machine."""
        return self.root / os.path.join(self._folder, path).lstrip("/")

    def _copy(self, source: Path, target: str) -> None:
        place = self.inside(target)
        if target.endswith(("./", "/")):
            place /= source.name
        if source.is_dir():
            shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)


@contextmanager
def debian(root: Path, suite: str, mirror: list[str], binds: list[str], log: Path) -> Iterator[Path]:
    """Make a Debian with Python, as the base image is, with /proc and /dev for as long as it is used."""
    with log.open("a") as out, ExitStack() as mounted:
        command = [
            "debootstrap",
            "--variant=minbase",
            "--include=python3-venv,ca-certificates",
            suite,
            str(root),
            *mirror,
        ]
        subprocess.run(command, check=True, stdout=out, stderr=out)
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        for place, mount in (("proc", ["-t", "proc", "proc"]), ("dev", ["--bind", "/dev"])):
            subprocess.run(["mount", *mount, str(root / place)], check=True)
            mounted.callback(subprocess.run, ["umount", "-l", str(root / place)], check=False)
        for given in (*FILES, *binds):
            path = Path(given).expanduser()
            if path.exists():
                place = root / str(path).lstrip("/")
                if path.is_dir():
                    place.mkdir(parents=True, exist_ok=True)
                else:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.touch()
                subprocess.run(["mount", "--bind", "-o", "ro", str(path), str(place)], check=True)
                mounted.callback(subprocess.run, ["umount", "-l", str(place)], check=False)
        yield root


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the stages are made, about 5 GB")
    parser.add_argument("--out", type=Path, default=Path("outputs/container"), help="for logs and the demo's video")
    parser.add_argument("--mirror", help="Debian's mirror; default: debootstrap's")
    parser.add_argument(
        "--bind", action="append", default=[], metavar="PATH", help="is there too, read-only; repeatable"
    )
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE", help="as docker build's")
    arguments = parser.parse_args()
    if os.geteuid() or not shutil.which("debootstrap"):
        sys.exit("This makes a system: it needs root, and debootstrap (apt-get install debootstrap).")
    arguments.out.mkdir(parents=True, exist_ok=True)
    log = arguments.out / "build.log"
    values: dict[str, str] = {}
    given = dict(pair.split("=", 1) for pair in arguments.build_arg)
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    with ExitStack() as opened:
        for name, text in instructions((HERE / "Dockerfile").read_text()):
            began = time.monotonic()
            if name == "ARG":
                key, _, default = text.partition("=")
                values[key] = given.get(key, default)
                if stage:
                    stage.environment[key] = values[key]
            elif name == "FROM":
                image, _, label = expanded(text, values).partition(" AS ")
                found = BASE.fullmatch(image)
                if found is None:
                    sys.exit(f"{image} is not a base image that this script knows.")
                root = arguments.folder / (label or "image")
                mirror = [arguments.mirror] if arguments.mirror else []
                stage = Stage(opened.enter_context(debian(root, found[1], mirror, arguments.bind, log)), log)
                stages[label or "image"] = stage
            elif stage:
                stage.follow(name, text, stages)
            print(f"{time.monotonic() - began:6.1f} s  {name} {text}", flush=True)
        assert stage is not None
        for file in ("picture.png", "motion.mp4"):
            shutil.copy(HERE / DEMO / file, stage.root / "tmp")
        began = time.monotonic()
        stage.run("magicanimate animate /tmp/picture.png /tmp/motion.mp4 --out /tmp/demo.mp4")
        shutil.copy(stage.root / "tmp/demo.mp4", arguments.out)
        print(f"{time.monotonic() - began:6.1f} s  the demo as {stage._user}: {arguments.out / 'demo.mp4'}")


if __name__ == "__main__":
    main()
