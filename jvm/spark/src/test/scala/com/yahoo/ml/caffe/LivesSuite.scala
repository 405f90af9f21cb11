package com.yahoo.ml.caffe

import java.nio.file.Paths

import scala.concurrent.ExecutionContext.Implicits.global
import scala.concurrent.duration._
import scala.concurrent.{Await, Future, blocking}

/** What a process holds beside Java's heap. */
final case class Usage(nativeMegabytes: Long, threads: Int, files: Int)

/** One JVM that trains again and again, as a notebook's does. */
class LivesSuite extends FaultTest {
  private val mapping = "([0-9a-f]+)-[0-9a-f]+ .*".r
  private val anonymous = "Anonymous: +(\\d+) kB".r

  private def usage(): Usage = {
    System.gc()
    var (begin, kilobytes) = (0L, 0L)
    text(Paths.get("/proc/self/smaps")).linesIterator.foreach {
      case mapping(address) => begin = java.lang.Long.parseUnsignedLong(address, 16)
      // Java's heap of 1 GB has pointers of four bytes, so it lies below 4 GB, and nothing else does.
      case anonymous(size) if begin >= (1L << 32) => kilobytes += size.toLong
      case _ =>
    }
    Usage(kilobytes >> 10, names(Paths.get("/proc/self/task")).size, names(Paths.get("/proc/self/fd")).size)
  }

  test("fifty trainings: memory, threads and open files stay where they are") {
    assume(all, "fifty trainings take minutes; CAFFE_FAILURES=all runs them")
    withSpark("local[2]") { session =>
      scratch { folder =>
        val solver = smallSolver(folder, 5, hidden = 4096)
        val buffer = 13 // megabytes of its weights; a worker has several of that size
        def some(count: Int): Usage = {
          for (_ <- 1 to count) within(60)(train(session.sparkContext, solver, folder.resolve("out/m")))
          usage()
        }
        val early = some(15)
        val more = 35
        val late = some(more)
        info(s"after 15 trainings: $early, after 50: $late")
        // Java's and Spark's own numbers go up and down; something that each training leaves would add `more` of it.
        assert(late.threads <= early.threads + more / 2, s"$early $late")
        assert(late.files <= early.files + more / 2, s"$early $late")
        assert(late.nativeMegabytes <= early.nativeMegabytes + more * buffer / 2, s"$early $late")
        assert(names(folder.resolve("out")) == Set("m", "m.manifest"))
      }
    }
  }

  test("train, stop the context, train again: the same weights; two jobs at once do not disturb each other") {
    scratch { folder =>
      val solver = smallSolver(folder, 300)
      def once(name: String, sizes: Seq[Int]): Seq[Seq[AnyRef]] = withSpark("local[4]") { session =>
        val models = Future.traverse(sizes) { size =>
          val out = folder.resolve(s"$name/m$size")
          Future(blocking(train(session.sparkContext, solver, out, "-clusterSize", size.toString)._1))
        }
        Await.result(models, 120.seconds)
      }
      val Seq(two) = once("first", Seq(2))
      val Seq(one) = once("second", Seq(1))
      assert(two != one)
      assert(once("third", Seq(1, 2)) == Seq(one, two))
      assert(once("first", Seq(2)) == Seq(two)) // into the same folder
    }
  }
}
