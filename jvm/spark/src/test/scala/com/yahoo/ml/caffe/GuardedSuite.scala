package com.yahoo.ml.caffe

import java.nio.file.{Files, Path}
import java.util.concurrent.atomic.AtomicInteger
import java.util.concurrent.{CountDownLatch, TimeUnit}

import org.apache.spark.TaskContext
import org.apache.spark.sql.Row

/** What the task of GuardedSuite, which runs in this process, tells it. */
private object GuardedSuite {
  @volatile var begun: Path = _
  val closed, finished = new CountDownLatch(1)
  val closedInUse, used = new AtomicInteger

  final class Model extends AutoCloseable {
    /** Goes on until the task has ended, as far as Spark is concerned, and a little longer. */
    def answer(rows: IndexedSeq[Row]): Iterator[Row] = {
      used.incrementAndGet()
      Files.createFile(begun)
      spin(30000)(TaskContext.get().isCompleted())
      spin(300)(closed.getCount == 0)
      if (closed.getCount == 0) closedInUse.incrementAndGet()
      rows.iterator
    }
    override def close(): Unit = closed.countDown()
  }

  /** Spark interrupts the thread. */
  private def spin(millis: Long)(done: => Boolean): Unit = {
    val deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(millis)
    while (!done && System.nanoTime() < deadline) Thread.onSpinWait()
  }
}

class GuardedSuite extends SparkTest {
  import GuardedSuite._

  test("a task that ends while another thread takes its rows closes what computes them after the batch, not in it") {
    scratch { folder =>
      begun = folder.resolve("begun")
      withSpark("local[1]") { session =>
        val rows = session.sparkContext.parallelize(1 to 4, 1).mapPartitions { numbers =>
          val answers = TaskRows.answered(numbers.map(Row(_)), 2)(_ => new Model)((model, batch, _) => model.answer(batch))
          // Nobody hears of an error in that thread.
          new Iterator[String] {
            override def hasNext: Boolean = try answers.hasNext catch { case e: Throwable => finished.countDown(); throw e }
            override def next(): String = answers.next().toString
          }
        }
        // A program that reads nothing, and ends in the middle of the first batch.
        val program = Seq("sh", "-c", s"for i in $$(seq 3000); do [ -e $begun ] && exit; sleep 0.01; done")
        assert(within(60)(rows.pipe(program).collect()).isEmpty)
        assert(closed.await(60, TimeUnit.SECONDS) && finished.await(60, TimeUnit.SECONDS))
        assert(closedInUse.get == 0)
        assert(used.get == 1)
      }
    }
  }
}
