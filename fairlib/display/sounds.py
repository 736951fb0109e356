"""Sounds to listen to on a page: short synthetic clips that travel with it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fairlib.corpora.audio import SAMPLE_RATE

if TYPE_CHECKING:
    from IPython.display import HTML


def players(clips: Mapping[str, np.ndarray], title: str) -> HTML:
    """One player for each clip, as MP3 inside the page: about 8 kB a second.

    Args:
        clips: by what is heard, float32 ``[samples]`` at 16 kHz.
        title: what the clips are; synthetic speech is to be called so.

    Example:
        >>> players({"a tone": np.sin(np.arange(16000) / 5).astype(np.float32)}, "A synthetic tone").data[:51]
        '<figure class="sounds"><figcaption>A synthetic tone'
    """
    import soundfile
    from IPython.display import HTML

    rows = []
    for name, audio in clips.items():
        buffer = io.BytesIO()
        soundfile.write(buffer, np.clip(audio, -1, 1), SAMPLE_RATE, format="MP3")
        source = f"data:audio/mpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        called = html.escape(name)
        player = f'<audio controls preload="none" aria-label="{called}" src="{source}"></audio>'
        rows.append(f"<div><span>{called}</span>{player}</div>")
    return HTML(f'<figure class="sounds"><figcaption>{html.escape(title)}</figcaption>{"".join(rows)}</figure>')
