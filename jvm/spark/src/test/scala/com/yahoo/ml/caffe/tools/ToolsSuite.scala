package com.yahoo.ml.caffe.tools

import java.awt.image.BufferedImage
import java.io.ByteArrayOutputStream
import java.nio.file.{Files, Path}
import javax.imageio.ImageIO

import com.yahoo.ml.caffe.{Config, Failures, SerializedKey, SparkTest}
import org.apache.spark.sql.SparkSession

/** Made-up pictures. */
object Pictures {
  /** A PNG in one colour. */
  def png(width: Int, height: Int, rgb: Int): Array[Byte] = {
    val image = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB)
    for (x <- 0 until width; y <- 0 until height) image.setRGB(x, y, rgb)
    val out = new ByteArrayOutputStream
    ImageIO.write(image, "png", out)
    out.toByteArray
  }
}

class ToolsSuite extends SparkTest {
  private def config(session: SparkSession, args: String*): Config = new Config(session.sparkContext, args.toArray)

  private def pictures(folder: Path): Unit =
    for ((name, i) <- Seq("a.png", "b.png", "c.png", "sub/d.png").zipWithIndex) {
      Files.createDirectories(folder.resolve(name).getParent)
      Files.write(folder.resolve(name), Pictures.png(8 + i, 6, i * 0x102030))
    }

  private def message(body: => Any): String = Failures.oneLine(intercept[Exception](body))

  test("image files and LMDBs to SequenceFiles and DataFrames") {
    withSpark("local[2]") { session =>
      within(200) {
        scratch { folder =>
          pictures(folder)
          write(folder.resolve("labels.txt"), "a.png 0 first\n\nb.png 1 second\nc.png 0 third\nsub/d.png 7 fourth\n")
          val conf = config(session, "-imageRoot", s"file:$folder", "-labelFile", s"file:$folder/labels.txt")

          val sequence = new Binary2Sequence(session.sparkContext, conf).makeRDD()
            .map { case (key, value) => (SerializedKey.parse(key.copyBytes()), value.copyBytes().toSeq) }.collect()
          assert(sequence.map(_._1).toSeq == Seq("a.png" -> "0", "b.png" -> "1", "c.png" -> "0", "sub/d.png" -> "7")
            .map { case (id, label) => (id, label, 0, 0, 0, true) })
          assert(sequence(3)._2 == Files.readAllBytes(folder.resolve("sub/d.png")).toSeq)

          val rows = new Binary2DataFrame(session.sparkContext, conf).makeRDD().collect()
          assert(rows.map(r => (r.getString(0), r.getInt(1))).toSeq ==
            Seq("first" -> 0, "second" -> 1, "third" -> 0, "fourth" -> 7))

          val lmdb = config(session, "-imageRoot", s"file:$folder/digits_test_lmdb", "-lmdb_partitions", "4")
          val frame = session.createDataFrame(new LMDB2DataFrame(session.sparkContext, lmdb).makeRDD(), LMDB2DataFrame.schema)
          assert(frame.count() == 360 && frame.select("id").distinct().count() == 360)
          val keys = new LMDB2Sequence(session.sparkContext, lmdb).makeRDD().map(r => SerializedKey.parse(r._1.copyBytes())).collect()
          assert(keys.map(_._1).toSet == frame.select("id").collect().map(_.getString(0)).toSet)
          assert(keys.forall(k => k._3 == 1 && k._4 == 28 && k._5 == 28 && !k._6))

          write(folder.resolve("labels.txt"), "a.png 0\nnone.png 1\n")
          assert(message(new Binary2Sequence(session.sparkContext, conf).makeRDD().count()).contains("none.png cannot be read"))
          write(folder.resolve("labels.txt"), "a.png\n")
          assert(message(new Binary2Sequence(session.sparkContext, conf).makeRDD().count()).contains("the line 'a.png'"))
          write(folder.resolve("labels.txt"), "a.png cat\n")
          assert(message(new Binary2DataFrame(session.sparkContext, conf).makeRDD().count()).contains("'cat', not a whole number"))
          assert(message(new Binary2Sequence(session.sparkContext, config(session)).makeRDD()).contains("-imageRoot is missing"))
        }
      }
    }
  }

  private val captions =
    """{"images": [{"id": 5, "file_name": "a.png", "height": 6, "width": 8, "coco_url": "u5"},
      |            {"id": 6, "file_name": "b.png", "height": 6, "width": 9, "coco_url": "u6"}],
      | "annotations": [{"id": 1, "image_id": 5, "caption": "A dog, a cat."}, {"id": 2, "image_id": 6, "caption": "a dog runs fast"}]}
      |""".stripMargin

  test("captions to numbers and back") {
    withSpark("local[2]") { session =>
      within(200) {
        scratch { folder =>
          pictures(folder)
          write(folder.resolve("captions.json"), captions)
          val sql = session.sqlContext
          val images = Conversions.Coco2ImageCaptionFile(sql, s"file:$folder/captions.json", 2)
          assert(images.columns.toSeq == Seq("id", "height", "width", "file", "url", "caption"))
          assert(images.count() == 2 && images.rdd.getNumPartitions == 2)

          val vocab = new Vocab(sql)
          vocab.genFromData(images, "caption")
          // The most frequent word has a number of its own: not that of unknown words, nor that of the end.
          assert(vocab.word2indexMap() == Map("UNK" -> 1, "a" -> 2, "dog" -> 3, "cat" -> 4, "fast" -> 5, "runs" -> 6))
          vocab.save(s"file:$folder/out/vocab")
          val again = new Vocab(sql)
          again.load(s"file:$folder/out/vocab")
          assert(again.word2indexMap() == vocab.word2indexMap() && again.index2wordMap()(3) == "dog")
          val small = new Vocab(sql)
          small.genFromData(images, "caption", 2)
          assert(small.word2indexMap() == Map("UNK" -> 1, "a" -> 2, "dog" -> 3))

          val embedded = Conversions.ImageCaption2Embedding(s"file:$folder", images, vocab, 6).orderBy("id").collect()
          def numbers(row: Int, column: String): Seq[Int] = embedded(row).getAs[scala.collection.Seq[Int]](column).toSeq
          assert(numbers(0, "input_sentence") == Seq(0, 2, 3, 2, 4, -1))
          assert(numbers(0, "cont_sentence") == Seq(0, 1, 1, 1, 1, -1))
          assert(numbers(0, "target_sentence") == Seq(2, 3, 2, 4, 0, -1))
          assert(embedded(0).getStruct(1).getAs[Array[Byte]]("image").sameElements(Files.readAllBytes(folder.resolve("a.png"))))
          val cut = Conversions.ImageCaption2Embedding(s"file:$folder", images, vocab, 3).orderBy("id").collect()
          assert(cut(0).getAs[scala.collection.Seq[Int]]("target_sentence").toSeq == Seq(2, 3, 0))

          val frame = Conversions.ImageCaption2Embedding(s"file:$folder", images, vocab, 6)
          val back = Conversions.Embedding2Caption(frame, vocab, "target_sentence", "caption").orderBy("id").collect()
          assert(back.map(_.getAs[String]("caption")).toSeq == Seq("a dog a cat", "a dog runs fast"))
          assert(Conversions.Image2Embedding(s"file:$folder", images).columns.toSeq == Seq("id", "data", "label"))
          assert(Conversions.sentence2Words("  Don't stop: 2 Dogs! ").toSeq == Seq("don't", "stop", "2", "dogs"))
          write(folder.resolve("other.json"), "{\"a\": 1}")
          assert(message(Conversions.Coco2ImageCaptionFile(sql, s"file:$folder/other.json", 1)).contains("no images and annotations"))
        }
      }
    }
  }

  test("the program that does all of it") {
    scratch { folder =>
      pictures(folder)
      write(folder.resolve("captions.json"), captions)
      System.setProperty("spark.master", "local[2]")
      val args = Array("-imageRoot", s"file:$folder", "-captionFile", s"file:$folder/captions.json", "-output",
        s"file:$folder/out/", "-imageCaptionDFDir", "captions", "-vocabDir", "vocab", "-embeddingDFDir", "embedding",
        "-captionLength", "6", "-outputFormat", "parquet")
      try within(200)(CocoDataSetConverter.main(args))
      finally System.clearProperty("spark.master")
      withSpark("local[2]") { session =>
        assert(session.read.parquet(s"file:$folder/out/embedding").count() == 2)
        assert(session.read.text(s"file:$folder/out/vocab").count() == 6)
      }
    }
  }
}
