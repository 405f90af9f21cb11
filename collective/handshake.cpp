#include "collective/handshake.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace caffe {
namespace {

// A header is magic (4), version (2), type (1), zero (1), length of the body (2); little endian.
constexpr std::string_view kMagic = "CFCO";
constexpr int kVersion = 1;
constexpr size_t kHeaderBytes = 10;
constexpr size_t kMaxBody = 1024;
constexpr size_t kNonceBytes = 32;
constexpr size_t kProofBytes = 32;
constexpr const char* kAcceptor = "caffe collective 1 acceptor";
constexpr const char* kDialler = "caffe collective 1 dialler";
constexpr const char* kJudge = "caffe collective 1 verdict";

void put(std::string& out, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

uint64_t get(std::string_view in, size_t at, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) {
    value |= static_cast<uint64_t>(static_cast<unsigned char>(in[at + i])) << (8 * i);
  }
  return value;
}

bool take(std::string_view& in, size_t bytes, std::string_view& taken) {
  if (in.size() < bytes) return false;
  taken = in.substr(0, bytes);
  in.remove_prefix(bytes);
  return true;
}

bool take_number(std::string_view& in, size_t bytes, uint64_t& value) {
  std::string_view taken;
  if (!take(in, bytes, taken)) return false;
  value = get(taken, 0, bytes);
  return true;
}

bool take_text(std::string_view& in, std::string& text) {
  uint64_t length = 0;
  std::string_view taken;
  if (!take_number(in, 1, length) || !take(in, length, taken)) return false;
  text = taken;
  return true;
}

std::string hex(uint64_t value) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text(16, '0');
  for (size_t i = 0; i < 16; ++i) text[15 - i] = kDigits[(value >> (4 * i)) & 15];
  return text;
}

// Text of a peer goes into messages: nothing but plain characters.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c >= ' ' && c <= '~' ? c : '?';
  return out + "'";
}

}  // namespace

Handshake::Handshake(const Identity& self, const std::string& secret)
    : self_(self), secret_(secret) {}

Handshake Handshake::dial(const Identity& self, const std::string& secret, int peer, int lane) {
  Handshake handshake(self, secret);
  handshake.peer_ = peer;
  handshake.lane_ = lane;
  handshake.expected_ = Type::kChallenge;
  const std::string hello = handshake.own_claim(peer);
  handshake.record(Type::kHello, hello);
  handshake.send(Type::kHello, hello);
  return handshake;
}

Handshake Handshake::accept(const Identity& self, const std::string& secret, Admit admit) {
  Handshake handshake(self, secret);
  handshake.admit_ = std::move(admit);
  handshake.expected_ = Type::kHello;
  return handshake;
}

std::string Handshake::own_claim(int to) const {
  std::string body;
  put(body, self_.rank, 4);
  put(body, to, 4);
  put(body, self_.world, 4);
  put(body, lane_, 4);
  put(body, self_.config_hash, 8);
  unsigned char nonce[kNonceBytes];
  CAFFE_REQUIRE_CODE(RAND_bytes(nonce, sizeof(nonce)) == 1, ErrorCode::kCommunication,
                     "OpenSSL has no random numbers for the handshake");
  body.append(reinterpret_cast<char*>(nonce), sizeof(nonce));
  for (const std::string* text : {&self_.epoch, &self_.transport}) {
    put(body, text->size(), 1);
    body += *text;
  }
  return body;
}

void Handshake::send(Type type, std::string_view body) {
  std::string message(kMagic);
  put(message, kVersion, 2);
  put(message, static_cast<uint8_t>(type), 1);
  put(message, 0, 1);
  put(message, body.size(), 2);
  output_ += message;
  output_ += body;
}

size_t Handshake::wanted() const {
  if (finished_) return 0;
  if (input_.size() < kHeaderBytes) return kHeaderBytes - input_.size();
  return kHeaderBytes + get(input_, 8, 2) - input_.size();
}

void Handshake::feed(const char* data, size_t size) {
  while (size > 0 && !finished_) {
    const size_t step = std::min(size, wanted());
    input_.append(data, step);
    data += step;
    size -= step;
    // A stranger is known by its first bytes: it is not waited for.
    if (std::string_view(input_).substr(0, kMagic.size()) != kMagic.substr(0, input_.size())) {
      return finish(Verdict::kProtocol);
    }
    if (input_.size() < kHeaderBytes) continue;
    const int version = static_cast<int>(get(input_, 4, 2));
    if (version != kVersion) {
      other_version_ = version;
      // The header alone tells the other side our version.
      if (expected_ == Type::kHello) send(Type::kVerdict, "");
      return finish(Verdict::kVersion);
    }
    const auto type = static_cast<Type>(get(input_, 6, 1));
    if (type != expected_ || input_[7] != 0 || get(input_, 8, 2) > kMaxBody) {
      return finish(Verdict::kProtocol);
    }
    if (wanted() > 0) continue;
    const std::string message = std::exchange(input_, "");
    on_message(type, std::string_view(message).substr(kHeaderBytes));
  }
}

void Handshake::on_message(Type type, std::string_view body) {
  switch (type) {
    case Type::kHello:
      return on_hello(body);
    case Type::kChallenge:
      return on_challenge(body);
    case Type::kProof:
      return on_proof(body);
    case Type::kVerdict:
      return on_verdict(body);
  }
}

bool Handshake::read_claim(std::string_view& body) {
  uint64_t rank = 0, to = 0, world = 0, lane = 0;
  std::string_view nonce;
  if (!take_number(body, 4, rank) || !take_number(body, 4, to) || !take_number(body, 4, world) ||
      !take_number(body, 4, lane) || !take_number(body, 8, claim_.config_hash) ||
      !take(body, kNonceBytes, nonce) || !take_text(body, claim_.epoch) ||
      !take_text(body, claim_.transport)) {
    return false;
  }
  claim_.rank = static_cast<int32_t>(rank);
  claim_.to = static_cast<int32_t>(to);
  claim_.world = static_cast<int32_t>(world);
  claim_.lane = static_cast<int32_t>(lane);
  has_claim_ = true;
  return true;
}

void Handshake::on_hello(std::string_view body) {
  record(Type::kHello, body);
  if (!read_claim(body) || !body.empty()) return finish(Verdict::kProtocol);
  lane_ = claim_.lane;
  const std::string said = own_claim(claim_.rank);
  record(Type::kChallenge, said);
  send(Type::kChallenge, said + prove(kAcceptor));
  expected_ = Type::kProof;
}

void Handshake::on_challenge(std::string_view body) {
  if (body.size() < kProofBytes) return finish(Verdict::kProtocol);
  std::string_view said = body.substr(0, body.size() - kProofBytes);
  const std::string_view proof = body.substr(said.size());
  record(Type::kChallenge, said);
  if (!read_claim(said) || !said.empty()) return finish(Verdict::kProtocol);
  authentic_ = proved(kAcceptor, proof);
  const Verdict found = authentic_ ? compare() : Verdict::kSecret;
  // The proof goes out even where the groups do not fit, so that the other side can say why, too.
  const std::string own = prove(kDialler);
  send(Type::kProof, own);
  record(Type::kProof, own);
  expected_ = Type::kVerdict;
  if (found != Verdict::kNone) finish(found);
}

void Handshake::on_proof(std::string_view body) {
  authentic_ = proved(kDialler, body);
  Verdict verdict = authentic_ ? compare() : Verdict::kSecret;
  if (verdict == Verdict::kNone) verdict = admit_(claim_);
  record(Type::kProof, body);
  const std::string said(1, static_cast<char>(verdict));
  record(Type::kVerdict, said);
  send(Type::kVerdict, said + prove(kJudge));
  finish(verdict);
}

void Handshake::on_verdict(std::string_view body) {
  if (body.size() != 1 + kProofBytes) return finish(Verdict::kProtocol);
  record(Type::kVerdict, body.substr(0, 1));
  if (!proved(kJudge, body.substr(1))) return finish(Verdict::kSecret);
  const auto code = static_cast<uint8_t>(body[0]);
  finish(code <= static_cast<uint8_t>(Verdict::kDuplicate) ? static_cast<Verdict>(code)
                                                           : Verdict::kProtocol);
}

Verdict Handshake::compare() const {
  // Epoch first: a rank of another attempt may differ in all the rest.
  if (claim_.epoch != self_.epoch) return Verdict::kEpoch;
  if (claim_.world != self_.world) return Verdict::kWorld;
  if (claim_.config_hash != self_.config_hash) return Verdict::kConfig;
  if (claim_.transport != self_.transport) return Verdict::kTransport;
  const bool in_range = claim_.rank >= 0 && claim_.rank < self_.world && claim_.rank != self_.rank;
  if (!in_range || claim_.to != self_.rank || claim_.lane != lane_ ||
      (peer_ >= 0 && claim_.rank != peer_)) {
    return Verdict::kRank;
  }
  return Verdict::kNone;
}

void Handshake::record(Type type, std::string_view body) {
  put(transcript_, static_cast<uint8_t>(type), 1);
  put(transcript_, body.size(), 2);
  transcript_ += body;
}

std::string Handshake::prove(const char* role) const {
  const std::string text = role + transcript_;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  const unsigned char* result =
      HMAC(EVP_sha256(), secret_.data(), static_cast<int>(secret_.size()),
           reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &size);
  CAFFE_REQUIRE_CODE(result && size == kProofBytes, ErrorCode::kCommunication,
                     "OpenSSL cannot compute HMAC-SHA256 for the handshake");
  return std::string(reinterpret_cast<char*>(digest), size);
}

bool Handshake::proved(const char* role, std::string_view proof) const {
  const std::string expected = prove(role);
  return proof.size() == expected.size() &&
         CRYPTO_memcmp(proof.data(), expected.data(), expected.size()) == 0;
}

void Handshake::finish(Verdict refusal) {
  refusal_ = refusal;
  finished_ = true;
}

std::string Handshake::reason() const {
  switch (refusal_) {
    case Verdict::kNone:
      return "none";
    case Verdict::kProtocol:
      return "what it sent is not the protocol of this program";
    case Verdict::kVersion:
      return concat("the protocol versions differ: ", kVersion, " here, ", other_version_,
                    " there; install the same release everywhere");
    case Verdict::kSecret:
      return "the secrets differ";
    case Verdict::kEpoch:
      return concat("the epochs differ: ", quoted(self_.epoch), " here, ", quoted(claim_.epoch),
                    " there; one of the two is left over from another attempt");
    case Verdict::kWorld:
      return concat("the world sizes differ: ", self_.world, " here, ", claim_.world, " there");
    case Verdict::kConfig:
      return concat("the configurations differ: hash ", hex(self_.config_hash), " here, ",
                    hex(claim_.config_hash), " there; all ranks need the same network");
    case Verdict::kTransport:
      return concat("the transports differ: ", quoted(self_.transport), " here, ",
                    quoted(claim_.transport), " there");
    case Verdict::kRank:
      return concat("the ranks do not fit: rank ", claim_.rank, " talks to rank ", claim_.to,
                    " where this is rank ", self_.rank,
                    peer_ >= 0 ? concat(" and expected rank ", peer_) : "",
                    "; the list of addresses is in another order");
    case Verdict::kDuplicate:
      return "the same rank is connected already; two processes were given one rank";
  }
  return "unknown";
}

}  // namespace caffe
