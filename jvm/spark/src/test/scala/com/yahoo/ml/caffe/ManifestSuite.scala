package com.yahoo.ml.caffe

import java.nio.file.{Files, Path => LocalPath}

import org.apache.hadoop.conf.Configuration
import org.apache.hadoop.fs.Path

class ManifestSuite extends SparkTest {
  private val storage = new Storage(new Configuration())

  private def manifest(job: String, iteration: Long, files: ManifestFile*): Manifest =
    Manifest(job, finished = false, iteration, iteration * 64, 7, 2, "args", files,
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

  private def path(folder: LocalPath, name: String): Path = new Path("file", "", folder.resolve(name).toString)

  private val sum = Manifest.sha256("abc".getBytes)

  test("the newest whole snapshot of the job is found, never another job's, an incomplete or an overwritten one") {
    scratch { folder =>
      def put(job: String, iteration: Long, size: Long, sha256: String = sum): Unit = {
        write(folder.resolve(s"net_iter_$iteration.caffemodel"), "abc")
        write(folder.resolve(s"net_iter_$iteration.manifest"),
          manifest(job, iteration, ManifestFile(s"net_iter_$iteration.caffemodel", size, sha256)).text)
      }
      def newest = Manifest.newest(storage, Seq(path(folder, "none/net"), path(folder, "net")), _.job == "mine")
      assert(newest.isEmpty)
      put("mine", 10, 3)
      put("mine", 9, 3)
      put("mine", 20, 4)
      put("mine", 21, 3, Manifest.sha256("abd".getBytes))
      put("other", 30, 3)
      assert(newest.map(_.manifest.iteration).contains(10L))
      assert(newest.get.model.getName == "net_iter_10.caffemodel" && newest.get.state.isEmpty)
    }
  }

  test("of a job's checkpoints the newest stays; those of other jobs are not touched; a failed one leaves nothing") {
    scratch { folder =>
      val model = path(folder, "out/m")
      val (mine, other) = (new Checkpoints(storage, model, "mine"), new Checkpoints(storage, model, "other"))
      def put(to: Checkpoints, job: String, iteration: Long): Unit = {
        val file = write(folder.resolve(Checkpoints.baseName(iteration) + ".caffemodel"), s"$iteration")
        to.write(Seq(file), files => manifest(job, iteration, files: _*))
      }
      def names(job: String) =
        Files.list(folder.resolve(s"out/.m.checkpoints-$job")).toArray.map(_.toString.split('/').last).sorted.toSeq
      put(mine, "mine", 10)
      put(other, "other", 30)
      put(mine, "mine", 20)
      assert(names("mine") == Seq("checkpoint_iter_20.caffemodel", "checkpoint_iter_20.manifest"))
      put(mine, "mine", 18)
      assert(names("mine").count(_.endsWith(".manifest")) == 2) // the newer one is not removed
      put(mine, "mine", 21)
      assert(names("mine") == Seq("checkpoint_iter_21.caffemodel", "checkpoint_iter_21.manifest"))
      val missing = folder.resolve(Checkpoints.baseName(25) + ".caffemodel")
      intercept[java.io.IOException](mine.write(Seq(missing), files => manifest("mine", 25, files: _*)))
      assert(mine.newest(path(folder, "out/l")).map(_.manifest.iteration).contains(21L))
      assert(Manifest.all(storage, Checkpoints.ofAllJobs(storage, model), _.arguments == "args").map(_.manifest.job) ==
        Seq("other", "mine"))
      mine.delete()
      assert(mine.newest(path(folder, "out/l")).isEmpty && names("other").length == 2)
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

  test("a file system that is away is waited for; a clear no is told at once") {
    scratch { folder =>
      val (away, log) = (write(folder.resolve("away"), ""), folder.resolve("log"))
      val remote = RemoteFileSystem.storage(log.toString, "fs.remote.away" -> away.toString)
      val target = new Path(s"remote://host$folder/out.txt")
      val back = new Thread(() => {
        while (!Files.exists(log)) Thread.sleep(5)
        Files.delete(away)
      })
      back.setDaemon(true)
      back.start()
      within(30)(remote.writeText("one", target))
      assert(remote.readText(target) == "one" && text(log).startsWith("away: .out.txt."))
      write(away, "")
      val refused = intercept[java.io.IOException](within(30)(remote.writeText("x", new Path(s"remote://host$folder"))))
      assert(refused.getMessage.contains("is a folder, not a file"))
    }
  }
}
