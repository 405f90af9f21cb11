package com.yahoo.ml.caffe

import org.scalatest.funsuite.AnyFunSuite

/** On real Sparks with another Scala: tests/profiles. */
class ScalaCheckSuite extends AnyFunSuite {
  test("a jar for another Scala is told in one sentence") {
    val problem = ScalaCheck.problem("2.13", "2.12.18")
    assert(problem.startsWith("this caffeonspark jar is for Scala 2.13, but Spark runs Scala 2.12: take the jar whose name ends in " +
      "_2.12.jar"))
    assert(ScalaCheck.problem("2.12", "2.13.16").contains("Scala 2.12, but Spark runs Scala 2.13"))
    assert(ScalaCheck.problem("2.1", "2.13.16") != null)
    assert(ScalaCheck.problem("2.13", "2.13.17") == null && ScalaCheck.problem(null, "2.13.17") == null)
    assert(ScalaCheck.problem() == null)
  }
}
