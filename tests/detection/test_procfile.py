"""Procfiles."""

from __future__ import annotations

from pathlib import Path

from app.detection import procfile
from app.detection.tree import Tree


def test_processes_in_order_with_names_that_are_labels(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text(
        "# what runs\r\nweb: gunicorn app:app --bind :$PORT\r\nURGENT_worker:  work\n\n"
        "release: migrate\nno process\n9: x\nempty:\n"
    )
    tree = Tree(tmp_path)
    assert procfile.read(tree) == {"web": "gunicorn app:app --bind :$PORT", "urgent-worker": "work", "release": "migrate"}
    assert [note.split(" is ")[0] for note in tree.notes] == ["Procfile line 6", "Procfile line 7", "Procfile line 8"]


def test_no_procfile(tmp_path: Path) -> None:
    assert procfile.read(Tree(tmp_path)) == {}
