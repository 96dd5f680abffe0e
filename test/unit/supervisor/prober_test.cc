#include "supervisor/prober.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dongle {
namespace {

using ::testing::HasSubstr;

TEST(Prober, TakesNoPortalForTheInternet) {
  const struct {
    const char* url;
    long status;
    const char* body;
    bool ok;
    const char* error;
  } rows[] = {
      {"http://a.test/generate_204", 204, "", true, ""},
      {"http://a.test/generate_204", 200, "<html>log in", false, "captive portal"},
      {"http://a.test/generate_204", 302, "", false, "captive portal"},
      {"http://a.test/generate_204", 500, "", false, "status 500"},
      {"http://a.test/success.txt", 200, "success\n", true, ""},
      {"http://a.test/success.txt", 200, "<html>log in", false, "captive portal"},
      {"http://a.test/success.txt", 511, "", false, "status 511"},
      {"http://a.test/anything", 200, "whatever", true, ""},
      {"http://a.test/anything", 204, "", true, ""},
      {"http://a.test/anything", 301, "", false, "captive portal"},
      {"http://a.test/anything", 404, "", false, "status 404"},
      {"http://a.test/anything", 0, "", false, "status 0"},
  };
  for (const auto& row : rows) {
    CurlLoop::Response response;
    response.status = row.status;
    response.body = row.body;
    auto judged = judge_probe_response(row.url, response);
    EXPECT_EQ(judged.has_value(), row.ok) << row.url << " " << row.status << " " << row.body;
    EXPECT_THAT(judged ? "" : judged.error().message(), HasSubstr(row.error)) << row.url << " " << row.status;
  }
}

}  // namespace
}  // namespace dongle
