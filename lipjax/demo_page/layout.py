# SPDX-License-Identifier: Apache-2.0
"""How the page looks: gradio's components, tied to the work."""

import html
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from lipjax.demo_page import microphone
from lipjax.demo_page.examples import Examples
from lipjax.demo_page.files import Files
from lipjax.demo_page.work import KINDS, Outcome, Work
from lipjax.errors import ConfigError
from lipjax.pretrained import BUILT_IN

NOTICE = (
    "What this page makes is synthetic. Use faces and voices of people who agreed to it, or of "
    "nobody, and say that it is synthetic wherever you show it; the video says so in its tags."
)
TITLE = "lipjax: make a picture speak"
LEAD = "Give it a picture and some speech: it makes the video of that picture saying it."
EXAMPLES = " If you have none at hand, take an example from the list."
DRAWN = (
    f"The model *{BUILT_IN}* is for drawn faces, such as the examples; on photographs it is soft "
    "and follows real voices loosely. "
    "[Other models](https://github.com/lipjax/lipjax/blob/main/docs/generate.md#which-model)"
)
WAITING = 8
"""Requests that may wait while one is worked on; others are told to come back."""
FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
"""Fonts that are there already; none is fetched."""
CSS = """
.gradio-container { max-width: 1080px !important; margin: 0 auto !important; }
.words:not(:has(.told)) { display: none !important; }
.words { padding: 0 !important; }
.told { padding: .7em 1em; border-radius: 8px; border-left: 4px solid; overflow-wrap: anywhere; }
.told.error { background: #fdecea; border-color: #c62828; color: #7f1d1d; }
.told.done { background: #e8f5e9; border-color: #2e7d32; color: #14532d; }
#sound .mic-select:disabled { display: none; }
.notice { font-size: .92em; opacity: .8; }
"""


def require_gradio(files: Files) -> Any:
    """Returns the gradio module, told to keep to this machine and to our folder.

    Raises:
        ConfigError: it is not installed.
    """
    # Read by gradio when it is imported.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_RUN_HISTORY"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_TEMP_DIR"] = str(files.cache)
    try:
        import gradio
    except ImportError as error:
        raise ConfigError(f"the page needs gradio ({error}): pip install 'lipjax[page]'") from None
    return gradio


def make_page(work: Work, files: Files, examples: Examples, *, limits: str) -> Any:
    """Draws the page.

    Args:
        work: answers requests.
        files: where they lie and whose they are.
        examples: to try.
        limits: a sentence on what may be given.

    Returns:
        gradio's Blocks.
    """
    gr = require_gradio(files)
    from gradio import Request
    from gradio.processing_utils import save_file_to_cache

    def shown(path: Path | None) -> str | None:
        """The file at the place from where gradio serves it, and nowhere else."""
        if path is None:
            return None
        served = save_file_to_cache(path, str(files.cache))
        path.unlink()
        return served

    def run(picture, sound, kind, model, request: Request, progress=gr.Progress()):  # noqa: B008
        session = str(request.session_hash)
        out = files.made / uuid.uuid4().hex / "talk.mp4"
        out.parent.mkdir()
        try:
            outcome = work.answer(
                model=model,
                picture=picture,
                sound=sound,
                kind=kind,
                out=out,
                show=lambda what, done, total: progress(
                    (done, total) if total else None, desc=what, unit="frames"
                ),
            )
            video = shown(outcome.video)
        finally:
            shutil.rmtree(out.parent, ignore_errors=True)
        files.give(session, video)
        button = gr.DownloadButton(value=video, visible=video is not None)
        return video, told_as_html(outcome), button

    def note(path, request: Request):
        files.give(str(request.session_hash), path)

    def leave(request: Request):
        files.close(str(request.session_hash))

    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(f"# {TITLE}\n\n{LEAD}{EXAMPLES if examples.rows else ''}")
        gr.Markdown(NOTICE, elem_classes="notice", elem_id="notice")
        with gr.Row():
            with gr.Column():
                picture = gr.Image(
                    label="Picture",
                    sources=["upload"],
                    type="filepath",
                    buttons=[],
                    height=280,
                    elem_id="picture",
                )
                # Without gradio's decoder: a stranger's picture is read by lipjax alone.
                picture.preprocess = lambda file: None if file is None else file.path
                sound = gr.Audio(
                    label="Speech",
                    sources=["upload", "microphone"],
                    type="filepath",
                    buttons=[],
                    elem_id="sound",
                )
                gr.HTML(f'<div id="{microphone.PLACE}"></div>', elem_classes="words")
                with gr.Row():
                    kinds, names = list(KINDS), work.models.names
                    kind = gr.Radio(kinds, value=kinds[0], label="The picture shows")
                    model = gr.Dropdown(names, value=names[0], label="Model")
                if BUILT_IN in names:
                    gr.Markdown(DRAWN, elem_classes="notice")
                start = gr.Button("Make it speak", variant="primary", elem_id="start")
                gr.Markdown(limits, elem_classes="notice")
            with gr.Column():
                video = gr.Video(
                    label="Result",
                    interactive=False,
                    autoplay=True,
                    buttons=[],
                    height=400,
                    elem_id="video",
                )
                told = gr.HTML(elem_id="told", elem_classes="words")
                download = gr.DownloadButton("Download the mp4", visible=False, elem_id="download")
                if examples.rows:
                    rows = [[str(path) for path in row] for row in examples.rows]
                    gr.Examples(
                        rows,
                        [picture, sound],
                        label="Or take one of these: drawn faces, computed voices",
                        cache_examples=False,
                        api_visibility="private",
                    )
                    for path in (path for row in rows for path in row):
                        files.keep(save_file_to_cache(path, str(files.cache)))
                else:
                    gr.Markdown(f"No examples: {examples.missing}.", elem_classes="notice")
        start.click(lambda: "", None, told, queue=False, api_visibility="private").then(
            run,
            [picture, sound, kind, model],
            [video, told, download],
            api_visibility="private",
            concurrency_limit=1,
            show_progress_on=video,
        )
        for given in (picture, sound):
            given.change(note, given, None, queue=False, api_visibility="private")
        page.unload(leave)
    page.queue(max_size=WAITING, default_concurrency_limit=1)
    return page


def told_as_html(outcome: Outcome) -> str:
    """The sentence as markup; names of files in it may hold anything."""
    look, role = ("error", "alert") if outcome.video is None else ("done", "status")
    # The number tells one answer from the same words said before.
    number = uuid.uuid4().hex
    words = html.escape(outcome.told)
    return f'<div class="told {look}" role="{role}" data-answer="{number}">{words}</div>'
