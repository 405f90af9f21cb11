#include "collective/stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace caffe {
namespace {

constexpr const char* kIdentity = "caffe collective";
constexpr size_t kRecord = 16384;  // of TLS: what one call encrypts or gives
// AES-GCM is safe for 2^24 records with one key.
constexpr uint64_t kRecordsPerKey = 1 << 18;

// OpenSSL's own socket BIO writes without MSG_NOSIGNAL.
int bio_write(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t sent = ::send(static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio))), data,
                              static_cast<size_t>(size), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(sent);
}

int bio_read(BIO* bio, char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t got = recv(static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio))), data,
                           static_cast<size_t>(size), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  return static_cast<int>(got);
}

long bio_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

BIO_METHOD* bio_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "caffe socket");
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_ctrl(made, bio_control);
    return made;
  }();
  return method;
}

unsigned copy_key(const SSL* session, unsigned char* out, unsigned room) {
  const auto& key =
      *static_cast<const std::string*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(session)));
  if (key.size() > room) return 0;
  std::memcpy(out, key.data(), key.size());
  return static_cast<unsigned>(key.size());
}

unsigned client_key(SSL* session, const char*, char* identity, unsigned identity_room,
                    unsigned char* key, unsigned room) {
  if (std::strlen(kIdentity) >= identity_room) return 0;
  std::strcpy(identity, kIdentity);
  return copy_key(session, key, room);
}

unsigned server_key(SSL* session, const char* identity, unsigned char* key, unsigned room) {
  return std::strcmp(identity, kIdentity) == 0 ? copy_key(session, key, room) : 0;
}

std::string derive_key(const std::string& secret, const std::string& epoch) {
  const std::string text = "caffe collective tls " + epoch;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  const unsigned char* made =
      HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
           reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &size);
  CAFFE_REQUIRE_CODE(made, ErrorCode::kCommunication, "OpenSSL cannot derive the key of the group");
  return std::string(reinterpret_cast<char*>(digest), size);
}

// What SSL_read and SSL_write gave, as recv and send give it.
ssize_t as_errno(SSL* session, int result) {
  if (result > 0) return result;
  const int before = errno;
  switch (SSL_get_error(session, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      errno = EAGAIN;
      return -1;
    case SSL_ERROR_ZERO_RETURN:
      return 0;
    case SSL_ERROR_SYSCALL:
      errno = before;
      return before == 0 ? 0 : -1;
    default:
      errno = EPROTO;
      return -1;
  }
}

// Part after part, until one is not moved whole.
template <typename Move>
ssize_t each_part(const iovec* parts, size_t count, const Move& move) {
  ssize_t total = 0;
  for (size_t i = 0; i < count; ++i) {
    auto* data = static_cast<char*>(parts[i].iov_base);
    for (size_t done = 0; done < parts[i].iov_len;) {
      const ssize_t moved = move(data + done, std::min(parts[i].iov_len - done, kRecord));
      if (moved <= 0) return total > 0 ? total : moved;
      total += moved;
      done += static_cast<size_t>(moved);
    }
  }
  return total;
}

}  // namespace

void TlsDeleter::operator()(ssl_st* session) const { SSL_free(session); }
void TlsDeleter::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }

Tls::Tls(const std::string& secret, const std::string& epoch)
    : key_(derive_key(secret, epoch)), context_(SSL_CTX_new(TLS_method())) {
  SSL_CTX* const context = context_.get();
  CAFFE_REQUIRE_CODE(context && SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
                         SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256") == 1,
                     ErrorCode::kCommunication, "OpenSSL offers no TLS 1.3");
  SSL_CTX_set_app_data(context, &key_);
  SSL_CTX_set_psk_client_callback(context, client_key);
  SSL_CTX_set_psk_server_callback(context, server_key);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

TlsSession Tls::begin(int fd, bool dials) const {
  TlsSession session(SSL_new(context_.get()));
  BIO* const bio = BIO_new(bio_method());
  CAFFE_REQUIRE_CODE(session && bio, ErrorCode::kCommunication, "OpenSSL cannot begin a session");
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(fd)));
  BIO_set_init(bio, 1);
  SSL_set_bio(session.get(), bio, bio);
  if (dials) {
    SSL_set_connect_state(session.get());
  } else {
    SSL_set_accept_state(session.get());
  }
  return session;
}

Shake shake(ssl_st& session) {
  ERR_clear_error();
  errno = 0;
  const int result = SSL_do_handshake(&session);
  if (result == 1) return Shake::kDone;
  return as_errno(&session, result) < 0 && errno == EAGAIN ? Shake::kGoingOn : Shake::kBroken;
}

bool wants_to_write(const ssl_st& session) { return SSL_want(&session) == SSL_WRITING; }

ssize_t Stream::send(const iovec* parts, size_t count) {
  if (session_) {
    return each_part(parts, count, [this](const char* data, size_t size) {
      ERR_clear_error();
      errno = 0;
      const int sent = SSL_write(session_.get(), data, static_cast<int>(size));
      if (sent > 0 && ++records_ % kRecordsPerKey == 0) {
        SSL_key_update(session_.get(), SSL_KEY_UPDATE_NOT_REQUESTED);
      }
      return as_errno(session_.get(), sent);
    });
  }
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = count;
  return sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t Stream::receive(const iovec* parts, size_t count) {
  if (session_) {
    return each_part(parts, count, [this](char* data, size_t size) {
      ERR_clear_error();
      errno = 0;
      return as_errno(session_.get(), SSL_read(session_.get(), data, static_cast<int>(size)));
    });
  }
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = count;
  return recvmsg(socket_.get(), &message, MSG_DONTWAIT);
}

}  // namespace caffe
