package com.yahoo.ml.caffe

import java.nio.file.{Files, Path}

import caffe.Caffe.{LayerParameter, NetParameter}
import com.yahoo.ml.caffe.tools.Pictures
import org.apache.spark.ml.linalg.Vectors
import org.apache.spark.sql.{DataFrame, SparkSession}

/** What each kind of column becomes: the features are the data layers' own tops. One session for all. */
class RowFormatsSuite extends SparkTest {
  private var folder: Path = _
  private var session: SparkSession = _

  override def withFixture(test: NoArgTest): org.scalatest.Outcome = {
    var outcome: org.scalatest.Outcome = org.scalatest.Canceled("not run")
    scratch { made =>
      folder = made
      val nothing = LayerParameter.newBuilder().setName("none").setType("Silence")
      Files.write(folder.resolve("model"), NetParameter.newBuilder().addLayer(nothing).build().toByteArray)
      outcome = within(200)(super.withFixture(test))
    }
    outcome
  }

  override def run(testName: Option[String], args: org.scalatest.Args): org.scalatest.Status =
    withSpark("local[2]") { made =>
      session = made
      super.run(testName, args)
    }

  private var nets = 0

  /** Blobs of every row, by SampleID. */
  private def blobs(net: String, names: Seq[String], more: String*): Map[String, Seq[Seq[Float]]] = {
    nets += 1
    write(folder.resolve(s"n$nets.prototxt"), net)
    val conf = new Config(session.sparkContext, (Seq("-conf", solver(folder, 1, net = s"n$nets.prototxt").toString, "-model",
      s"file:$folder/model", "-features", names.mkString(",")) ++ more).toArray)
    val frame = new CaffeOnSpark(session.sparkContext).features(DataSource.getSource(conf, false))
    val rows = frame.collect()
    frame.unpersist()
    val found = rows.map(r => r.getString(0) -> names.indices.map(i => r.getSeq[Float](i + 1).toSeq)).toMap
    assert(found.size == rows.length)
    found
  }

  private def refused(net: String, names: Seq[String], more: String*): String =
    Failures.oneLine(intercept[Exception](blobs(net, names, more: _*)))

  private def saved(frame: DataFrame, name: String, format: String = "parquet"): String = {
    frame.coalesce(1).write.format(format).save(s"file:$folder/$name")
    s"file:$folder/$name"
  }

  private def quoted(top: String): String = "top: \"" + top + "\""

  private def memory(source: String, inside: String, tops: Seq[String] = Seq("data", "label"), more: String = ""): String =
    s"""layer { name: "d" type: "MemoryData" ${tops.map(quoted).mkString(" ")}
       source_class: "com.yahoo.ml.caffe.ImageDataFrame" memory_data_param { source: "$source" batch_size: 2 $inside } $more }"""

  private def cos(source: String, tops: String*): String = {
    val names = tops.map(t => """name: "(\w+)"""".r.findFirstMatchIn(t).get.group(1))
    s"""layer { name: "c-${names.head}" type: "CoSData" ${names.map(quoted).mkString(" ")}
       source_class: "com.yahoo.ml.caffe.DataFrameSource"
       cos_data_param { source: "$source" batch_size: 3 ${tops.map(t => s"top { $t }").mkString(" ")} } }"""
  }

  test("Spark's formats image and binaryFile") {
    for ((name, rgb) <- Seq("a" -> 0x0a0b0c, "b" -> 0xff0001, "c" -> 0x000000)) {
      Files.createDirectories(folder.resolve("pictures"))
      Files.write(folder.resolve(s"pictures/$name.png"), Pictures.png(4, 2, rgb))
    }
    def colours(rgb: Int): Seq[Float] =
      Seq(rgb & 0xff, rgb >> 8 & 0xff, rgb >> 16 & 0xff).flatMap(c => Seq.fill(8)(c.toFloat))
    val images = blobs(memory(s"file:$folder/pictures", """channels: 3 height: 2 width: 4 dataframe_format: "image" """,
      Seq("data")), Seq("data"))
    assert(images.map { case (id, values) => id.takeRight(5) -> values.head } ==
      Map("a.png" -> colours(0x0a0b0c), "b.png" -> colours(0xff0001), "c.png" -> colours(0)))

    val files = blobs(memory(s"file:$folder/pictures", """channels: 3 height: 1 width: 2 dataframe_format: "binaryFile"
      dataframe_column_select: "path as id" dataframe_column_select: "content as data" dataframe_column_select: "true as encoded"
      dataframe_column_select: "if(path like '%b.png', 7, 1) as label" """), Seq("data", "label"), "-resize")
    assert(files.map { case (id, values) => id.takeRight(5) -> values(1).head } == Map("a.png" -> 1f, "b.png" -> 7f, "c.png" -> 1f))
    assert(files.collectFirst { case (id, values) if id.endsWith("b.png") => values.head }.get == Seq(1f, 1f, 0f, 0f, 255f, 255f))
    val size = refused(memory(s"file:$folder/pictures", """channels: 3 height: 1 width: 2 dataframe_format: "binaryFile" """,
      Seq("data")), Seq("data"))
    assert(size.contains(".png'") && size.contains("3 x 2 x 4") && size.contains("-resize"), size)
  }

  test("vectors, and labels of every kind") {
    val spark = session
    import spark.implicits._
    val rows = Seq(("x", Vectors.dense(0.5, -1.25), Seq(1.5, 2.0)), ("y", Vectors.sparse(2, Array(1), Array(3.0)), Seq(0.0, 4.0)))
    val vectors = saved(rows.toDF("id", "features", "label"), "vectors")
    assert(blobs(memory(vectors, "channels: 2 height: 1 width: 1 label_size: 2"), Seq("data", "label")) ==
      Map("x" -> Seq(Seq(0.5f, -1.25f), Seq(1.5f, 2f)), "y" -> Seq(Seq(0f, 3f), Seq(0f, 4f))))
    val count = refused(memory(vectors, "channels: 2 height: 1 width: 1"), Seq("data"))
    assert(count.contains("row 'x'") && count.contains("2 numbers") && count.contains("label_size is 1"), count)

    val pixels = Seq(("p", Array[Byte](1, -1), "3"), ("q", Array[Byte](0, 9), " 2.5")).toDF("id", "data", "label")
    for (format <- Seq("parquet", "orc", "json", "avro")) {
      val source = saved(pixels, s"pixels-$format", format)
      assert(blobs(memory(source, s"""channels: 1 height: 1 width: 2 dataframe_format: "$format" """,
        more = "transform_param { scale: 2 }"), Seq("data", "label")) ==
        Map("p" -> Seq(Seq(2f, 510f), Seq(3f)), "q" -> Seq(Seq(0f, 18f), Seq(2.5f))))
    }
    val unnamed = blobs(memory(saved(pixels.drop("id"), "unnamed"), "channels: 1 height: 1 width: 2"), Seq("label"))
    assert(unnamed.values.map(_.head.head).toSet == Set(3f, 2.5f))
  }

  test("every type of a CoSData top, several layers, and time before the batch") {
    val spark = session
    import spark.implicits._
    val rows = (0 until 7).map(i => (f"r$i", s"$i", i, i + 0.5, Seq(i, i + 10, i + 20), Array.fill[Byte](3)(i.toByte),
      Pictures.png(2, 1, i), (1, 2, Pictures.png(2, 1, i))))
    val frame = rows.toDF("id", "text", "int", "double", "array", "raw", "file", "dim")
      .withColumn("dim", org.apache.spark.sql.functions.expr("named_struct('height', dim._1, 'width', dim._2, 'image', dim._3)"))
    val source = saved(frame, "all")
    val encoded = "channels: 3 height: 1 width: 2"
    val net = cos(source, """name: "text" type: STRING sample_num_axes: 0""", """name: "int" type: INT channels: 1 sample_num_axes: 1""",
      """name: "double" type: FLOAT""", """name: "raw" type: RAW_IMAGE channels: 3 height: 1 width: 1 transform_param { scale: 0.5 }""",
      s"""name: "file" type: ENCODED_IMAGE $encoded""", s"""name: "dim" type: ENCODED_IMAGE_WITH_DIM $encoded""") + "\n" +
      cos(source, """name: "array" type: INT_ARRAY channels: 3 sample_num_axes: 1 transpose: true""")
    val names = Seq("text", "int", "double", "raw", "file", "dim", "array")
    val found = blobs(net, names, "-clusterSize", "2")
    // A batch has 3 rows and a sentence 3 words, yet each row gets its own words.
    assert(found == (0 until 7).map { i =>
      val blue = Seq(i, i, 0, 0, 0, 0).map(_.toFloat)
      f"r$i" -> Seq(Seq(i.toFloat), Seq(i.toFloat), Seq(i + 0.5f), Seq.fill(3)(i * 0.5f), blue, blue,
        Seq(i, i + 10, i + 20).map(_.toFloat))
    }.toMap)

    val fewer = saved(frame.filter("int < 5"), "fewer")
    assert(refused(cos(source, """name: "int" type: INT""") + "\n" + cos(fewer, """name: "double" type: FLOAT"""), Seq("int"))
      .contains("have not equally many rows"))
    val short = refused(cos(source, """name: "array" type: INT_ARRAY channels: 4 sample_num_axes: 1"""), Seq("array"))
    assert(short.contains("'r0'") && short.contains("3 numbers") && short.contains("expected 4"), short)
  }

  test("what no row owns comes whole with each, whatever its extents; rows on another axis are found: by rows, by a store") {
    val spark = session
    import spark.implicits._
    val more = """layer { name: "w" type: "Parameter" top: "w" parameter_param { shape { dim: 2 dim: 3 } } }
      layer { name: "turned" type: "Permute" bottom: "data" top: "turned" permute_param { order: 1 order: 0 order: 2 order: 3 } }
      layer { name: "size" type: "Reduction" bottom: "data" top: "size" reduction_param { operation: ASUM axis: 0 } }"""
    val names = Seq("w", "data", "turned", "size")
    val source = saved((1 to 5).map(i => (s"r$i", Array[Byte](i.toByte, 0), 0)).toDF("id", "data", "label"), "owned")
    val found = blobs(memory(source, "channels: 2 height: 1 width: 1") + more, names)
    assert(found.size == 5)
    for (i <- 1 to 5) {
      val sums = Seq(Set(i.toFloat), Set(i - 1f + i), Set(i + i + 1f)).flatten
      assert(found(s"r$i").take(3) == Seq(Seq.fill(6)(0f), Seq(i, 0).map(_.toFloat), Seq(i, 0).map(_.toFloat)))
      assert(found(s"r$i")(3).length == 1 && sums.contains(found(s"r$i")(3).head))
    }
    for (batch <- Seq(1, 2, 90, 1000)) {
      val store = blobs(s"""layer { name: "d" type: "Data" top: "data" top: "label"
        data_param { source: "$folder/digits_test_lmdb" backend: LMDB batch_size: $batch } }""" + more, names :+ "label", "-lmdb_partitions", "3")
      assert(store.size == 360)
      assert(store.values.forall(v => v.map(_.length) == Seq(6, 784, 784, 1, 1) && v(1) == v(2)))
    }
  }

  test("columns and rows that cannot be used are named") {
    val spark = session
    import spark.implicits._
    val inside = "channels: 1 height: 1 width: 1"
    def message(frame: DataFrame, more: String = ""): String = {
      nets += 1
      refused(memory(saved(frame, s"bad$nets"), s"$inside $more"), Seq("data"))
    }
    val good = ("a", Array[Byte](1), "1")
    val label = message(Seq(good, ("b", Array[Byte](1), "cat")).toDF("id", "data", "label"))
    assert(label.contains("row 'b': 'cat' is no number"), label)
    assert(message(Seq(good, ("b", Array[Byte](1), null)).toDF("id", "data", "label")).contains("row 'b': its label is null"))
    assert(message(Seq(good, ("b", null, "1")).toDF("id", "data", "label")).contains("row 'b': the image is null"))
    assert(message(Seq(("b", "%%", 1)).toDF("id", "data", "label")).contains("base64"))
    assert(message(Seq(("b", Array[Byte](1), 1, "")).toDF("id", "data", "label", "channels"))
      .contains("row 'b': 0 numbers stand where one is needed"))
    assert(message(Seq(("b", Array[Byte](1), 1, "yes")).toDF("id", "data", "label", "encoded"))
      .contains("a column encoded of type string; true or false is needed"))
    val missing = message(Seq(("a", Array[Byte](1))).toDF("id", "data"))
    assert(missing.contains("layer d (MemoryData)") && missing.contains("has no column label") && missing.contains("data: binary"), missing)
    assert(message(Seq(("a", 1)).toDF("id", "label")).contains("has no column data"))
    assert(message(Seq(("a", 1.5, 1)).toDF("id", "data", "label")).contains("type double, which holds no image"))
    assert(message(Seq(good).toDF("id", "data", "label"), """dataframe_column_select: "nix" """).contains("nix"))
    assert(message(Seq(good).toDF("id", "data", "label").limit(0)).contains("holds no records"))
    assert(refused(memory(s"file:$folder/nowhere", inside), Seq("data")).contains("nowhere does not exist"))
    val damaged = refused(memory(saved(Seq(("z", Array[Byte](1, 2), 1)).toDF("id", "data", "label"), "damaged"),
      s"$inside image_encoded: true"), Seq("data"))
    assert(damaged.contains("record 'z'") && damaged.contains("no JPEG"), damaged)
    val top = refused(cos(saved(Seq(("a", 1)).toDF("id", "x"), "tops"), """name: "y" type: INT"""), Seq("y"))
    assert(top.contains("has no column y"), top)
  }
}
