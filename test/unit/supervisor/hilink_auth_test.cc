#include "supervisor/hilink_auth.h"

#include <gtest/gtest.h>

namespace dongle {
namespace {

ScramChallenge vector_challenge() {
  ScramChallenge c;
  c.first_nonce = std::string(63, '0') + "1";
  c.server_nonce = c.first_nonce + std::string(32, '2');
  c.salt_hex = std::string(64, '1');
  c.iterations = 100;
  return c;
}

TEST(HilinkAuth, EncodesPlainPasswords) {
  EXPECT_EQ(hilink_password_base64("secret"), "c2VjcmV0");
  EXPECT_EQ(hilink_password_base64(""), "");
}

TEST(HilinkAuth, HashesPasswordTypeFour) {
  EXPECT_EQ(hilink_password_sha256("admin", "secret", "0123456789abcdef0123456789abcdef"),
            "ZjE0NzAwZmY5ZDFkODYzYWIwZGEwODdkMzkwZmYwMzk3MjlkMmFkNzZjNWZmMWQwZWY0ZWY5NWUxNTdlZDUxMA==");
}

TEST(HilinkAuth, ProvesThePasswordBySaltedChallenge) {
  EXPECT_EQ(hilink_scram_proof("secret", vector_challenge()).value(),
            "59178198add3cf9cbbb500bb51ff70004803f65e13aaddae9d8e7bbb3834c796");
  EXPECT_NE(hilink_scram_proof("Secret", vector_challenge()).value(),
            hilink_scram_proof("secret", vector_challenge()).value());
}

TEST(HilinkAuth, RefusesBadChallenges) {
  const std::pair<const char*, void (*)(ScramChallenge&)> rows[] = {
      {"no salt", [](ScramChallenge& c) { c.salt_hex = ""; }},
      {"odd salt", [](ScramChallenge& c) { c.salt_hex += "1"; }},
      {"salt isn't hex", [](ScramChallenge& c) { c.salt_hex = "xy"; }},
      {"huge salt", [](ScramChallenge& c) { c.salt_hex = std::string(100000, '1'); }},
      {"no iterations", [](ScramChallenge& c) { c.iterations = 0; }},
      {"endless iterations", [](ScramChallenge& c) { c.iterations = 2000000000; }},
      {"somebody else's nonce", [](ScramChallenge& c) { c.server_nonce[0] = 'f'; }},
      {"no nonce", [](ScramChallenge& c) { c.first_nonce = c.server_nonce = ""; }},
  };
  for (const auto& [what, spoil] : rows) {
    auto challenge = vector_challenge();
    spoil(challenge);
    auto proof = hilink_scram_proof("secret", challenge);
    ASSERT_FALSE(proof) << what;
    EXPECT_EQ(proof.error().code, Errc::Protocol) << what;
  }
}

}  // namespace
}  // namespace dongle
