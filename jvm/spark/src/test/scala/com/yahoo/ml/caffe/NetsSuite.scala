package com.yahoo.ml.caffe

import java.nio.file.Paths

import caffe.Caffe.{DataParameter, NetParameter, NetState, Phase, SolverParameter}
import com.yahoo.ml.caffe.shaded.protobuf.TextFormat
import org.scalatest.funsuite.AnyFunSuite

class NetsSuite extends AnyFunSuite {
  private def net(text: String): NetParameter = TextFormat.parse(text, classOf[NetParameter])
  private val solver = SolverParameter.getDefaultInstance
  private val train = NetState.newBuilder().setPhase(Phase.TRAIN).build()
  private val test = NetState.newBuilder().setPhase(Phase.TEST).build()

  private def memory(more: String): String = s"""layer { name: "d" type: "MemoryData" top: "data" top: "label" $more }"""

  private val lmdb = """source_class: "com.yahoo.ml.caffe.LMDB" transform_param { scale: 0.5 }
    include { phase: TRAIN } memory_data_param { source: "file:/tmp/a_lmdb" batch_size: 64 channels: 1 }"""

  test("data layers are found by phase, stage and level") {
    val n = net("""layer { name: "a" type: "Data" include { phase: TEST not_stage: "x" } }
      layer { name: "b" type: "Data" include { phase: TRAIN } } layer { name: "c" type: "Data" exclude { phase: TRAIN } }""")
    assert(Nets.dataLayer(n, Nets.trainState(solver, n)) == 1)
    assert(Nets.dataLayer(n, Nets.testState(solver, n)) == 0)
    val staged = solver.toBuilder.addTestState(NetState.newBuilder().addStage("x")).build()
    assert(Nets.dataLayer(n, Nets.testState(staged, n)) == 2)
    assert(Nets.dataLayer(net("""layer { name: "ip" type: "InnerProduct" }"""), train) == -1)
  }

  test("a MemoryData layer over an LMDB becomes a Data layer and keeps the rest") {
    val layer = Nets.forEngine(net(memory(lmdb)), Seq(train), resize = false, identity).getLayer(0)
    assert(layer.getType == "Data" && layer.getTopCount == 2 && layer.getIncludeCount == 1)
    assert(!layer.hasSourceClass && !layer.hasMemoryDataParam && layer.getTransformParam.getScale == 0.5f)
    val data = layer.getDataParam
    assert(data.getSource == "/tmp/a_lmdb" && data.getBatchSize == 64 && data.getBackend == DataParameter.DB.LMDB)
  }

  test("relative sources are those of the driver's working folder") {
    val layer = Nets.forEngine(net("""layer { type: "Data" data_param { source: "x/../y" batch_size: 1 } }"""), Seq(train), resize = false, identity)
    assert(layer.getLayer(0).getDataParam.getSource == Paths.get("y").toAbsolutePath.toString)
  }

  test("layers of other phases are left alone, whatever they say") {
    val n = net(memory("include { phase: TRAIN }"))
    assert(Nets.forEngine(n, Seq(test), resize = false, identity) == n)
  }

  private def refused(layer: String): String =
    intercept[IllegalArgumentException](Nets.forEngine(net(layer), Seq(train), resize = false, identity)).getMessage

  test("each mistake of a data layer is one sentence that names the layer") {
    assert(refused(memory("")).startsWith("layer d (MemoryData) has no source_class"))
    assert(refused(memory("""source_class: "com.yahoo.ml.caffe.LMDB"""")).contains("has no source"))
    assert(refused(memory("""source_class: "com.yahoo.ml.caffe.LMDB" memory_data_param { source: "a" }"""))
      .contains("has no batch_size"))
  }

  test("stores and mean files of Hadoop file systems are marked for copying, but not those of other phases") {
    def data(phase: String): String = s"""layer { name: "d" type: "Data" include { phase: $phase }
      data_param { source: "hdfs:///x" batch_size: 1 } transform_param { mean_file: "s3a://b/mean" } }"""
    val made = Nets.forEngine(net(data("TRAIN") + data("TEST")), Seq(train), resize = false, identity)
    assert(made.getLayer(0).getDataParam.getSource == "copy:hdfs:///x")
    assert(made.getLayer(0).getTransformParam.getMeanFile == "copy:s3a://b/mean")
    assert(made.getLayer(1) == net(data("TEST")).getLayer(0))
  }

  test("file names in their forms") {
    assert(Storage.localName("file:/a/b").contains("/a/b") && Storage.localName("file:///a/b").contains("/a/b"))
    assert(Storage.localName("file:////a").contains("/a") && Storage.localName("file:a").contains("a"))
    assert(Storage.localName("a b/c").contains("a b/c") && Storage.localName("s3a://b/c").isEmpty)
  }

  test("record ranges cover all records once, in order") {
    for (size <- Seq(0L, 1L, 7L, 10000L); parts <- 1 to 9) {
      val ranges = Records.ranges(size, parts)
      assert(ranges.length == parts && ranges.flatMap { case (b, e) => b until e } == (0L until size))
    }
  }
}
