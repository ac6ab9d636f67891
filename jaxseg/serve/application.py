"""The server as one ASGI application: the page, the REST API, and the guard before both."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jaxseg.serve import monai, page, requests
from jaxseg.serve.guard import Guard, Rules
from jaxseg.serve.studio import Studio


def application(studio: Studio, rules: Rules) -> Guard:
  """What a web server runs."""

  async def health(request: Request) -> Response:
    return JSONResponse({"status": "alive"})

  app = Starlette(
    routes=[
      Route("/health", health),
      *page.routes(studio),
      *monai.routes(studio, rules.token),
    ],
    exception_handlers=requests.HANDLERS,
  )
  # an address with or without its last slash would else be sent on to the other one
  app.router.redirect_slashes = False
  return Guard(app, rules)
