"""Messages from Jinja2 templates: escaped, with their CSS inlined, and with text made from the HTML.

The extra ``templates`` installs what is needed: ``pip install mailpool[templates]``; ``mailpool[mjml]`` adds MJML.
"""

from __future__ import annotations

from .folder import Templates

__all__ = ["Templates"]
