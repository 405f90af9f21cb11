package com.yahoo.ml.caffe.tools

import com.yahoo.ml.caffe.{ScalaCheck, Storage}
import org.apache.spark.sql.SparkSession

/**
 * COCO's images (-imageRoot) and captions (-captionFile) to what a captioning network reads. Below -output: a DataFrame of
 * images and captions (-imageCaptionDFDir), the vocabulary (-vocabDir, of -vocabSize words; an existing one is used), and
 * a DataFrame of images and numbered words (-embeddingDFDir, -captionLength), all in -outputFormat.
 */
object CocoDataSetConverter {
  def main(args: Array[String]): Unit = {
    ScalaCheck.orExit("CocoDataSetConverter")
    Tool.main("CocoDataSetConverter", args) { (sc, conf) =>
      val session = SparkSession.builder().config(sc.getConf).getOrCreate()
      val storage = new Storage(sc.hadoopConfiguration)
      def below(folder: String, flag: String): String =
        storage.resolve(conf.outputPath + Tool.required(folder, flag)).toString
      val captionsPath = below(conf.imageCaptionDFDir, "-imageCaptionDFDir")
      val vocabPath = below(conf.vocabDir, "-vocabDir")
      val embeddingPath = below(conf.embeddingDFDir, "-embeddingDFDir")
      val root = Tool.required(conf.imageRoot, "-imageRoot")

      Conversions.Coco2ImageCaptionFile(session.sqlContext, Tool.required(conf.captionFile, "-captionFile"), conf.clusterSize)
        .write.format(conf.outputFormat).save(captionsPath)
      val captions = session.read.format(conf.outputFormat).load(captionsPath)
      val vocab = new Vocab(session.sqlContext)
      if (storage.exists(storage.resolve(vocabPath))) vocab.load(vocabPath)
      else {
        vocab.genFromData(captions, "caption", conf.vocabSize)
        vocab.save(vocabPath)
      }
      Conversions.ImageCaption2Embedding(root, captions, vocab, conf.captionLength)
        .write.format(conf.outputFormat).save(embeddingPath)
    }
  }
}
