"""The service for programs that speak the Model Context Protocol: two tools beside the page, at /gradio_api/mcp/."""

from __future__ import annotations

import json
from contextlib import ExitStack

import gradio as gr

from magicanimate.serve.api import allowed_path, parse_settings
from magicanimate.serve.backend import ServiceError
from magicanimate.serve.service import Service


def add_tools(service: Service) -> None:
    """Offer the tools; to be called inside the page's blocks. They belong to the client whose token was sent."""

    def animate(picture: str, motion: str, request: gr.Request, settings: str = "{}") -> str:
        """Begin to animate a picture of a person with a motion. The answer has the job's id; ask `job` for its state.

        Args:
            picture: path of a PNG, JPEG or WebP picture below the service's folder for inputs.
            motion: path of a video of somebody moving, a DensePose video or BVH below that folder.
            settings: JSON object of settings such as {"seed": 1, "max_frames": 48, "preset": "fast"}.
        """
        client = request.state.client
        try:
            with ExitStack() as files:
                paths = [allowed_path(service.options.paths, path) for path in (picture, motion)]
                opened = [files.enter_context(path.open("rb")) for path in paths]
                begun = service.submit_files(opened[0], opened[1], parse_settings(settings), client)
            return told(service, begun, client)
        except ServiceError as error:
            raise gr.Error(str(error)) from error

    def job(job: str, request: gr.Request) -> str:
        """State of a job. When it is done, `result` is where to get the video on this service, with the same token.

        Args:
            job: the id that `animate` answered.
        """
        try:
            return told(service, job, request.state.client)
        except ServiceError as error:
            raise gr.Error(str(error)) from error

    for tool in (animate, job):
        gr.api(tool, api_name=tool.__name__, queue=False)


def told(service: Service, job: str, client: str) -> str:
    """Return a job's state, and where its result is, as JSON."""
    state = service.state(job, client)
    result = {"result": f"/api/v1/jobs/{job}/result"} if state.state == "done" else {}
    return json.dumps(state.model_dump(mode="json", exclude_none=True) | result)
