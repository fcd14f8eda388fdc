"""An S3-compatible store, configured by boto's own variables and files: AWS_PROFILE, AWS_ENDPOINT_URL_S3 …"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar, cast

from pgtrail.archive.engine import Engine
from pgtrail.archive.manifest import SUFFIX
from pgtrail.errors import PgtrailError

Given = ParamSpec("Given")
Result = TypeVar("Result")
SOME_ROWS, WHOLE_FILE = 1 << 20, 16 << 20
"""Bytes per request: of DuckDB, which reads some row groups; and of whoever reads a whole file."""


def _one_line_errors(method: Callable[Given, Result]) -> Callable[Given, Result]:
    """Report errors of the store in one line."""

    @wraps(method)
    def asked(*args: Given.args, **options: Given.kwargs) -> Result:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return method(*args, **options)
        except (BotoCoreError, ClientError, OSError) as error:
            raise PgtrailError(
                f"the store: {str(error) or type(error).__name__}",
                "check the bucket, AWS_PROFILE or AWS_ACCESS_KEY_ID, and AWS_ENDPOINT_URL_S3",
            ) from error

    return asked


class Store:
    """A bucket, and the prefix of all names in it."""

    def __init__(self, root: str) -> None:
        try:
            import s3fs
        except ImportError as error:
            raise PgtrailError("archives in an S3 store need an extra", "pip install 'pgtrail[s3]'") from error
        self.root = root
        self._files: Any = s3fs.S3FileSystem(
            use_listings_cache=False, skip_instance_cache=True, default_block_size=SOME_ROWS
        )

    @_one_line_errors
    def manifests(self) -> list[str]:
        found = self._files.glob(f"{self.root}/month=*/*{SUFFIX}")
        return sorted(str(name)[len(self.root) + 1 :] for name in found)

    @_one_line_errors
    def open(self, name: str) -> IO[bytes]:
        return cast(IO[bytes], self._files.open(f"{self.root}/{name}", "rb", block_size=WHOLE_FILE))

    @_one_line_errors
    def put(self, file: Path, name: str) -> None:
        self._files.put_file(str(file), f"{self.root}/{name}")

    @_one_line_errors
    def clear(self, folder: str, stem: str) -> None:
        manifest = f"{self.root}/{folder}/_{stem}{SUFFIX}"
        if self._files.exists(manifest):
            self._files.rm_file(manifest)
        for pattern in (f"_{stem}.*", f"part=*/{stem}.parquet"):
            for file in self._files.glob(f"{self.root}/{folder}/{pattern}"):
                self._files.rm_file(file)

    def uri(self, name: str) -> str:
        return f"s3://{self.root}/{name}"

    def attach(self, engine: Engine) -> None:
        engine.register_filesystem(self._files)
