package com.yahoo.ml.caffe

import java.awt.image.BufferedImage
import java.io.ByteArrayOutputStream
import java.nio.file.{Files, Path}
import javax.imageio.ImageIO

import org.apache.spark.ml.classification.LogisticRegression
import org.apache.spark.ml.linalg.{Vector, Vectors}
import org.apache.spark.ml.param.ParamMap
import org.apache.spark.ml.{Pipeline, PipelineModel}
import org.apache.spark.sql.functions._
import org.apache.spark.sql.{DataFrame, Row, SparkSession}
import org.scalatest.BeforeAndAfterAll

/** What runs in tasks, apart from the suite, which cannot travel. */
private object Digits {
  def pixels(bytes: Array[Byte]): Array[Double] = bytes.map(b => (b & 0xFF).toDouble)

  def png(bytes: Array[Byte]): Array[Byte] = {
    val image = new BufferedImage(28, 28, BufferedImage.TYPE_BYTE_GRAY)
    image.getRaster.setDataElements(0, 0, 28, 28, bytes)
    val out = new ByteArrayOutputStream
    ImageIO.write(image, "png", out)
    out.toByteArray
  }
}

/** One session and one trained LeNet for all tests. */
class CaffeModelSuite extends SparkTest with BeforeAndAfterAll {
  import Digits.{pixels, png}

  private var folder: Path = _
  private var spark: SparkSession = _
  /** id, bytes (28 x 28), label: the 360 test digits. */
  private var rows: DataFrame = _
  /** SampleID -> ip2, through CaffeOnSpark.features. */
  private var scores: Map[String, Seq[Float]] = _

  override def beforeAll(): Unit = within(300) {
    folder = Files.createTempDirectory("caffe-model-")
    for (name <- Seq("digits_train_lmdb", "digits_test_lmdb")) {
      Files.createDirectory(folder.resolve(name))
      Files.copy(digits.resolve(name).resolve("data.mdb"), folder.resolve(name).resolve("data.mdb"))
    }
    write(folder.resolve("net.prototxt"), text(digits.resolve("lenet_digits.prototxt"))
      .replace("\"digits_", "\"" + folder + "/digits_"))
    spark = SparkSession.builder().master("local[2]").appName("test").config("spark.ui.enabled", "false")
      .config("spark.driver.host", "127.0.0.1").config("spark.sql.shuffle.partitions", "2")
      .config("spark.sql.warehouse.dir", folder.resolve("warehouse").toString)
      .config("spark.caffe.earlyStoppingRounds", "2").config("spark.caffe.monitor", "accuracy").getOrCreate()
    val sc = spark.sparkContext
    val conf = new Config(sc, Array("-conf", solver(folder, 60).toString, "-model", s"file:$folder/lenet.caffemodel",
      "-features", "ip2"))
    new CaffeOnSpark(sc).train(DataSource.getSource(conf, true))
    scores = new CaffeOnSpark(sc).features(DataSource.getSource(conf, false)).collect()
      .map(r => r.getString(0) -> r.getSeq[Float](1).toSeq).toMap
    val session = spark
    import session.implicits._
    rows = new LmdbRDD(sc, s"$folder/digits_test_lmdb", 3).map(r => (r._1, r._7, r._2.toInt)).toDF("id", "bytes", "label").cache()
  }

  override def afterAll(): Unit = {
    within(60)(spark.stop())
    NetPool.sweep(0)
    Storage.delete(folder)
  }

  /** A model file for networks that have learned nothing. */
  private val nothing: Array[Byte] = caffe.Caffe.NetParameter.newBuilder()
    .addLayer(caffe.Caffe.LayerParameter.newBuilder().setName("none").setType("Silence")).build().toByteArray

  private def lenet: CaffeModel =
    CaffeModel.fromCaffe(s"$folder/net.prototxt", s"file:$folder/lenet.caffemodel").setFeaturesCol("bytes")
      .setInputShapes(Array("data:1x28x28"))

  private def scoresOf(frame: DataFrame): Map[String, Seq[Float]] =
    frame.select("id", "ip2").collect().map(r => r.getString(0) -> r.getSeq[Float](1).toSeq).toMap

  /** What bytes give in full batches; features(), whose net can also run backward, may differ in the last bits. */
  private lazy val exact: Map[String, Seq[Float]] =
    scoresOf(lenet.setOutputs(Array("ip2")).setBatchSize(90).transform(rows.coalesce(1)))

  private def message(body: => Any): String = {
    val error = intercept[Exception](body)
    Iterator.iterate[Throwable](error)(_.getCause).takeWhile(_ != null).map(_.getMessage).mkString("\n")
  }

  test("every row is answered once, in order, as features() does, with its columns, whatever the batch size") {
    within(120) {
      for (batch <- Seq(7, 64, 500)) {
        val answered = lenet.setOutputs(Array("ip2")).setBatchSize(batch).transform(rows)
        assert(answered.columns.toSeq == Seq("id", "bytes", "label", "ip2"))
        val got = answered.collect()
        assert(got.map(_.getString(0)).toSeq == rows.collect().map(_.getString(0)).toSeq)
        assert(got.forall(r => r.getSeq[Float](3).toSeq.zip(scores(r.getString(0))).forall { case (a, b) => math.abs(a - b) < 1e-5 }))
      }
      assert(scoresOf(lenet.setOutputs(Array("ip2")).setBatchSize(90).transform(rows.coalesce(1))) == exact)
      assert(exact.keySet == scores.keySet)
    }
  }

  test("arrays, vectors, bytes, picture files and Spark's images give the same answers") {
    within(120) {
      val image = udf((b: Array[Byte]) => ("", 28, 28, 1, 0, b))
      val kinds = rows.withColumn("array", udf((b: Array[Byte]) => pixels(b)).apply(col("bytes")))
        .withColumn("ints", udf((b: Array[Byte]) => pixels(b).map(_.toInt)).apply(col("bytes")))
        .withColumn("vector", udf((b: Array[Byte]) => Vectors.dense(pixels(b)): Vector).apply(col("bytes")))
        .withColumn("sparse", udf((b: Array[Byte]) => Vectors.dense(pixels(b)).toSparse: Vector).apply(col("bytes")))
        .withColumn("png", udf((b: Array[Byte]) => png(b)).apply(col("bytes")))
        .withColumn("image", image(col("bytes")).cast("struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>"))
      for (column <- Seq("array", "ints", "vector", "sparse", "png", "image")) {
        val got = scoresOf(lenet.setFeaturesCol(column).setOutputs(Array("ip2")).setBatchSize(90).transform(kinds.coalesce(1)))
        assert(got == exact, column)
      }
    }
  }

  test("without settings the outputs are the network's: a softmax stands for the loss, and labels are not needed") {
    within(60) {
      val got = lenet.setPredictionCol("digit").transform(rows.drop("label"))
      assert(got.columns.toSeq == Seq("id", "bytes", "prob", "digit"))
      for (row <- got.collect()) {
        val prob = row.getSeq[Float](2)
        assert(math.abs(prob.sum - 1) < 1e-5 && prob.indexOf(prob.max) == row.getDouble(3))
      }
    }
  }

  test("any blobs as columns under any name, as vectors; with labels fed also loss and accuracy") {
    within(60) {
      val model = lenet.setOutputs(Array("ip1=hidden", "conv1", "ip2")).setVectorOutput(true)
      val row = model.transform(rows).head()
      assert(row.getAs[Vector]("hidden").size == 500 && row.getAs[Vector]("conv1").size == 20 * 24 * 24)
      assert(row.getAs[Vector]("hidden").toArray.min == 0) // after the ReLU in place
      val scored = lenet.setInputs(Array("data=bytes", "label=label")).setOutputs(Array("accuracy", "loss")).setBatchSize(1)
      val right = scored.transform(rows).collect().map(_.getSeq[Float](3).head).sum / 360
      val expected = rows.collect().count { r =>
        val s = scores(r.getString(0))
        s.indexOf(s.max) == r.getInt(2)
      } / 360.0
      assert(math.abs(right - expected) < 1e-6)
    }
  }

  test("a row that the network cannot take is an error that names row and column, or left out, or kept with nulls") {
    within(120) {
      val session = spark
      import session.implicits._
      val broken = rows.coalesce(1).select(col("id"), when(col("id").startsWith("00000005"), lit(null)).when(
        col("id").startsWith("00000007"), lit(Array[Byte](1, 2, 3))).otherwise(col("bytes")).as("bytes"))
      val model = lenet.setOutputs(Array("ip2")).setBatchSize(90)
      assert(message(model.transform(broken).collect()).contains("row 5 of partition 0: column bytes is null"))
      val short = broken.filter(!col("id").startsWith("00000005"))
      assert(message(model.transform(short).collect()).contains("row 6 of partition 0: column bytes"))
      val kept = model.setHandleInvalid("keep").transform(broken).collect()
      assert(kept.length == 360 && kept.filter(_.isNullAt(2)).map(_.getString(0).take(8)).toSeq == Seq("00000005", "00000007"))
      assert(kept.filterNot(_.isNullAt(2)).forall(r => r.getSeq[Float](2).zip(scores(r.getString(0))).forall { case (a, b) => math.abs(a - b) < 1e-5 }))
      assert(model.setHandleInvalid("skip").transform(broken).count() == 358)
      val arrays = Seq(Array(1f, 2f)).toDF("bytes")
      assert(message(lenet.transform(arrays).collect()).contains("column bytes has 2 values, expected 784"))
      val unread = udf((b: Array[Byte]) => ("", Option.empty[Int], 28, 1, 0, b)).apply(col("bytes"))
        .cast("struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>")
      assert(message(lenet.transform(rows.select(unread.as("bytes"))).collect()).contains("is a picture that Spark could not read"))
      intercept[IllegalArgumentException](model.setHandleInvalid("ignore"))
    }
  }

  test("mistakes show before anything runs, in one sentence") {
    def refused(model: CaffeModel, frame: DataFrame = rows): String =
      intercept[IllegalArgumentException](model.transform(frame)).getMessage
    assert(refused(lenet.setFeaturesCol("pixels")).contains("column pixels does not exist; the columns are id, bytes, label"))
    assert(refused(lenet.setFeaturesCol("id")).contains("column id has type string; a network takes"))
    assert(refused(lenet.setOutputs(Array("ip9"))).contains("blob ip9 of network 'LeNet' does not exist"))
    assert(refused(lenet.setOutputs(Array("accuracy"))).contains("needs more inputs than data"))
    assert(refused(lenet.setInputs(Array("image=bytes"))).contains("blob image is no input of network 'LeNet'"))
    assert(refused(lenet.setInputs(Array("data"))).contains("not of the form blob=column"))
    assert(refused(lenet.setOutputs(Array("ip2=label"))).contains("column label exists already"))
    assert(refused(lenet.setInputShapes(Array("data=1x28x28"))).contains("not of the form blob:"))
    val unknown = CaffeModel.fromCaffe(s"$folder/net.prototxt", s"$folder/lenet.caffemodel").setFeaturesCol("bytes")
    assert(refused(unknown).contains("nothing says how large a row of blob data is; set inputShapes"))
    assert(intercept[java.io.IOException](CaffeModel.fromCaffe(s"$folder/net.prototxt", s"$folder/none")).getMessage.contains("none does not exist"))
    val typing = intercept[Exception](CaffeModel.fromCaffe("layer { nme: 'x' }", Array[Byte]()))
    assert(typing.getMessage.contains("net:1:"))
  }

  test("transformations set on the model take the place of the network's") {
    within(60) {
      val scaled = rows.withColumn("bytes", udf((b: Array[Byte]) => pixels(b).map(v => (v - 3) * 0.5)).apply(col("bytes")))
      val one = lenet.setOutputs(Array("ip2")).setScale(0.5).setMeanValues(Array(3.0)).setBatchSize(90).transform(rows)
      val other = lenet.setOutputs(Array("ip2")).setScale(1.0).setBatchSize(90).transform(scaled)
      assert(scoresOf(one) == scoresOf(other))
      val larger = rows.withColumn("bytes", udf { b: Array[Byte] =>
        val out = new Array[Byte](32 * 30)
        for (y <- 0 until 28; x <- 0 until 28) out((y + 2) * 30 + x + 1) = b(y * 28 + x)
        out
      }.apply(col("bytes")))
      val cropped = lenet.setInputShapes(Array("data:1x32x30")).setCropSize(28).setOutputs(Array("ip2")).setBatchSize(90)
      assert(scoresOf(cropped.transform(larger.coalesce(1))) == exact)
    }
  }

  test("pictures are resized if that is asked for, else another size is an error") {
    within(60) {
      val small = rows.limit(3).withColumn("bytes", udf { b: Array[Byte] =>
        val image = new BufferedImage(56, 56, BufferedImage.TYPE_INT_RGB)
        for (y <- 0 until 56; x <- 0 until 56) image.setRGB(x, y, (b(y / 2 * 28 + x / 2) & 0xFF) * 0x10101)
        val out = new ByteArrayOutputStream
        ImageIO.write(image, "png", out)
        out.toByteArray
      }.apply(col("bytes"))).coalesce(1)
      val model = lenet.setOutputs(Array("ip2"))
      assert(message(model.transform(small).collect()).contains("1 x 56 x 56"))
      val got = scoresOf(model.setResize(true).transform(small))
      assert(got.size == 3 && got.forall { case (id, values) => values.zip(scores(id)).forall { case (a, b) => math.abs(a - b) < 1e-4 } })
    }
  }

  test("saved and loaded alone and in a pipeline, it answers the same; copies keep uid and Params") {
    within(180) {
      val model = lenet.setOutputs(Array("ip2")).setBatchSize(90)
      model.write.overwrite().save(s"file:$folder/saved")
      val loaded = CaffeModel.load(s"file:$folder/saved")
      assert(loaded.uid == model.uid && loaded.getBatchSize == 90 && loaded.getOutputs.toSeq == Seq("ip2"))
      assert(scoresOf(loaded.transform(rows.coalesce(1))) == exact)
      assert(Files.exists(folder.resolve("saved/net.prototxt")) && Files.exists(folder.resolve("saved/weights.caffemodel")))
      assert(message(CaffeModel.load(s"file:$folder/nothing")).contains("nothing"))

      val other = model.copy(ParamMap(model.batchSize -> 5))
      assert(other.uid == model.uid && other.getBatchSize == 5 && model.getBatchSize == 90)

      val features = lenet.setOutputs(Array("ip1=features")).setVectorOutput(true).setBatchSize(90)
      val pipeline = new Pipeline().setStages(Array(features, new LogisticRegression().setMaxIter(5))).fit(rows)
      pipeline.write.overwrite().save(s"file:$folder/pipeline")
      val again = PipelineModel.load(s"file:$folder/pipeline").transform(rows).select("prediction").collect().toSeq
      assert(again == pipeline.transform(rows).select("prediction").collect().toSeq)
    }
  }

  test("in bf16 it answers nearly the same, also once it was saved and loaded; other words are refused") {
    val refused = intercept[IllegalArgumentException](lenet.setPrecision("BF16")).getMessage
    assert(refused.contains("precision") && refused.contains("BF16"))
    assert(lenet.getPrecision == "f32")
    assumeBf16()
    within(120) {
      val model = lenet.setOutputs(Array("ip2")).setBatchSize(90).setPrecision("bf16")
      val rounded = scoresOf(model.transform(rows.coalesce(1)))
      val scale = exact.values.flatten.map(math.abs(_)).max
      assert(rounded.keySet == exact.keySet && rounded != exact)
      for ((id, values) <- rounded; (a, b) <- values.zip(exact(id))) assert(math.abs(a - b) < 2e-2 * scale, id)
      model.write.overwrite().save(s"file:$folder/rounded")
      val loaded = CaffeModel.load(s"file:$folder/rounded")
      assert(loaded.getPrecision == "bf16" && scoresOf(loaded.transform(rows.coalesce(1))) == rounded)
      assert(scoresOf(loaded.setPrecision("f32").transform(rows.coalesce(1))) == exact) // the nets are told apart
    }
  }

  test("it works on a stream") {
    within(120) {
      rows.select("id", "bytes").write.parquet(s"$folder/stream")
      val stream = spark.readStream.schema("id STRING, bytes BINARY").parquet(s"$folder/stream")
      val query = lenet.setOutputs(Array("ip2")).setBatchSize(90).transform(stream).writeStream.format("memory")
        .queryName("answers").start()
      try query.processAllAvailable()
      finally query.stop()
      val got = scoresOf(spark.table("answers"))
      assert(got.size == 360)
      assert(got.forall { case (id, values) => values.zip(scores(id)).forall { case (a, b) => math.abs(a - b) < 1e-5 } })
    }
  }

  test("tasks at the same time share one copy of the weights, and idle nets are freed") {
    within(120) {
      NetPool.sweep(0)
      val model = lenet.setOutputs(Array("ip2")).setBatchSize(5)
      val key = s"${model.job(rows.schema).key}/1"
      assert(NetPool.count(key).isEmpty)
      for (_ <- 1 to 3) assert(model.transform(rows.repartition(6)).count() == 360)
      val (all, idle) = NetPool.count(key).get
      assert(all >= 1 && all <= 2 && idle == all)
      NetPool.sweep(0)
      assert(NetPool.count(key).isEmpty)
    }
  }

  test("training stops early, keeps the best weights, and tells its curve") {
    within(180) {
      val sc = spark.sparkContext
      val conf = new Config(sc, Array("-conf", solver(folder, 2000, "test_iter: 4 test_interval: 10 display: 10").toString,
        "-model", s"file:$folder/early.caffemodel"))
      val source = DataSource.getSource(conf, true).asInstanceOf[DataSource[Any, Any]]
      val test = DataSource.getSource(conf, false).asInstanceOf[DataSource[Any, Any]]
      val cos = new CaffeOnSpark(sc)
      val rounds = cos.trainWithValidation(source, test).collect().map(_.getSeq[Float](0).head)
      assert(rounds.length < 100 && rounds.takeRight(2).forall(_ <= rounds.dropRight(2).max))
      assert(math.abs(cos.test(test)("accuracy").head - rounds.max) < 1e-5)
      val curve = cos.trainingCurve.collect()
      assert(curve.map(_.getLong(0)).toSeq == (1 until rounds.length).map(_ * 10L))
      assert(curve.last.getDouble(1) < curve.head.getDouble(1))
    }
  }

  test("caffe_predict answers in SQL") {
    within(120) {
      lenet.setOutputs(Array("ip2")).write.overwrite().save(s"file:$folder/forsql")
      CaffeSQL.register(spark)
      rows.createOrReplaceTempView("digits")
      val got = spark.sql(s"SELECT id, caffe_predict('file:$folder/forsql', bytes) AS ip2 FROM digits")
      assert(scoresOf(got).forall { case (id, values) => values.zip(scores(id)).forall { case (a, b) => math.abs(a - b) < 1e-5 } })
      assert(spark.sql(s"SELECT caffe_predict('file:$folder/forsql', CAST(NULL AS BINARY))").head().isNullAt(0))
      assert(message(spark.sql(s"SELECT caffe_predict('file:$folder/forsql', 'text')").collect()).contains("a network takes"))
    }
  }

  test("caffe_predict answers with the model that is there now, though the path is the same") {
    within(120) {
      val net = """layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 4 dim: 1 } } }
        layer { name: "y" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 1 bias_term: false } }"""
      def save(factor: Float): Unit = {
        val weights = caffe.Caffe.NetParameter.newBuilder()
        weights.addLayerBuilder().setName("y").setType("InnerProduct").addBlobsBuilder()
          .setShape(caffe.Caffe.BlobShape.newBuilder().addDim(1).addDim(1)).addData(factor)
        CaffeModel.fromCaffe(net, weights.build().toByteArray).write.overwrite().save(s"file:$folder/changing")
      }
      CaffeSQL.register(spark)
      def inTasks: Set[Float] = spark.sql(s"SELECT caffe_predict('file:$folder/changing', cast(id % 1 + 1 AS float)) FROM range(0, 6, 1, 3)")
        .collect().map(_.getSeq[Float](0).head).toSet
      def onDriver: Float = spark.sql(s"SELECT caffe_predict('file:$folder/changing', 1.0)").head().getSeq[Float](0).head
      for (factor <- Seq(2f, 3f, 5f)) {
        save(factor)
        assert(inTasks == Set(factor) && onDriver == factor)
      }
      Storage.delete(folder.resolve("changing"))
      assert(message(inTasks).contains(s"model file:$folder/changing does not exist"))
    }
  }

  test("each row gets its own values wherever the rows are, and whole what belongs to none, whatever the extents are") {
    within(60) {
      val net =
        """layer { name: "in" type: "Input" top: "x" top: "y" input_param { shape { dim: 4 dim: 2 } shape { dim: 4 } } }
          |layer { name: "w" type: "Parameter" top: "w" parameter_param { shape { dim: 4 dim: 2 } } }
          |layer { name: "sum" type: "Reduction" bottom: "x" top: "sum" reduction_param { axis: 0 } }
          |layer { name: "turned" type: "Permute" bottom: "x" top: "turned" permute_param { order: 1 order: 0 } }
          |layer { name: "long" type: "Reshape" bottom: "x" top: "long" reshape_param { shape { dim: -1 } } }
          |layer { name: "right" type: "Accuracy" bottom: "x" bottom: "y" top: "right" top: "each" }""".stripMargin
      val weights = caffe.Caffe.NetParameter.newBuilder()
      val learned = weights.addLayerBuilder().setName("w").setType("Parameter").addBlobsBuilder()
      learned.setShape(caffe.Caffe.BlobShape.newBuilder().addDim(4).addDim(2))
      for (i <- 0 until 8) learned.addData(i.toFloat)
      val session = spark
      import session.implicits._
      def own(i: Int) = Seq(i.toFloat, 10f - i)
      val frame = (0 until 7).map(i => (i, own(i).toArray, i % 2)).toDF("id", "x", "y").coalesce(1)
      for (batch <- Seq(1, 2, 4, 8)) {
        val model = CaffeModel.fromCaffe(net, weights.build().toByteArray).setInputs(Array("x=x", "y=y")).setBatchSize(batch)
          .setOutputs(Array("w", "sum", "turned", "long", "right=accuracy", "each"))
        for (row <- model.transform(frame).collect()) {
          val i = row.getInt(0)
          val together = (0 until 7).grouped(batch).find(_.contains(i)).get
          def values(name: String) = row.getAs[scala.collection.Seq[Float]](name).toSeq
          assert(values("w") == (0 until 8).map(_.toFloat) && values("sum") == Seq(together.map(own(_).sum).sum))
          assert(values("turned") == own(i) && values("long") == own(i))
          val right = together.map(k => k -> (if (own(k)(k % 2) > own(k)(1 - k % 2)) 1f else 0f)).toMap
          assert(math.abs(values("accuracy").head - right.values.sum / together.length) < 1e-6)
          val ofClass = Seq(0, 1).map(c => together.filter(_ % 2 == c).map(right))
          assert(values("each").zip(ofClass).forall { case (v, of) => of.isEmpty || math.abs(v - of.sum / of.length) < 1e-6 })
          assert(values("each").length == 2)
        }
      }
    }
  }

  test("a network for one batch size alone is used with that one") {
    within(60) {
      val net =
        """layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 4 dim: 2 } } }
          |layer { name: "r" type: "Reshape" bottom: "x" top: "r" reshape_param { shape { dim: 4 dim: 2 dim: 1 } } }""".stripMargin
      val session = spark
      import session.implicits._
      val frame = (0 until 8).map(i => (i, Array(i.toFloat, -i.toFloat))).toDF("id", "features").coalesce(1)
      val model = CaffeModel.fromCaffe(net, nothing)
      assert(model.transform(frame).collect().map(_.getSeq[Float](2).toSeq).toSeq == (0 until 8).map(i => Seq(i.toFloat, -i.toFloat)))
      assert(message(model.transform(frame.limit(5)).collect()).contains("layer r (Reshape)"))
    }
  }

  test("a net that cannot be opened leaves nothing behind, and is asked for anew") {
    val net = NetSource.read("""layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 2 } } }
      layer { name: "r" type: "ReLU" bottom: "x" top: "r" }""").net.toByteArray
    def wanted(weights: => Array[Byte]) =
      OpenedNet("NetPool test", net, Seq("r"), threads = 1, share = true, hdf5 = false, () => weights)
    for (take <- Seq[OpenedNet => Any](NetPool.take, NetPool.takeForRows)) {
      assert(intercept[java.io.IOException](take(wanted(throw new java.io.IOException("away")))).getMessage == "away")
      assert(NetPool.count("NetPool test").isEmpty)
    }
    val (opened, axes) = NetPool.takeForRows(wanted(nothing))
    assert(NetPool.count("NetPool test").contains((1, 0)) && axes == RowAxes(Map("r" -> RowAxis(0, 1))))
    NetPool.discard("NetPool test", opened)
    assert(NetPool.count("NetPool test").isEmpty)
  }

  test("a network of other inputs: deploy files, by message, old forms") {
    within(60) {
      val deploy =
        """input: "x" input_dim: 10 input_dim: 2 input_dim: 1 input_dim: 1
          |layer { name: "sum" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 1 } }""".stripMargin
      val weights = caffe.Caffe.NetParameter.newBuilder()
      val layer = weights.addLayerBuilder().setName("sum").setType("InnerProduct")
      layer.addBlobsBuilder().setShape(caffe.Caffe.BlobShape.newBuilder().addDim(1).addDim(2)).addData(2).addData(3)
      layer.addBlobsBuilder().setShape(caffe.Caffe.BlobShape.newBuilder().addDim(1)).addData(1)
      val session = spark
      import session.implicits._
      val frame = (0 until 25).map(i => (i, Array(i.toFloat, 1f))).toDF("id", "features").coalesce(1)
      val model = CaffeModel.fromCaffe(deploy, weights.build().toByteArray).setPredictionCol("value")
      assert(model.inputNames.toSeq == Seq("x"))
      val got = model.transform(frame).collect()
      assert(got.map(_.getAs[Double]("value")).toSeq == (0 until 25).map(i => 2.0 * i + 4))
      val same = CaffeModel.fromCaffe(model.net, weights.build().toByteArray)
      assert(same.transform(frame).collect().map(_.getSeq[Float](2).head).toSeq == (0 until 25).map(i => 2f * i + 4))
    }
  }
}
