/* Transports from outside: how to carry the data of a group of workers by other means than TCP.
 *
 * A shared library libcaffe_transport_NAME.so exports one function, caffe_transport_entry, and is
 * loaded where a job asks for the transport NAME. This header is all it needs: plain C, no library
 * of ours. docs/how-to-transport.md walks through a complete one.
 *
 * The caller keeps heartbeats, deadlines, the news of failures and the order of operations to
 * itself: a transport only moves messages. No function may block (but for connect, and progress as
 * long as its patience lasts), throw, or end the process. One thread at a time uses a transport;
 * it need not be the same each time.
 */
#ifndef CAFFE_TRANSPORT_H_
#define CAFFE_TRANSPORT_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes only where an old library could not be used any more; functions that are added at the end
 * of caffe_transport_api do not change it. */
#define CAFFE_TRANSPORT_VERSION 1

/* A message under way. Owner of it, and of its data, is the caller, who leaves both alone until
 * done == bytes. A transport counts `done` up, at once or bit by bit, and may use `next` and `own`
 * as it likes while it has the message; after done == bytes it must not touch it any more. */
typedef struct caffe_message {
  int32_t peer; /* rank that it goes to, or comes from */
  char* data;
  uint64_t bytes;
  uint64_t done;
  struct caffe_message* next;
  void* own;
} caffe_message;

typedef struct caffe_wiring {
  uint32_t size; /* of this struct */
  int32_t rank;
  int32_t world;
  const char* const* addresses; /* of all ranks, by rank: what their `address` gave */
  /* streams_per_peer sockets to every rank, [peer * streams_per_peer + i]: connected TCP sockets,
   * non-blocking, whose other end has proved that it knows the job's secret. -1 for this rank. They
   * are the transport's now, which closes them. */
  const int* streams;
  int32_t wake;       /* a descriptor that becomes readable when waiting has become pointless */
  int64_t timeout_ms; /* for connect */
} caffe_wiring;

typedef struct caffe_transport_counters {
  uint64_t bytes_sent;
  uint64_t bytes_received;
  uint64_t nanoseconds_waited;
} caffe_transport_counters;

typedef struct caffe_transport_api {
  uint32_t version; /* CAFFE_TRANSPORT_VERSION */
  uint32_t size;    /* sizeof(caffe_transport_api) */

  /* NULL where the transport can work on this machine, else one sentence that says why not. */
  const char* (*unavailable)(void);
  /* Authenticated sockets that it wants to every peer; 0 if it finds its peers by address. */
  int32_t streams_per_peer;

  /* A transport for one rank of one group; NULL where that fails, with the reason in `error`. */
  void* (*create)(char* error, uint64_t error_size);
  void (*destroy)(void* transport);
  /* What other ranks need to reach this one: printable, at most 1000 bytes, without ';'. "" if they
   * need nothing. Lives as long as the transport. */
  const char* (*address)(void* transport);
  /* 0, or -1 with the reason in `error`. All ranks call it at about the same time. */
  int (*connect)(void* transport, const caffe_wiring* wiring, char* error, uint64_t error_size);

  /* Queue a message of at least one byte. Between two ranks, in one direction, messages arrive in
   * the order in which they were sent; the receiver asks for the same sizes. A receiver may ask
   * before or after the message has arrived. */
  void (*send)(void* transport, caffe_message* message);
  void (*receive)(void* transport, caffe_message* message);
  /* Moves what can be moved. If that is nothing, waits for it up to patience_ms, or until `wake` is
   * readable, and tries again. 1 if something moved, 0 if nothing did, -1 where a peer cannot be
   * reached any more: then *peer is its rank, and `error` says what happened. */
  int (*progress)(void* transport, int64_t patience_ms, int32_t* peer, char* error,
                  uint64_t error_size);
  void (*counters)(void* transport, caffe_transport_counters* counters);
} caffe_transport_api;

/* What the library exports. The result lives as long as the library. */
__attribute__((visibility("default"))) const caffe_transport_api* caffe_transport_entry(void);

#ifdef __cplusplus
}
#endif
#endif /* CAFFE_TRANSPORT_H_ */
