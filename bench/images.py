"""How long the images take, and how large they are, on an engine of the benchmark's own that is made and removed.

    .venv/bin/python bench/images.py [--json FILE] [--home DIRECTORY] [--keep]
"""

import argparse
import os
import re
import sys
from pathlib import Path

from common import OSBOX, PROJECT, Figure, median, out, report, seconds

from osbox import engine, run
from osbox.model.site import HOME, Paths, load_site

# Nothing of this may meet a cloud that is on the machine: the engine has its own directory, bridge and subnet.
SITE = """
name = "osbox-bench"
engine = "private"
bridge = "bench-metal"
veth = ["benchext0", "benchext1"]
subnet = "10.29.26.0/24"
control_bridge = "bench"
control_subnet = "10.29.25.0/24"
engine_bridge = "bench-engine"
engine_subnet = "10.29.24.0/24"
loopback = "127.0.0.3"
"""
UNITS = {"B": 1e-9, "kB": 1e-6, "MB": 1e-3, "GB": 1.0, "TB": 1e3}


def main() -> None:
    options = arguments()
    if os.geteuid() != 0:
        sys.exit("this makes an engine: run it as root")
    other = engine.find(Paths(PROJECT, Path(HOME)), load_site(Path(HOME)))
    if other and not options.beside:
        sys.exit(f"the engine of {HOME} runs, and both would share the processors and the firewall's chains; first: osbox engine stop")
    home = options.home
    if home.exists() and not (home / "site.toml").exists():
        sys.exit(f"{home} is there and not of this benchmark; name another one with --home")
    environment = {"OSBOX_HOME": str(home), "NO_COLOR": "1", "BUILD_VERSION": "latest"}
    purge(environment, home)
    try:
        figures = measure(home, environment)
    finally:
        if not options.keep:
            purge(environment, home)
    report(figures, options.json)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--home", type=Path, default=Path("/var/lib/osbox-bench"), help="state directory, made and removed (%(default)s)")
    parser.add_argument("--keep", action="store_true", help="leave the engine and the images there")
    parser.add_argument("--beside", action="store_true", help="measure although another engine runs")
    return parser.parse_args()


def measure(home: Path, environment: dict[str, str]) -> list[Figure]:
    home.mkdir(parents=True, exist_ok=True)
    (home / "site.toml").write_text(SITE)
    jobs = f"-j{os.cpu_count()}"
    start = seconds([OSBOX, "engine", "start"], environment)
    cold = seconds(["make", "all", jobs], environment)
    return [
        Figure("the private engine, made and started", start, "s"),
        Figure("cold make all", cold, "s", 180),
        median("unchanged make all", 3, lambda: seconds(["make", "all", jobs], environment)),
        Figure("unique bytes of all images", unique_gigabytes(environment), "GB", 1.5),
    ]


def unique_gigabytes(environment: dict[str, str]) -> float:
    """What all images take together, a shared layer counted once: nothing else is in this engine."""
    words = [OSBOX, "engine", "shell", "--", "docker", "system", "df", "--format", "{{.Type}} {{.Size}}"]
    text = run.run(words, env=environment).out
    found = re.search(r"^Images ([\d.]+)(\w+)$", text, re.MULTILINE)
    if not found:
        sys.exit(f"docker system df says nothing of images:\n{text}")
    return round(float(found[1]) * UNITS[found[2]], 3)


def purge(environment: dict[str, str], home: Path) -> None:
    if (home / "site.toml").exists():
        out.print(f"[dim]remove {home}[/dim]")
        run.run([OSBOX, "down", "--purge"], env=environment, check=False)


if __name__ == "__main__":
    main()
