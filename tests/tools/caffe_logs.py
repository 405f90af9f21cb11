"""Reads the logs of Caffe and of our commands."""

import re

NUMBER = r"[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf)"
LINE = re.compile(r"[IWEF]\d{8} \d\d:\d\d:\d\d\.\d{6} +\d+ ([\w.]+:\d+)\] (.*)")

# The lines that users' scripts read. Groups named like `value` are results, everything else is compared as it stands.
KINDS = [
    re.compile(pattern)
    for pattern in (
        rf"Iteration \d+ \((?P<speed>.*) iters\), loss = (?P<value>{NUMBER})",
        rf"Iteration \d+, loss = (?P<value>{NUMBER})",
        rf"    (?:Train|Test) net output #\d+: \w+ = (?P<value>{NUMBER})(?: \(\* 1 = (?P<share>{NUMBER}) loss\))?",
        rf"Iteration \d+, lr = {NUMBER}",
        r"Iteration \d+, Testing net \(#\d+\)",
        r"Snapshotting .*",
        r"Solving .*",
        r"Learning Rate Policy: .*",
        r"Starting Optimization",
        r"Optimization Done\.",
        r"Optimization stopped early\.",
        r"Resuming from .*",
        r"Use CPU\.",
        r"Running for \d+ iterations\.",
        rf"Batch \d+, \w+ = (?P<value>{NUMBER})",
        rf"Loss: (?P<value>{NUMBER})",
        rf"\w+ = (?P<value>{NUMBER})(?: \(\* 1 = (?P<share>{NUMBER}) loss\))?",
        r"Performing (?:Forward|Backward)",
        rf"Initial loss: (?P<value>{NUMBER})",
        r"\*\*\* Benchmark (?:begins|ends) \*\*\*",
        r"Testing for \d+ iterations\.",
        rf"Iteration: \d+ forward-backward time: (?P<speed>{NUMBER}) ms\.",
        rf"    \[(?:Forward|Backward)\] Layer \w+, (?:top|bottom|param) blob \w+ (?:data|diff): (?P<value>{NUMBER})",
        r"    \[Backward\] All net params \(data, diff\): L1 norm = \((?P<speed>.*)\)",
        r"Average time per layer: ",
        rf" *\w+\t(?:forward|backward): (?P<speed>{NUMBER}) ms\.(?P<note> \(runs as part of \w+\))?",
        rf"Average (?:Forward pass|Backward pass|Forward-Backward): (?P<speed>{NUMBER}) ms\.",
        rf"Total Time: (?P<speed>{NUMBER}) ms\.",
    )
]


def events(log):
    """(form, value) of every line of a known kind: the form with results blanked, and the result (None without one)."""
    found = []
    for line in log.splitlines():
        match = LINE.fullmatch(line)
        if not match:
            continue
        text = match[2]
        for kind in KINDS:
            parts = kind.fullmatch(text)
            if parts:
                found.append((blank(text, parts), value_of(parts)))
                break
    return found


def blank(text, parts):
    spans = sorted((parts.span(name) for name in parts.re.groupindex if parts[name] is not None), reverse=True)
    for begin, end in spans:
        note = text[begin:end].startswith(" (runs")
        text = text[:begin] + ("" if note else "_") + text[end:]
    return text


def value_of(parts):
    return float(parts["value"]) if "value" in parts.re.groupindex else None


def forms(log):
    return [form for form, _ in events(log)]


def values(log):
    return [value for _, value in events(log) if value is not None]
