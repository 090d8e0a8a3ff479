"""Turns links of pages to files outside of docs/ into links to the repository.

A preprocessor of mdBook: https://rust-lang.github.io/mdBook/for_developers/preprocessors.html
"""

import json
import posixpath
import re
import sys

LINK = re.compile(r"(\]\()([^)#:\s]+)(#[^)\s]*)?(\))")


def outside(path, link):
    """The file's path in the repository, if it is not one of the book's."""
    file = posixpath.normpath(posixpath.join("docs", posixpath.dirname(path), link))
    return None if file.startswith("docs/") else file


def rewrite(items, repository):
    for item in items:
        chapter = item.get("Chapter") if isinstance(item, dict) else None
        if not chapter or not chapter["path"]:
            continue

        def replaced(found):
            file = outside(chapter["path"], found[2])
            return f"]({repository}/blob/main/{file}{found[3] or ''})" if file else found[0]

        chapter["content"] = LINK.sub(replaced, chapter["content"])
        rewrite(chapter["sub_items"], repository)


def main():
    if sys.argv[1:2] == ["supports"]:
        return
    context, book = json.load(sys.stdin)
    repository = context["config"]["output"]["html"]["git-repository-url"]
    rewrite(book.get("items", book.get("sections")), repository)
    json.dump(book, sys.stdout)


main()
