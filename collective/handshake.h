#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace caffe {

// Why a connection is not let into the group.
enum class Verdict : uint8_t {
  kNone = 0,
  kProtocol = 1,   // what came is not this protocol
  kVersion = 2,    // another version of it
  kSecret = 3,     // the peer does not know the secret
  kEpoch = 4,      // left over from another attempt
  kWorld = 5,      // another number of ranks
  kConfig = 6,     // another network, or other wire layouts
  kTransport = 7,  // another transport
  kRank = 8,       // not the rank that it should be
  kDuplicate = 9,  // this connection stands already
};

// What all ranks of a group agree on, and who one of them is. `epoch` and `transport` have at most
// 255 bytes.
struct Identity {
  int rank = 0;
  int world = 1;
  uint64_t config_hash = 0;
  std::string epoch;
  std::string transport;
};

// What the other side says of itself; to be believed only once the handshake is done.
struct Claim : Identity {
  int to = -1;    // the rank it wants to talk to
  int lane = -1;  // 0: control connection; 1...: streams of the transport
};

// One side of a mutual challenge and response: each side gives a fresh nonce and proves, by
// HMAC-SHA256 over everything both have said, that it knows the secret. Does no input or output
// itself: the caller carries bytes.
//   dialler -> Hello(claim, nonce)            acceptor -> Challenge(claim, nonce, proof)
//   dialler -> Proof                          acceptor -> Verdict(refusal or none, proof)
class Handshake {
 public:
  // Asked for a dialler that has proved itself and fits: kNone lets it in.
  using Admit = std::function<Verdict(const Claim&)>;

  static Handshake dial(const Identity& self, const std::string& secret, int peer, int lane);
  static Handshake accept(const Identity& self, const std::string& secret, Admit admit);

  // How many bytes it wants next: reading no more leaves what follows the handshake to others.
  size_t wanted() const;
  void feed(const char* data, size_t size);
  // Bytes to be sent; the caller removes what it sent.
  std::string& output() { return output_; }
  const std::string& output() const { return output_; }

  bool finished() const { return finished_; }
  Verdict refusal() const { return refusal_; }
  // The other side knew the secret, so that what it claims is true.
  bool authentic() const { return authentic_; }
  bool has_claim() const { return has_claim_; }
  const Claim& claim() const { return claim_; }
  // One sentence without ranks and hosts: "the epochs differ: 'a' here, 'b' there".
  std::string reason() const;

 private:
  enum class Type : uint8_t { kHello = 1, kChallenge = 2, kProof = 3, kVerdict = 4 };

  Handshake(const Identity& self, const std::string& secret);
  void finish(Verdict refusal);
  void on_message(Type type, std::string_view body);
  void on_hello(std::string_view body);
  void on_challenge(std::string_view body);
  void on_proof(std::string_view body);
  void on_verdict(std::string_view body);
  bool read_claim(std::string_view& body);
  Verdict compare() const;
  std::string own_claim(int to) const;
  void send(Type type, std::string_view body);
  void record(Type type, std::string_view body);
  std::string prove(const char* role) const;
  bool proved(const char* role, std::string_view proof) const;

  Identity self_;
  std::string secret_;
  Admit admit_;    // of an acceptor
  int peer_ = -1;  // of a dialler
  int lane_ = -1;
  Type expected_ = Type::kHello;
  std::string input_;  // the message that is coming
  std::string output_;
  std::string transcript_;  // all that both sides have said
  Claim claim_;
  bool has_claim_ = false;
  bool authentic_ = false;
  bool finished_ = false;
  Verdict refusal_ = Verdict::kNone;
  int other_version_ = 0;
};

}  // namespace caffe
