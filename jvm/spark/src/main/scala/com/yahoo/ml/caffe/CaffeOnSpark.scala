package com.yahoo.ml.caffe

import org.apache.spark.ml.linalg.{Vector, Vectors}
import org.apache.spark.sql.expressions.UserDefinedFunction
import org.apache.spark.sql.functions.udf
import org.apache.spark.sql.types.{ArrayType, FloatType, StructField, StructType}
import org.apache.spark.sql.{DataFrame, Row, SQLContext, SparkSession}
import org.apache.spark.storage.StorageLevel
import org.apache.spark.{SparkConf, SparkContext}

import scala.jdk.CollectionConverters._
import scala.util.control.NonFatal

/** Trains networks on the executors of a Spark application, and runs them over data there. */
class CaffeOnSpark(@transient val sc: SparkContext) extends Serializable {
  @transient private val session: SparkSession = SparkSession.builder().config(sc.getConf).getOrCreate()

  @transient val sqlContext: SQLContext = session.sqlContext

  /** The first value of an array, as double. */
  val floatarray2doubleUDF: UserDefinedFunction = udf((values: scala.collection.Seq[Float]) => values.head.toDouble)

  /** An array as a dense vector of spark.ml. */
  val floatarray2doublevectorUDF: UserDefinedFunction =
    udf((values: scala.collection.Seq[Float]) => Vectors.dense(values.map(_.toDouble).toArray): Vector)

  @transient private var summary: Seq[String] = Nil
  @transient private var points: Seq[TrainingPoint] = Nil

  /** Lines about the last training run: images per second, and how evenly the workers were used. */
  def trainingSummary: Seq[String] = summary

  /**
   * The last training run, a row for each line that it displayed: iteration, loss, learning_rate, images_per_second, and the
   * shares of time that worker 0 spent waiting_for_data and waiting_for_workers.
   */
  def trainingCurve: DataFrame = TrainingSummary.curve(session, points)

  private def remember(trained: Trained): Trained = {
    summary = trained.summary
    points = trained.points
    trained
  }

  /** Trains on all workers; the model is written where the source's configuration says. */
  def train[T1, T2](source: DataSource[T1, T2]): Unit = {
    CaffeOnSpark.requireSource(source)
    remember(new Trainer(sc, source.conf, validate = false, Seq(source), stopping = None).run())
  }

  /**
   * The same, with a validation round every test_interval iterations. One row per round; a column of float arrays for each
   * output of the first test net.
   */
  def trainWithValidation[T1, T2](sourceTrain: DataSource[T1, T2], sourceValidation: DataSource[T1, T2]): DataFrame = {
    CaffeOnSpark.requireSource(sourceTrain)
    CaffeOnSpark.requireSource(sourceValidation)
    val trainer = new Trainer(sc, sourceTrain.conf, validate = true, Seq(sourceTrain, sourceValidation),
      EarlyStopping.from(sc.getConf))
    val rounds = remember(trainer.run()).rounds
    val names = rounds.headOption.map(_.outputs.map(_._1)).getOrElse(Nil)
    val schema = StructType(names.map(StructField(_, ArrayType(FloatType, containsNull = false), nullable = false)))
    val rows = rounds.map(round => Row.fromSeq(round.outputs.map(_._2.toSeq)))
    session.createDataFrame(rows.asJava, schema).persist(StorageLevel.DISK_ONLY)
  }

  /** The mean of every output of the test net over all records of the source. */
  def test[T1, T2](source: DataSource[T1, T2]): Map[String, Seq[Double]] = {
    CaffeOnSpark.requireSource(source)
    source.conf.isTest = true
    new Inference(sc, source.conf, source).test()
  }

  /** One row per record: SampleID, and a column of float arrays for each blob that the configuration names. */
  def features[T1, T2](source: DataSource[T1, T2]): DataFrame = {
    CaffeOnSpark.requireSource(source)
    source.conf.isTest = false
    new Inference(sc, source.conf, source).features(session)
  }
}

/** The program for spark-submit. */
object CaffeOnSpark {
  def main(args: Array[String]): Unit = {
    val code = run(args)
    if (code != 0) System.exit(code)
  }

  /** 0, or 1 after a line on stderr that says what was wrong. */
  private[caffe] def run(args: Array[String]): Int = {
    var context: Option[SparkContext] = None
    val error =
      try {
        val flags = Flags.parse(args)
        if (!Seq("train", "test", "features").exists(flags.has)) {
          throw new IllegalArgumentException("nothing to do; give -train, -test or -features")
        }
        if (!flags.has("conf")) {
          throw new IllegalArgumentException("-conf is missing; name the solver's prototxt with -conf solver.prototxt")
        }
        val settings = new SparkConf().setIfMissing("spark.app.name", "CaffeOnSpark")
        val sc = SparkSession.builder().config(settings).getOrCreate().sparkContext
        context = Some(sc)
        new Program(sc, new Config(sc, args)).run()
        None
      } catch {
        case e: Throwable if NonFatal(e) || e.isInstanceOf[LinkageError] => Some(e)
      }
    context.foreach(_.stop())
    error.foreach { e =>
      org.slf4j.LoggerFactory.getLogger(classOf[CaffeOnSpark]).debug("failed", e)
      System.err.println(s"CaffeOnSpark: error: ${Failures.oneLine(e)}")
      System.err.flush()
    }
    if (error.isEmpty) 0 else 1
  }

  private def requireSource(source: DataSource[_, _]): Unit =
    if (source == null) throw new IllegalArgumentException("the data source is null")

  /** What the command line asks for, in order. */
  private final class Program(sc: SparkContext, conf: Config) {
    private val caffe = new CaffeOnSpark(sc)
    private val storage = new Storage(sc.hadoopConfiguration)

    def run(): Unit = {
      val output = storage.resolve(conf.outputPath)
      if (conf.isFeature && storage.exists(output)) {
        throw new IllegalArgumentException(s"-output $output exists already; remove it or name another")
      }
      val later: Option[DataSource[_, _]] =
        if (conf.isFeature || conf.isTest) Some(DataSource.getSource(conf, isTraining = false)) else None
      if (conf.isTraining) train()
      later.foreach { source =>
        if (conf.isFeature) caffe.features(source).write.format(conf.outputFormat).save(output.toString)
        else {
          val lines = caffe.test(source).map { case (name, values) => s"$name: ${values.mkString(",")}" }
          storage.writeText(lines.mkString("", "\n", "\n"), output)
          lines.foreach(println)
        }
        println(s"Output: $output")
      }
    }

    private def train(): Unit = {
      val source = DataSource.getSource(conf, isTraining = true)
      val solver = conf.solverParameter
      if (solver.getTestInterval > 0 && solver.getTestIterCount > 0 && solver.getTestIter(0) > 0) {
        val validation = DataSource.getSource(conf, isTraining = false)
        caffe.trainWithValidation(erased(source), erased(validation)).unpersist()
      } else caffe.train(source)
    }

    private def erased(source: DataSource[_, _]): DataSource[Any, Any] = source.asInstanceOf[DataSource[Any, Any]]
  }
}
