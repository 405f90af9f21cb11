package com.yahoo.ml.caffe

import org.apache.spark.sql.SparkSession
import org.apache.spark.{SparkConf, SparkContext}

import scala.util.control.NonFatal

/** What spark-submit's flags ask for. */
private[caffe] object CommandLine {
  /** 0, or 1 after a line on stderr that says what was wrong. */
  def run(args: Array[String]): Int = {
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
