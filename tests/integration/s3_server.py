"""An S3 server in a process of its own, behind a line that can be cut."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from socket import create_connection

from ports import free_port
from pyarrow.fs import FileSystem

BUCKET = "bucket"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}

LINE = """
import asyncio
import sys

async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()

async def connected(reader, writer):
    there, back = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    await asyncio.gather(pump(reader, back), pump(there, writer))

async def main():
    server = await asyncio.start_server(connected, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()

asyncio.run(main())
"""


@dataclass
class S3Server:
    """A server, and the line that leads to it: its memory outlives a cut."""

    port: int
    line_port: int
    line: subprocess.Popen[bytes] | None = field(default=None)

    def url(self, folder: str, bucket: str = BUCKET) -> str:
        return f"s3://{bucket}/{folder}?endpoint_override=127.0.0.1:{self.line_port}&scheme=http"

    def connect(self) -> None:
        self.line = subprocess.Popen([sys.executable, "-c", LINE, str(self.line_port), str(self.port)])
        wait_for(self.line_port)

    def cut(self) -> None:
        """Connections break off in the middle, new ones are refused."""
        assert self.line is not None
        self.line.kill()
        self.line.wait()


@contextmanager
def s3_server() -> Iterator[S3Server]:
    os.environ.update(CREDENTIALS)
    server = S3Server(free_port(), free_port())
    command = [sys.executable, "-m", "moto.server", "-p", str(server.port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(server.port)
        server.connect()
        system, _ = FileSystem.from_uri(server.url("") + "&allow_bucket_creation=true")
        system.create_dir(BUCKET)
        yield server
    finally:
        server.cut()
        process.kill()
        process.wait()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
