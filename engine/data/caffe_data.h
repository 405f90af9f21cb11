/* Formats from outside: how to read records that are in no store that the engine knows.
 *
 * A shared library exports one function, caffe_data_entry, and is loaded where a Data layer says
 * source_class: "libcaffe_data_NAME.so".  This header is all it needs: plain C, no library of ours.
 * docs/how-to-data-source.md walks through a complete one.
 *
 * A store is opened once in each process that reads it, and read by several threads at once. No
 * function may throw, or end the process.
 */
#ifndef CAFFE_DATA_H_
#define CAFFE_DATA_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes only where an old library could not be used any more; functions that are added at the end
 * of caffe_data_api do not change it. */
#define CAFFE_DATA_VERSION 1

/* A record. Pointers may lead into memory of the store, which then must not change, or into memory
 * that `room` gave for this record. */
typedef struct caffe_data_record {
  uint32_t size; /* of this struct */
  int32_t label;
  int32_t channels, height, width; /* of pixels and values */
  /* Exactly one of the three: */
  const uint8_t* pixels; /* channels x height x width */
  const float* values;   /* channels x height x width */
  const uint8_t* file;   /* a picture as JPEG, PNG, BMP, GIF or PNM, of file_bytes bytes */
  uint64_t file_bytes;
  /* Memory of so many bytes, aligned for floats, that lives until this record has been used. Each
   * call for one record gives the same memory, enlarged; NULL where there is no more. */
  void* (*room)(struct caffe_data_record* record, uint64_t bytes);
  void* own; /* the caller's */
} caffe_data_record;

typedef struct caffe_data_api {
  uint32_t version; /* CAFFE_DATA_VERSION */
  uint32_t size;    /* sizeof(caffe_data_api) */

  /* `source` is what the layer's data_param says. NULL where it cannot be opened, with the reason
   * in `error`. */
  void* (*open)(const char* source, char* error, uint64_t error_size);
  void (*close)(void* store);
  /* Number of records, which never changes. They are numbered from 0, the same in all processes. */
  int64_t (*count)(void* store);
  /* 0, or -1 with the reason in `error`. Called by several threads at once. */
  int (*read)(void* store, int64_t index, caffe_data_record* record, char* error,
              uint64_t error_size);
  /* The name of a record in messages and in Spark's column SampleID, terminated by 0, into `key`.
   * May be NULL: a record is then called by its number, in 8 digits. */
  void (*key)(void* store, int64_t index, char* key, uint64_t key_size);
} caffe_data_api;

/* What a library exports. */
__attribute__((visibility("default"))) const caffe_data_api* caffe_data_entry(void);

#ifdef __cplusplus
}
#endif

#endif /* CAFFE_DATA_H_ */
