package com.yahoo.ml.caffe

import java.io.IOException
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.attribute.FileTime
import java.nio.file.{Files, Path, Paths}
import java.util.concurrent.{Callable, Executors, TimeUnit, TimeoutException}

import caffe.Caffe.NetParameter
import org.apache.hadoop.fs.{Path => HadoopPath}

import scala.jdk.CollectionConverters._

/** Copies of remote files on a host: made once, whole or not at all, gone afterwards. */
class HostCacheSuite extends SparkTest {
  private final class Place(val folder: Path) {
    val root: Path = Files.createDirectory(folder.resolve("root"))
    val log: Path = folder.resolve("opened")
    val store = new HadoopPath(s"remote://host$folder/digits_test_lmdb")

    def storage(more: (String, String)*): Storage = RemoteFileSystem.storage(log.toString, more: _*)

    def open(cache: HostCache, more: (String, String)*): HostCache.Copy =
      cache.open(storage(more: _*), RemoteFiles.list(storage(more: _*), store, "LMDB"))

    def opened: Seq[String] = if (Files.exists(log)) Files.readAllLines(log).asScala.toSeq else Nil

    def names: Set[String] = namesIn(root)
  }

  private def namesIn(folder: Path): Set[String] = names(folder) - "locks"

  private def place(body: Place => Unit): Unit = scratch(folder => body(new Place(folder)))

  test("tasks that ask at the same time get one copy, without lock files") {
    place { place =>
      Files.write(place.folder.resolve("digits_test_lmdb/lock.mdb"), Array[Byte](1))
      val cache = new HostCache(place.root, keep = false)
      val threads = Executors.newFixedThreadPool(4)
      try {
        val all = (1 to 4).map(_ => threads.submit((() => place.open(cache)): Callable[HostCache.Copy]))
          .map(_.get(60, TimeUnit.SECONDS))
        assert(all.map(_.folder).distinct.length == 1 && place.opened == Seq("data.mdb"))
        val copy = all.head.folder.resolve("data.mdb")
        assert(Files.readAllBytes(copy).sameElements(Files.readAllBytes(digits.resolve("digits_test_lmdb/data.mdb"))))
        assert(!Files.exists(copy.resolveSibling("lock.mdb")))
        all.foreach(_.close())
        place.open(cache).close()
        assert(place.opened.length == 1)
      } finally threads.shutdownNow()
    }
  }

  test("changed files are copied anew, and the old copy goes once nobody uses it") {
    place { place =>
      val cache = new HostCache(place.root, keep = true)
      val first = place.open(cache)
      Files.setLastModifiedTime(place.folder.resolve("digits_test_lmdb/data.mdb"), FileTime.fromMillis(1e12.toLong))
      val second = place.open(cache)
      assert(first.folder != second.folder && Files.exists(first.folder))
      first.close()
      second.close()
      Files.setLastModifiedTime(place.folder.resolve("digits_test_lmdb/data.mdb"), FileTime.fromMillis(2e12.toLong))
      val third = place.open(cache)
      assert(place.names == Set(third.folder.getFileName.toString))
    }
  }

  test("a copy that breaks off is not used, and the message names path and host") {
    place { place =>
      val cache = new HostCache(place.root, keep = false)
      val error = intercept[IOException](place.open(cache, "fs.remote.cut" -> "100000")).getMessage
      assert(error.startsWith(s"LMDB ${place.store} cannot be copied to ${place.root} on host ${Storage.host}"), error)
      assert(error.endsWith("the connection broke") && place.names.isEmpty, error)
      val short = intercept[IOException](place.open(cache, "fs.remote.length" -> "9999999")).getMessage
      assert(short.contains("of 9999999 bytes") && place.names.isEmpty, short)
      assert(Files.exists(place.open(cache).folder.resolve("data.mdb")))
    }
  }

  test("what does not fit on the disk, or does not exist") {
    place { place =>
      val cache = new HostCache(place.root, keep = false)
      val error = intercept[IOException](place.open(cache, "fs.remote.length" -> "9000000000000000")).getMessage
      assert(error.contains("it has 9.0 PB, and ") && error.contains("spark.caffe.hostCache") && place.names.isEmpty, error)
      val gone = new HadoopPath("remote://host/nowhere")
      val missing = intercept[IOException](RemoteFiles.list(place.storage(), gone, "LMDB")).getMessage
      assert(missing == s"LMDB $gone does not exist (looked for from host ${Storage.host})")
      val empty = new HadoopPath(s"remote://host${Files.createDirectory(place.folder.resolve("empty"))}")
      val unknown = intercept[IOException](RemoteFiles.named(place.storage(), "nofs://x/y", "LMDB")).getMessage
      assert(unknown.startsWith(s"LMDB nofs://x/y cannot be read from host ${Storage.host}: "), unknown)
      val nothing = intercept[IOException](RemoteFiles.list(place.storage(), empty, "LMDB")).getMessage
      assert(nothing == s"LMDB $empty is an empty folder")
    }
  }

  test("only what is ours is removed") {
    place { place =>
      val name = "0123456789abcdef-0123456789abcdef"
      val ours = Seq(name, name + ".part", name.reverse)
      (ours :+ "data").foreach(name => Files.createDirectory(place.root.resolve(name)))
      val copy = place.open(new HostCache(place.root, keep = false))
      assert(place.names == Set("data", copy.folder.getFileName.toString))
    }
  }

  /** With a process more that hangs while it copies; `body` gets that, and the name of what it has so far. */
  private def copying(place: Place, patienceMillis: Long = 60000)(body: (Process, String) => Unit): Unit = {
    val before = place.names
    val program = Paths.get(sys.props("java.home"), "bin", "java").toString
    val process = new ProcessBuilder(program, "-Xmx256m", "-cp", sys.props("java.class.path"), "com.yahoo.ml.caffe.CopyingProcess",
      place.root.toString, place.store.toString, place.log.toString, "100000", patienceMillis.toString).redirectErrorStream(true)
      .redirectOutput(place.folder.resolve("process.log").toFile).start()
    try body(process, within(60) {
      Iterator.continually { Thread.sleep(20); (place.names -- before).find(_.endsWith(".part")) }.collectFirst { case Some(name) => name }.get
    }) finally process.destroyForcibly()
  }

  test("a process that copies and does not go on is waited for so long, then there is a second copy, but no third") {
    place { place =>
      copying(place) { (process, part) =>
        val cache = new HostCache(place.root, keep = false, patienceMillis = 300)
        val copies = Seq.fill(2)(within(60)(place.open(cache)))
        assert(process.isAlive && copies.map(_.folder).distinct.length == 1)
        assert(place.names == Set(part, copies.head.folder.getFileName.toString) && place.opened.length == 2)
        assert(Files.size(copies.head.folder.resolve("data.mdb")) > 100000)
      }
    }
    place { place =>
      copying(place) { (first, _) =>
        copying(place, patienceMillis = 300) { (second, _) =>
          val error = within(60)(intercept[IOException](place.open(new HostCache(place.root, keep = false, patienceMillis = 300)))).getMessage
          def stalled(process: Process) =
            s"process ${process.pid} of host ${Storage.host}, which copies LMDB ${place.store}, has not gone on for 300 ms"
          assert(error == s"LMDB ${place.store} cannot be copied to ${place.root} on host ${Storage.host}: ${stalled(first)}; " +
            s"${stalled(second)}; end them, or name another folder with spark.caffe.hostCache")
        }
      }
    }
  }

  test("a copy that grows is waited for, however long it takes") {
    scratch { folder =>
      val part = folder.resolve("x.part")
      var now = 0L
      val watch = new CopyWatch(part, 1000, () => now)
      assert(!watch.stalled())
      Files.createDirectory(part)
      for (i <- 1 to 9) {
        Files.write(part.resolve("data.mdb"), new Array[Byte](i))
        now += 900
        assert(!watch.stalled())
      }
      now += 1000
      assert(!watch.stalled())
      now += 1
      assert(watch.stalled() && watch.patience == "1 s")
      Files.write(part.resolve("data.mdb"), new Array[Byte](100))
      now += 100
      assert(!watch.stalled())
      now += 2000
      assert(watch.stalled())
      watch.ended()
      assert(!watch.stalled())
    }
  }

  test("a process that is killed while it copies: the next one waits no longer, and copies anew") {
    place { place =>
      copying(place) { (process, part) =>
        val cache = new HostCache(place.root, keep = false)
        val thread = Executors.newSingleThreadExecutor()
        try {
          val waiting = thread.submit((() => place.open(cache)): Callable[HostCache.Copy])
          intercept[TimeoutException](waiting.get(200, TimeUnit.MILLISECONDS))
          assert(process.isAlive && place.names == Set(part))
          process.destroyForcibly()
          val copy = waiting.get(60, TimeUnit.SECONDS)
          assert(place.names == Set(copy.folder.getFileName.toString) && Files.size(copy.folder.resolve("data.mdb")) > 100000)
        } finally thread.shutdownNow()
      }
    }
  }

  // The file also names its stores, which differ.
  private def weights(model: Path): Seq[Any] =
    NetParameter.parseFrom(Files.readAllBytes(model)).getLayerList.asScala.map(_.getBlobsList).toSeq

  test("two executors of a host train, test and extract from remote LMDBs: each is copied once, and they leave nothing") {
    scratch { folder =>
      val log = folder.resolve("opened")
      val cache = Paths.get(sys.props("java.io.tmpdir"), s"caffeonspark-copies-${sys.props("user.name")}")
      def copies: Set[String] = namesIn(cache)
      write(folder.resolve("remote.prototxt"), text(folder.resolve("net.prototxt"))
        .replace(s"""source: "$folder""", s"""source: "remote://host$folder"""))
      val settings = RemoteFileSystem.settings(log.toString).map { case (key, value) => s"spark.hadoop.$key" -> value }
      withCluster(settings: _*) { session =>
        within(300) {
          val sc = session.sparkContext
          def run(net: String, model: String): (Seq[Any], Map[String, Seq[Double]], Long) = {
            val file = solver(folder, 20, "test_iter: 2 test_interval: 10", net)
            val conf = new Config(sc, Array("-conf", file.toString, "-model", model, "-clusterSize", "2", "-features", "ip1",
              "-label", "label", "-lmdb_partitions", "5"))
            def source(training: Boolean) = DataSource.getSource(conf, training).asInstanceOf[DataSource[Any, Any]]
            val caffe = new CaffeOnSpark(sc)
            caffe.trainWithValidation(source(true), source(false))
            (weights(folder.resolve(model.split('/').last)), caffe.test(source(false)), caffe.features(source(false)).count())
          }
          val plain = run("net.prototxt", s"file:$folder/plain")
          val remote = run("remote.prototxt", s"remote://host$folder/remote")
          assert(remote == plain && remote._3 == 360)
          val opened = new String(Files.readAllBytes(log), UTF_8).linesIterator.toSeq.groupBy(identity).map { case (k, v) => k -> v.size }
          assert(opened == Map("data.mdb" -> 2, "remote" -> 1))
          assert(copies.size == 3)
          val rdd = new LmdbRDD(sc, s"remote://host$folder/digits_test_lmdb", 3)
          assert(Keys.distinct(rdd) == 360 && copies.size == 3)
          Files.delete(folder.resolve("digits_train_lmdb/data.mdb"))
          val error = intercept[IOException](run("remote.prototxt", s"remote://host$folder/remote")).getMessage
          assert(error == s"LMDB remote://host$folder/digits_train_lmdb is an empty folder", error)
        }
      }
      within(60)(while (copies.nonEmpty) Thread.sleep(20))
    }
  }
}
