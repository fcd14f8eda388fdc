"""pretix: devices, webhooks, OAuth applications and second factors: what logs in beside people's passwords."""

import base64
import hashlib
import hmac
import struct
import time
from urllib.parse import parse_qs, urlparse

from tests.adoption.browser import Browser
from tests.adoption.drive import Drive, any_of

ORGANIZER = "/api/v1/organizers/concerts"
CLIENT = "oauth_application oauthapplication application"


def devices(drive: Drive, api: Browser, address: str) -> None:
    with drive.step("register a device", "device.created"):
        device = api.api("POST", f"{ORGANIZER}/devices/", {"name": "Door", "all_events": True, "limit_events": []})
    versions = dict.fromkeys(("hardware_brand", "hardware_model", "os_name", "software_brand"), "Acme")
    versions |= dict.fromkeys(("os_version", "software_version"), "1.0")
    with drive.step("start the device", any_of("device", "updated initialized activated rotated")):
        started = Browser(address).api(
            "POST", "/api/v1/device/initialize", versions | {"token": device["initialization_token"]}
        )
    with drive.step("rotate the device's token", any_of("device", "updated rotated")):
        rotated = Browser(address, Authorization=f"Device {started['api_token']}").api("POST", "/api/v1/device/roll")
    with drive.step("revoke the device", "device.revoked"):
        Browser(address, Authorization=f"Device {rotated['api_token']}").api("POST", "/api/v1/device/revoke")


def webhooks(drive: Drive, api: Browser) -> None:
    def url(name: str) -> str:
        password, token = drive.secret(f"password in the URL, {name}"), drive.secret(f"token in the URL, {name}")
        return f"https://box:{password}@hooks.example.com/orders?token={token}"

    with drive.step("add a webhook", "webhook.created"):
        hook = {"enabled": True, "all_events": True, "limit_events": [], "action_types": ["pretix.event.order.paid"]}
        hook = api.api("POST", f"{ORGANIZER}/webhooks/", hook | {"target_url": url("at first")})["id"]
    with drive.step("send the webhook elsewhere", "webhook.updated"):
        api.api("PATCH", f"{ORGANIZER}/webhooks/{hook}/", {"target_url": url("changed")})
    with drive.step("disable the webhook", "webhook.disabled|webhook.updated"):
        api.api("DELETE", f"{ORGANIZER}/webhooks/{hook}/")


def oauth(drive: Drive, admin: Browser, address: str) -> None:
    apps, back = "/control/settings/oauth/apps", "https://shop.example.com/back"
    with drive.step("register an OAuth application", any_of(CLIENT, "created")):
        admin.submit(f"{apps}/add", {"name": "Shop", "redirect_uris": back})
    with drive.step("roll its secret", any_of(CLIENT, "rotated updated")):
        page = admin.submit(f"{apps}/1/roll").text
    with drive.step("let the application in"):
        (client,) = drive.connection.execute("select client_id from pretixapi_oauthapplication").fetchone()
        asked = f"/api/v1/oauth/authorize?client_id={client}&response_type=code&scope=read&redirect_uri={back}"
        sent = admin.submit(asked, {"allow": "Authorize", "organizers": "1"}, form_with="client_id", follow=False)
        code = parse_qs(urlparse(sent.headers["location"]).query)["code"][0]
    with drive.step("the application fetches its tokens"):
        secret = page.split("secret", 1)[1].split(": ", 1)[1].split("<", 1)[0].split()[0]
        asked_for = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
        Browser(address).post("/api/v1/oauth/token", asked_for, (client, secret))
    with drive.step("disable the application", any_of(CLIENT, "deactivated disabled")):
        admin.submit(f"{apps}/1/disable")


def second_factors(drive: Drive, admin: Browser) -> None:
    with drive.step("add a second factor", any_of("totp_device", "created")):
        admin.submit("/control/settings/2fa/add", {"name": "Phone", "devicetype": "otp_totp.totpdevice"})
    with drive.step("confirm the second factor", any_of("totp_device", "confirmed updated")):
        device, key = drive.connection.execute("select id, key from otp_totp_totpdevice").fetchone()
        drive.note("the second factor's key in base32", base64.b32encode(bytes.fromhex(key)).decode())
        admin.submit(f"/control/settings/2fa/totp/{device}/confirm", {"token": _code(bytes.fromhex(key))})
    with drive.step("make recovery codes"):
        admin.submit("/control/settings/2fa/regenemergency")


def _code(key: bytes) -> str:
    """The six digits of now."""
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    (number,) = struct.unpack_from(">I", digest, digest[-1] & 15)
    return f"{(number & 0x7FFFFFFF) % 1_000_000:06}"
