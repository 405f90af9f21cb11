package com.yahoo.ml.caffe

import java.util.concurrent.{LinkedBlockingQueue, TimeUnit}

import org.scalatest.funsuite.AnyFunSuite

class ProgressChannelSuite extends AnyFunSuite {
  private val secret = Array.fill[Byte](32)(5)

  private def withServer(body: (ProgressChannel.Server, LinkedBlockingQueue[String]) => Unit): Unit = {
    val lines = new LinkedBlockingQueue[String]
    val server = ProgressChannel.Server.start("127.0.0.1", "127.0.0.1", secret, () => "40", lines.add(_)).get
    try body(server, lines)
    finally server.close()
  }

  test("lines arrive in order from whoever knows the secret") {
    withServer { (server, lines) =>
      val client = new ProgressChannel.Client(Some(server.address), secret)
      assert(client.known == "40")
      client.send("one")
      client.send("two\nlines")
      assert(lines.poll(20, TimeUnit.SECONDS) == "one" && lines.poll(20, TimeUnit.SECONDS) == "two lines")
      client.close()
    }
  }

  test("a wrong secret gets nothing through, and the next client is served") {
    withServer { (server, lines) =>
      val wrong = new ProgressChannel.Client(Some(server.address), Array.fill[Byte](32)(6))
      wrong.send("evil")
      assert(wrong.known == "")
      wrong.close()
      val right = new ProgressChannel.Client(Some(server.address), secret)
      right.send("good")
      assert(lines.poll(20, TimeUnit.SECONDS) == "good" && lines.isEmpty)
      right.close()
    }
  }

  test("a sender that is lost without a word does not keep another out") {
    withServer { (server, lines) =>
      val lost = new ProgressChannel.Client(Some(server.address), secret)
      val next = new ProgressChannel.Client(Some(server.address), secret)
      next.send("next")
      assert(lines.poll(20, TimeUnit.SECONDS) == "next")
      Seq(lost, next).foreach(_.close())
    }
  }

  test("a driver that cannot be reached is no error") {
    val gone = { var address: ProgressChannel.Address = null; withServer((server, _) => address = server.address); address }
    val client = new ProgressChannel.Client(Some(gone), secret)
    client.send("lost")
    client.close()
    new ProgressChannel.Client(None, secret).send("lost")
  }

  test("progress lines read like Caffe's numbers") {
    assert(Training.line(100, 2000, 0.3512345, 0.01, 2315.24, 3723) ==
      "Iteration 100 of 2000, loss = 0.351235, lr = 0.01, 2315.2 images/s, ETA 1:02:03")
    assert(Training.short(0) == "0" && Training.short(Double.NaN) == "NaN" && Training.short(87.3365) == "87.3365")
  }
}
