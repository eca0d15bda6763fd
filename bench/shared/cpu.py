"""Processor seconds, user and system: of a command with all that it waited for, and of a living tree of processes.

A tree's time is read from /proc, in ticks of 1/100 s, and holds what the dead below it used, since each was waited for by its parent.
"""

import os
import statistics
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")

SPIN = "import time, numpy; x = numpy.linspace(0, 9, 4096, dtype='f4'); y = x.copy(); [numpy.sin(x, out=y) for _ in range(250_000)]; print(time.process_time())"
"""A fixed amount of vector arithmetic in the first-level cache, about a second of it; prints its own processor seconds."""
SPINS = 5
"""How often it is measured alone and together, in turn: odd, so that the median is one of them."""


def run(command: list[str], **options) -> tuple[str, float]:
    """What the command printed on stdout, and its processor seconds. An exit status other than 0 is an error."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    return output, usage.ru_utime + usage.ru_stime


def of_tree(root: int) -> Counter:
    """Processor seconds of a process and all below it, by program; the dead count for the program that waited for them."""
    seen = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            head, _, rest = (folder / "stat").read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = rest.split()
        seen[int(folder.name)] = (int(fields[1]), head.partition("(")[2], [int(ticks) / TICKS for ticks in fields[11:15]])
    total = Counter()
    for pid, (_, name, (user, system, waited_user, waited_system)) in seen.items():
        if is_below(pid, root, seen):
            total[name] += user + system
            total[f"{name}, ended below it"] += waited_user + waited_system
    return total


def is_below(pid: int, root: int, seen: dict) -> bool:
    while pid in seen and pid != root:
        pid = seen[pid][0]
    return pid == root


@contextmanager
def pinned(cores: set[int]):
    """Keeps this process, and what it starts meanwhile, to some cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def spin(core: int) -> subprocess.Popen:
    with pinned({core}):
        return subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE, text=True)


def crowding(cores: list[int]) -> float:
    """What the same work costs in processor seconds with another core at it too, against alone. 1 where cores share nothing."""
    ratios = []
    for _ in range(SPINS):
        alone = float(spin(cores[0]).communicate()[0])
        two = [spin(core) for core in cores[:2]]
        together = [float(one.communicate()[0]) for one in two]
        ratios.append(statistics.mean(together) / alone)
    return statistics.median(ratios)
