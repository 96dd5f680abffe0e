#include "supervisor/hilink_auth.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>

namespace dongle {
namespace {

template <class T, auto Free>
struct Deleter {
  void operator()(T* owned) const { Free(owned); }
};
template <class T, auto Free>
using Owned = std::unique_ptr<T, Deleter<T, Free>>;

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

Result<std::string> hilink_encrypt(std::string_view xml, const RsaPublicKey& key, bool is_oaep) {
  constexpr std::size_t kMinBytes = 128, kMaxBytes = 512;
  const auto n = from_hex(key.n_hex), e = from_hex(key.e_hex.size() % 2 == 0 ? key.e_hex : "0" + key.e_hex);
  if (!n || !e || n->size() < kMinBytes || n->size() > kMaxBytes || e->size() > 4 || n->front() == 0)
    return fail(Errc::Protocol, "webserver/publickey: not a key");
  const Owned<BIGNUM, BN_free> modulus(BN_bin2bn(data_of(*n), static_cast<int>(n->size()), nullptr));
  const Owned<BIGNUM, BN_free> exponent(BN_bin2bn(data_of(*e), static_cast<int>(e->size()), nullptr));
  const Owned<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free> builder(OSSL_PARAM_BLD_new());
  CHECK(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get()) == 1);
  CHECK(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get()) == 1);
  const Owned<OSSL_PARAM, OSSL_PARAM_free> parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  const Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free> maker(EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr));
  EVP_PKEY* made = nullptr;
  if (EVP_PKEY_fromdata_init(maker.get()) != 1 ||
      EVP_PKEY_fromdata(maker.get(), &made, EVP_PKEY_PUBLIC_KEY, parameters.get()) != 1)
    return fail(Errc::Protocol, "webserver/publickey: not an RSA key");
  const Owned<EVP_PKEY, EVP_PKEY_free> rsa(made);
  const Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free> context(EVP_PKEY_CTX_new(rsa.get(), nullptr));
  if (EVP_PKEY_encrypt_init(context.get()) != 1 ||
      EVP_PKEY_CTX_set_rsa_padding(context.get(), is_oaep ? RSA_PKCS1_OAEP_PADDING : RSA_PKCS1_PADDING) != 1)
    return fail(Errc::Protocol, "webserver/publickey: no use for this key");

  // What the padding takes of each block: RFC 8017, sections 7.1.1 (with SHA-1) and 7.2.1.
  const std::size_t step = n->size() - (is_oaep ? 42 : 11);
  const std::string text = base64(xml);
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += step) {
    const std::string_view part = std::string_view(text).substr(at, step);
    std::string block(n->size(), '\0');
    std::size_t length = block.size();
    if (EVP_PKEY_encrypt(context.get(), reinterpret_cast<unsigned char*>(block.data()), &length, data_of(part),
                         part.size()) != 1)
      return fail(Errc::Protocol, "webserver/publickey: the key encrypts nothing");
    out += to_hex(std::string_view(block).substr(0, length));
  }
  return out;
}

}  // namespace dongle
