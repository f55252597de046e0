"""The page itself, made of gradio's parts."""

from __future__ import annotations

import html
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import gradio as gr
except ImportError:
    gr = None

from mmmtl.structures import Array

from .models import Models
from .predicting import Camera, predict_camera, predict_picture, predict_video

KEPT = 3600
"""Seconds that files of the page are kept."""

MAX_UPLOAD = '2gb'

TITLE = 'mmmtl: every task of a picture or a video at once'

FONTS = ['system-ui', 'sans-serif']
"""Fonts of the computer itself; gradio's own would be loaded from the network."""


def serve(models: Models, *, host: str, port: int | None, open_browser: bool = False) -> None:
    """Serve the page until ctrl-C; a port of None is the first free one from 7860 on.

    Raises:
        ValueError: gradio is missing, or the port is taken.
    """
    if gr is None:
        raise ValueError('the page needs gradio: pip install "mmmtl[browser]"')
    page = build_page(models)
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            inbrowser=open_browser,
            share=False,
            max_file_size=MAX_UPLOAD,
            theme=gr.themes.Default(font=FONTS, font_mono=['monospace']),
            footer_links=[],
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        place = host if port is None else f'{host}:{port}'
        raise ValueError(f'{place}: cannot serve a page there; choose another --port or --host') from error
    print(f'open {address} in a browser; ctrl-C ends')
    page.block_thread()


def build_page(models: Models) -> gr.Blocks:
    """Return the page; it sends nothing to gradio's makers."""
    actions = Actions(models)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(KEPT, KEPT)) as page:
        gr.Markdown(f'## {TITLE}')
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                model = gr.Dropdown(models.names, value=models.names[0], label='model')
                names = models.tasks(models.names[0])
                tasks = gr.CheckboxGroup(names, value=names, label='tasks')
                with gr.Tab('video'):
                    video = gr.Video(sources=['upload'], label='video', height=240)
                    with gr.Row():
                        start = gr.Button('predict', variant='primary', elem_id='predict-video')
                        stop = gr.Button('stop')
                with gr.Tab('picture'):
                    picture = gr.Image(sources=['upload', 'clipboard'], type='filepath', label='picture', height=240)
                    # gradio would open the file, and would not say what is wrong with it.
                    picture.preprocess = lambda file: None if file is None else file.path
                    look = gr.Button('predict', variant='primary', elem_id='predict-picture')
                with gr.Tab('camera'):
                    camera = gr.Image(sources=['webcam'], streaming=True, label='camera', height=240)
            with gr.Column(scale=5, min_width=320):
                panel = gr.Image(show_label=False, format='jpeg', interactive=False, buttons=['download', 'fullscreen'])
                line = gr.HTML(elem_id='time-line')
                film = gr.Video(show_label=False, visible=False, elem_id='film')
        session = gr.State()
        shared = dict(concurrency_id='model', concurrency_limit=1)  # there is one model in memory
        model.change(actions.tasks, model, tasks)
        run = start.click(actions.video, [video, model, tasks], [panel, line, film], **shared)
        stop.click(None, cancels=[run])
        look.click(actions.picture, [picture, model, tasks], [panel, line, film], **shared)
        camera.stream(
            actions.camera,
            [camera, model, tasks, session],
            [panel, line, session],
            stream_every=0.1,
            show_progress='hidden',  # there is always a frame on its way, and the timeline would stay pale
            **shared,
        )
    return page


class Actions:
    """The functions behind the page; they show errors of mmmtl on it."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def tasks(self, name: str) -> object:
        """Return the choice of tasks of a model."""
        names = self._models.tasks(name)
        return gr.CheckboxGroup(names, value=names)

    def video(self, video: str | None, name: str, tasks: list[str]) -> Iterator[tuple[Array | None, str, object]]:
        """Yield the drawing, the timeline, and at the end the video."""
        with shown_errors(video):
            for panel, line, film in predict_video(self._models, video, name, tasks):
                yield panel, line, gr.Video(film or None, visible=bool(film))

    def picture(self, picture: str | None, name: str, tasks: list[str]) -> tuple[Array, str, object]:
        """Return the drawing and the timeline, and hide the video of an earlier run."""
        with shown_errors(picture):
            return *predict_picture(self._models, picture, name, tasks), gr.Video(None, visible=False)

    def camera(
        self, image: Array | None, name: str, tasks: list[str], state: Camera | None
    ) -> tuple[Array | None, str, Camera | None]:
        """Return the drawing, the timeline, and the state of the stream."""
        with shown_errors():
            return predict_camera(self._models, image, name, tasks, state)


@contextmanager
def shown_errors(upload: str | None = None) -> Iterator[None]:
    """Show on the page what mmmtl refuses; of the path of an uploaded file, show the name alone."""
    try:
        yield
    except (ValueError, OSError) as error:
        text = str(error) if upload is None else str(error).replace(upload, Path(upload).name)
        raise gr.Error(html.escape(text), print_exception=False) from error
