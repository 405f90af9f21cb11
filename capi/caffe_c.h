/* The C ABI of the engine: all that a JVM, or any other language, calls.
 *
 * Every function that can fail returns 0, or a code of caffe_status; caffe_last_error() then holds
 * the message of this thread. No function lets a C++ exception out, calls exit, or writes to
 * stdout. Handles are freed by the function named *_free, which takes NULL. Unless it says
 * otherwise a handle is used by one thread at a time; the *_cancel and *_abort functions may be
 * called from any thread.
 *
 * Options are text, one "key=value" a line, so that keys can be added without breaking callers; an
 * unknown key is an error that names it. Messages are the serialised protobuf messages of
 * engine/proto/caffe.proto.
 */
#ifndef CAFFE_C_H_
#define CAFFE_C_H_

#include <stddef.h>
#include <stdint.h>

#define CAFFE_C_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

enum caffe_status {
  CAFFE_OK = 0,
  CAFFE_INVALID_ARGUMENT = 1, /* configuration, shape or call is wrong */
  CAFFE_IO = 2,               /* a file cannot be read or written */
  CAFFE_DATA = 3,             /* a file was read and its content is wrong */
  CAFFE_COMMUNICATION = 4,    /* a peer is gone, late, or not who it should be */
  CAFFE_CANCELLED = 5,
  CAFFE_INTERNAL = 6
};

typedef struct caffe_strings caffe_strings; /* an immutable list of strings */
typedef struct caffe_outputs caffe_outputs; /* named arrays of float */
typedef struct caffe_source caffe_source;   /* records of an LMDB or LevelDB */
typedef struct caffe_rows caffe_rows;       /* a file of rows in the making */
typedef struct caffe_comm caffe_comm;       /* one rank of a group of workers */
typedef struct caffe_solver caffe_solver;
typedef struct caffe_net caffe_net;
typedef struct caffe_transformer caffe_transformer; /* makes rows of a net's input of pictures */
typedef struct caffe_image caffe_image;             /* a decoded picture */

/* ---- library ---- */
CAFFE_C_API const char* caffe_version(void);
CAFFE_C_API const char* caffe_last_error(void); /* of this thread; "" when there was none */
typedef void (*caffe_log_fn)(int severity, const char* file, int line, const char* text,
                             void* user);
CAFFE_C_API void caffe_set_log(caffe_log_fn function, void* user); /* NULL: stderr again */

/* ---- values ---- */
CAFFE_C_API size_t caffe_strings_size(const caffe_strings* strings);
CAFFE_C_API const char* caffe_strings_at(const caffe_strings* strings, size_t index);
CAFFE_C_API void caffe_strings_free(caffe_strings* strings);
CAFFE_C_API size_t caffe_outputs_size(const caffe_outputs* outputs);
CAFFE_C_API const char* caffe_outputs_name(const caffe_outputs* outputs, size_t index);
CAFFE_C_API size_t caffe_outputs_count(const caffe_outputs* outputs, size_t index);
CAFFE_C_API const float* caffe_outputs_values(const caffe_outputs* outputs, size_t index);
CAFFE_C_API void caffe_outputs_free(caffe_outputs* outputs);

/* ---- messages ----
 * Parses the text of a "net" or a "solver", upgrades what older Caffe versions wrote, and gives the
 * serialised message. `name` stands for the file in errors ("name:line:column: ..."). Free with
 * caffe_bytes_free. */
CAFFE_C_API int caffe_parse_text(const char* kind, const char* text, const char* name,
                                 uint8_t** bytes, size_t* size);
CAFFE_C_API void caffe_bytes_free(uint8_t* bytes);

/* ---- records ----
 * backend: "LMDB" or "LEVELDB". Records are numbered in key order. Thread-safe once open. */
CAFFE_C_API int caffe_source_open(const char* backend, const char* path, caffe_source** source);
CAFFE_C_API int64_t caffe_source_size(const caffe_source* source);
typedef struct {
  const char* key; /* not terminated; both views live as long as the source */
  size_t key_size;
  int32_t channels, height, width, label, encoded;
  const uint8_t* data; /* C x H x W bytes, or an encoded image; NULL for float records */
  size_t data_size;
} caffe_record;
CAFFE_C_API int caffe_source_read(const caffe_source* source, int64_t index, caffe_record* record);
CAFFE_C_API void caffe_source_free(caffe_source* source);

/* ---- rows ----
 * A file of rows (engine/data/row_file.h describes its bytes) that MemoryData and CoSData layers
 * read: through their `source`, or through caffe_net_feed. `name` stands for the rows in messages.
 * append takes whole rows back to back; finish writes the index, and gives the number of rows. */
CAFFE_C_API int caffe_rows_create(const char* path, const char* name, caffe_rows** rows);
CAFFE_C_API int caffe_rows_append(caffe_rows* rows, const uint8_t* bytes, size_t size);
CAFFE_C_API int caffe_rows_finish(caffe_rows* rows, int64_t* count);
CAFFE_C_API void caffe_rows_free(caffe_rows* rows);

/* ---- a group of workers ----
 * create listens and gives this rank's address, an opaque string to be gathered over all ranks.
 * connect makes the full mesh: every pair proves that it knows the secret (HMAC-SHA256 both ways)
 * and agrees on world size, epoch (a fresh text per attempt) and config_hash
 * (caffe_solver_config_hash). It fails within timeout_ms, naming rank and host. Options of create,
 * which must be equal on all ranks but for the first:
 *   interface      an address, a host name or a device name; "" (default) chooses
 *   transport      how data travels: tcp (default), or NAME for libcaffe_transport_NAME.so
 *   transport_path folders in which that is looked for, separated by ':'; then come those of
 *                  CAFFE_TRANSPORT_PATH and the system's
 *   wire           float32 (default), or bf16: gradients are rounded to bfloat16 at every hop, sums
 *                  are float32, half the bytes travel
 *   encrypt        1: all connections are TLS 1.3, with a key made of the secret (0)
 *   share_memory   0: ranks of one host use TCP, too, in place of memory that both map (1); with
 *                  transport tcp and without encrypt
 *   heartbeat_ms   pause between heartbeats (1000)
 *   silence_ms     a rank without heartbeats is dead after it (25000)
 *   progress_ms    an operation in which nothing moves is given up after it (600000)
 */
CAFFE_C_API int caffe_comm_create(const char* options, caffe_comm** comm);
CAFFE_C_API const char* caffe_comm_address(const caffe_comm* comm);
CAFFE_C_API int caffe_comm_connect(caffe_comm* comm, int rank, int world,
                                   const char* const* addresses, const uint8_t* secret,
                                   size_t secret_size, const char* epoch, uint64_t config_hash,
                                   int64_t timeout_ms);
/* Any thread: every wait of every rank ends with an error that carries `reason`. */
CAFFE_C_API void caffe_comm_abort(caffe_comm* comm, const char* reason);
CAFFE_C_API void caffe_comm_free(caffe_comm* comm);

/* ---- training ----
 * solver: a SolverParameter with net_param (or net, a local path). Options:
 *   rank, world       this worker among N (default 0 of 1)
 *   threads           OpenMP threads (default 0: as many as the process may use)
 *   weights           comma-separated .caffemodel[.h5] files to start from
 *   state             .solverstate[.h5] to resume from; with weights, those replace its learned_net
 *   continue_data     1: the record position goes on where the state stopped; 0 (default): at
 *                     record 0, as Caffe
 *   first_batch       with continue_data: batches of this rank before it, where the number of ranks
 *                     has changed since the state was written
 *   shuffle           1: each epoch is a new permutation of the records
 *   seed              overrides random_seed
 *   resize            1: images of rows are resized to the size that their layer gives
 *   data_threads      threads that decode and transform, for each data layer (default 1)
 *   memory_limit      bytes that the training net's blobs may take; where they need more, parts of
 *                     it run forward again on the way back (default 0: no limit)
 *   precision         f32 or bf16: what all nets compute in (default: the solver's own). With bf16
 *                     activations, their gradients and weights that are multiplied are rounded to
 *                     bfloat16; parameters, their gradients and snapshots are float32. An error on
 *                     a processor without bf16
 */
CAFFE_C_API int caffe_solver_create(const uint8_t* solver, size_t size, const char* options,
                                    caffe_solver** handle);
/* Parameter names, shapes and wire layouts; equal on all ranks of a group. */
CAFFE_C_API uint64_t caffe_solver_config_hash(const caffe_solver* solver);
/* The solver uses comm, which must outlive it, from now on. Rank 0's parameters are sent to all. A
 * solver joins one group, once. */
CAFFE_C_API int caffe_solver_set_comm(caffe_solver* solver, caffe_comm* comm);
CAFFE_C_API int64_t caffe_solver_iter(const caffe_solver* solver);
CAFFE_C_API int64_t caffe_solver_max_iter(const caffe_solver* solver);
typedef struct {
  int64_t iter;         /* updates done */
  double loss;          /* of the last iteration, averaged over the ranks */
  double smoothed_loss; /* over average_loss iterations */
  double learning_rate; /* of the last update */
  double seconds;       /* of this call */
  double data_seconds;  /* of which waiting for data */
  double comm_seconds;  /* of which waiting for other ranks */
  int64_t records;      /* consumed by this rank in this call */
} caffe_progress;
/* `iterations` updates; no tests, no snapshots. Collective: all ranks call it with the same number.
 */
CAFFE_C_API int caffe_solver_step(caffe_solver* solver, int64_t iterations,
                                  caffe_progress* progress);
CAFFE_C_API int caffe_solver_test_nets(const caffe_solver* solver);
/* One validation round of test net `index`: its test_iter batches in total, shared over the ranks;
 * outputs averaged. Collective; every rank gets the same outputs. */
CAFFE_C_API int caffe_solver_test(caffe_solver* solver, int index, caffe_outputs** outputs);
/* Names of the outputs of test net `index`, in order. */
CAFFE_C_API int caffe_solver_test_output_names(const caffe_solver* solver, int index,
                                               caffe_strings** names);
/* Of an iteration so far, for each layer of the training net in order: its name and type, and the
 * seconds of its forward and its backward pass. A fused layer's are those of the layer that it runs
 * with. Free with caffe_outputs_free. */
CAFFE_C_API int caffe_solver_layer_times(const caffe_solver* solver, caffe_outputs** times);
/* Workers share updates out, and what an update remembers with them: a rank has all of the state
 * only after an iteration for which some rank asked for it. After this call the caller's next step
 * does so for its last iteration. Not collective. A solver that works alone always has its state.
 */
CAFFE_C_API int caffe_solver_keep_state(caffe_solver* solver);
/* Writes the weights to model_path and, unless state_path is NULL, the state, whose learned_net is
 * then `learned_net`. With several workers a state needs caffe_solver_keep_state. Each file by
 * temporary name and rename. The format follows solver.snapshot_format. */
CAFFE_C_API int caffe_solver_snapshot(caffe_solver* solver, const char* model_path,
                                      const char* state_path, const char* learned_net);
/* Any thread: the running step or test, and all later ones, end with CAFFE_CANCELLED. */
CAFFE_C_API void caffe_solver_cancel(caffe_solver* solver);
CAFFE_C_API void caffe_solver_free(caffe_solver* solver);

/* ---- inference ----
 * net: a NetParameter; its layers are filtered for `phase` (0 TRAIN, 1 TEST). Options:
 *   weights    comma-separated .caffemodel[.h5] files
 *   threads    OpenMP threads (default 0: as many as the process may use)
 *   begin,end  the records [begin, end) of the data layers, each once; the last batch has its true
 *              size
 *   feed       1: layers that read rows get them from caffe_net_feed
 *   resize     1: images of rows are resized to the size that their layer gives
 *   observe    comma-separated blobs that will be read, beside the outputs
 *   stages     comma-separated NetState stages;  level  NetState level
 *   data_threads  threads that decode and transform, for each data layer (default 1)
 *   precision  f32 (default) or bf16, as for solvers; what is read is float32
 */
CAFFE_C_API int caffe_net_create(const uint8_t* net, size_t size, int phase, const char* options,
                                 caffe_net** handle);
CAFFE_C_API int caffe_net_output_names(const caffe_net* net, caffe_strings** names);
CAFFE_C_API int caffe_net_blob_names(const caffe_net* net, caffe_strings** names);
/* A net created with feed=1: the next batches hold the rows of a finished file, each once, through
 * the layer with this name. Several layers are fed with equally many rows each. *count, unless
 * NULL, becomes their number. The file may be removed once all its rows were answered. */
CAFFE_C_API int caffe_net_feed(caffe_net* net, const char* layer, const char* path, int64_t* count);
/* Runs the next batch. *rows is its number of records, 0 after the last one. */
CAFFE_C_API int caffe_net_forward(caffe_net* net, int64_t* rows);
/* Keys of the records of the last batch, in row order. */
CAFFE_C_API int caffe_net_record_keys(const caffe_net* net, caffe_strings** keys);
/* Number of values of a blob after the last forward. */
CAFFE_C_API int caffe_net_blob_count(const caffe_net* net, const char* blob, int64_t* count);
/* Copies a blob, row-major, into `values`, which has room for `capacity` floats. */
CAFFE_C_API int caffe_net_blob_read(caffe_net* net, const char* blob, float* values,
                                    int64_t capacity);
CAFFE_C_API void caffe_net_cancel(caffe_net* net);
CAFFE_C_API void caffe_net_free(caffe_net* net);
/* Blobs that Input layers give, in order: those that the caller fills. */
CAFFE_C_API int caffe_net_input_names(const caffe_net* net, caffe_strings** names);
/* Extents of a blob, with the inputs as they were set last; `dims` has room for `capacity` of
 * them. */
CAFFE_C_API int caffe_net_blob_shape(caffe_net* net, const char* blob, int64_t* dims, int capacity,
                                     int* axes);
/* Copies `values`, row-major and of this shape, into an input; the net takes the shape on. */
CAFFE_C_API int caffe_net_set_input(caffe_net* net, const char* blob, const int64_t* dims, int axes,
                                    const float* values);
/* From now on `net` uses the parameters of `other`, layer by layer of the same name. The nets may
 * then run at the same time on threads of their own, and be freed in any order. While this runs,
 * nobody else shares with or frees `other`. */
CAFFE_C_API int caffe_net_share(caffe_net* net, caffe_net* other);

/* ---- pictures ----
 * param: a TransformationParameter. Options: channels (0: as stored; 1, 3), height and width (0: as
 * they are; else pictures are resized to them before they are cropped). Crops are central. Every
 * function writes channels x height x width floats to `out`, which must be `expected`; errors say
 * what was found in the picture. Thread-safe but for one call at a time per handle. */
CAFFE_C_API int caffe_transformer_create(const uint8_t* param, size_t size, const char* options,
                                         caffe_transformer** transformer);
/* What a record of the extents `in` (channels, height, width) becomes. */
CAFFE_C_API int caffe_transformer_output(const caffe_transformer* transformer, const int32_t in[3],
                                         int32_t out[3]);
/* A JPEG, PNG, BMP, GIF or PNM file. */
CAFFE_C_API int caffe_transformer_encoded(caffe_transformer* transformer, const uint8_t* bytes,
                                          size_t size, const int32_t expected[3], float* out);
/* height x width x channels bytes, colours in the order blue, green, red(, alpha). */
CAFFE_C_API int caffe_transformer_pixels(caffe_transformer* transformer, const uint8_t* bytes,
                                         size_t size, const int32_t extents[3],
                                         const int32_t expected[3], float* out);
/* channels x height x width numbers; they are not resized. */
CAFFE_C_API int caffe_transformer_values(caffe_transformer* transformer, const float* values,
                                         size_t size, const int32_t extents[3],
                                         const int32_t expected[3], float* out);
CAFFE_C_API void caffe_transformer_free(caffe_transformer* transformer);

/* A picture by itself: height x width x channels bytes, as above. channels: 0 as stored, 1, 3. */
CAFFE_C_API int caffe_image_decode(const uint8_t* bytes, size_t size, int channels,
                                   caffe_image** image);
CAFFE_C_API int caffe_image_resize(const uint8_t* pixels, size_t size, const int32_t extents[3],
                                   int32_t height, int32_t width, caffe_image** image);
/* The bytes, until caffe_image_free; extents gets channels, height, width. */
CAFFE_C_API const uint8_t* caffe_image_pixels(const caffe_image* image, int32_t extents[3]);
CAFFE_C_API void caffe_image_free(caffe_image* image);

#ifdef __cplusplus
}
#endif
#endif /* CAFFE_C_H_ */
