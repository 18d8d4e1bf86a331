"""The same service as tcp-ingest, as one writes it in Python: asyncio, a pydantic model per message, a buffered writer.

Usage: asyncio_server.py FOLDER. Prints the address it listens on. Accepted lines go to the file of their hour, the others
to one file beside them. It is there to be measured against (scripts/bench.sh); buffers are flushed when a connection ends.
"""

import asyncio
import pathlib
import sys
from typing import Literal, Union

from pydantic import BaseModel, ConfigDict, StrictFloat, StrictInt, StrictStr, ValidationError


class Measurement(BaseModel):
    """The inner object."""

    model_config = ConfigDict(extra="ignore")
    kind: Literal["Temperature"]
    value: Union[StrictFloat, StrictInt, StrictStr]
    unit: Literal["Celcius", "Celsius", "Fahrenheit"]


class Telemetry(BaseModel):
    """One message."""

    model_config = ConfigDict(extra="ignore")
    timestamp: StrictInt
    sensor_id: StrictInt
    measurement: Measurement


class Writer:
    """Open files by hour."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.files = {}

    def file(self, name: str):
        """The file of this name, opened once."""
        if name not in self.files:
            self.files[name] = open(self.folder / name, "ab", buffering=1 << 20)
        return self.files[name]

    def write(self, line: bytes) -> None:
        """Puts a line where it belongs."""
        try:
            message = Telemetry.model_validate_json(line)
            self.file(f"{message.timestamp // 3600}.json").write(line)
        except ValidationError:
            self.file("rejected").write(line)

    def flush(self) -> None:
        """Empties the buffers."""
        for file in self.files.values():
            file.flush()


async def main() -> None:
    """Listens and serves until it is killed."""
    writer = Writer(pathlib.Path(sys.argv[1]))

    async def serve(reader: asyncio.StreamReader, connection: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.flush()
        connection.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    host, port = server.sockets[0].getsockname()
    print(f"{host}:{port}", flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
