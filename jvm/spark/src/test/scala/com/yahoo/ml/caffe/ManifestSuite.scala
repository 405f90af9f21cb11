package com.yahoo.ml.caffe

import java.nio.file.Files

import org.apache.hadoop.conf.Configuration
import org.apache.hadoop.fs.Path

class ManifestSuite extends SparkTest {
  private val storage = new Storage(new Configuration())

  private def manifest(job: String, iteration: Long, files: ManifestFile*): Manifest =
    Manifest(job, finished = false, iteration, iteration * 64, 7, 2, files,
      Seq(Round(0, Seq("acc" -> Array(0.1f), "loss" -> Array(2.5f, Float.NaN)))))

  test("a manifest survives its text form, floats bit by bit") {
    val read = Manifest.parse(manifest("j", 20, ManifestFile("m with space", 3, "ab")).text).get
    assert(read.copy(rounds = Nil) == manifest("j", 20, ManifestFile("m with space", 3, "ab")).copy(rounds = Nil))
    assert(read.rounds.head.outputs.map(_._1) == Seq("acc", "loss"))
    assert(read.rounds.head.outputs(1)._2.map(java.lang.Float.floatToIntBits).toSeq ==
      Seq(2.5f, Float.NaN).map(java.lang.Float.floatToIntBits))
  }

  test("an interrupted manifest is none") {
    assert(Manifest.parse(manifest("j", 20).text.dropRight(3)).isEmpty && Manifest.parse("").isEmpty)
  }

  test("the newest complete snapshot of the job is found, never another job's or an incomplete one") {
    scratch { folder =>
      def put(job: String, iteration: Long, size: Long): Unit = {
        write(folder.resolve(s"net_iter_$iteration.caffemodel"), "abc")
        write(folder.resolve(s"net_iter_$iteration.manifest"),
          manifest(job, iteration, ManifestFile(s"net_iter_$iteration.caffemodel", size, "")).text)
      }
      val base = new Path("file", "", folder.resolve("net").toString)
      assert(Manifest.newest(storage, base, "mine").isEmpty)
      put("mine", 10, 3)
      put("mine", 9, 3)
      put("mine", 20, 4)
      put("other", 30, 3)
      assert(Manifest.newest(storage, base, "mine").map(_.iteration).contains(10L))
    }
  }

  test("files are published whole, over older ones, with their folders, and leave nothing else") {
    scratch { folder =>
      val target = new Path("file", "", folder.resolve("a/b/out.txt").toString)
      storage.writeText("one", target)
      storage.writeText("two", target)
      assert(storage.readText(target) == "two")
      assert(Files.list(folder.resolve("a/b")).count() == 1)
      write(folder.resolve("plain"), "x")
      val below = new Path("file", "", folder.resolve("plain/out.txt").toString)
      assert(intercept[java.io.IOException](storage.writeText("x", below)).getMessage.contains("cannot be written"))
    }
  }
}
