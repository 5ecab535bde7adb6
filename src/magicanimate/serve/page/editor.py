"""The panel in which joints and mask of the picture's person are corrected, as HTML; `edit.js` is its behavior."""

from __future__ import annotations

from html import escape

from magicanimate.serve.page.session import Session

_MODES = {"joints": "Joints", "add": "Add to mask", "remove": "Cut from mask"}
_ACTIONS = {"apply": "Apply", "reset": "Reset", "download": "Download JSON"}


def editor(session: Session) -> str:
    """Draw the panel; nothing before the person was found."""
    if session.picture is None or session.person is None:
        return ""
    modes = "".join(
        f'<label><input type="radio" name="edit-mode" value="{mode}"{" checked" if mode == "joints" else ""}>'
        f"<span>{text}</span></label>"
        for mode, text in _MODES.items()
    )
    actions = "".join(
        f'<button type="button" data-edit="{action}"{" class=primary" if action == "apply" else ""}>{text}</button>'
        for action, text in _ACTIONS.items()
    )
    return (
        '<section class="panel" aria-label="Correct the person"><details class="edit"><summary>Correct the person'
        '</summary><p class="facts">Drag points onto the joints, or brush what belongs to the person. Hands and feet '
        f'follow. The preview shows what comes of it.</p><div class="edit-tools"><fieldset class="modes"><legend '
        f'class="hidden">What to correct</legend>{modes}</fieldset><label class="facts">Brush <input type="range" '
        'class="edit-brush" min="1" max="20" step="0.5" value="4" aria-label="Size of the brush, in percent of the '
        f'picture"></label></div><div class="edit-stage" data-mode="joints" '
        f'data-picture="{escape(session.picture.url)}" data-found="{escape(session.person)}" '
        f'data-edit="{escape(session.edit or "")}"></div>'
        f'<p class="facts edit-told" role="status"></p><div class="actions">{actions}</div></details></section>'
    )
