package com.yahoo.ml.caffe

import java.nio.file.Files
import java.util.concurrent.{Callable, Executors, TimeUnit}

class TemporaryFolderSuite extends SparkTest {
  test("tasks that begin and end at the same time leave each other's folders alone") {
    val root = Files.createTempDirectory("folders")
    def task(): Unit = for (_ <- 1 to 200) {
      val folder = new TemporaryFolder(root)
      for (i <- 1 to 5) Files.createFile(Files.createDirectory(folder.path.resolve(s"$i")).resolve("file"))
      folder.close()
    }
    val threads = Executors.newFixedThreadPool(4)
    try {
      val all = (1 to 4).map(_ => threads.submit((() => task()): Callable[Unit]))
      all.foreach(_.get(60, TimeUnit.SECONDS))
      assert(names(root).isEmpty)
    } finally {
      threads.shutdownNow()
      threads.awaitTermination(60, TimeUnit.SECONDS)
      Storage.delete(root)
    }
  }
}
