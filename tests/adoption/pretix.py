"""pretix: people, teams, tokens, settings and payment providers, in its back office and its API."""

from collections.abc import Sequence
from typing import Any

from tests.adoption import pretix_logins
from tests.adoption.application import Application
from tests.adoption.browser import Browser
from tests.adoption.drive import Drive, any_of
from tests.adoption.ground import OWNER, Ground

SECRET_COLUMNS = (
    "pretixbase_user.password", "pretixbase_user.session_token", "pretixbase_user.notifications_token",
    "pretixbase_teamapitoken.token", "pretixbase_teaminvite.token", "pretixbase_device.api_token",
    "pretixbase_device.initialization_token", "pretixbase_giftcard.secret", "pretixbase_customer.password",
    "pretixbase_customerssoclient.client_secret", "pretixapi_oauthapplication.client_secret",
    "pretixapi_oauthgrant.code", "pretixapi_oauthaccesstoken.token", "pretixapi_oauthrefreshtoken.token",
    "otp_totp_totpdevice.key", "otp_static_statictoken.token", "django_session.session_key",
    "pretixbase_order.secret", "pretixbase_order.internal_secret", "pretixbase_orderposition.secret",
    "pretixbase_orderposition.web_secret",
)  # fmt: skip
ORGANIZER, EVENT = "/api/v1/organizers/concerts", "/api/v1/organizers/concerts/events/spring"
OFFICE = "/control/organizer/concerts"
JOINED = any_of("member team_member", "added created joined")
LEFT = any_of("member team_member", "removed deleted")
TOKEN = "key team_key team_api_token"
CONFIGURATION = """[pretix]
url={url}
datadir={data}
[database]
backend=postgresql
name={name}
user={user}
host={host}
port=5432
[django]
secret=adoption
[mail]
host=127.0.0.1
port=9
custom_smtp_allow_private_networks=True
"""


def prepare(ground: Ground) -> None:
    file = ground.folder / "pretix.cfg"
    data = ground.folder / "work" / "data"
    data.mkdir(parents=True, exist_ok=True)
    host = ground.server.socket_dir
    file.write_text(CONFIGURATION.format(url=ground.address, data=data, name=ground.database, user=OWNER, host=host))
    ground.environment |= {"PRETIX_CONFIG_FILE": str(file), "DJANGO_SETTINGS_MODULE": "pretix.settings"}


def migrate(ground: Ground, *target: str) -> None:
    ground.application("python", "-m", "pretix", "migrate", "--verbosity", "0", *target)


def serve(ground: Ground) -> Sequence[str]:
    return ["gunicorn", "pretix.wsgi", "--bind", f"127.0.0.1:{ground.port}", "--workers", "1", "--timeout", "300"]


def drive(drive: Drive, ground: Ground) -> None:
    admin = Browser(ground.address, "pretix_csrftoken")
    _people(drive, admin)
    api = _first_token(drive, admin, ground.address)
    _teams(drive, api)
    _event(drive, api)
    pretix_logins.devices(drive, api, ground.address)
    pretix_logins.webhooks(drive, api)
    _settings(drive, admin, api)
    _customers(drive, admin, api)
    pretix_logins.oauth(drive, admin, ground.address)
    pretix_logins.second_factors(drive, admin)


def _people(drive: Drive, admin: Browser) -> None:
    with drive.step("log in"):
        admin.submit("/control/login", {"email": "admin@localhost", "password": "admin"})
    with drive.step("change one's password", "password.changed"):
        password = drive.secret("the administrator's password")
        given = {"old_pw": "admin", "new_pw": password, "new_pw_repeat": password}
        admin.submit("/control/settings/password/change", given)
    with drive.step("become an administrator"):
        admin.submit("/control/sudo/")
    with drive.step("make a user", "user.created"):
        password = drive.secret("Bob's password")
        admin.submit("/control/users/add", {"email": "bob@example.com", "new_pw": password, "new_pw_repeat": password})
    with drive.step("set a user's password", "password.changed"):
        password = drive.secret("Bob's new password")
        admin.submit("/control/users/2/", {"new_pw": password, "new_pw_repeat": password})
    with drive.step("make a user staff", "user.role_changed"):
        admin.submit("/control/users/2/", {"is_staff": "on"}, form_with="new_pw")
    with drive.step("deactivate a user", "user.deactivated"):
        admin.submit("/control/users/2/", {"is_active": None}, form_with="new_pw")
    with drive.step("make an organizer", "organizer.created|organization.created", "team.created", JOINED):
        admin.submit("/control/organizers/add", {"name": "Concerts & Co.", "slug": "concerts"})


def _first_token(drive: Drive, admin: Browser, address: str) -> Browser:
    with drive.step("make a token", any_of(TOKEN, "created")):
        admin.submit(f"{OFFICE}/team/1/", {"name": "from the office"})
    (token,) = drive.connection.execute("select token from pretixbase_teamapitoken").fetchone()
    return Browser(address, Authorization=f"Token {token}")


def _teams(drive: Drive, api: Browser) -> None:
    teams = f"{ORGANIZER}/teams/"
    with drive.step("make a team", "team.created"):
        team = api.api("POST", teams, {"name": "Box office", "all_events": True, "limit_events": []})["id"]
    with drive.step("change what a team may do", any_of("team", "updated role_changed permissions_changed")):
        api.api("PATCH", f"{teams}{team}/", {"can_view_orders": True, "can_change_orders": True})
    with drive.step("invite somebody", any_of("invite team_invite", "created") + "|member.invited"):
        invite = api.api("POST", f"{teams}{team}/invites/", {"email": "eve@example.com"})["id"]
    with drive.step("take the invitation back", any_of("invite team_invite", "deleted revoked removed")):
        api.api("DELETE", f"{teams}{team}/invites/{invite}/")
    with drive.step("add a user to a team", JOINED):
        api.api("POST", f"{teams}{team}/invites/", {"email": "bob@example.com"})
    with drive.step("remove a user from a team", LEFT):
        api.api("DELETE", f"{teams}{team}/members/2/")
    with drive.step("make a token of the team", any_of(TOKEN, "created")):
        token = api.api("POST", f"{teams}{team}/tokens/", {"name": "ci"})["id"]
    with drive.step("revoke the token", any_of(TOKEN, "revoked deactivated")):
        api.api("DELETE", f"{teams}{team}/tokens/{token}/")


def _event(drive: Drive, api: Browser) -> None:
    with drive.step("make an event", "event.created"):
        made = {
            "name": {"en": "Spring"},
            "slug": "spring",
            "live": False,
            "currency": "EUR",
            "date_from": "2027-04-01T19:00:00Z",
        }
        api.api("POST", f"{ORGANIZER}/events/", made | {"plugins": ["pretix.plugins.stripe", "pretix.plugins.paypal2"]})
    with drive.step("put something on sale", "item.created", "quota.created"):
        sold = {"name": {"en": "Ticket"}, "default_price": "20.00", "active": True, "admission": True}
        item = api.api("POST", f"{EVENT}/items/", sold)["id"]
        api.api("POST", f"{EVENT}/quotas/", {"name": "All", "size": 100, "items": [item], "variations": []})
    with drive.step("sell a ticket", "order.created"):
        order = {"email": "carol@example.com", "locale": "en", "sales_channel": "web", "payment_provider": "manual"}
        api.api(
            "POST", f"{EVENT}/orders/", order | {"positions": [{"item": item, "variation": None, "price": "20.00"}]}
        )
    with drive.step("issue a gift card", any_of("gift_card giftcard", "created")):
        api.api(
            "POST",
            f"{ORGANIZER}/giftcards/",
            {"value": "20.00", "currency": "EUR", "secret": drive.secret("gift card")},
        )


def _settings(drive: Drive, admin: Browser, api: Browser) -> None:
    with drive.step("change the organizer's settings", _set("organizer")):
        api.api("PATCH", f"{ORGANIZER}/settings/", {"contact_mail": "box@example.com", "customer_accounts": True})
    with drive.step("set a mail server", _set("organizer")):
        _mail(drive, admin, "at first")
    with drive.step("change the mail server's password", _set("organizer")):
        _mail(drive, admin, "changed")
    event = "/control/event/concerts/spring/settings"
    for when in ("at first", "rotated"):
        with drive.step(f"give keys of Stripe, {when}", _set("event")):
            keys = {"payment_stripe_secret_key": drive.secret(f"Stripe, {when}", "sk_live_")}
            keys |= {"payment_stripe_publishable_key": "pk_live_open", "payment_stripe_merchant_country": "DE"}
            admin.submit(f"{event}/payment/stripe_settings", keys)
        with drive.step(f"give keys of PayPal, {when}", _set("event")):
            admin.submit(
                f"{event}/payment/paypal_settings",
                {
                    "payment_paypal_client_id": "box" * 27,
                    "payment_paypal_secret": drive.secret(f"PayPal, {when}", "E" * 56),
                },
            )
    with drive.step("change the event's settings", _set("event")):
        api.api("PATCH", f"{EVENT}/settings/", {"imprint_url": "https://example.com/imprint", "max_items_per_order": 4})
    with drive.step("set keys for the whole installation", _set("global")):
        names = (
            "opencagedata_apikey",
            "mapquest_apikey",
            "payment_stripe_connect_secret_key",
            "payment_paypal_connect_secret_key",
        )
        admin.submit(
            "/control/global/settings/", {name: drive.secret(name, "sk_live_" * ("stripe" in name)) for name in names}
        )


def _mail(drive: Drive, admin: Browser, name: str) -> None:
    server = {"mail_from": "box@example.com", "smtp_host": "127.0.0.1", "smtp_port": "587", "smtp_username": "box"}
    server |= {"smtp_password": drive.secret(f"SMTP password, {name}")}
    given = {f"smtp-{key}": value for key, value in server.items()} | {"mode": "smtp", "state": "save"}
    admin.submit(f"{OFFICE}/settings/email/setup", given, form_with="smtp-smtp_host")


def _customers(drive: Drive, admin: Browser, api: Browser) -> None:
    with drive.step("make a customer", "customer.created"):
        customer = {
            "email": "carol@example.com",
            "password": drive.secret("Carol's password"),
            "name_parts": {"_scheme": "full", "full_name": "Carol"},
        }
        api.api("POST", f"{ORGANIZER}/customers/", customer)
    with drive.step("let a shop log customers in", any_of("customer_sso_client sso_client", "created")):
        client: dict[str, Any] = {
            "name": "Shop",
            "client_type": "confidential",
            "authorization_grant_type": "authorization-code",
        }
        admin.submit(
            f"{OFFICE}/ssoclient/add",
            client | {"redirect_uris": "https://shop.example.com/", "allowed_scopes": ["openid"]},
        )


def _set(of: str) -> str:
    return any_of(f"settings {of}_settings", "created updated set")


APPLICATION = Application(
    name="pretix",
    packages=("pretix", "gunicorn"),
    prepare=prepare,
    migrate=migrate,
    reversible=("pretixapi", "0009_auto_20221217_1847"),
    serve=serve,
    secret_columns=SECRET_COLUMNS,
    drive=drive,
    write="update pretixbase_organizer set name = name || '!'",
)
