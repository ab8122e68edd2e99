"""git, held at arm's length: a bare store per project, filled from URLs and uploads, read into work folders.

Whatever comes in lands in a folder of its own first and joins the store only when it is whole; a commit that may be
deployed is kept by the reference `refs/homeport/<commit>`, written last.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from app.adapters import git_checkout, git_import, git_words, process, ssh_key
from app.adapters.git_access import access, environment, left_over
from app.adapters.git_url import DEFAULT_BRANCH, Url, check_ref, is_commit, parse_url
from app.adapters.git_words import Source
from app.adapters.process import Cancel, Completed
from app.adapters.tar import Readable, Tar
from app.adapters.tree import Limits
from app.errors import HomeportError, NotFound, SourceRefused, TimedOut, TooLarge
from app.settings import Settings

__all__ = ["Commit", "Git", "Patience", "Url", "check_ref", "is_commit", "parse_url"]

MAX_BRANCHES = 500
"""How many branches and tags are asked for, at most, of a host that gives no commit by its id."""
_LOCAL = 120.0
"""Seconds for what needs no network."""


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long other hosts may take, in seconds: to list their branches, to send a commit, to send nothing in between."""

    listing: float = 30.0
    sending: float = 900.0
    silence: int = 30


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """What a stored commit says of itself. `author` and `message` are foreign text."""

    tree: str
    author: str
    message: str

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self.message.partition("\n")[0]


class Git:
    """Reads other people's repositories and archives, and runs nothing of theirs."""

    def __init__(self, settings: Settings, *, patience: Patience | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self._settings = settings
        self._patience = patience or Patience()
        self._environ = environ
        self._limits = Limits(compressed=settings.upload_limit, unpacked=settings.unpacked_limit)
        self._fetching: dict[Path, threading.Lock] = {}

    def resolve(self, url: str, ref: str | None, key: bytes | None = None) -> str:
        """The commit that `ref` (None: the default branch) is at now. Raises as `pin`."""
        return self.pin(url, ref, key)[0]

    def pin(self, url: str, ref: str | None, key: bytes | None = None) -> tuple[str, str]:
        """The commit that `ref` is at now, and the branch or tag it was found as; a full commit is taken as it is.

        `key` is an OpenSSH private key for ssh, `user:password` for https. Raises SourceRefused for a URL or ref that is
        not taken, NotFound (near names in the hint), BadInput when access is refused, Unavailable, TimedOut.
        """
        source = self._source(url, key)
        if ref is None or ref == DEFAULT_BRANCH:
            return self._default_branch(source)
        check_ref(ref)
        if is_commit(ref):
            return ref, ref
        short = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
        wanted = [ref] if ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
        found = self._listed(source, [name for full in wanted for name in (full, full + "^{}")])
        for full in wanted:
            if commit := found.get(full + "^{}") or found.get(full):
                return _sha1(commit), short
        names = [name.split("/", 2)[2] for name in self._listed(source, []) if not name.endswith("^{}")]
        raise git_words.unknown_ref(source.url, ref, names)

    def fetch(self, repo: Path, url: str, commit_or_ref: str, key: bytes | None = None, cancel: Cancel | None = None) -> str:
        """Bring one commit, without its history, into the store `repo` (made if missing), and return it.

        Raises as `pin`, and TooLarge when more than `unpacked_limit` bytes come, Canceled.
        """
        commit, _ = self.pin(url, commit_or_ref, key)
        source = self._source(url, key)
        self._prepare(repo)
        with self._fetching.setdefault(repo, threading.Lock()):
            if not self.has(repo, commit):
                with self._incoming(repo) as incoming, access(source, self._settings.root) as reach:
                    cap = _SizeCap(incoming, self._settings.unpacked_limit, cancel)
                    self._receive(source, commit, self._env(repo) | _into(incoming) | reach, cap)
                self._keep(repo, commit)
        return commit

    def import_archive(self, repo: Path, stream: Readable, message: str, dirty: bool) -> tuple[str, str]:
        """Store an uploaded tar (plain or gzip) as a commit; returns commit and tree. Equal uploads give equal commits.

        Raises SourceRefused naming a member that is not safe, TooLarge past a limit; nothing is kept then.
        """
        self._prepare(repo)
        output = bytearray()
        with self._incoming(repo) as incoming:
            completed = process.pipe(
                ["git", "fast-import", "--quiet", "--done", "--date-format=raw"],
                source=git_import.commands(Tar(stream, self._limits), message, dirty),
                sink=output.extend,
                env=self._env(repo) | _into(incoming),
                timeout=self._patience.sending,
            )
            process.raise_if_failed(completed)
            commit, tree = git_import.answer(bytes(output))
        self._keep(repo, commit)
        return commit, tree

    def has(self, repo: Path, commit: str) -> bool:
        """Whether the store holds the whole commit."""
        if not is_commit(commit) or not (repo / "HEAD").exists():
            return False
        argv = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{_ref(commit)}^{{tree}}"]
        return self._run(repo, argv, check=False).exit_code == 0

    def show(self, repo: Path, commit: str) -> tuple[str, str]:
        """Tree and message of a commit. Raises NotFound when the store does not hold it."""
        found = self.describe(repo, commit)
        return found.tree, found.message

    def describe(self, repo: Path, commit: str) -> Commit:
        """What a commit says of itself. Raises NotFound when the store does not hold it."""
        if not is_commit(commit) or not (repo / "HEAD").exists():
            raise _not_held(commit)
        argv = ["git", "log", "-1", "--encoding=UTF-8", "--format=%T%x00%an%x00%B", "--end-of-options", _ref(commit)]
        completed = self._run(repo, argv, check=False)
        if completed.exit_code:
            raise _not_held(commit)
        tree, author, message = completed.stdout.decode(errors="replace").split("\0", 2)
        return Commit(tree=tree, author=author, message=message.strip().removesuffix(git_import.DIRTY).strip())

    def check_out(self, repo: Path, commit: str, into: Path) -> tuple[str, ...]:
        """Write the files of a commit to the folder `into`, which is emptied first; returns what a person should know of.

        Raises SourceRefused naming a link that leads out, a submodule or an unsafe name; TooLarge; NotFound. Nothing is
        left then.
        """
        if not self.has(repo, commit):
            raise _not_held(commit)
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True, mode=0o700)
        try:
            return git_checkout.write(self._env(repo), _ref(commit), self._limits, into)
        except BaseException:
            shutil.rmtree(into, ignore_errors=True)
            raise

    def generate_key(self) -> tuple[bytes, str]:
        """A new deploy key: the private half (OpenSSH), and the public one as a host of git takes it."""
        return ssh_key.generate(self._settings.root)

    def public_key(self, private: str) -> str:
        """The public half of a private OpenSSH key without a passphrase. Raises BadInput when it is none."""
        return ssh_key.public_of(private, self._settings.root)

    def tidy(self, repo: Path, keep: Collection[str]) -> None:
        """Forget every commit that is not in `keep`, and pack what stays. Safe beside fetches and uploads."""
        if not (repo / "HEAD").exists():
            return
        listed = self._run(repo, ["git", "for-each-ref", "--format=%(objectname)", "refs/homeport/"]).stdout.decode().split()
        gone = "".join(f"delete {_ref(commit)}\n" for commit in listed if commit not in keep)
        self._run(repo, ["git", "update-ref", "--stdin"], input=gone.encode())
        self._run(repo, ["git", "gc", "--quiet", "--prune=1.hour.ago"])

    def sweep(self) -> None:
        """Remove what killed runs left. Only for the start of the server, before anything else uses the stores."""
        for repo in (self._settings.root / "repos").glob("*.git"):
            for left in (*repo.glob("incoming-*"), *repo.glob("fast_import_crash_*"), *repo.rglob("*.lock")):
                _remove(left)
        for left in left_over(self._settings.root):
            _remove(left)

    def _source(self, url: str, key: bytes | None) -> Source:
        parsed = parse_url(url, self._settings.local_repositories)
        credential = parsed.credential or (key.decode() if key and parsed.transport == "https" else None)
        return Source(url=parsed, credential=credential, key=key if parsed.transport == "ssh" else None)

    def _default_branch(self, source: Source) -> tuple[str, str]:
        lines = self._ls_remote(source, ["--symref", "--", source.url.text, "HEAD"])
        names = [line.split("\t")[0].removeprefix("ref: ") for line in lines if line.startswith("ref: ")]
        commits = [line.split("\t")[0] for line in lines if line.endswith("\tHEAD") and not line.startswith("ref: ")]
        if not commits:
            raise NotFound(f"{source.url.text} has no commits yet.", hint="Push something to it, then deploy again.")
        return _sha1(commits[0]), names[0].removeprefix("refs/heads/") if names else DEFAULT_BRANCH

    def _listed(self, source: Source, patterns: list[str]) -> dict[str, str]:
        """Full names to object ids, of what matches (nothing: all branches and tags)."""
        filters = [] if patterns else ["--heads", "--tags"]
        lines = self._ls_remote(source, [*filters, "--", source.url.text, *patterns])
        return {name: commit for commit, _, name in (line.partition("\t") for line in lines)}

    def _ls_remote(self, source: Source, arguments: list[str]) -> list[str]:
        argv = ["git", "ls-remote", "--quiet", *arguments]
        with access(source, self._settings.root) as reach:
            env = self._env(Path("/nonexistent")) | reach
            try:
                completed = process.run(argv, env=env, timeout=self._patience.listing, check=False)
            except TimedOut as error:
                raise git_words.silent(source.url) from error
        if completed.exit_code:
            raise git_words.explain(source, completed.stderr.decode(errors="replace"))
        return completed.stdout.decode(errors="replace").splitlines()

    def _receive(self, source: Source, commit: str, env: dict[str, str], cap: _SizeCap) -> None:
        """Ask for the commit by its id; from a host that gives only what branches point to, for all branches."""
        said = self._fetch(source, ["--depth=1"], [commit], env, cap)
        if said and git_words.not_given_by_id(said):
            names = [name for name in self._listed(source, []) if not name.endswith("^{}")]
            said = self._fetch(source, [], names[:MAX_BRANCHES], env, cap)
        if said is not None:
            raise git_words.explain(source, said)
        if process.run(["git", "cat-file", "-e", f"{commit}^{{tree}}"], env=env, check=False).exit_code:
            raise git_words.unknown_commit(source.url, commit)

    def _fetch(self, source: Source, options: list[str], what: list[str], env: dict[str, str], cap: _SizeCap) -> str | None:
        """What git said when it failed, else None. Nothing but objects is written: no branch, no FETCH_HEAD."""
        lines: deque[str] = deque(maxlen=50)
        argv = ["git", "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", *options]
        argv += ["--", source.url.text, *what]
        try:
            code = process.stream(argv, on_line=lines.append, env=env, timeout=self._patience.sending, cancel=cap)
        except TimedOut as error:
            raise git_words.silent(source.url) from error
        return "\n".join(lines) if code else None

    def _prepare(self, repo: Path) -> None:
        """An empty bare store, whole or not at all."""
        if (repo / "HEAD").exists():
            return
        repo.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix="new-", dir=repo.parent) as name:
            made = Path(name) / "store.git"
            argv = ["git", "init", "--bare", "--quiet", "--template=", "--object-format=sha1", "--", str(made)]
            self._run(made, argv)
            with suppress(OSError):  # somebody else was faster
                os.rename(made, repo)
        if not (repo / "HEAD").exists():
            raise HomeportError(f"The store {repo} could not be made.")

    @contextmanager
    def _incoming(self, repo: Path) -> Iterator[Path]:
        """A folder for new objects that sees the store's; what is in it joins the store when the block ends well."""
        folder = Path(tempfile.mkdtemp(prefix="incoming-", dir=repo))
        try:
            (folder / "info").mkdir()
            (folder / "info" / "alternates").write_text(f"{repo / 'objects'}\n")
            yield folder
            _join(folder, repo / "objects")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _keep(self, repo: Path, commit: str) -> None:
        self._run(repo, ["git", "update-ref", _ref(commit), commit])

    def _env(self, repo: Path) -> dict[str, str]:
        slowest = {"http.lowSpeedLimit": "1000", "http.lowSpeedTime": str(self._patience.silence)}
        return environment(repo, self._environ, slowest)

    def _run(self, repo: Path, argv: list[str], *, input: bytes | None = None, check: bool = True) -> Completed:
        return process.run(argv, env=self._env(repo), input=input, timeout=_LOCAL, check=check)


class _SizeCap(Cancel):
    """Stops a fetch when its folder grows past the limit; and when `outer` is set."""

    def __init__(self, folder: Path, limit: int, outer: Cancel | None) -> None:
        super().__init__()
        self._folder = folder
        self._limit = limit
        self._outer = outer or Cancel()

    def raise_if_set(self) -> None:
        self._outer.raise_if_set()
        if _size(self._folder) > self._limit:
            raise TooLarge(
                f"The repository sent more than {self._limit >> 20} MiB for one commit.",
                hint="Take large files out of it; the server's setting `unpacked_limit` is the bound.",
            )


def _size(folder: Path) -> int:
    """Bytes of the files below `folder`; files that come and go meanwhile do not matter."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(os.path.join(root, name)).st_size
    return total


def _join(folder: Path, objects: Path) -> None:
    """Move packs into the store, the index of each last: a pack without one is not seen."""
    packs = folder / "pack"
    if not packs.is_dir():
        return
    (objects / "pack").mkdir(exist_ok=True)
    for path in sorted(packs.glob("pack-*"), key=lambda path: path.suffix == ".idx"):
        os.rename(path, objects / "pack" / path.name)
    fd = os.open(objects / "pack", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _into(incoming: Path) -> dict[str, str]:
    return {"GIT_OBJECT_DIRECTORY": str(incoming)}


def _ref(commit: str) -> str:
    return f"refs/homeport/{commit}"


def _sha1(commit: str) -> str:
    if not is_commit(commit):
        raise SourceRefused("The repository names its objects by SHA-256, which is not taken.", hint="Use a SHA-1 one.")
    return commit


def _not_held(commit: str) -> NotFound:
    return NotFound(f"The project's store has no commit {commit}.", hint="Deploy the branch or the folder again.")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
