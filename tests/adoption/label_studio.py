"""Label Studio: tokens, members, cloud storages, webhooks and machine learning backends, through its HTTP API."""

import json
from collections.abc import Sequence
from typing import Any

from tests.adoption import cloud
from tests.adoption.application import Application
from tests.adoption.browser import Browser
from tests.adoption.drive import Drive, any_of
from tests.adoption.ground import OWNER, Ground

MEMBER, TOKEN, LEGACY = "member organization_member", "key token outstanding_token", "key token auth_token"
JOINED = any_of(MEMBER, "created added joined")
REVOKED = any_of("blacklisted_token", "created") + "|" + any_of("key", "rotated revoked")


def prepare(ground: Ground) -> None:
    ground.environment |= {
        "DJANGO_DB": "default", "POSTGRE_NAME": ground.database, "POSTGRE_USER": OWNER, "POSTGRE_PASSWORD": "",
        "POSTGRE_HOST": str(ground.server.socket_dir), "POSTGRE_PORT": "5432",
        "LABEL_STUDIO_BASE_DATA_DIR": str(ground.folder / "work" / "data"), "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        # Its machine learning backend and its webhooks' receiver are on this machine; nothing goes elsewhere.
        "SSRF_PROTECTION_ENABLED": "false", "ML_BLOCK_LOCAL_IP": "false",
        "STORAGE_EMULATOR_HOST": cloud.web(),
        "COLLECT_ANALYTICS": "false", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": "", "LATEST_VERSION_CHECK": "false",
    }  # fmt: skip


def manage(ground: Ground, *arguments: str) -> None:
    (manage,) = ground.folder.glob("venv/lib/python3*/site-packages/label_studio/manage.py")
    ground.application("python", str(manage), *arguments)


def migrate(ground: Ground, *target: str) -> None:
    manage(ground, "migrate", "--verbosity", "0", *target)


def serve(ground: Ground) -> Sequence[str]:
    return ["label-studio", "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(ground.port)]


def drive(drive: Drive, ground: Ground) -> None:
    admin = Browser(ground.address)
    _people(drive, ground, admin)
    _tokens(drive, admin)
    with drive.step("create a project", "project.created"):
        project = admin.api("POST", "/api/projects", {"title": "Street signs", "label_config": "<View></View>"})["id"]
    with drive.step("change the project's settings", "project.updated"):
        admin.api("PATCH", f"/api/projects/{project}", {"show_instruction": True, "maximum_annotations": 3})
    _storages(drive, admin, project)
    _webhooks(drive, admin, project)
    _backends(drive, admin, project)
    _leaving(drive, ground, admin, project)


def _people(drive: Drive, ground: Ground, admin: Browser) -> None:
    with drive.step("sign up", "user.created", "organization.created", JOINED):
        admin.submit("/user/signup/", {"email": "ada@example.com", "password": drive.secret("Ada's password")})
    with drive.step("rename the organization", "organization.updated|organization.renamed"):
        admin.api("PATCH", "/api/organizations/1", {"title": "Signs & Co."})
    with drive.step(
        "renew the invitation's link", "organization.token_rotated|organization.rotated|organization.updated"
    ):
        invitation = admin.api("POST", "/api/invite/reset-token")["invite_url"]
    with drive.step("a colleague joins", "user.created", JOINED):
        joining = Browser(ground.address)
        joining.submit(invitation, {"email": "bob@example.com", "password": drive.secret("Bob's password")})
    with drive.step("change a name", "user.updated|user.renamed"):
        admin.api("PATCH", "/api/users/1", {"first_name": "Ada", "last_name": "Byron"})
    with drive.step("set a colleague's password", "password.changed"):
        arguments = ["--username", "bob@example.com", "--password", drive.secret("Bob's new password")]
        ground.application("label-studio", "reset_password", *arguments)
    _role(drive, ground, admin)


def _role(drive: Drive, ground: Ground, admin: Browser) -> None:
    with drive.step("make oneself a superuser, as its documentation has it", "user.role_changed"):
        script = "from users.models import User; User.objects.filter(email='ada@example.com').update({}=True, {}=True)"
        manage(ground, "shell", "-c", script.format("is_staff", "is_superuser"))
    with drive.step("make a colleague staff", "user.role_changed"):
        admin.submit("/admin/users/user/2/change/", {"is_staff": "on"}, form_with="username")
    with drive.step("deactivate a colleague", "user.deactivated"):
        admin.submit("/admin/users/user/2/change/", {"is_active": None}, form_with="username")
    with drive.step("activate the colleague again", "user.activated"):
        admin.submit("/admin/users/user/2/change/", {"is_active": "on"}, form_with="username")


def _tokens(drive: Drive, admin: Browser) -> None:
    for allowed in (False, True):
        with drive.step("allow tokens" if allowed else "forbid tokens", any_of("settings jwt_settings", "updated")):
            told = {"api_tokens_enabled": allowed, "legacy_api_tokens_enabled": allowed}
            admin.api("POST", "/api/jwt/settings", told)
    with drive.step("make a token", any_of(TOKEN, "created")):
        token = admin.api("POST", "/api/token/")["token"]
    with drive.step("rotate the token", any_of(TOKEN, "created"), REVOKED):
        token = admin.api("POST", "/api/token/rotate/", {"refresh": token})["refresh"]
    with drive.step("revoke the token", REVOKED):
        admin.api("POST", "/api/token/blacklist/", {"refresh": token})
    with drive.step("renew the legacy token", any_of(LEGACY, "rotated deleted"), any_of(LEGACY, "rotated created")):
        admin.api("POST", "/api/current-user/reset-token/")


def _storages(drive: Drive, admin: Browser, project: int) -> None:
    def google(name: str) -> dict[str, Any]:
        key = cloud.private_key()
        drive.note(name, key.splitlines()[5])
        account = {
            "type": "service_account", "private_key": key, "client_email": "signs@example.com",
            "token_uri": f"{cloud.web()}/token",
        }  # fmt: skip
        return {"bucket": "signs", "google_application_credentials": json.dumps(account)}

    def amazon(name: str) -> dict[str, Any]:
        return {
            "bucket": "signs", "s3_endpoint": cloud.web(), "aws_access_key_id": "AKIAEXAMPLE",
            "aws_secret_access_key": drive.secret(f"{name}, secret key"),
            "aws_session_token": drive.secret(f"{name}, session token"),
        }  # fmt: skip

    def azure(name: str) -> dict[str, Any]:
        # (Where the account is, for the library that looks for it.)
        account = f"signs;BlobEndpoint={cloud.web()}/signs"
        return {"container": "signs", "account_name": account, "account_key": drive.secret(name)}

    def redis(name: str) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": str(cloud.redis_port()), "password": drive.secret(name)}

    for kind, credentials in {"s3": amazon, "gcs": google, "azure": azure, "redis": redis}.items():
        noun = {"azure": "azure_blob"}.get(kind, kind)
        for way, path in {"export": f"/api/storages/export/{kind}", "import": f"/api/storages/{kind}"}.items():
            storage = f"{noun}_{way}_storage {noun.replace('_', '')}{way}storage"
            with drive.step(f"add a storage ({kind}, {way})", any_of(storage, "created")):
                body = {"project": project, "title": f"Signs on {kind}"} | credentials(f"{kind}, {way}, at first")
                made = admin.api("POST", path, body)["id"]
            with drive.step(f"rotate its credentials ({kind}, {way})", any_of(storage, "rotated updated")):
                admin.api("PATCH", f"{path}/{made}", credentials(f"{kind}, {way}, rotated"))
            with drive.step(f"remove the storage ({kind}, {way})", any_of(storage, "deleted removed")):
                admin.api("DELETE", f"{path}/{made}")


def _webhooks(drive: Drive, admin: Browser, project: int) -> None:
    def called(name: str) -> dict[str, Any]:
        return {
            "url": f"https://signs:{drive.secret(f'password in the URL, {name}')}@hooks.example.com/labels",
            "headers": {
                "Authorization": f"Bearer {drive.secret(f'Authorization, {name}')}",
                "X-Api-Key": drive.secret(f"X-Api-Key, {name}"),
            },
            "send_for_all_actions": False, "actions": ["PROJECT_UPDATED"],
        }  # fmt: skip

    with drive.step("add a webhook", "webhook.created", "webhook_action.created"):
        hook = admin.api("POST", "/api/webhooks/", {"project": project} | called("at first"))["id"]
    with drive.step("rotate what the webhook sends", "webhook.updated|webhook.rotated"):
        admin.api("PATCH", f"/api/webhooks/{hook}/", called("rotated"))
    with drive.step("turn the webhook off", "webhook.deactivated|webhook.disabled|webhook.updated"):
        admin.api("PATCH", f"/api/webhooks/{hook}/", {"is_active": False})
    with drive.step("remove the webhook", "webhook.deleted|webhook.removed"):
        admin.api("DELETE", f"/api/webhooks/{hook}/")


def _backends(drive: Drive, admin: Browser, project: int) -> None:
    def login(name: str) -> dict[str, Any]:
        return {
            "url": cloud.web(), "project": project, "title": "Sign reader", "auth_method": "BASIC_AUTH", "basic_auth_user": "signs",
            "basic_auth_pass": drive.secret(f"basic_auth_pass, {name}"),
            "extra_params": {"openai_api_key": drive.secret(f"extra_params, {name}")},
        }  # fmt: skip

    # (The application makes a webhook for it by itself.)
    with drive.step("add a machine learning backend", any_of("ml_backend mlbackend", "created"), "webhook.created"):
        backend = admin.api("POST", "/api/ml/", login("at first"))["id"]
    with drive.step("rotate its password", any_of("ml_backend mlbackend", "rotated updated")):
        admin.api("PATCH", f"/api/ml/{backend}", login("rotated"))
    with drive.step("remove the backend", any_of("ml_backend mlbackend", "deleted removed")):
        admin.api("DELETE", f"/api/ml/{backend}")


def _leaving(drive: Drive, ground: Ground, admin: Browser, project: int) -> None:
    with drive.step("remove a member", any_of(MEMBER, "deleted removed")):
        admin.api("DELETE", "/api/organizations/1/memberships/2/")
    with drive.step("delete a user", "user.deleted"):
        admin.api("DELETE", "/api/users/2/")
    with drive.step("delete the project", "project.deleted"):
        admin.api("DELETE", f"/api/projects/{project}/")


APPLICATION = Application(
    name="label-studio",
    packages=("label-studio",),
    prepare=prepare,
    migrate=migrate,
    reversible=("users", "0010_userproducttour"),
    serve=serve,
    secret_columns=(
        "authtoken_token.key",
        "organization.token",
        "htx_user.password",
        "token_blacklist_outstandingtoken.token",
    ),
    drive=drive,
    write="update organization set title = title || '!'",
)
