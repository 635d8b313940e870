"""What the sidebar counts of the run list: projects with their experiments, connections, tags; bounded, the
rest by part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runicorn import local_names
from runicorn.errors import UsageError
from runicorn.layout import slug
from runicorn.reader import bounded
from runicorn.reader.run_list import natural

if TYPE_CHECKING:
    from typing import Any

    from runicorn.reader.run_list import View

PROJECTS, CONNECTIONS, TAGS = 300, 300, 500         # named in each answer of the list
NAMES, NAMES_IN_ALL = 500, 2000                     # experiments of one project, of all
FACET_BYTES = 64 << 10                              # JSON of one kind of them in an answer
KINDS = ("projects", "names", "connections", "tags")


class Facets:
    """Counts of a run_list.View's runs, those that its reader hid among them if `hidden`."""

    def __init__(self, view: View, hidden: bool = False) -> None:
        projects, connections, tags = {}, {}, {}
        for run in view.runs:
            if not hidden and view.hidden(run):
                continue
            project, name, _ = local_names.run_parts(run.record.path)
            entry = projects.setdefault(project,
                                        {"slug": project, "project": run.record.project, "count": 0,
                                         "names": {}})
            entry["count"] += 1
            named = entry["names"].setdefault(name,
                                              {"slug": name, "name": _label(name, run.record), "count": 0})
            named["count"] += 1
            for source in {member.source for member in run.members}:
                connections.setdefault(source.slug,
                                       {"slug": source.slug, "name": source.name, "count": 0})["count"] += 1
            for tag in view.tags(run):
                tags[tag] = tags.get(tag, 0) + 1
        for entry in projects.values():
            entry["names"] = sorted(entry["names"].values(), key=_by_slug)
        self._projects, self._connections = (sorted(projects.values(), key=_by_slug),
                                             sorted(connections.values(), key=_by_slug))
        self._tags = [{"tag": tag, "count": count}
                      for tag, count in sorted(tags.items(), key=lambda item: (-item[1], item[0]))]
        self._tree = None

    def tree(self):
        """Return {"projects", "connections", "tags", "more": {kind: how many of it are not named}}.

        Named are those of most runs, in the order of their names (tags: of their counts). A project has
        "names", its first experiments, and "more", how many others it has. The answer is of bounded size.
        """
        if self._tree is None:
            projects, connections = (_most(self._projects, PROJECTS, _bare),
                                     _most(self._connections, CONNECTIONS))
            tags = bounded.page(self._tags, limit=TAGS, size=FACET_BYTES)["items"]
            share = _share([len(entry["names"]) for entry in projects], NAMES_IN_ALL)
            room = 2 * FACET_BYTES // max(2, len(projects))
            self._tree = {"projects": [_in_part(entry, min(share, NAMES), room) for entry in projects],
                          "connections": connections, "tags": tags,
                          "more": {"projects": len(self._projects) - len(projects),
                                   "connections": len(self._connections) - len(connections),
                                   "tags": len(self._tags) - len(tags)}}
        return self._tree

    def part(self, of: str, project: str = "", find: str = "", offset: int = 0,
             limit: int = 500) -> dict[str, Any]:
        """Return one page (see bounded.page) of a kind of them, in the order of the tree; of="names": of the
        experiments of a project, named by its slug. Raises UsageError for another kind."""
        if of not in KINDS:
            raise UsageError(f"the sidebar counts no {of[:50]!r}; it counts {', '.join(KINDS)}")
        if of == "names":
            items = next((entry["names"] for entry in self._projects
                          if project in (entry["slug"], entry["project"])), [])
        else:
            items = {"projects": self._projects, "connections": self._connections, "tags": self._tags}[of]
        return bounded.page(items, find, offset, limit, name=_name, short=_bare if of == "projects" else None)


def _by_slug(item):
    return natural(item["slug"])


def _name(item):
    return item["tag"] if "tag" in item else f"{item['slug']}\n{item.get('project', item.get('name'))}"


def _bare(entry):
    return {**entry, "names": []}


def _most(entries, limit, short=None):
    """Return those of `entries` that most runs have, as many as an answer takes, in the order they have."""
    order = sorted(range(len(entries)), key=lambda position: (-entries[position]["count"], position))
    within = bounded.page([entries[position] for position in order], limit=limit, short=short,
                          size=FACET_BYTES)["items"]
    return [entries[position] for position in sorted(order[:len(within)])]


def _label(folder, record):
    """Return what an experiment is called: as its runs say it, but for one that was given a name of its
    own."""
    return (record.name if not record.kinds and slug(record.name) == folder else folder if record.kinds
            else local_names.unslug(folder))


def _share(counts, most):
    """Return how many (int, >= 1) each may have of its `counts` so that all together have at most about
    `most`."""
    share, remaining = most, sorted(counts)
    for position, count in enumerate(remaining):
        share = max(1, most // (len(remaining) - position))
        if count > share:
            break
        most -= count
    return share


def _in_part(entry, most, size):
    names = bounded.page(entry["names"], limit=most, size=size)["items"]
    return {**entry, "names": names, "more": len(entry["names"]) - len(names)}
