"""`GET /evidence/{model}`: the document, or one line of JSON that says why there is none."""

from __future__ import annotations

from aiohttp import web

from evidence.document import encode
from exporter.showing.evidence import Witness


class EvidenceEndpoint:
    """The evidence over HTTP."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    @property
    def routes(self) -> list[web.RouteDef]:
        """What the server is to serve."""
        return [web.get(r"/evidence/{model:[\s\S]+}", self._evidence)]

    async def _evidence(self, request: web.Request) -> web.Response:
        model = request.match_info["model"]
        evidence = self._witness.of(model)
        if evidence is not None:
            return web.Response(body=encode(evidence), content_type="application/json")
        known = ", ".join(self._witness.names()) or "none"
        error = f"this process measures no model {model!r}; those that it does: {known}"
        return web.json_response({"error": error[:1000]}, status=404)
