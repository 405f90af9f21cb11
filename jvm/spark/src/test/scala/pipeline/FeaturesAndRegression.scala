package pipeline

import com.yahoo.ml.caffe.{CaffeOnSpark, Config, DataSource}
import org.apache.spark.ml.classification.LogisticRegression
import org.apache.spark.{SparkConf, SparkContext}

/** A user's program: a network's features feed a classifier of spark.ml. Public names only, from outside the package. */
object FeaturesAndRegression {
  def main(args: Array[String]): Unit = {
    val context = new SparkContext(new SparkConf())
    try {
      val caffe = new CaffeOnSpark(context)
      var conf = new Config(context, args)
      caffe.train(DataSource.getSource(conf, true))
      conf = new Config(context, args)
      val features = caffe.features(DataSource.getSource(conf, false))
      val rows = features.withColumn("Label", caffe.floatarray2doubleUDF(features(conf.label)))
        .withColumn("Feature", caffe.floatarray2doublevectorUDF(features(conf.features(0))))
      val model = new LogisticRegression().setLabelCol("Label").setFeaturesCol("Feature").fit(rows)
      model.write.overwrite().save(conf.outputPath)
    } finally context.stop()
  }
}
