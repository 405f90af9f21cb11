package com.yahoo.ml.caffe

import java.nio.file.{Files, Path}

import caffe.Caffe.SolverParameter
import com.yahoo.ml.caffe.shaded.protobuf.TextFormat
import org.apache.spark.ml.evaluation.MulticlassClassificationEvaluator
import org.apache.spark.ml.feature.StandardScaler
import org.apache.spark.ml.linalg.{Vector, Vectors}
import org.apache.spark.ml.param.ParamMap
import org.apache.spark.ml.tuning.{CrossValidator, ParamGridBuilder, TrainValidationSplit}
import org.apache.spark.ml.{Pipeline, PipelineModel}
import org.apache.spark.sql.functions._
import org.apache.spark.sql.{DataFrame, SparkSession}
import org.scalatest.BeforeAndAfterAll

import scala.jdk.CollectionConverters._

/** One session and the digits as DataFrames, for all tests. */
class CaffeEstimatorSuite extends SparkTest with BeforeAndAfterAll {
  private var folder: Path = _
  private var spark: SparkSession = _
  /** id, bytes (28 x 28), label */
  private var training: DataFrame = _
  private var held: DataFrame = _

  override def beforeAll(): Unit = within(120) {
    folder = Files.createTempDirectory("caffe-estimator-")
    for (name <- Seq("digits_train_lmdb", "digits_test_lmdb")) {
      Files.createDirectory(folder.resolve(name))
      Files.copy(digits.resolve(name).resolve("data.mdb"), folder.resolve(name).resolve("data.mdb"))
    }
    spark = SparkSession.builder().master("local[2]").appName("test").config("spark.ui.enabled", "false")
      .config("spark.driver.host", "127.0.0.1").config("spark.sql.shuffle.partitions", "2")
      .config("spark.sql.warehouse.dir", folder.resolve("warehouse").toString).getOrCreate()
    training = frame("digits_train_lmdb")
    held = frame("digits_test_lmdb")
  }

  override def afterAll(): Unit = {
    within(60)(spark.stop())
    NetPool.sweep(0)
    Storage.delete(folder)
  }

  private def frame(name: String): DataFrame = {
    val session = spark
    import session.implicits._
    new LmdbRDD(spark.sparkContext, s"$folder/$name", 3).map(r => (r._1, r._7, r._2.toDouble)).toDF("id", "bytes", "label").cache()
  }

  private val settings = "base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 lr_policy: \"fixed\" random_seed: 7"

  /** The LeNet of the digits. Its Data layers name LMDBs that are not there. */
  private def estimator: CaffeEstimator = new CaffeEstimator().setNetwork(text(digits.resolve("lenet_digits.prototxt")))
    .setSolver(settings).setFeaturesCol("bytes").setInputShapes(Array("data:1x28x28")).setMaxIter(60)

  /** Learns from eight numbers whether their sum is positive; quick. */
  private val sums =
    """layer { name: "in" type: "MemoryData" top: "x" top: "y" memory_data_param { batch_size: 10 channels: 8 height: 1 width: 1 } }
      |layer { name: "flat" type: "Flatten" bottom: "x" top: "flat" }
      |layer { name: "ip" type: "InnerProduct" bottom: "flat" top: "ip"
      |  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
      |layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }
      |layer { name: "right" type: "Accuracy" bottom: "ip" bottom: "y" top: "right" include { phase: TEST } }""".stripMargin

  private def summing: CaffeEstimator = new CaffeEstimator().setNetwork(sums).setSolver(settings).setMaxIter(40)

  /** Rows of eight numbers as a vector. */
  private lazy val numbers: DataFrame = {
    val session = spark
    import session.implicits._
    val random = new scala.util.Random(5)
    (0 until 120).map { i =>
      val values = Array.fill(8)(random.nextGaussian())
      (i, Vectors.dense(values): Vector, if (values.sum > 0) 1.0 else 0.0)
    }.toDF("id", "features", "label").coalesce(2).cache()
  }

  private def accuracy(frame: DataFrame): Double = evaluator.evaluate(frame)

  private def evaluator = new MulticlassClassificationEvaluator().setMetricName("accuracy")

  private def values(frame: DataFrame, column: String): Seq[Float] =
    frame.collect().map(_.getAs[scala.collection.Seq[Float]](column).head).toSeq

  /** A checksum of what was learned. The file also tells of the data layer, whose file of rows has a name of its own. */
  private def learned(model: CaffeModel): String = {
    val blobs = caffe.Caffe.NetParameter.parseFrom(model.weights).getLayerList.asScala.flatMap(_.getBlobsList.asScala)
    assert(blobs.nonEmpty)
    Manifest.sha256(blobs.flatMap(_.toByteArray).toArray)
  }

  test("it learns the digits from a DataFrame with two workers; the model keeps all columns, and tells how it was trained") {
    within(180) {
      val model = estimator.setNumWorkers(2).setValidation(held).setValidationInterval(20).fit(training)
      val answered = model.transform(held.drop("label"))
      assert(answered.columns.toSeq == Seq("id", "bytes", "prob", "prediction"))
      assert(answered.count() == 360 && accuracy(model.transform(held)) > 0.9)
      val rounds = model.summary.validation
      assert(rounds.collect().map(_.getLong(0)).toSeq == Seq(0, 20, 40, 60) && values(rounds, "accuracy").last > 0.9)
      assert(math.abs(values(rounds, "accuracy").last - accuracy(model.transform(held))) < 1e-6)
      val curve = model.summary.curve.collect()
      assert(curve.last.getLong(0) == 60 && curve.last.getDouble(1) < curve.head.getDouble(1))
      assert(model.summary.iterations == 60 && model.summary.toString.contains("Trained 60 iterations"))
      assert(model.parent.uid == model.uid && model.copy(ParamMap.empty).hasSummary)

      model.write.overwrite().save(s"file:$folder/model")
      val loaded = CaffeModel.load(s"file:$folder/model")
      assert(!loaded.hasSummary && accuracy(loaded.transform(held)) == accuracy(model.transform(held)))
      assert(intercept[IllegalStateException](loaded.summary).getMessage.contains("no training summary"))
    }
  }

  test("vectors, arrays, bytes and Spark's images train the same network, bit by bit") {
    within(180) {
      val image = udf((b: Array[Byte]) => ("", 28, 28, 1, 0, b))
      val schema = "struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>"
      val all = training.coalesce(1).withColumn("vector", udf((b: Array[Byte]) => Vectors.dense(Digits.pixels(b)): Vector).apply(col("bytes")))
        .withColumn("array", udf((b: Array[Byte]) => Digits.pixels(b).map(_.toFloat)).apply(col("bytes")))
        .withColumn("image", image(col("bytes")).cast(schema)).withColumn("png", udf((b: Array[Byte]) => Digits.png(b)).apply(col("bytes")))
        .limit(128).cache()
      val weights = Seq("bytes", "vector", "array", "image", "png")
        .map(c => learned(estimator.setShuffle(false).setFeaturesCol(c).setMaxIter(2).fit(all)))
      assert(weights.distinct.length == 1)
      val image2 = estimator.setShuffle(false).setFeaturesCol("image").setMaxIter(2)
      image2.clear(image2.inputShapes)
      val model = image2.fit(all) // images say themselves how large they are
      assert(learned(model) == weights.head && model.transform(all).count() == 128)
    }
  }

  test("a pipeline with stages of MLlib before it, saved and loaded, trained and not") {
    within(120) {
      val scaler = new StandardScaler().setInputCol("features").setOutputCol("scaled").setWithMean(true)
      val pipeline = new Pipeline().setStages(Array(scaler, summing.setFeaturesCol("scaled")))
      pipeline.write.overwrite().save(s"file:$folder/pipeline")
      val fitted = Pipeline.load(s"file:$folder/pipeline").fit(numbers)
      assert(accuracy(fitted.transform(numbers)) > 0.85)
      fitted.write.overwrite().save(s"file:$folder/fitted")
      val loaded = PipelineModel.load(s"file:$folder/fitted")
      assert(accuracy(loaded.transform(numbers)) == accuracy(fitted.transform(numbers)))
      assert(learned(pipeline.fit(numbers).stages(1).asInstanceOf[CaffeModel]) ==
        learned(fitted.stages(1).asInstanceOf[CaffeModel]))
    }
  }

  test("CrossValidator and TrainValidationSplit pick the better learning rate, side by side too") {
    within(180) {
      val net = summing
      val grid = new ParamGridBuilder().addGrid(net.baseLr, Array(1e-7, 0.05)).build()
      val validator = new CrossValidator().setEstimator(new Pipeline().setStages(Array(net))).setEstimatorParamMaps(grid)
        .setEvaluator(evaluator).setNumFolds(2).setSeed(3).setParallelism(2)
      val best = validator.fit(numbers)
      assert(best.avgMetrics(1) > best.avgMetrics(0) + 0.2, best.avgMetrics.toSeq)
      assert(accuracy(best.transform(numbers)) > 0.85)
      val split = new TrainValidationSplit().setEstimator(net.setNumWorkers(2)).setEstimatorParamMaps(grid).setEvaluator(evaluator)
        .setTrainRatio(0.7).setSeed(3).fit(numbers)
      assert(split.validationMetrics(1) > split.validationMetrics(0) + 0.2)
      assert(split.bestModel.asInstanceOf[CaffeModel].parent.asInstanceOf[CaffeEstimator].getBaseLr == 0.05)
    }
  }

  test("training stops early and keeps the best weights; a column marks the rows for validation") {
    within(180) {
      val marked = numbers.withColumn("held", col("id") % 3 === 0)
      val model = summing.setValidationIndicatorCol("held").setValidationInterval(5).setMonitor("right").setEarlyStoppingRounds(3)
        .setMaxIter(100000).fit(marked)
      val rounds = values(model.summary.validation, "right")
      assert(rounds.length < 1000 && model.summary.iterations < 100000)
      assert(math.abs(accuracy(model.transform(marked.where("held"))) - rounds.max) < 1e-6)
    }
  }

  test("from the weights of another model training goes on: in small steps, with other Params, from a file") {
    within(120) {
      val first = summing.fit(numbers)
      Files.write(folder.resolve("first.caffemodel"), first.weights)
      val more = summing.setInitialWeights(s"file:$folder/first.caffemodel").setBaseLr(1e-9).setMaxIter(1).fit(numbers)
      val difference = CaffeModel.fromCaffe(first.netText, first.weights).transform(numbers).collect()
        .zip(more.setPredictionCol("").transform(numbers).collect())
        .map { case (a, b) => math.abs(a.getSeq[Float](3).head - b.getSeq[Float](3).head) }.max
      assert(difference < 1e-5)
      assert(intercept[Exception](summing.setInitialWeights(s"file:$folder/none.caffemodel").fit(numbers)).getMessage
        .contains("none.caffemodel does not exist"))
    }
  }

  test("solver and network by path, with the network inside, by text and by message are the same") {
    within(120) {
      write(folder.resolve("sums.prototxt"), sums)
      write(folder.resolve("sums_solver.prototxt"), settings + "\nnet: \"sums.prototxt\" max_iter: 3 snapshot: 1")
      val message = SolverParameter.newBuilder()
      TextFormat.merge(settings + " max_iter: 3", message)
      val net = caffe.Caffe.NetParameter.newBuilder()
      TextFormat.merge(sums, net)
      val made = Seq(new CaffeEstimator(Map("solver" -> s"$folder/sums_solver.prototxt")),
        new CaffeEstimator().setSolver(settings).setNetwork(sums).setMaxIter(3),
        new CaffeEstimator().setSolver(message.build()).setNetwork(s"$folder/sums.prototxt"),
        new CaffeEstimator().setSolver(message.setNetParam(net).build()),
        new CaffeEstimator().setSolver(message.clearNetParam().setNet(s"$folder/sums.prototxt").build()),
        new CaffeEstimator(Map("solver" -> message.clearNet().build(), "net" -> net.build())))
      val one = numbers.coalesce(1)
      assert(made.map(e => learned(e.fit(one))).distinct.length == 1)
      val kept = Files.createDirectory(folder.resolve("work"))
      assert(learned(made.head.setWorkDir(s"file:$kept").fit(one)) == learned(made(1).fit(one)))
      assert(kept.toFile.list.isEmpty)
    }
  }

  test("Params by the names of the solver's fields; what is not known is refused") {
    val made = new CaffeEstimator(Map("base_lr" -> 0.5, "maxIter" -> 7, "stepsize" -> 3, "type" -> "Adam", "clusterSize" -> 2))
    assert(made.getBaseLr == 0.5 && made.getMaxIter == 7 && made.getStepSize == 3 && made.getSolverType == "Adam" && made.getNumWorkers == 2)
    val message = made.solverMessage(SolverParameter.getDefaultInstance)
    assert(message.getBaseLr == 0.5f && message.getMaxIter == 7 && message.getStepsize == 3 && message.getType == "Adam")
    assert(intercept[IllegalArgumentException](new CaffeEstimator(Map("base_lrr" -> 1))).getMessage.contains("no Param base_lrr"))
    assert(made.copy(ParamMap(made.baseLr -> 0.1)).getBaseLr == 0.1)
  }

  test("the precision is the Param's, else the solver's, and the model keeps it") {
    def field(made: CaffeEstimator): SolverParameter.Precision = {
      val base = if (made.isDefined(made.solver)) TextFormat.parse(made.getSolver, classOf[SolverParameter])
        else SolverParameter.getDefaultInstance
      made.setMaxIter(1).solverMessage(base).getPrecision
    }
    val rounding = settings + " precision: BF16"
    assert(field(new CaffeEstimator) == SolverParameter.Precision.F32)
    assert(field(new CaffeEstimator(Map("precision" -> "bf16"))) == SolverParameter.Precision.BF16)
    assert(field(summing.setSolver(rounding)) == SolverParameter.Precision.BF16)
    assert(field(summing.setSolver(rounding).setPrecision("f32")) == SolverParameter.Precision.F32)
    assert(intercept[IllegalArgumentException](summing.setPrecision("f16")).getMessage.contains("f16"))
    within(120) {
      val plain = summing.fit(numbers)
      assert(plain.getPrecision == "f32")
      assumeBf16()
      val byParam = summing.setPrecision("bf16").fit(numbers)
      val bySolver = summing.setSolver(rounding).fit(numbers)
      assert(byParam.getPrecision == "bf16" && bySolver.getPrecision == "bf16")
      assert(learned(byParam) == learned(bySolver) && learned(byParam) != learned(plain))
      assert(accuracy(byParam.transform(numbers)) > 0.9)
      byParam.write.overwrite().save(s"file:$folder/rounded")
      assert(CaffeModel.load(s"file:$folder/rounded").getPrecision == "bf16")
    }
  }

  test("rows sorted by label are no trouble, unless shuffling is switched off") {
    within(120) {
      val sorted = numbers.orderBy("label").coalesce(1)
      assert(accuracy(summing.fit(sorted).transform(numbers)) > 0.85)
      assert(learned(summing.fit(sorted)) == learned(summing.fit(sorted)))
      assert(accuracy(summing.setMaxIter(5).setShuffle(false).fit(sorted).transform(numbers)) < 0.85) // zeros only
    }
  }

  test("with several inputs the model asks for those that answering needs") {
    within(60) {
      val model = summing.setInputs(Array("x=numbers", "y=class")).setMaxIter(1)
        .fit(numbers.select(col("features").as("numbers"), col("label").as("class")))
      assert(model.getInputs.toSeq == Seq("x=numbers"))
      assert(model.transform(numbers.select(col("features").as("numbers"))).count() == 120)
    }
  }

  test("rows with nulls are an error that names the column, or left out") {
    within(60) {
      val some = numbers.withColumn("label", when(col("id") =!= 7, col("label")))
      assert(intercept[IllegalArgumentException](summing.fit(some)).getMessage.contains("row '7': column label: a value is null"))
      val without = learned(summing.setHandleInvalid("skip").setMaxIter(3).fit(some.coalesce(1)))
      assert(without == learned(summing.setMaxIter(3).fit(some.na.drop().coalesce(1))))
    }
  }

  test("a work folder that cannot be cleared away costs nothing") {
    val hadoop = spark.sparkContext.hadoopConfiguration
    for ((key, value) <- RemoteFileSystem.settings(s"$folder/log") :+ ("fs.remote.keep" -> "true")) hadoop.set(key, value)
    within(120) {
      val expected = learned(summing.fit(numbers))
      assert(learned(summing.setWorkDir(s"remote://host$folder/work").fit(numbers)) == expected)
      assert(new Storage(hadoop).folders(new org.apache.hadoop.fs.Path(s"remote://host$folder/work")).size == 1)
    }
  }

  test("mistakes are told in one sentence") {
    within(120) {
      def refused(estimator: CaffeEstimator, frame: DataFrame = numbers): String = {
        val message = intercept[Exception](estimator.fit(frame)).getMessage
        assert(!message.contains("\n") && !message.contains("Exception"), message)
        message
      }
      assert(refused(summing.setFeaturesCol("pixels")).contains("column pixels does not exist"))
      assert(refused(summing, numbers.withColumn("label", lit("yes"))).contains("column label has type string"))
      assert(refused(new CaffeEstimator().setMaxIter(1)).contains("there is no network; set network"))
      assert(refused(new CaffeEstimator().setMaxIter(1).setSolver("net: \"a.prototxt\" base_lr: 1")).contains("net a.prototxt does not exist"))
      assert(refused(new CaffeEstimator().setNetwork(sums)).contains("set maxIter"))
      assert(refused(summing.setEarlyStoppingRounds(1)).contains("needs rows for validation"))
      assert(refused(summing.setValidation(numbers.limit(0))).contains("there are no rows for validation"))
      assert(refused(summing.setValidation(numbers.drop("label"))).contains("column label does not exist"))
      assert(refused(summing, numbers.limit(0)).contains("the training data has no rows"))
      assert(refused(summing, numbers.withColumn("label", lit(null).cast("double"))).contains("no row of the training data has all of"))
      assert(refused(summing.setInputs(Array("x=features"))).contains("nothing says which column fills blob y"))
      assert(refused(summing.setInputs(Array("z=features"))).contains("blob z is none of the data layers'"))
      assert(refused(summing.setNumWorkers(3)).contains("local[3]"))
      assert(refused(summing.setNumWorkers(2), numbers.limit(1)).contains("fewer rows than there are workers (2)"))
      val short = udf((v: Vector) => Vectors.dense(v.toArray.take(5)): Vector)
      val wrong = refused(summing, numbers.withColumn("features", short(col("features"))))
      assert(wrong.contains("has 5 numbers for top 'x', expected 8"), wrong)
    }
  }

  test("batches of validation make up the rows where they can") {
    assert(CaffeEstimator.batchForRounds(360, 64) == 60 && CaffeEstimator.batchForRounds(7, 64) == 64)
    assert(CaffeEstimator.batchForRounds(100, 10) == 10 && CaffeEstimator.batchForRounds(101, 10) == 10)
  }
}
