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

TEST(HilinkAuth, EncryptsInBlocksOfTheKeysSize) {
  const RsaPublicKey key{"c5" + std::string(508, '3') + "3d", "010001"};
  // 344 characters of base64: two blocks with either padding, 172: one.
  for (bool is_oaep : {false, true}) {
    EXPECT_EQ(hilink_encrypt(std::string(256, 'x'), key, is_oaep).value().size(), 2 * 512u);
    EXPECT_EQ(hilink_encrypt(std::string(129, 'x'), key, is_oaep).value().size(), 512u);
  }
  EXPECT_NE(hilink_encrypt("x", key, false).value(), hilink_encrypt("x", key, false).value());
}

TEST(HilinkAuth, RefusesWhatIsNoKey) {
  const std::string good(512, 'f');
  const RsaPublicKey rows[] = {
      {"", ""},     {good, ""},           {"", "010001"},          {"xyz", "010001"},
      {"ff", "03"}, {good, "0100010001"}, {"00" + good, "010001"}, {std::string(5000, 'f'), "03"}};
  for (const auto& key : rows) EXPECT_EQ(hilink_encrypt("x", key, false).error().code, Errc::Protocol) << key.n_hex;
}

}  // namespace
}  // namespace dongle
