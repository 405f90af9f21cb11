"""caffeonspark-submit: spark-submit with CaffeOnSpark's jar, main class and the settings that training needs.

usage: caffeonspark-submit [spark-submit's options] -train|-test|-features ... -conf solver.prototxt ...
       caffeonspark-submit [spark-submit's options] program.py [arguments]

The first form runs the program of the jar with its flags; the second a program of yours with the jar. Options of
spark-submit come first. --explain as the first word prints the command instead of running it.
"""

import importlib.util
import os
import re
import shlex
import sys
from pathlib import Path

from caffeonspark._jar import jar_path

_MAIN = "com.yahoo.ml.caffe.CaffeOnSpark"
# Options of spark-submit without a value.
_SWITCHES = {"--supervise", "--verbose", "-v", "--help", "-h", "--version"}
# An epoch is done by all workers together, so Spark must neither start a worker twice nor take one away.
_FIXED = {"spark.speculation": "false", "spark.dynamicAllocation.enabled": "false"}
_NET = re.compile(r'^\s*(?:net|train_net|test_net)\s*:\s*"([^"]+)"', re.MULTILINE)


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """(options of spark-submit, the rest: flags of ours, or a program with its arguments)."""
    i = 0
    while i < len(arguments):
        token = arguments[i]
        if token in _SWITCHES:
            i += 1
        elif token.startswith("--"):
            i += 1 if "=" in token else 2
        else:
            break
    return arguments[:i], arguments[i:]


def value(options: list[str], name: str) -> str | None:
    """The value of an option, given as "--name value" or "--name=value"."""
    for i, token in enumerate(options):
        if token == name and i + 1 < len(options):
            return options[i + 1]
        if token.startswith(name + "="):
            return token.partition("=")[2]
    return None


def settings(options: list[str]) -> dict[str, str]:
    """The --conf settings."""
    pairs = [options[i + 1] for i, token in enumerate(options[:-1]) if token == "--conf"]
    pairs += [token.partition("=")[2] for token in options if token.startswith("--conf=")]
    return {pair.partition("=")[0]: pair.partition("=")[2] for pair in pairs}


def defaults(options: list[str]) -> dict[str, str]:
    """Settings that the user did not make: one worker an executor, with all its cores, and room for native memory."""
    given = settings(options)
    chosen = dict(_FIXED)
    if not _is_local(options):
        memory = value(options, "--executor-memory") or given.get("spark.executor.memory", "1g")
        chosen["spark.executor.memoryOverhead"] = memory
    return {name: setting for name, setting in chosen.items() if name not in given}


def files(flags: list[str]) -> list[str]:
    """The solver and the nets that it names: they travel with the job, so that it also runs in cluster mode."""
    try:
        solver = Path(flags[flags.index("-conf") + 1])
        nets = [Path(name) for name in _NET.findall(solver.read_text())]
    except (ValueError, IndexError, OSError):
        return []
    found = [next((path for path in (net, solver.parent / net) if path.is_file()), None) for net in nets]
    return [str(path) for path in [solver, *found] if path is not None]


def command(arguments: list[str]) -> list[str]:
    """The call of spark-submit."""
    options, rest = split(arguments)
    extra = [part for name, setting in defaults(options).items() for part in ("--conf", f"{name}={setting}")]
    if _is_program(rest):
        jars = [value(options, "--jars"), jar_path()]
        options = _without(options, "--jars")
        return [_spark_submit(), *options, *extra, "--jars", ",".join(filter(None, jars)), *rest]
    if value(options, "--class") is None:
        extra += ["--class", _MAIN]
    sent = files(rest)
    if sent and value(options, "--files") is None and value(options, "--deploy-mode") == "cluster":
        extra += ["--files", ",".join(sent)]
        rest = _by_name(rest)
    return [_spark_submit(), *options, *extra, jar_path(), *rest]


def _without(options: list[str], name: str) -> list[str]:
    kept: list[str] = []
    skip = False
    for token in options:
        if skip or token.startswith(name + "="):
            skip = False
        elif token == name:
            skip = True
        else:
            kept.append(token)
    return kept


def _by_name(flags: list[str]) -> list[str]:
    """-conf names the file as it will lie in the driver's folder."""
    at = flags.index("-conf") + 1
    return [*flags[:at], Path(flags[at]).name, *flags[at + 1 :]]


def _is_local(options: list[str]) -> bool:
    """One process on this machine, or several."""
    return (value(options, "--master") or settings(options).get("spark.master", "local")).startswith("local")


def _is_program(rest: list[str]) -> bool:
    return bool(rest) and not rest[0].startswith("-")


def _own_spark() -> Path | None:
    """The Spark inside the PySpark that this interpreter imports; None where SPARK_HOME names another."""
    pyspark = None if os.environ.get("SPARK_HOME") else importlib.util.find_spec("pyspark")
    home = Path(pyspark.origin).parent if pyspark and pyspark.origin else None
    return home if home and (home / "bin" / "spark-submit").is_file() else None


def environment(arguments: list[str]) -> dict[str, str]:
    """What spark-submit runs with. PySpark's own would look for itself and for Python on the PATH, where they are not
    unless somebody activated their environment. Executors on other machines have a Python of their own."""
    options, rest = split(arguments)
    env = dict(os.environ)
    home = _own_spark()
    if home is None:
        return env
    env["SPARK_HOME"] = str(home)
    chosen = {"PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"} & env.keys()
    chosen |= {"spark.pyspark.python", "spark.pyspark.driver.python"} & settings(options).keys()
    if _is_program(rest) and not chosen and value(options, "--deploy-mode") != "cluster":
        env["PYSPARK_PYTHON" if _is_local(options) else "PYSPARK_DRIVER_PYTHON"] = sys.executable
    return env


def _spark_submit() -> str:
    home = os.environ.get("SPARK_HOME") or _own_spark()
    return str(Path(home) / "bin" / "spark-submit") if home else "spark-submit"


def main() -> None:
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "-help", "--help"):
        print(__doc__)
        sys.exit(0 if arguments else 1)
    explain = arguments[0] == "--explain"
    arguments = arguments[1:] if explain else arguments
    try:
        line = command(arguments)
    except FileNotFoundError as error:
        sys.exit(f"caffeonspark-submit: error: {error}")
    if explain:
        print(shlex.join(line))
        return
    try:
        os.execvpe(line[0], line, environment(arguments))  # so that a signal meant for this process ends the job
    except FileNotFoundError:
        sys.exit(f"caffeonspark-submit: error: {line[0]} does not exist; set SPARK_HOME, or pip install pyspark")


if __name__ == "__main__":
    main()
