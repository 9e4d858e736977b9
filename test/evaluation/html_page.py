"""A page as a browser would take it, read back."""
from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

# Elements without an end.
VOID = {'meta', 'input', 'br', 'img', 'link'}


class Page(HTMLParser):
    """All that a browser would act on; its elements must be closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags, self.links, self.ids, self.names, self.rows = [], [], [], set(), []
        self.text, self._open = '', []
        self.source = path.read_text()
        self.feed(self.source)
        self.close()
        assert not self._open
        self.text = ' '.join(self.text.split())

    def handle_startendtag(self, tag, attributes):
        self._note(tag, attributes)

    def handle_starttag(self, tag, attributes):
        self._note(tag, attributes)
        if tag not in VOID:
            self._open.append(tag)
        if tag == 'tr':
            self.rows.append([])
        if tag in ('td', 'th'):
            self.rows[-1].append('')

    def _note(self, tag, attributes):
        self.tags.append(tag)
        self.names |= {name for name, _ in attributes}
        self.links += [value for name, value in attributes if name in ('href', 'src')]
        self.ids += [value for name, value in attributes if name == 'id']

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += f' {data}'
        if {'td', 'th'} & set(self._open):
            self.rows[-1][-1] += data
