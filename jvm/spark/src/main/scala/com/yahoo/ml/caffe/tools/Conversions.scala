package com.yahoo.ml.caffe.tools

import com.yahoo.ml.caffe.{HadoopSettings, Storage}
import org.apache.spark.sql.functions.{col, explode, lit, udf}
import org.apache.spark.sql.types.{BinaryType, IntegerType, StructField, StructType}
import org.apache.spark.sql.{Column, DataFrame, SQLContext}

private[tools] final case class ImageFile(height: Int, width: Int, image: Array[Byte])

/** COCO's captions to DataFrames and back. */
object Conversions {
  /** The column data of embeddings: an image file, and 0 for a size that is not known before it is decoded. */
  val INNER_DATA_FIELD_SCHEMA: StructType = StructType(Seq(StructField("height", IntegerType, nullable = false),
    StructField("width", IntegerType, nullable = false), StructField("image", BinaryType, nullable = false)))

  /** In lower case, without punctuation. */
  def sentence2Words(sentence: String): Array[String] =
    sentence.toLowerCase.split("[^\\p{L}\\p{N}']+").map(_.stripPrefix("'").stripSuffix("'")).filter(_.nonEmpty)

  /**
   * COCO's JSON of captions (images, annotations): one row per caption with id (of the caption), height, width, file, url
   * and caption, in `clusterSize` partitions.
   */
  def Coco2ImageCaptionFile(sqlContext: SQLContext, src: String, clusterSize: Int): DataFrame = {
    val storage = new Storage(sqlContext.sparkSession.sparkContext.hadoopConfiguration)
    val file = storage.existing(src, "the captions")
    val all = sqlContext.read.option("multiLine", "true").json(file.toString)
    if (!Set("images", "annotations").subsetOf(all.columns.toSet)) {
      throw new IllegalArgumentException(s"$file has no images and annotations, as COCO's captions have")
    }
    val images = all.select(explode(col("images")).as("image")).select("image.*")
    val url = Seq("coco_url", "url", "flickr_url").find(images.columns.contains(_)).fold(lit(""))(col(_))
    val pictures = images.select(col("id").as("image_id"), col("height").cast(IntegerType), col("width").cast(IntegerType),
      col("file_name").as("file"), url.as("url"))
    val captions = all.select(explode(col("annotations")).as("a")).select(col("a.image_id"), col("a.id"), col("a.caption"))
    captions.join(pictures, "image_id").select("id", "height", "width", "file", "url", "caption").repartition(clusterSize)
  }

  /** id, data (of the file below `imageRootPath`) and label (0), for captions to be predicted. */
  def Image2Embedding(imageRootPath: String, df: DataFrame): DataFrame = {
    val images = imageColumn(imageRootPath, df)
    df.select(col("id").cast("string").as("id"), images.as("data"),
      lit(0).as("label"))
  }

  /**
   * The same with the caption as arrays of `captionLength` numbers: input_sentence begins with 0, cont_sentence with 0 and
   * then is 1, and target_sentence ends with 0. Behind the sentence's end all three are -1, which Embed takes for no word
   * and a loss ignores. A longer caption is cut.
   */
  def ImageCaption2Embedding(imageRootPath: String, df: DataFrame, vocab: Vocab, captionLength: Int): DataFrame = {
    if (captionLength < 2) throw new IllegalArgumentException(s"-captionLength must be at least 2, not $captionLength")
    val numbers = vocab.word2indexMap()
    val words = udf { (caption: String) =>
      sentence2Words(caption).map(numbers.getOrElse(_, Vocab.UNKNOWN_ID)).take(captionLength - 1).toSeq
    }
    def padded(numbers: scala.collection.Seq[Int]): Seq[Int] = numbers.padTo(captionLength, Vocab.NO_TOKEN).toSeq
    val input = udf((ids: scala.collection.Seq[Int]) => padded(Vocab.START_END_ID +: ids))
    val continued = udf((ids: scala.collection.Seq[Int]) => padded(0 +: ids.map(_ => 1)))
    val target = udf((ids: scala.collection.Seq[Int]) => padded(ids :+ Vocab.START_END_ID))
    val images = imageColumn(imageRootPath, df)
    df.withColumn("ids", words(col("caption"))).select(col("id").cast("string").as("id"),
      images.as("data"), lit(0).as("label"), input(col("ids")).as("input_sentence"),
      continued(col("ids")).as("cont_sentence"), target(col("ids")).as("target_sentence"))
  }

  private def imageColumn(root: String, df: DataFrame): Column = {
    val configuration = df.sparkSession.sparkContext.hadoopConfiguration
    val images = new Tool.ImageReader(new Storage(configuration).resolve(root).toString, new HadoopSettings(configuration))
    val read = udf((file: String, height: Int, width: Int) => ImageFile(height, width, images.read(file)))
    read(col("file"), col("height").cast(IntegerType), col("width").cast(IntegerType))
  }

  /** The words of a column of numbers, up to the first 0; -1 is left out. Other columns stay. */
  def Embedding2Caption(df: DataFrame, vocab: Vocab, embeddingCol: String, captionCol: String): DataFrame = {
    val words = vocab.index2wordMap()
    val sentence = udf { (values: scala.collection.Seq[Int]) =>
      values.iterator.takeWhile(_ != Vocab.START_END_ID).filter(_ != Vocab.NO_TOKEN)
        .map(words.getOrElse(_, Vocab.UNKNOWN_TOKEN)).mkString(" ")
    }
    df.withColumn(captionCol, sentence(col(embeddingCol).cast("array<int>")))
  }
}
