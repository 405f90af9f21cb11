package com.yahoo.ml.caffe

import org.scalatest.funsuite.AnyFunSuite

class FlagsSuite extends AnyFunSuite {
  private def refused(args: String*): String = intercept[IllegalArgumentException](Flags.parse(args.toArray)).getMessage

  test("one and two dashes mean the same, and values may look like anything but a flag") {
    val flags = Flags.parse(Array("-train", "--conf", "a.prototxt", "-model", "file:/m", "--features", "ip1, ip2"))
    assert(flags.has("train") && !flags.has("test"))
    assert(flags.text("conf").contains("a.prototxt"))
    assert(flags.list("features").get.toSeq == Seq("ip1", "ip2"))
  }

  test("stray tokens are kept apart") {
    assert(Flags.parse(Array("-train", "True", "-test")).stray == Seq("True"))
  }

  test("an unknown flag is refused, and close ones are listed") {
    assert(refused("-modell", "x").contains("unknown flag -modell; did you mean -model?"))
    assert(refused("-feature", "x").contains("-features"))
    assert(refused("-zzzzzzzz").contains("known are"))
  }

  test("a flag without its value is refused") {
    assert(refused("-conf") == "-conf needs a value after it")
    assert(refused("-conf", "-train").contains("the flag -train follows"))
  }

  test("numbers must be numbers") {
    val flags = Flags.parse(Array("-clusterSize", "two"))
    assert(intercept[IllegalArgumentException](flags.int("clusterSize")).getMessage.contains("needs a number, not 'two'"))
  }

  test("edit distance") {
    assert(Flags.distance("kitten", "sitting") == 3 && Flags.distance("", "ab") == 2 && Flags.distance("x", "x") == 0)
  }
}
