"""What the library itself adds to the `millrace` command: the topics and schemas that others build on."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Column, Table

from millrace.schemas import schemas, text
from millrace.topics import TOPICS, Topic

AsJson = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]
Name = Annotated[str | None, typer.Argument(help="A name from the list; without one, the list.")]


def commands(app: typer.Typer) -> None:
    """Add the library's commands."""
    app.command("topics")(list_topics)
    app.command("schemas")(show_schemas)


def list_topics(as_json: AsJson = False) -> None:
    """Every topic: what travels on it, and how long it stays."""
    if as_json:
        typer.echo(orjson.dumps([_described(topic) for topic in TOPICS], option=orjson.OPT_INDENT_2))
        return
    table = Table(Column("topic", no_wrap=True), "keeps", "partitions", "content")
    for topic in TOPICS:
        table.add_row(topic.name, _keeps(topic), str(topic.partitions or "default"), topic.content)
    Console().print(table)


def show_schemas(name: Name = None, as_json: AsJson = False) -> None:
    """The JSON Schema of an event of ours; without a name, the names."""
    known = schemas()
    if name is None:
        typer.echo(orjson.dumps(known, option=orjson.OPT_INDENT_2) if as_json else "\n".join(known))
        return
    if name not in known:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint="NAME")
    typer.echo(text(known[name]), nl=False)


def _described(topic: Topic) -> dict[str, object]:
    return {
        "name": topic.name,
        "content": topic.content,
        "policy": topic.policy,
        "retention_days": topic.retention_days if topic.policy == "delete" else None,
        "partitions": topic.partitions,
        "config": topic.config(),
    }


def _keeps(topic: Topic) -> str:
    return "the newest of each key" if topic.policy == "compact" else f"{topic.retention_days} days"
