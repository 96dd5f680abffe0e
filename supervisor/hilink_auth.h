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

/// Lower-case hex, for nonces.
std::string to_hex(std::string_view bytes);

}  // namespace dongle
