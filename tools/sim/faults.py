"""The catalogue of faults: names, arguments and meaning. What each does is in device.py, hilink.py, dhcp.py and dns.py."""
import ipaddress
from dataclasses import dataclass

from netns import SimError


@dataclass(frozen=True)
class Kind:
    meaning: str
    argument: str = ""          # how it is called in help; empty = takes none
    required: bool = False
    action: bool = False        # happens once, nothing to clear


MODEM = {
    "data_off": Kind("mobile data switched off behind the API's back"),
    "wan_blackhole": Kind("connected as far as the API knows, every packet dropped; ends by itself as told",
                          "until=reconnect|reboot|netmode|clear"),
    "no_sim": Kind("no SIM card"),
    "pin_required": Kind("the SIM wants its PIN"),
    "no_registration": Kind("no network takes the SIM"),
    "data_limit": Kind("data plan used up (ConnectionStatus 201)"),
    "same_ip": Kind("the carrier gives the same public address again at each reconnect"),
    "reconnect": Kind("the carrier drops the connection; the modem reconnects by itself", action=True),
    "dead_gateway": Kind("the modem's network side is dead: no ARP, no answer, while the link stays up; ends by itself as told",
                         "until=rebind|power|clear"),
    "api_hang": Kind("API accepts and never answers"),
    "api_slow": Kind("every API answer is delayed", "SECONDS", True),
    "api_drip": Kind("API answers at one byte a second"),
    "api_garbage": Kind("API answers with random bytes"),
    "api_html": Kind("API answers with a captive portal's page"),
    "api_empty": Kind("API answers 200 without a body"),
    "api_truncated": Kind("API answers with XML cut in the middle"),
    "api_reset": Kind("API resets each connection once a request came in"),
    "api_error": Kind("API answers with an error code, everywhere or at one path, always or so many times",
                      "CODE[:PATH[:TIMES]]", True),
    "api_no_token": Kind("no session or token is handed out"),
    "api_busy": Kind("API answers 100004 (busy)"),
    "api_sessions": Kind("login answers 108003 (already logged in elsewhere)"),
    "api_lies": Kind("API answers OK to every command and does nothing"),
    "api_huge": Kind("API answers with a body of 100 MiB"),
    "api_down": Kind("API port closed"),
    "api_503": Kind("API answers HTTP 503"),
    "unplug": Kind("stick pulled out: the host's interface is gone (plug or clear brings it back)"),
    "plug": Kind("stick plugged in, as the given interface name", "NAME", action=True),
    "carrier_down": Kind("link of the host's interface down (carrier_up or clear brings it back)"),
    "carrier_up": Kind("link up again", action=True),
    "reboot": Kind("the stick restarts by itself", action=True),
    "power_cut": Kind("the port's power goes off", action=True),
    "power_back": Kind("the port's power comes back: the stick boots", action=True),
    "rebind": Kind("the host bound its driver anew", action=True),
    "reboot_slow": Kind("a restart takes that long", "SECONDS", True),
    "dhcp_silent": Kind("no DHCP answer"),
    "dhcp_change": Kind("the modem's own address and its lease move to another subnet", "SUBNET", True),
    "dhcp_bad": Kind("DHCP offers an address in the uplink's own subnet"),
    "dhcp_zero_lease": Kind("DHCP offers a lease of no length"),
    "dhcp_hostile": Kind("DHCP offers options with shell metacharacters and wrong lengths"),
    "dns_dead": Kind("the modem's DNS proxy doesn't answer"),
    "dns_slow": Kind("the modem's DNS proxy answers late", "SECONDS", True),
    "dns_servfail": Kind("the modem's DNS proxy answers SERVFAIL"),
}

INTERNET = {
    "probe_down": Kind("connectivity.test closed"),
    "success_down": Kind("success.test closed"),
    "ip_down": Kind("ip.test closed"),
    "dns_down": Kind("the internet's DNS server doesn't answer"),
}

# What ends a fault that ends by itself; the first is meant where none is named.
ENDS = {"wan_blackhole": ("reconnect", "reboot", "netmode", "clear"), "dead_gateway": ("clear", "rebind", "power")}


def _nearest(name, known):
    import difflib
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]}?" if near else "; see: dongle-sim fault list"


def check(scope, name, argument):
    """Returns (name, argument) as they are kept, the argument in the type its fault works with."""
    name = name.replace("-", "_")
    if name not in scope:
        raise SimError(f"no fault {name}{_nearest(name, scope)}")
    kind = scope[name]
    if argument is None:
        if kind.required:
            raise SimError(f"{name} needs {kind.argument}")
        return name, ENDS[name][0] if name in ENDS else None
    if not kind.argument:
        raise SimError(f"{name} takes no argument")
    if kind.argument == "SECONDS":
        try:
            seconds = float(argument)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= 86400:
            raise SimError(f"{name} needs seconds from 0 to 86400, not {argument}")
        return name, seconds
    if name in ENDS:
        end = argument.removeprefix("until=")
        if end not in ENDS[name]:
            raise SimError(f"{name} takes until={'|'.join(ENDS[name])}, not {argument}")
        return name, end
    if name == "api_error":
        code, _, rest = argument.partition(":")
        path, _, times = rest.partition(":")
        if not code.isdigit() or (times and not times.isdigit()):
            raise SimError(f"api_error takes CODE[:PATH[:TIMES]], as 100004:dialup/mobile-dataswitch:2, not {argument}")
        return name, {"code": int(code), "path": path.strip("/").removeprefix("api/"), "times": int(times) if times else None}
    if name == "dhcp_change":
        try:
            network = ipaddress.IPv4Network(argument)
        except ValueError:
            network = None
        if network is None or network.prefixlen > 24:
            raise SimError(f"dhcp_change takes a subnet of /24 or larger, as 192.168.99.0/24, not {argument}")
        return name, str(network)
    if name == "plug" and (not argument.replace("-", "").replace("_", "").isalnum() or len(argument) > 15):
        raise SimError(f"{argument} is no interface name")
    return name, argument
