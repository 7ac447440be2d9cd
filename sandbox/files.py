"""Files, uploaded as Slack has it: ask for an address, put the bytes there, say where the file goes."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from sandbox.methods import Methods
from sandbox.world import Json, SlackError, World

LARGEST = 50_000_000


@dataclass
class File:
    """A file on its way, or one that was shared."""

    id: str
    name: str
    length: int
    content: bytes | None = None


class Files(Methods):
    """The two methods, and the address between them."""

    def __init__(self, world: World, base: Callable[[], str]) -> None:
        super().__init__(world)
        self.base, self.tickets, self.kept = base, dict[str, File](), dict[str, File]()

    def files_getUploadURLExternal(self, a: Json) -> Json:  # noqa: N802 - Slack's name
        name, length = str(a.get("filename") or ""), str(a.get("length") or "")
        if not name:
            raise SlackError("invalid_arguments")
        if not length.isdecimal() or not 0 < int(length) <= LARGEST:
            raise SlackError("file_uploads_disabled" if not length else "invalid_arguments")
        file, ticket = File(f"F{secrets.token_hex(4).upper()}", name, int(length)), secrets.token_urlsafe(12)
        self.tickets[ticket] = self.kept[file.id] = file
        return {"upload_url": f"{self.base()}/upload/{ticket}", "file_id": file.id}

    async def receive(self, request: Request) -> Response:
        """Take the bytes, once."""
        file, content = self.tickets.pop(request.path_params["ticket"], None), await request.body()
        if file is None or len(content) != file.length:
            return PlainTextResponse("no such upload, or not so many bytes", 400)
        file.content = content
        return PlainTextResponse(f"OK - {len(content)}")

    def files_completeUploadExternal(self, a: Json) -> Json:  # noqa: N802 - Slack's name
        shared = [self.kept.get(str(one.get("id"))) for one in a.get("files") or []]
        if not shared or any(file is None or file.content is None for file in shared):
            raise SlackError("file_not_found")
        channel = self.world.channel_of_bot(str(a.get("channel_id") or ""))
        if self.world.bot_user not in channel.members:
            raise SlackError("not_in_channel")
        files = [{"id": file.id, "name": file.name, "size": file.length} for file in shared if file]
        names = ", ".join(f"📎 {file['name']}" for file in files)
        text = "\n".join(part for part in (str(a.get("initial_comment") or ""), names) if part)
        told = {"text": text, "blocks": [], "files": files, "user": self.world.bot_user, "bot_id": self.world.bot_id}
        self.world.post(channel, told)
        return {"files": files}
