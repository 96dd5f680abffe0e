#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "common/error.h"
#include "common/net_address.h"

namespace dongle {

// Texts of the HiLink API: requests out, replies in, and the replies' meaning. Pure.

/// One element. Text is valid UTF-8 whatever the modem sent; an element has text or children.
struct XmlElement {
  std::string name;
  std::string text = {};
  std::vector<XmlElement> children = {};

  /// The first child of that name, null if there is none.
  const XmlElement* child(std::string_view child_name) const;
  /// Its text without blanks around it; empty if there is no such child.
  std::string_view text_of(std::string_view child_name) const;
  bool operator==(const XmlElement&) const = default;
};

/// The <request> document. Modems care about the order of elements, so it is kept.
std::string hilink_request(const std::vector<XmlElement>& elements);

/// What a modem answered: error is the code of an <error> document, 0 if it is a <response>.
struct HilinkReply {
  int error = 0;
  XmlElement root = {};  ///< <response>
};

/// Reads a reply by its body alone (modems lie in Content-Type). Anything else than an <error> or <response>
/// document is Protocol, with the beginning of what came: HTML, cut short, empty, a DTD, nesting over 16 levels,
/// over 8192 elements.
Result<HilinkReply> parse_hilink_reply(std::string_view body);

/// The csrf_token metas of a page, in order, 64 at most. Needs no well-formed page.
std::vector<std::string> csrf_tokens_of_page(std::string_view html);
/// The tokens of a `#`-separated header, 64 at most. Empty ones and such that can't go into a header are left out.
std::vector<std::string> split_tokens(std::string_view header);
/// "SessionID=…" from a Set-Cookie header or from SesInfo, which some firmwares send as the bare value.
/// nullopt: another cookie, or nothing that can go into a header.
std::optional<std::string> session_cookie(std::string_view set_cookie);
std::optional<std::string> session_cookie_of_ses_info(std::string_view ses_info);

/// What the client does about an error code.
enum class HilinkRule {
  Surface,      ///< hand it to the caller
  RetryOnce,    ///< once more, then surface
  Unsupported,  ///< remember for this path, never ask again
  Encrypt,      ///< once more in cipher if the firmware has a key for that, else surface
  Login,        ///< log in if there is a password, then once more
  BackOff,      ///< again after 1, 2, 4 s
  Wait,         ///< passes by itself, but not within one call
  Disconnect,   ///< the caller has to switch data off first
  Human,        ///< SIM, PIN, password page: a person's work
  Credentials,  ///< the password is wrong: never again until it changes (tries count towards a lock-out)
  LockedOut,    ///< no login until the modem's waiting time is over
  NewToken,     ///< fetch a token, then once more
  NewSession,   ///< start over with a new session, then once more
};
struct HilinkErrorInfo {
  HilinkRule rule = HilinkRule::Surface;
  std::string_view meaning;
};
/// Unknown codes surface as such.
HilinkErrorInfo hilink_error_info(int code);
/// "PATH: error 125002 (wrong or missing session)", with the Errc that fits.
Error hilink_error(std::string_view path, int code);

// --- typed replies; each reader takes the <response> element -----------------------------------------------------

enum class ConnectionState {
  Connected,
  Connecting,
  Disconnected,
  Disconnecting,
  Failed,             ///< dial-up failed; worth another try
  NoRegistration,     ///< no network took the SIM
  InvalidProfile,     ///< APN
  NotAllowed,         ///< the network refuses access
  RoamingNotAllowed,  ///< roaming, and it is forbidden
  DataLimit,          ///< the plan's traffic is used up
  Unknown,
};
const char* to_string(ConnectionState state);
ConnectionState connection_state_of(int code);

/// monitoring/status
struct ModemStatus {
  int connection_code = 0;
  ConnectionState connection = ConnectionState::Unknown;
  std::optional<int> sim_status;      ///< 1: usable
  std::optional<int> service_status;  ///< 2: available
  std::optional<bool> roaming;
  std::optional<int> signal_icon;      ///< 0..5
  std::string network_type;            ///< "none", "2G", "3G", "3G+", "LTE", "5G", "" if unknown
  std::optional<Address> wan_address;  ///< as the modem sees it, often behind the carrier's NAT
  std::vector<Address> dns;            ///< primary first
};
Result<ModemStatus> read_modem_status(const XmlElement& response);

enum class SimState { Absent, Fault, Ready, PinDisabled, Checking, PinRequired, PukRequired, Unknown };
const char* to_string(SimState state);

/// pin/status
struct PinStatus {
  int sim_code = 0;
  SimState sim = SimState::Unknown;
  std::optional<int> pin_tries;  ///< left
  std::optional<int> puk_tries;
};
Result<PinStatus> read_pin_status(const XmlElement& response);

/// device/signal. Empty where the modem gave no number; of a bound such as ">=-51dBm" the number.
struct Signal {
  std::optional<double> rsrp_dbm, rsrq_db, rssi_dbm, sinr_db, rscp_dbm, ecio_db;
  std::string cell_id, pci, band, plmn;
};
/// The reader can't fail: a modem without reception sends empty elements or leaves them out.
Signal read_signal(const XmlElement& response);

/// device/information
struct DeviceInformation {
  std::string name, serial, imei, imsi, iccid, msisdn;
  std::string hardware_version, software_version, webui_version;
  std::string mac, product_family, classify, workmode;
  std::optional<Seconds> uptime;
};
Result<DeviceInformation> read_device_information(const XmlElement& response);

/// monitoring/traffic-statistics. The current ones start anew with each connection.
struct TrafficStatistics {
  Seconds current_connect_time{0};
  std::uint64_t current_upload_bytes = 0, current_download_bytes = 0;
  std::uint64_t upload_bytes_per_s = 0, download_bytes_per_s = 0;
  std::uint64_t total_upload_bytes = 0, total_download_bytes = 0;
  Seconds total_connect_time{0};
};
Result<TrafficStatistics> read_traffic_statistics(const XmlElement& response);

/// net/net-mode. Hex without 0x, as the modem writes it; keep the bands when only the mode is to change.
struct NetMode {
  std::string mode;  ///< "00" auto, "01" 2G, "02" 3G, "03" LTE, and orders of preference such as "0302"
  std::string band;
  std::string lte_band;
  bool operator==(const NetMode&) const = default;
};
Result<NetMode> read_net_mode(const XmlElement& response);
/// InvalidArgument unless each part is hex, 16 digits at most.
Result<std::string> net_mode_request(const NetMode& mode);

/// dialup/profiles
struct ApnProfile {
  int index = 0;
  std::string name, apn, username;
  bool read_only = false;
};
struct Profiles {
  int current = 0;  ///< an index
  std::vector<ApnProfile> profiles;
};
Result<Profiles> read_profiles(const XmlElement& response);

/// net/current-plmn
struct Plmn {
  std::string full_name, short_name, numeric, rat;
};
Result<Plmn> read_plmn(const XmlElement& response);

/// dialup/mobile-dataswitch
Result<bool> read_data_switch(const XmlElement& response);

/// user/state-login
struct LoginState {
  int state = -1;         ///< 0 logged in, -1 not, -2 again
  int password_type = 0;  ///< 0 and 3 base64, 4 SHA-256
  bool is_scram = false;  ///< extern_password_type 1
  bool is_oaep = false;   ///< padding of encrypted posts: OAEP, else PKCS#1 v1.5
  Seconds wait_time{0};   ///< no attempt before it is over; the modem counts in minutes
};
Result<LoginState> read_login_state(const XmlElement& response);

}  // namespace dongle
