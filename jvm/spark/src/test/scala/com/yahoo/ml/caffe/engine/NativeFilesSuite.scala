package com.yahoo.ml.caffe.engine

import java.net.{URL, URLClassLoader}
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.attribute.FileTime
import java.nio.file.{Files, Path}
import java.time.{Duration, Instant}
import java.util.concurrent.{Callable, Executors, TimeUnit}

import com.yahoo.ml.caffe.{Manifest, Storage}
import org.scalatest.funsuite.AnyFunSuite

import scala.jdk.CollectionConverters._

class NativeFilesSuite extends AnyFunSuite {
  /** A class loader over a folder that looks like the jar's natives. */
  private def withJar(body: (ClassLoader, Path, Path) => Unit): Unit = {
    val folder = Files.createTempDirectory("natives-test-")
    try {
      val natives = Files.createDirectories(folder.resolve("jar/native/linux-x86_64"))
      val names = Seq("libcaffeonspark.so", "libother.so.1")
      names.foreach(name => Files.write(natives.resolve(name), s"content of $name".getBytes(UTF_8)))
      val index = names.map(name => s"${Manifest.sha256(natives.resolve(name))} *$name").mkString("\n")
      Files.write(natives.resolve("index"), index.getBytes(UTF_8))
      val loader = new URLClassLoader(Array[URL](folder.resolve("jar").toUri.toURL), null)
      body(loader, natives, Files.createDirectory(folder.resolve("cache")))
      loader.close()
    } finally Storage.delete(folder)
  }

  private def names(folder: Path): Seq[String] =
    Files.list(folder).iterator.asScala.map(_.getFileName.toString).filter(_ != ".in-use").toSeq.sorted

  test("the libraries are unpacked once, under a name made of their content") {
    withJar { (loader, natives, cache) =>
      val first = NativeFiles.unpack(loader, "linux-x86_64", cache)
      assert(names(first) == Seq("libcaffeonspark.so", "libother.so.1"))
      val stamp = Files.getLastModifiedTime(first)
      assert(NativeFiles.unpack(loader, "linux-x86_64", cache) == first && Files.getLastModifiedTime(first) == stamp)
      Files.write(natives.resolve("libother.so.1"), "new".getBytes(UTF_8))
      Files.write(natives.resolve("index"), natives.toFile.listFiles.filter(_.getName.startsWith("lib"))
        .map(f => s"${Manifest.sha256(f.toPath)} *${f.getName}").mkString("\n").getBytes(UTF_8))
      assert(NativeFiles.unpack(loader, "linux-x86_64", cache) != first)
      assert(names(cache).length == 2)
    }
  }

  test("many at once end with one copy and no rubbish") {
    withJar { (loader, _, cache) =>
      val threads = Executors.newFixedThreadPool(8)
      val all = (1 to 16).map(_ => (() => NativeFiles.unpack(loader, "linux-x86_64", cache)): Callable[Path])
      val folders = threads.invokeAll(all.asJava, 60, TimeUnit.SECONDS).asScala.map(_.get).toSet
      threads.shutdown()
      assert(folders.size == 1 && names(cache).length == 1)
    }
  }

  test("folders that nobody uses any more are deleted, others are not") {
    withJar { (_, _, cache) =>
      def folder(name: String): Path = Files.createDirectory(cache.resolve(name))
      val mine = InUse.alone(folder("x-mine"))
      InUse.alone(folder("x-closed")).close()
      InUse.alone(folder("other")).close()
      folder("x-new")
      // Another process holds x-theirs until it is killed.
      val lock = s"import fcntl, time; f = open('$cache/x-theirs/.in-use', 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print('locked', flush=True); time.sleep(60)"
      folder("x-theirs")
      val holder = new ProcessBuilder("python3", "-c", lock).start()
      assert(holder.inputReader().readLine() == "locked")
      InUse.clean(cache, "x-", Duration.ZERO)
      assert(names(cache) == Seq("other", "x-mine", "x-new", "x-theirs"))
      holder.destroyForcibly().waitFor()
      InUse.clean(cache, "x-", Duration.ofDays(1))
      assert(names(cache).contains("x-theirs"))
      InUse.clean(cache, "x-", Duration.ZERO)
      assert(names(cache) == Seq("other", "x-mine", "x-new"))
      mine.close()
    }
  }

  test("a cache in a folder that others use, too, leaves what is theirs") {
    withJar { (loader, _, cache) =>
      val old = FileTime.from(Instant.now().minus(Duration.ofDays(30)))
      val theirs = Seq("pictures", "d41d8cd98f00b204e9800998ecf8427e", "caffeonspark-someone").map { name =>
        val folder = Files.createDirectory(cache.resolve(name))
        Files.createFile(folder.resolve("content"))
        Files.setLastModifiedTime(folder, old)
      }
      NativeFiles.unpack(loader, "linux-x86_64", cache)
      assert(theirs.forall(folder => Files.exists(folder.resolve("content"))))
    }
  }

  test("a damaged jar is told, and nothing stays") {
    withJar { (loader, natives, cache) =>
      Files.write(natives.resolve("libother.so.1"), "damaged".getBytes(UTF_8))
      val error = intercept[java.io.IOException](NativeFiles.unpack(loader, "linux-x86_64", cache))
      assert(error.getMessage.contains("the jar is damaged: native/linux-x86_64/libother.so.1"))
      assert(names(cache).isEmpty)
    }
  }

  test("a jar without natives, an empty override and another machine are told apart") {
    withJar { (_, _, cache) =>
      val empty = new URLClassLoader(Array.empty[URL], null)
      assert(intercept[UnsatisfiedLinkError](NativeFiles.unpack(empty, "linux-x86_64", cache)).getMessage
        .contains("no native/linux-x86_64/libcaffeonspark.so"))
      assert(intercept[UnsatisfiedLinkError](NativeFiles.locate(empty, cache.toString)).getMessage
        .contains("holds no libcaffeonspark.so"))
      assert(intercept[UnsatisfiedLinkError](NativeFiles.platform("Mac OS X", "aarch64")).getMessage
        .contains("Linux on x86_64; this JVM runs on Mac OS X on aarch64"))
    }
  }
}
