"""Tokens and certificates on the worker's machine: environment variables, and files of the secrets folder."""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pgtrail_worker.destination import Secret
from pgtrail_worker.errors import SecretUnavailable
from pgtrail_worker.hosts import Host, is_listed

MAX_FILE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class SecretStore:
    """The environment and the folder that tokens and certificates may be read from.

    Whoever adds a destination did not place the secrets. So each secret names the hosts that it may be sent to: a file
    in another file (``splunk-token.hosts``), an environment variable in another variable (``SPLUNK_TOKEN_HOSTS``).

    :param folder: files outside it are not read, whatever a destination names.
    """

    folder: Path
    environment: Mapping[str, str]

    def path(self, name: str) -> Path:
        """The path of a file of the folder.

        :raises SecretUnavailable: it would be outside.
        """
        path = self.folder / name
        if ".." in PurePosixPath(name).parts or not path.is_relative_to(self.folder):
            raise SecretUnavailable(f"{name} is not in the secrets folder {self.folder}")
        return path

    def file(self, name: str, hosts: Sequence[Host]) -> Secret:
        """The one word in a file of the folder.

        :param hosts: where it is to be sent.
        :raises SecretUnavailable: it is missing, or may not be sent to one of the hosts.
        """
        words = self._text(self.path(name)).split()
        self.check_file(name, hosts)
        if len(words) != 1:
            raise SecretUnavailable(f"{self.folder / name} does not hold one token")
        return Secret(words[0])

    def check_file(self, name: str, hosts: Sequence[Host]) -> None:
        """Check that the contents of a file of the folder may be sent to the hosts.

        :raises SecretUnavailable: they may not.
        """
        list_path = self.path(name).with_name(f"{self.path(name).name}.hosts")
        try:
            entries = self._text(list_path)
        except SecretUnavailable:
            entries = ""
        for host in hosts:
            if not is_listed(host, entries):
                verb = "add the line {} to {}" if entries.strip() else "put the line {} into a file {}"
                raise SecretUnavailable(f"{name} may not be sent to {host}: {verb.format(host, list_path)}")

    def variable(self, name: str, hosts: Sequence[Host]) -> Secret:
        """An environment variable.

        :param hosts: where it is to be sent.
        :raises SecretUnavailable: it is not set, or may not be sent to one of the hosts.
        """
        value = self.environment.get(name, "").strip()
        if not value.isascii() or not value.isprintable() or not value:
            raise SecretUnavailable(f"the worker's environment has no {name}, or none that can be sent")
        entries = self.environment.get(f"{name}_HOSTS", "")
        for host in hosts:
            if not is_listed(host, entries):
                wanted = f"{entries.strip()},{host}" if entries.strip() else str(host)
                raise SecretUnavailable(f"{name} may not be sent to {host}: set {name}_HOSTS={wanted} for the worker")
        return Secret(value)

    def _text(self, path: Path) -> str:
        """The text of a small file. (Reading anything else, a pipe for example, might never end.)"""
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise SecretUnavailable(f"{path} is not a file")
                return file.read(MAX_FILE_BYTES).decode("ascii")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not ASCII"
            raise SecretUnavailable(f"{path} can't be read: {reason}") from error


def default_secrets_folder() -> Path:
    """Where systemd puts credentials, else where containers mount theirs."""
    return Path(os.environ.get("CREDENTIALS_DIRECTORY", "/run/secrets"))
