"""What the machine and this process are doing, as MLflow names it: read from /proc on Linux, by psutil elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

_MB = 1e6
_LONGEST_LINE = 4096
Reading = Callable[[], dict[str, float]]


class LinuxMachine:
    """Reads `proc`. Shares of the CPU are of the time since the last sample, disk and network since the first reading.
    What cannot be read here is left out."""

    def __init__(self, proc: Path = Path("/proc"), disk: Path = Path("/")) -> None:
        self._proc, self._disk = proc, disk
        self._ticks: tuple[int, int] | None = None
        self._process: tuple[float, float] = (time.monotonic(), time.process_time())
        self._received_at_first: tuple[int, int] | None = None
        with suppress(OSError, ValueError, IndexError):
            self._ticks = self._read_ticks()
        with suppress(OSError, ValueError, IndexError):
            self._received_at_first = self._traffic()

    def sample(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for read in (self._cpu, self._memory, self._own, self._disk_use, self._own_disk, self._network):
            with suppress(OSError, ValueError, IndexError, KeyError, ZeroDivisionError):
                found |= read()
        return found

    def _cpu(self) -> dict[str, float]:
        before, now = self._ticks, self._read_ticks()
        self._ticks = now
        if before is None or now[1] == before[1]:
            return {}
        return {"cpu_utilization_percentage": 100 * (now[0] - before[0]) / (now[1] - before[1])}

    def _read_ticks(self) -> tuple[int, int]:
        """Busy and all, since boot; the time of guests is part of `user` already (proc(5))."""
        line = (self._proc / "stat").read_text().split("\n", 1)[0]
        user, nice, system, idle, iowait, irq, softirq, steal = map(int, line.split()[1:9])
        busy = user + nice + system + irq + softirq + steal
        return busy, busy + idle + iowait

    def _memory(self) -> dict[str, float]:
        kilobytes = dict(self._fields(self._proc / "meminfo"))
        total, used = kilobytes["MemTotal"], kilobytes["MemTotal"] - kilobytes["MemAvailable"]
        return {
            "system_memory_usage_megabytes": used * 1024 / _MB,
            "system_memory_usage_percentage": 100 * used / total,
        }

    def _own(self) -> dict[str, float]:
        wall, cpu = time.monotonic(), time.process_time()
        (wall_before, cpu_before), self._process = self._process, (wall, cpu)
        pages = int((self._proc / "self" / "statm").read_text().split()[1])
        return {
            "process_cpu_utilization_percentage": 100 * (cpu - cpu_before) / (wall - wall_before),
            "process_memory_usage_megabytes": pages * os.sysconf("SC_PAGE_SIZE") / _MB,
        }

    def _disk_use(self) -> dict[str, float]:
        found = os.statvfs(self._disk)
        used, free = (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_bavail * found.f_frsize
        return {
            "disk_usage_percentage": 100 * used / (used + free),
            "disk_usage_megabytes": used / _MB,
            "disk_available_megabytes": free / _MB,
        }

    def _own_disk(self) -> dict[str, float]:
        moved = dict(self._fields(self._proc / "self" / "io"))
        return {
            "process_disk_read_megabytes": moved["read_bytes"] / _MB,
            "process_disk_write_megabytes": moved["write_bytes"] / _MB,
        }

    def _network(self) -> dict[str, float]:
        if self._received_at_first is None:
            return {}
        (received, sent), (received_before, sent_before) = self._traffic(), self._received_at_first
        return {
            "network_receive_megabytes": (received - received_before) / _MB,
            "network_transmit_megabytes": (sent - sent_before) / _MB,
        }

    def _traffic(self) -> tuple[int, int]:
        """Bytes received and sent, by all interfaces but the machine's own."""
        received = sent = 0
        for line in (self._proc / "net" / "dev").read_text().splitlines()[2:]:
            name, _, counts = line.partition(":")
            if name.strip() != "lo":
                numbers = counts.split()
                received, sent = received + int(numbers[0]), sent + int(numbers[8])
        return received, sent

    @staticmethod
    def _fields(file: Path) -> Iterator[tuple[str, int]]:
        for line in file.read_text().splitlines():
            name, _, rest = line[:_LONGEST_LINE].partition(":")
            yield name, int(rest.split()[0])


class PsutilMachine:
    """The same by psutil, which the environment has to bring."""

    def __init__(self, psutil: Any) -> None:
        self._psutil, self._process = psutil, psutil.Process()
        psutil.cpu_percent()
        self._process.cpu_percent()
        self._first = psutil.net_io_counters()

    def sample(self) -> dict[str, float]:
        memory, disk = self._psutil.virtual_memory(), self._psutil.disk_usage(os.sep)
        traffic = self._psutil.net_io_counters()
        return {
            "cpu_utilization_percentage": self._psutil.cpu_percent(),
            "system_memory_usage_megabytes": (memory.total - memory.available) / _MB,
            "system_memory_usage_percentage": 100 * (memory.total - memory.available) / memory.total,
            "process_cpu_utilization_percentage": self._process.cpu_percent(),
            "process_memory_usage_megabytes": self._process.memory_info().rss / _MB,
            "disk_usage_percentage": disk.percent,
            "disk_usage_megabytes": disk.used / _MB,
            "disk_available_megabytes": disk.free / _MB,
            "network_receive_megabytes": (traffic.bytes_recv - self._first.bytes_recv) / _MB,
            "network_transmit_megabytes": (traffic.bytes_sent - self._first.bytes_sent) / _MB,
        }


class NvidiaGpus:
    """Each GPU of the machine by NVML, whose module the environment has to bring; `nvml` raises where there is none."""

    def __init__(self, nvml: Any) -> None:
        nvml.nvmlInit()
        self._nvml = nvml
        self._handles = [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())]

    def sample(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for number, handle in enumerate(self._handles):
            for read in (self._memory, self._use, self._power):
                with suppress(self._nvml.NVMLError, ZeroDivisionError):
                    found |= {f"gpu_{number}_{name}": value for name, value in read(handle).items()}
        return found

    def _memory(self, handle: Any) -> dict[str, float]:
        memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        return {
            "memory_usage_percentage": 100 * memory.used / memory.total, "memory_usage_megabytes": memory.used / _MB,
        }  # fmt: skip

    def _use(self, handle: Any) -> dict[str, float]:
        return {"utilization_percentage": float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu)}

    def _power(self, handle: Any) -> dict[str, float]:
        milliwatts = self._nvml.nvmlDeviceGetPowerUsage(handle)
        limit = self._nvml.nvmlDeviceGetEnforcedPowerLimit(handle)
        return {"power_usage_watts": milliwatts / 1000, "power_usage_percentage": 100 * milliwatts / limit}


def readings() -> list[Reading]:
    """What can be read on this machine."""
    found: list[Reading] = []
    if Path("/proc/stat").exists():
        found.append(LinuxMachine().sample)
    else:
        with suppress(ImportError):
            found.append(PsutilMachine(import_module("psutil")).sample)
    with suppress(Exception):  # there is no GPU, no driver, or no module to ask them with
        found.append(NvidiaGpus(import_module("pynvml")).sample)
    return found
