#include "supervisor/hilink_auth.h"

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

namespace dongle {
namespace {

using Digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;

const unsigned char* data_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
std::string_view view_of(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

Digest sha256(std::string_view text) {
  Digest out;
  SHA256(data_of(text), text.size(), out.data());
  return out;
}

Digest hmac_sha256(std::string_view key, std::string_view message) {
  Digest out;
  unsigned int length = 0;
  CHECK(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), data_of(message), message.size(), out.data(),
             &length) != nullptr);
  return out;
}

std::string base64(std::string_view text) {
  std::string out(4 * ((text.size() + 2) / 3), '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), data_of(text), static_cast<int>(text.size()));
  return out;
}

std::optional<std::string> from_hex(std::string_view hex) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  if (hex.empty() || hex.size() % 2 != 0) return std::nullopt;
  std::string out;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const int high = digit(hex[i]), low = digit(hex[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high * 16 + low);
  }
  return out;
}

}  // namespace

std::string to_hex(std::string_view bytes) {
  std::string out;
  for (char c : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}

std::string hilink_password_base64(std::string_view password) {
  return base64(password);
}

std::string hilink_password_sha256(std::string_view user, std::string_view password, std::string_view token) {
  const std::string inner = base64(to_hex(view_of(sha256(password))));
  return base64(to_hex(view_of(sha256(std::string(user) + inner + std::string(token)))));
}

Result<std::string> hilink_scram_proof(std::string_view password, const ScramChallenge& challenge) {
  constexpr int kMaxIterations = 10000;
  constexpr std::size_t kMaxSalt = 256;
  const auto salt = from_hex(challenge.salt_hex);
  if (!salt || salt->size() > kMaxSalt) return fail(Errc::Protocol, "challenge_login: the salt isn't hex");
  if (challenge.iterations < 1 || challenge.iterations > kMaxIterations)
    return fail(Errc::Protocol, "challenge_login: {} iterations", challenge.iterations);
  if (challenge.first_nonce.empty() || !challenge.server_nonce.starts_with(challenge.first_nonce))
    return fail(Errc::Protocol, "challenge_login: the server's nonce isn't an answer to ours");

  Digest salted;
  CHECK(PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), data_of(*salt),
                          static_cast<int>(salt->size()), challenge.iterations, EVP_sha256(),
                          static_cast<int>(salted.size()), salted.data()) == 1);
  // Key and message stand the other way round than in RFC 5802: that is what the firmwares compute.
  const Digest client_key = hmac_sha256("Client Key", view_of(salted));
  const Digest stored_key = sha256(view_of(client_key));
  const std::string& server = challenge.server_nonce;
  const Digest signature = hmac_sha256(challenge.first_nonce + "," + server + "," + server, view_of(stored_key));
  Digest proof;
  for (std::size_t i = 0; i < proof.size(); ++i) proof[i] = client_key[i] ^ signature[i];
  return to_hex(view_of(proof));
}

}  // namespace dongle
