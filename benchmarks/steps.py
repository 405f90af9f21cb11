"""How a peer of run.py --peers measures its steps: as step_bench.cpp does."""

import json
import resource
import time

WARM_UP = 2


def measure(step, count, version):
    """Prints `ready` after the first step, then one JSON object: milliseconds of the clock and of processor time for
    each of `count` steps, and the process's peak of resident memory."""
    step()
    print("ready", flush=True)
    for _ in range(WARM_UP):
        step()
    wall, processor = [], []
    for _ in range(count):
        start, used = time.perf_counter(), time.process_time()
        step()
        processor.append((time.process_time() - used) * 1e3)
        wall.append((time.perf_counter() - start) * 1e3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"ms": wall, "cpu_ms": processor, "peak_mb": peak, "version": version}))
