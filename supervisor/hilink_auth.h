#pragma once
#include <string>
#include <string_view>

#include "common/error.h"

namespace dongle {

// What a HiLink modem wants to see instead of the password. Pure: nonces and tokens come from the caller.

/// password_type 0 and 3.
std::string hilink_password_base64(std::string_view password);

/// password_type 4. token: the one that goes along in the request's header.
std::string hilink_password_sha256(std::string_view user, std::string_view password, std::string_view token);

/// What challenge_login answered, and the nonce (64 hex digits) it answered to.
struct ScramChallenge {
  std::string first_nonce;
  std::string server_nonce;
  std::string salt_hex;
  int iterations = 0;
};

/// extern_password_type 1: clientproof for authentication_login, 64 hex digits.
/// Protocol: the salt isn't hex, the server's nonce doesn't begin with ours, or iterations aren't in 1..10000 (modems
/// use 100; what is computed here is computed on the event loop).
Result<std::string> hilink_scram_proof(std::string_view password, const ScramChallenge& challenge);

/// What webserver/publickey says: modulus and exponent in hex.
struct RsaPublicKey {
  std::string n_hex;
  std::string e_hex;
};

/// The body of an encrypted post: hex of the RSA blocks over base64(xml). Differs each time: the padding is random.
/// Protocol: not a usable key (1024 to 4096 bits).
Result<std::string> hilink_encrypt(std::string_view xml, const RsaPublicKey& key, bool is_oaep);

/// Lower-case hex, for nonces.
std::string to_hex(std::string_view bytes);

}  // namespace dongle
