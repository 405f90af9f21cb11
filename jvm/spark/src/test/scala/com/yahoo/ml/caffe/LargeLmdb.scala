package com.yahoo.ml.caffe

import java.nio.file.{Files, Path, Paths}
import java.util.concurrent.TimeUnit

import org.scalatest.Assertions.{assert, cancel}

/** An LMDB written by the lmdb package of Python, independent of this project's code. */
object LargeLmdb {
  private val script =
    """import lmdb, sys
      |env = lmdb.open(sys.argv[1], map_size=1 << 30)
      |with env.begin(write=True) as txn:
      |    for i in range(int(sys.argv[2])):
      |        pixels = bytes((i * 7 + p) % 256 for p in range(784))
      |        datum = b"\x08\x01\x10\x1c\x18\x1c\x22\x90\x06" + pixels + b"\x28" + bytes([i % 10])
      |        txn.put(b"%08d" % i, datum)
      |env.close()
      |""".stripMargin

  /** Images of 1 x 28 x 28; the keys are eight digits, the labels key % 10. */
  def write(folder: Path, count: Int): Unit = {
    val python = sys.env.get("SPARK_HOME").map(Paths.get(_).resolve("../../../../bin/python").normalize())
      .filter(Files.isExecutable(_)).getOrElse(cancel("SPARK_HOME is not inside a Python environment"))
    val process = new ProcessBuilder(python.toString, "-c", script, folder.toString, count.toString).inheritIO().start()
    try assert(process.waitFor(120, TimeUnit.SECONDS) && process.exitValue == 0)
    finally process.destroy()
  }
}
