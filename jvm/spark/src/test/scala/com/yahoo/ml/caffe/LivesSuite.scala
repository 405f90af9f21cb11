package com.yahoo.ml.caffe

import java.nio.file.{Files, Path, Paths}

import scala.util.Try

/** What a process holds. */
final case class Usage(residentMegabytes: Long, threads: Int, files: Int)

/** One JVM that trains again and again, as a notebook's does. */
class LivesSuite extends FaultTest {
  /** Java's garbage aside. */
  private def usage(): Usage = {
    System.gc()
    val status = text(Paths.get("/proc/self/status"))
    def field(name: String): Long = s"(?m)^$name:\\s+(\\d+)".r.findFirstMatchIn(status).get.group(1).toLong
    Usage(field("RssAnon") >> 10, field("Threads").toInt, Try(Files.list(Paths.get("/proc/self/fd"))).map { all =>
      try all.count().toInt
      finally all.close()
    }.get)
  }

  test("fifty trainings: memory, threads and open files stay where they are") {
    withSpark("local[2]") { session =>
      scratch { folder =>
        val solver = smallSolver(folder, 20)
        def some(count: Int): Usage = {
          for (_ <- 1 to count) within(60)(train(session.sparkContext, solver, folder.resolve("out/m")))
          usage()
        }
        val early = some(15)
        val late = some(35)
        info(s"after 15 trainings: $early, after 50: $late")
        assert(late.threads <= early.threads + 4, s"$early $late")
        assert(late.files <= early.files + 4, s"$early $late")
        assert(late.residentMegabytes <= early.residentMegabytes + 64, s"$early $late")
        assert(names(folder.resolve("out")) == Set("m", "m.manifest"))
      }
    }
  }

  test("train, stop the context, train again: the same weights; two jobs at once do not disturb each other") {
    scratch { folder =>
      val solver = smallSolver(folder, 300)
      def once(name: String, sizes: Seq[Int]): Seq[Seq[Byte]] = withSpark("local[4]") { session =>
        val models = new java.util.concurrent.ConcurrentHashMap[Int, Seq[Byte]]
        val threads = sizes.map { size =>
          val thread = new Thread(() => {
            val out = folder.resolve(s"$name/m$size")
            models.put(size, train(session.sparkContext, solver, out, "-clusterSize", size.toString)._1.toSeq)
          })
          thread.start()
          thread
        }
        threads.foreach(_.join(120000))
        sizes.map(models.get(_))
      }
      val Seq(two) = once("first", Seq(2))
      val Seq(one) = once("second", Seq(1))
      assert(two != null && one != null && two != one)
      assert(once("third", Seq(1, 2)) == Seq(one, two))
      assert(once("first", Seq(2)) == Seq(two)) // into the same folder
    }
  }
}
