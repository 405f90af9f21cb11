"""The jar with the classes of com.yahoo.ml.caffe, and how a Spark session gets it."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SHELL = "pyspark-shell"


def jar_path() -> str:
    """The path of the jar for `spark.jars` or `spark-submit`: the wheel's, or the one that CAFFEONSPARK_JAR names, for
    another version of Spark. Raises FileNotFoundError where the package was not installed from its wheel."""
    other = os.environ.get("CAFFEONSPARK_JAR")
    if other:
        if not Path(other).is_file():
            raise FileNotFoundError(f"CAFFEONSPARK_JAR names {other}, which is no file")
        return other
    folder = Path(__file__).parent / "jars"
    jars = sorted(folder.glob("caffeonspark-*.jar"))
    if len(jars) != 1:
        raise FileNotFoundError(f"{folder} should hold one jar and holds {len(jars)}; install the wheel of dist/")
    return str(jars[0])


def with_jar(builder: "SparkSession.Builder") -> "SparkSession.Builder":
    """The builder with our jar among its `spark.jars`, before or after others."""
    # The options so far are no public attribute; where they cannot be read, there are none of ours to lose.
    others = getattr(builder, "_options", {}).get("spark.jars", "")
    return builder.config("spark.jars", ",".join(filter(None, [others, jar_path()])))


def submit_arguments(arguments: str, jar: str) -> str:
    """PYSPARK_SUBMIT_ARGS with the jar among its --jars."""
    tokens = shlex.split(arguments) or [_SHELL]
    for i, token in enumerate(tokens):
        option, equals, value = token.partition("=")
        if option != "--jars":
            continue
        at = i if equals else i + 1
        jars = [name for name in (value if equals else "".join(tokens[at : at + 1])).split(",") if name]
        if jar not in jars:
            tokens[at : at + 1] = [("--jars=" if equals else "") + ",".join([*jars, jar])]
        return shlex.join(tokens)
    return shlex.join(["--jars", jar, *tokens])


def announce_jar() -> None:
    """Lets the JVM that pyspark has yet to start know of the jar. Where one runs already, or the package was not
    installed from its wheel, nothing happens; the first use of a class of the jar then says what to do."""
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # spark-submit started the JVM before Python
        return
    try:
        jar = jar_path()
    except FileNotFoundError:
        return
    os.environ["PYSPARK_SUBMIT_ARGS"] = submit_arguments(os.environ.get("PYSPARK_SUBMIT_ARGS", _SHELL), jar)
