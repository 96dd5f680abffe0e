#include "supervisor/hilink_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>

#include <deque>
#include <set>

#include "test/support/fake_http_server.h"

namespace dongle {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string response(const std::string& inside) {
  return "<?xml version=\"1.0\" encoding=\"UTF-8\"?><response>" + inside + "</response>";
}
std::string error(int code) {
  return "<error><code>" + std::to_string(code) + "</code><message></message></error>";
}
std::string tag(const std::string& xml, const std::string& name) {
  const auto at = xml.find("<" + name + ">");
  if (at == std::string::npos) return "";
  const auto from = at + name.size() + 2;
  return xml.substr(from, xml.find("</", from) - from);
}

std::string sha256(const std::string& text) {
  std::string out(32, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         reinterpret_cast<unsigned char*>(out.data()));
  return out;
}
std::string hmac(const std::string& key, const std::string& text) {
  std::string out(32, '\0');
  unsigned length = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), reinterpret_cast<unsigned char*>(out.data()), &length);
  return out;
}
std::string hex(const std::string& bytes) {
  std::string out;
  for (unsigned char c : bytes) {
    out += "0123456789abcdef"[c >> 4];
    out += "0123456789abcdef"[c & 15];
  }
  return out;
}
std::string base64(const std::string& text) {
  std::string out(4 * ((text.size() + 2) / 3), '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(text.data()),
                  static_cast<int>(text.size()));
  return out;
}

enum class Firmware { Page, Token, SesTokInfo, BareSesTokInfo, Old };
enum class Login { None, Base64, Sha256, Scram };

/// Keeps the rules of a real stick: a session, tokens good for one POST, a login where one is set.
struct FakeModem {
  FakeModem(UvLoop& loop, Firmware f) : firmware(f), server(loop, [this](const HttpRequest& r) { return answer(r); }) {}

  std::optional<std::string> answer(const HttpRequest& r) {
    const std::string key = r.method + " " + r.path;
    if (auto& queued = script[key]; !queued.empty()) {
      auto reply = queued.front();
      queued.pop_front();
      return reply;
    }
    if (!r.path.starts_with("/api/")) return page();
    const std::string path = r.path.substr(5);
    if (path == "webserver/SesTokInfo") return ses_tok_info();
    if (path == "webserver/token")
      return firmware == Firmware::Token
                 ? http_reply(response("<token>" + std::string(32, 'p') + new_token() + "</token>"))
                 : http_reply(error(100002));
    std::string extra;
    if (firmware != Firmware::Old) {
      if (session.empty() || !r.headers.contains("cookie") || r.headers.at("cookie") != "SessionID=" + session)
        return http_reply(error(125002));
      if (r.method == "POST") {
        const auto token = r.headers.find("__requestverificationtoken");
        if (token == r.headers.end() || tokens.erase(token->second) == 0) return http_reply(error(125001));
        if (!withholds_tokens) extra = "__RequestVerificationToken: " + new_token() + "\r\n";
      }
    }
    if (path == "user/state-login") return http_reply(state_login());
    if (path == "user/login") return log_in(r);
    if (path == "user/challenge_login") return challenge(r, extra);
    if (path == "user/authentication_login") return authenticate(r);
    if (login != Login::None && !logged_in) return http_reply(error(100003), extra);
    if (path == "webserver/publickey") return http_reply(encrypts ? public_key() : error(100002), extra);
    if (r.method == "POST") {
      const std::string xml = encrypts ? decrypted(r) : r.body;
      if (xml.empty()) return http_reply(error(100005), extra);
      posts.push_back(path + " " + xml.substr(xml.find("<request>")));
    }
    if (r.method == "GET" && path == "dialup/mobile-dataswitch")
      return http_reply(response("<dataswitch>1</dataswitch>"));
    return http_reply(response("OK"), extra);
  }

  std::string new_token() {
    tokens.insert(fmt::format("{:032}", ++counter));
    return fmt::format("{:032}", counter);
  }
  void new_session() {
    session = fmt::format("session{}", ++counter);
    tokens.clear();
    logged_in = false;
  }
  std::string page() {
    if (firmware == Firmware::Page) {
      new_session();
      return http_reply("<!DOCTYPE html><html><head><meta name=\"csrf_token\" content=\"" + new_token() +
                            "\"><meta name=\"csrf_token\" content=\"" + new_token() + "\"></head></html>",
                        "Set-Cookie: SessionID=" + session + "; path=/; HttpOnly\r\n");
    }
    if (firmware != Firmware::Token) return http_reply("", "Location: /html/home.html\r\n", "302 Found");
    if (session.empty()) new_session();
    return http_reply("<html>", "Set-Cookie: SessionID=" + session + "; path=/\r\n");
  }
  std::string ses_tok_info() {
    if (firmware != Firmware::SesTokInfo && firmware != Firmware::BareSesTokInfo) return http_reply(error(100002));
    new_session();
    return http_reply(response("<SesInfo>" + std::string(firmware == Firmware::SesTokInfo ? "SessionID=" : "") +
                               session + "</SesInfo><TokInfo>" + new_token() + "</TokInfo>"));
  }

  std::string state_login() const {
    return response(fmt::format(
        "<State>{}</State><password_type>{}</password_type>{}<rsapadingtype>{}</rsapadingtype><remainwaittime>{}</"
        "remainwaittime>",
        logged_in ? 0 : -1, login == Login::Base64 ? 0 : 4,
        login == Login::Scram ? "<extern_password_type>1</extern_password_type>" : "", is_oaep ? 1 : 0, wait_minutes));
  }
  /// New cookie, new tokens: what went before is worth nothing.
  std::string logged_in_reply(const std::string& body) {
    ++logins;
    new_session();
    logged_in = true;
    std::string headers = "Set-Cookie: SessionID=" + session + "\r\n";
    if (login == Login::Scram)
      headers += "__RequestVerificationTokenone: " + new_token() + "\r\n__RequestVerificationTokentwo: " + new_token() +
                 "\r\n";
    else
      headers += "__RequestVerificationToken: " + new_token() + "#" + new_token() + "#" + new_token() + "#\r\n";
    return http_reply(body, headers);
  }
  std::string log_in(const HttpRequest& r) {
    ++login_posts;
    const std::string token =
        r.headers.contains("__requestverificationtoken") ? r.headers.at("__requestverificationtoken") : "";
    const std::string expected = login == Login::Base64
                                     ? base64(password)
                                     : base64(hex(sha256("admin" + base64(hex(sha256(password))) + token)));
    if (tag(r.body, "Username") != "admin" || tag(r.body, "Password") != expected) return http_reply(error(refusal));
    return logged_in_reply(response("OK"));
  }
  std::string challenge(const HttpRequest& r, const std::string& extra) {
    first_nonce = tag(r.body, "firstnonce");
    server_nonce = first_nonce + "feed";
    return http_reply(
        response("<salt>00ff10</salt><servernonce>" + server_nonce + "</servernonce><iterations>100</iterations>"),
        extra);
  }
  std::string authenticate(const HttpRequest& r) {
    ++login_posts;
    std::string salted(32, '\0');
    PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()),
                      reinterpret_cast<const unsigned char*>("\x00\xff\x10"), 3, 100, EVP_sha256(), 32,
                      reinterpret_cast<unsigned char*>(salted.data()));
    const std::string client_key = hmac("Client Key", salted);
    const std::string signature = hmac(first_nonce + "," + server_nonce + "," + server_nonce, sha256(client_key));
    std::string proof;
    for (std::size_t i = 0; i < 32; ++i) proof += static_cast<char>(client_key[i] ^ signature[i]);
    if (tag(r.body, "clientproof") != hex(proof) || tag(r.body, "finalnonce") != server_nonce)
      return http_reply(error(refusal));
    return logged_in_reply(response("<rsan>ab</rsan>"));
  }

  /// webserver/publickey
  std::string public_key() const {
    std::string out = "<encpubkeyn>";
    for (const char* part : {OSSL_PKEY_PARAM_RSA_N, OSSL_PKEY_PARAM_RSA_E}) {
      BIGNUM* number = nullptr;
      EVP_PKEY_get_bn_param(encrypts.get(), part, &number);
      char* digits = BN_bn2hex(number);
      out += digits +
             std::string(part == std::string(OSSL_PKEY_PARAM_RSA_N) ? "</encpubkeyn><encpubkeye>" : "</encpubkeye>");
      OPENSSL_free(digits);
      BN_free(number);
    }
    return response(out);
  }
  /// Empty unless the body is what this modem can decrypt.
  std::string decrypted(const HttpRequest& r) const {
    if (!r.headers.contains("encrypt_transmit") || !r.headers.at("content-type").ends_with(";enc")) return "";
    std::string text;
    for (std::size_t at = 0; at + 256 <= r.body.size(); at += 256) {
      std::string block;
      for (std::size_t i = 0; i < 256; i += 2)
        block += static_cast<char>(std::stoi(r.body.substr(at + i, 2), nullptr, 16));
      std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> key(EVP_PKEY_CTX_new(encrypts.get(), nullptr),
                                                                      EVP_PKEY_CTX_free);
      std::string plain(128, '\0');
      std::size_t length = plain.size();
      EVP_PKEY_decrypt_init(key.get());
      EVP_PKEY_CTX_set_rsa_padding(key.get(), is_oaep ? RSA_PKCS1_OAEP_PADDING : RSA_PKCS1_PADDING);
      if (EVP_PKEY_decrypt(key.get(), reinterpret_cast<unsigned char*>(plain.data()), &length,
                           reinterpret_cast<const unsigned char*>(block.data()), block.size()) != 1)
        return "";
      text += plain.substr(0, length);
    }
    std::string xml(text.size(), '\0');
    const int length =
        EVP_DecodeBlock(reinterpret_cast<unsigned char*>(xml.data()),
                        reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
    xml.resize(static_cast<std::size_t>(std::max(length, 0)));
    return xml.substr(0, xml.rfind('>') + 1);
  }

  Firmware firmware;
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> encrypts{nullptr, EVP_PKEY_free};
  bool is_oaep = false;
  Login login = Login::None;
  std::string password = "s<cret";
  int refusal = 108006;
  int wait_minutes = 0;
  bool withholds_tokens = false;
  /// "GET /api/x": what comes instead, once each.
  std::map<std::string, std::deque<std::optional<std::string>>> script;
  std::string session, first_nonce, server_nonce;
  std::set<std::string> tokens;
  bool logged_in = false;
  int counter = 0, logins = 0, login_posts = 0;
  std::vector<std::string> posts;
  FakeHttpServer server;
};

struct HilinkClientTest : testing::Test {
  void make(Firmware firmware, const std::string& password = "", HilinkTimes times = {}) {
    modem = std::make_unique<FakeModem>(loop, firmware);
    client = std::make_unique<HilinkClient>(loop, curl, target(password), times);
  }
  HilinkTarget target(const std::string& password = "") {
    return HilinkTarget{"lo", modem->server.endpoint(), "admin", password};
  }
  /// Runs one call to its end and gives its answer.
  template <class T>
  Result<T> call(const std::function<void(HilinkClient::Done<T>)>& start) {
    std::optional<Result<T>> result;
    start([&result](Result<T> r) {
      EXPECT_FALSE(result) << "answered twice";
      result = std::move(r);
    });
    if (!run_until(loop, [&] { return result.has_value(); })) return fail(Errc::Cancelled, "never answered");
    return *result;
  }
  Result<bool> read_switch() {
    return call<bool>([this](auto done) { client->read_data_switch(done); });
  }
  Result<void> set_switch(bool on) {
    return call<void>([this, on](auto done) { client->set_data_switch(on, done); });
  }
  void queue(const std::string& key, const std::string& body) { modem->script[key].push_back(http_reply(body)); }
  std::size_t asked(const std::string& path) { return modem->server.count("/api/" + path); }

  UvLoop loop;
  CurlLoop curl{loop};
  std::unique_ptr<FakeModem> modem;
  std::unique_ptr<HilinkClient> client;
};

const char* const kSwitchGet = "GET /api/dialup/mobile-dataswitch";
const char* const kSwitchPost = "POST /api/dialup/mobile-dataswitch";

TEST_F(HilinkClientTest, ShakesHandsWithEveryFirmware) {
  for (auto firmware :
       {Firmware::Page, Firmware::Token, Firmware::SesTokInfo, Firmware::BareSesTokInfo, Firmware::Old}) {
    SCOPED_TRACE(static_cast<int>(firmware));
    make(firmware);
    auto on = read_switch();
    ASSERT_TRUE(on) << on.error().message();
    EXPECT_TRUE(*on);
    for (int i = 0; i < 3; ++i) {
      auto set = set_switch(false);
      ASSERT_TRUE(set) << set.error().message();
    }
    EXPECT_EQ(modem->posts.size(), 3u);
    EXPECT_EQ(modem->posts[0], "dialup/mobile-dataswitch <request><dataswitch>0</dataswitch></request>");
    EXPECT_FALSE(client->counters().errors.contains(125001));
    EXPECT_EQ(modem->server.most_open(), 1u);
  }
}

TEST_F(HilinkClientTest, RemembersTheHandshakeThatWorked) {
  make(Firmware::SesTokInfo, "", HilinkTimes{.session_idle = Millis{-1}});  // each call needs a new session
  ASSERT_TRUE(read_switch());
  EXPECT_EQ(asked("webserver/token"), 1u);
  ASSERT_TRUE(read_switch());
  EXPECT_EQ(asked("webserver/SesTokInfo"), 2u);
  EXPECT_EQ(asked("webserver/token"), 1u);
  EXPECT_EQ(modem->server.count("/"), 1u);

  // A new firmware: what worked is gone, the others are tried again.
  modem->firmware = Firmware::Page;
  ASSERT_TRUE(read_switch());
  EXPECT_EQ(modem->server.count("/"), 2u);
}

TEST_F(HilinkClientTest, FetchesANewTokenWhenThereIsNoneLeft) {
  make(Firmware::SesTokInfo);
  ASSERT_TRUE(read_switch());
  modem->withholds_tokens = true;
  ASSERT_TRUE(set_switch(false));
  ASSERT_TRUE(set_switch(true));
  EXPECT_FALSE(client->counters().errors.contains(125001));
  EXPECT_EQ(asked("webserver/SesTokInfo"), 2u);
}

TEST_F(HilinkClientTest, RetriesOnceAfterARefusedTokenOrSession) {
  for (int code : {125001, 125002, 125003, 100001}) {
    SCOPED_TRACE(code);
    make(Firmware::SesTokInfo);
    queue(kSwitchPost, error(code));
    EXPECT_TRUE(set_switch(false));
    EXPECT_EQ(asked("dialup/mobile-dataswitch"), 2u);

    make(Firmware::SesTokInfo);
    for (int i = 0; i < 9; ++i) queue(kSwitchPost, error(code));
    auto set = set_switch(false);
    ASSERT_FALSE(set);
    EXPECT_THAT(set.error().message(), HasSubstr(fmt::format("dialup/mobile-dataswitch: error {}", code)));
    EXPECT_EQ(asked("dialup/mobile-dataswitch"), 2u);
    EXPECT_EQ(client->counters().errors.at(code), 2u);
  }
}

TEST_F(HilinkClientTest, SurfacesWhatTheModemRefuses) {
  const std::pair<int, Errc> rows[] = {{100005, Errc::Refused}, {101001, Errc::Refused}, {107701, Errc::Refused},
                                       {112001, Errc::Busy},    {115002, Errc::Refused}, {108007, Errc::Permission},
                                       {424242, Errc::Refused}};
  for (const auto& [code, errc] : rows) {
    make(Firmware::Page);
    queue(kSwitchPost, error(code));
    auto set = set_switch(false);
    ASSERT_FALSE(set) << code;
    EXPECT_EQ(set.error().code, errc) << code;
    EXPECT_EQ(asked("dialup/mobile-dataswitch"), 1u) << code;
  }
}

TEST_F(HilinkClientTest, NeverAsksAgainForWhatIsUnsupported) {
  make(Firmware::Page);
  queue("GET /api/pin/status", error(100002));
  const auto read_pin = [this] { return call<PinStatus>([this](auto done) { client->read_pin(done); }); };
  EXPECT_EQ(read_pin().error().code, Errc::Unsupported);
  EXPECT_EQ(read_pin().error().code, Errc::Unsupported);
  EXPECT_EQ(asked("pin/status"), 1u);

  // A redirect to the home page means the same.
  modem->script["GET /api/device/signal"].push_back(http_reply("", "Location: /html/home.html\r\n", "302 Found"));
  EXPECT_EQ(call<Signal>([this](auto done) { client->read_signal(done); }).error().code, Errc::Unsupported);

  // Another firmware may be able to.
  for (const char* version : {"1", "2"}) {
    queue("GET /api/device/information", response("<SoftwareVersion>" + std::string(version) + "</SoftwareVersion>"));
    ASSERT_TRUE(call<DeviceInformation>([this](auto done) { client->read_information(done); }));
  }
  queue("GET /api/pin/status", response("<SimState>257</SimState>"));
  EXPECT_EQ(read_pin()->sim, SimState::Ready);
}

TEST_F(HilinkClientTest, BacksOffWhileTheModemIsBusy) {
  make(Firmware::Page, "", HilinkTimes{.back_off = Millis{1}});
  for (int i = 0; i < 3; ++i) queue(kSwitchPost, error(100004));
  EXPECT_TRUE(set_switch(false));
  for (int i = 0; i < 9; ++i) queue(kSwitchPost, error(100004));
  EXPECT_EQ(set_switch(false).error().code, Errc::Busy);
  EXPECT_EQ(client->counters().errors.at(100004), 3u + 4u);

  make(Firmware::Page, "", HilinkTimes{.call = Millis{20}, .back_off = Millis{500}});
  queue(kSwitchPost, error(100004));
  EXPECT_EQ(set_switch(false).error().code, Errc::Timeout);
}

TEST_F(HilinkClientTest, LogsInByEveryScheme) {
  for (auto login : {Login::Base64, Login::Sha256, Login::Scram}) {
    for (auto firmware : {Firmware::Page, Firmware::Token, Firmware::SesTokInfo}) {
      SCOPED_TRACE(fmt::format("login {} firmware {}", static_cast<int>(login), static_cast<int>(firmware)));
      make(firmware, "s<cret");
      modem->login = login;
      auto on = read_switch();
      ASSERT_TRUE(on) << on.error().message();
      EXPECT_EQ(modem->logins, 1);
      for (int i = 0; i < 5; ++i) {
        auto set = set_switch(true);
        ASSERT_TRUE(set) << set.error().message();
      }
      EXPECT_EQ(modem->logins, 1);
      EXPECT_EQ(client->counters().login_attempts, 1u);
      EXPECT_FALSE(client->counters().errors.contains(125001));
      EXPECT_FALSE(client->counters().errors.contains(125002));
      // The login is given back.
      EXPECT_TRUE(call<void>([this](auto done) { client->log_out(done); }));
      EXPECT_EQ(modem->posts.back(), "user/logout <request><Logout>1</Logout></request>");
    }
  }
}

TEST_F(HilinkClientTest, LogsOutAfterAWhileOfIdleness) {
  make(Firmware::Page, "s<cret", HilinkTimes{.session_idle = Millis{5}});
  modem->login = Login::Sha256;
  ASSERT_TRUE(read_switch());
  ASSERT_TRUE(run_until(loop, [this] { return !modem->posts.empty(); }));
  EXPECT_THAT(modem->posts, ElementsAre("user/logout <request><Logout>1</Logout></request>"));
}

TEST_F(HilinkClientTest, AsksForTheLoginWhenAnotherFirmwareWouldSayNoRights) {
  make(Firmware::Page, "s<cret");
  modem->login = Login::Sha256;
  queue(kSwitchGet, error(125002));
  ASSERT_TRUE(read_switch());
  EXPECT_EQ(modem->logins, 1);
  EXPECT_FALSE(client->counters().errors.contains(100003));
}

TEST_F(HilinkClientTest, NeverTriesAWrongPasswordTwice) {
  make(Firmware::Page, "wrong", HilinkTimes{.login_interval = Millis{0}});
  modem->login = Login::Sha256;
  for (int i = 0; i < 3; ++i) {
    auto on = read_switch();
    ASSERT_FALSE(on);
    EXPECT_EQ(on.error().code, Errc::Permission);
    EXPECT_THAT(on.error().message(), HasSubstr("error 108006 (wrong user name or password)"));
  }
  EXPECT_EQ(modem->login_posts, 1);
  client->set_target(target("s<cret"));
  EXPECT_TRUE(read_switch());
  EXPECT_EQ(modem->login_posts, 2);
}

TEST_F(HilinkClientTest, WaitsOutALockAndALoginInterval) {
  make(Firmware::Page, "s<cret", HilinkTimes{.login_interval = Millis{0}});
  modem->login = Login::Sha256;
  modem->wait_minutes = 3;
  for (int i = 0; i < 2; ++i) {
    auto on = read_switch();
    ASSERT_FALSE(on);
    EXPECT_EQ(on.error().code, Errc::Busy);
    EXPECT_THAT(on.error().message(), HasSubstr("no further login for 2m5"));
  }
  EXPECT_EQ(modem->login_posts, 0);
  EXPECT_EQ(asked("user/state-login"), 1u);

  make(Firmware::Page, "s<cret");
  modem->login = Login::Sha256;
  ASSERT_TRUE(read_switch());
  modem->new_session();  // the modem forgot us
  auto again = read_switch();
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::Busy);
  EXPECT_EQ(modem->login_posts, 1);
  // A new place on the bus doesn't lift the interval.
  auto moved = target("s<cret");
  moved.device = "";
  client->set_target(moved);
  client->set_target(target("s<cret"));
  EXPECT_EQ(read_switch().error().code, Errc::Busy);
  EXPECT_EQ(modem->login_posts, 1);
}

TEST_F(HilinkClientTest, ReportsAMissingPasswordAndAMissingLogin) {
  make(Firmware::Page);
  modem->login = Login::Sha256;
  auto on = read_switch();
  ASSERT_FALSE(on);
  EXPECT_EQ(on.error().code, Errc::Permission);
  EXPECT_THAT(on.error().message(), HasSubstr("no password is configured"));
  EXPECT_EQ(asked("user/state-login"), 0u);

  make(Firmware::Page, "s<cret");
  modem->login = Login::Sha256;
  queue("GET /api/user/state-login", error(100002));
  EXPECT_EQ(read_switch().error().code, Errc::Permission);
  EXPECT_EQ(modem->login_posts, 0);
}

TEST_F(HilinkClientTest, AsksForTheLoginStateAgainWhenCutOff) {
  make(Firmware::Page, "s<cret", HilinkTimes{.login_retry = Millis{1}});
  modem->login = Login::Sha256;
  for (int i = 0; i < 4; ++i) modem->script["GET /api/user/state-login"].push_back("");
  EXPECT_TRUE(read_switch());
  EXPECT_EQ(asked("user/state-login"), 5u);
}

TEST_F(HilinkClientTest, TellsNonsenseApartFromAnswers) {
  const std::pair<std::string, Errc> rows[] = {
      {http_reply("<!DOCTYPE html><html></html>"), Errc::Protocol},
      {http_reply(""), Errc::Protocol},
      {http_reply("{}"), Errc::Protocol},
      {http_reply("<response><dataswitch>1"), Errc::Protocol},
      {http_reply("busy", "", "503 Service Unavailable"), Errc::Protocol},
      {http_reply(response("<dataswitch>x</dataswitch>")), Errc::Protocol},
      {http_reply(std::string((1 << 20) + 1, '<')), Errc::Full},
      {"\x16\x03\x01garbage", Errc::Protocol},
  };
  for (const auto& [reply, errc] : rows) {
    make(Firmware::Page);
    modem->script[kSwitchGet].push_back(reply);
    auto on = read_switch();
    ASSERT_FALSE(on) << reply.substr(0, 60);
    EXPECT_EQ(on.error().code, errc) << on.error().message();
    EXPECT_THAT(on.error().message(), testing::StartsWith("dialup/mobile-dataswitch: "));
    EXPECT_TRUE(read_switch()) << "the next call works again";
  }
}

TEST_F(HilinkClientTest, GivesUpOnAModemThatHangs) {
  make(Firmware::Page, "", HilinkTimes{.http = Millis{15}});
  modem->script[kSwitchGet].push_back(std::nullopt);
  EXPECT_EQ(read_switch().error().code, Errc::Timeout);
  EXPECT_TRUE(read_switch());

  make(Firmware::Page, "", HilinkTimes{.call = Millis{15}});
  for (int i = 0; i < 9; ++i) modem->script["GET /"].push_back(std::nullopt);
  EXPECT_EQ(read_switch().error().code, Errc::Timeout);
}

TEST_F(HilinkClientTest, AnswersWaitingCallsByTheirOwnDeadline) {
  make(Firmware::Page, "", HilinkTimes{.http = Millis{1000}, .call = Millis{15}});
  modem->script["GET /"].push_back(std::nullopt);
  int timeouts = 0;
  for (int i = 0; i < 5; ++i)
    client->read_data_switch([&](const Result<bool>& r) { timeouts += !r && r.error().code == Errc::Timeout; });
  EXPECT_TRUE(run_until(loop, [&] { return timeouts == 5; }));
}

TEST_F(HilinkClientTest, AsksOneThingAtATime) {
  make(Firmware::Page);
  int done = 0;
  std::size_t refused = 0;
  for (int i = 0; i < 40; ++i)
    client->read_data_switch([&](const Result<bool>& r) {
      ++done;
      if (!r) refused += r.error().code == Errc::Full;
    });
  EXPECT_TRUE(run_until(loop, [&] { return done == 40; }));
  EXPECT_EQ(refused, 40 - HilinkClient::kMaxQueued);
  EXPECT_EQ(client->counters().refused_full, refused);
  EXPECT_EQ(modem->server.most_open(), 1u);
}

TEST_F(HilinkClientTest, AsksAgainWhenAGetIsCutOffButNotAPost) {
  make(Firmware::Page);
  modem->script[kSwitchGet].push_back("");
  EXPECT_TRUE(read_switch());
  modem->script[kSwitchPost].push_back("");
  EXPECT_EQ(set_switch(false).error().code, Errc::Refused);
  EXPECT_TRUE(modem->posts.empty());
}

TEST_F(HilinkClientTest, EncryptsWhatTheModemRefusesInPlainText) {
  for (bool is_oaep : {false, true}) {
    make(Firmware::SesTokInfo);
    modem->encrypts.reset(EVP_RSA_gen(1024));
    modem->is_oaep = is_oaep;
    ASSERT_TRUE(set_switch(false));
    ASSERT_TRUE(set_switch(true));
    EXPECT_THAT(modem->posts, ElementsAre("dialup/mobile-dataswitch <request><dataswitch>0</dataswitch></request>",
                                          "dialup/mobile-dataswitch <request><dataswitch>1</dataswitch></request>"));
    EXPECT_EQ(client->counters().errors.at(100005), 1u) << "asked in plain text again";
    EXPECT_EQ(asked("webserver/publickey"), 1u);
  }
  make(Firmware::SesTokInfo);
  queue(kSwitchPost, error(100006));
  auto set = set_switch(false);
  ASSERT_FALSE(set);
  EXPECT_THAT(set.error().message(), HasSubstr("error 100006"));
  EXPECT_EQ(asked("dialup/mobile-dataswitch"), 1u);
}

TEST_F(HilinkClientTest, TakesACutConnectionForARebootOnly) {
  make(Firmware::Page);
  for (const char* end : {"", FakeHttpServer::kReset}) {
    modem->script["POST /api/device/control"].push_back(end);
    EXPECT_TRUE(call<void>([this](auto done) { client->reboot(done); }));
  }
  queue("POST /api/device/control", error(100003));
  EXPECT_EQ(call<void>([this](auto done) { client->reboot(done); }).error().code, Errc::Permission);
  EXPECT_TRUE(call<void>([this](auto done) { client->reboot(done); }));
  EXPECT_THAT(modem->posts, ElementsAre("device/control <request><Control>1</Control></request>"));
}

TEST_F(HilinkClientTest, DoesNotTakeACutHandshakeForAReboot) {
  make(Firmware::SesTokInfo);
  modem->withholds_tokens = true;
  ASSERT_TRUE(set_switch(true));  // spends the only token
  modem->script["GET /api/webserver/SesTokInfo"] = {"", ""};
  EXPECT_EQ(call<void>([this](auto done) { client->reboot(done); }).error().code, Errc::Refused);
  EXPECT_EQ(asked("device/control"), 0u);
  // Cut off once, a handshake is tried again.
  modem->script["GET /api/webserver/SesTokInfo"] = {""};
  EXPECT_TRUE(call<void>([this](auto done) { client->reboot(done); }));
  EXPECT_EQ(asked("device/control"), 1u);
}

TEST_F(HilinkClientTest, RefusesABadNetworkMode) {
  make(Firmware::Page);
  const auto set = [this](NetMode mode) {
    return call<void>([this, mode](auto done) { client->set_net_mode(mode, done); });
  };
  EXPECT_EQ(set({"", "3FFFFFFF", "1"}).error().code, Errc::InvalidArgument);
  EXPECT_TRUE(set({"03", "3FFFFFFF", "1"}));
  EXPECT_THAT(modem->posts, ElementsAre("net/net-mode <request><NetworkMode>03</NetworkMode><NetworkBand>3FFFFFFF"
                                        "</NetworkBand><LTEBand>1</LTEBand></request>"));
}

TEST_F(HilinkClientTest, NeedsItsDevice) {
  make(Firmware::Page);
  auto gone = target();
  gone.device = "no-such-dev";
  client->set_target(gone);
  auto on = read_switch();
  ASSERT_FALSE(on);
  EXPECT_EQ(on.error().code, Errc::Unreachable);
  EXPECT_THAT(on.error().message(), HasSubstr("no-such-dev"));
  EXPECT_TRUE(modem->server.seen().empty());
}

TEST_F(HilinkClientTest, CancelsTheCallUnderWayWhenTheModemChanges) {
  make(Firmware::Page);
  modem->script[kSwitchGet].push_back(std::nullopt);
  std::optional<Errc> first;
  bool second = false;
  client->read_data_switch([&](const Result<bool>& r) { first = r ? Errc::Io : r.error().code; });
  client->read_data_switch([&](const Result<bool>& r) { second = r.has_value(); });
  ASSERT_TRUE(run_until(loop, [this] { return asked("dialup/mobile-dataswitch") == 1; }));
  client->set_target(target("new password"));
  EXPECT_FALSE(first);
  EXPECT_TRUE(run_until(loop, [&] { return first && second; }));
  EXPECT_EQ(*first, Errc::Cancelled);
}

TEST_F(HilinkClientTest, MayDieInItsOwnAnswerAndAnswersNothingAfterwards) {
  make(Firmware::Page);
  int answers = 0;
  for (int i = 0; i < 3; ++i)
    client->read_data_switch([&](const Result<bool>&) {
      ++answers;
      client.reset();
    });
  EXPECT_TRUE(run_until(loop, [&] { return answers == 1; }));
  EXPECT_EQ(client, nullptr);

  make(Firmware::Page);
  client->read_data_switch([&](const Result<bool>&) { ++answers; });
  ASSERT_TRUE(run_until(loop, [this] { return !modem->server.seen().empty(); }));
  client.reset();
  ASSERT_TRUE(run_until(loop, [this] { return modem->server.open() == 0; }));
  EXPECT_EQ(answers, 1);
}

}  // namespace
}  // namespace dongle
