package com.yahoo.ml.caffe

import java.io.IOException
import java.net.{ConnectException, URI}
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.StandardOpenOption.{APPEND, CREATE}
import java.nio.file.{Files, Paths}

import org.apache.hadoop.conf.Configuration
import org.apache.hadoop.fs.{FSDataInputStream, FSDataOutputStream, FSInputStream, FileStatus, Path, RawLocalFileSystem}
import org.apache.hadoop.util.Progressable

/**
 * Files of this machine by the scheme `remote`, so that nothing takes them for local ones. Each file opened is a line of
 * the file fs.remote.log; fs.remote.cut: bytes after which reading fails; fs.remote.stall: bytes after which it hangs;
 * fs.remote.length: what it says the length of files is; fs.remote.away: while this file is there, no file can be made, and
 * each try is a line of the log; fs.remote.keep: folders cannot be deleted.
 */
class RemoteFileSystem extends RawLocalFileSystem {
  override def getUri: URI = URI.create("remote://host")

  override def getScheme: String = "remote"

  override def open(path: Path, bufferSize: Int): FSDataInputStream = {
    Files.write(Paths.get(getConf.get("fs.remote.log")), s"${path.getName}\n".getBytes(UTF_8), CREATE, APPEND)
    new FSDataInputStream(new RemoteFileSystem.Faulty(super.open(path, bufferSize), getConf))
  }

  override def create(path: Path, overwrite: Boolean, buffer: Int, replication: Short, block: Long, progress: Progressable)
      : FSDataOutputStream = {
    if (Option(getConf.get("fs.remote.away")).exists(file => Files.exists(Paths.get(file)))) {
      Files.write(Paths.get(getConf.get("fs.remote.log")), s"away: ${path.getName}\n".getBytes(UTF_8), CREATE, APPEND)
      throw new ConnectException("the file system is away")
    }
    super.create(path, overwrite, buffer, replication, block, progress)
  }

  override def delete(path: Path, recursive: Boolean): Boolean = {
    if (recursive && getConf.getBoolean("fs.remote.keep", false)) throw new ConnectException("the file system is away")
    super.delete(path, recursive)
  }

  override def listStatus(path: Path): Array[FileStatus] =
    super.listStatus(path).map { status =>
      val length = getConf.getLong("fs.remote.length", status.getLen)
      new FileStatus(length, status.isDirectory, 1, 1 << 20, status.getModificationTime, status.getPath)
    }
}

object RemoteFileSystem {
  def settings(log: String): Seq[(String, String)] = Seq("fs.remote.impl" -> classOf[RemoteFileSystem].getName,
    "fs.remote.impl.disable.cache" -> "true", "fs.remote.log" -> log)

  def storage(log: String, more: (String, String)*): Storage = {
    val conf = new Configuration()
    (settings(log) ++ more).foreach { case (key, value) => conf.set(key, value) }
    new Storage(conf)
  }

  private final class Faulty(in: FSDataInputStream, conf: Configuration) extends FSInputStream {
    private val cut = conf.getLong("fs.remote.cut", Long.MaxValue)
    private val stall = conf.getLong("fs.remote.stall", Long.MaxValue)

    override def read(): Int = {
      val one = new Array[Byte](1)
      if (read(one, 0, 1) < 0) -1 else one(0) & 0xff
    }

    override def read(to: Array[Byte], offset: Int, length: Int): Int = {
      if (getPos >= cut) throw new IOException("the connection broke")
      while (getPos >= stall) Thread.sleep(1000)
      in.read(to, offset, math.min(length.toLong, math.min(cut, stall) - getPos).toInt)
    }

    override def getPos: Long = in.getPos
    override def seek(position: Long): Unit = in.seek(position)
    override def seekToNewSource(position: Long): Boolean = false
    override def close(): Unit = in.close()
  }
}

/** A process that opens a copy and then never ends. */
object CopyingProcess {
  def main(args: Array[String]): Unit = {
    val Array(root, path, log, stall, patienceMillis) = args
    val storage = RemoteFileSystem.storage(log, "fs.remote.stall" -> stall)
    new HostCache(Paths.get(root), keep = false, patienceMillis.toLong).open(storage, RemoteFiles.list(storage, new Path(path), "LMDB"))
    println("opened")
    Thread.sleep(Long.MaxValue)
  }
}
