"""A store with many codespaces in it: written into the SQLite file of a gateway that does not run."""

import secrets
import sqlite3
import time
import uuid

CODESPACE = """INSERT INTO codespaces (name, owner, display_name, repository, runtime, phase, generation, prepared, idle_timeout_minutes,
  created_at, last_used_at) VALUES (?, ?, '', 'https://git.example.org/some/repository', 'process', 'stopped', 1, 1, 30, ?, ?)"""
PORT = """INSERT INTO ports (codespace, port, visibility, protocol, host_header, users) VALUES (?, 3000, 'private', 'http', 'localhost', '[]')"""
SESSION = "INSERT INTO sessions (id, user, secret_hash, created_at, last_seen_at, agent) VALUES (?, ?, ?, ?, ?, 'bench')"
USER = "INSERT INTO users (id, name, role, suspended, created_at) VALUES (?, ?, 'member', 0, ?)"


def fill(path, total):
    """Adds codespaces, each with an owner, a login session and a port that something was set on, until there are `total`."""
    now = time.time_ns()
    store = sqlite3.connect(path, isolation_level=None)
    have = store.execute("SELECT count(*) FROM codespaces").fetchone()[0]
    users = [(str(uuid.uuid4()), f"user-{index}", now) for index in range(have, total)]
    names = [f"filled-{index}x" for index in range(have, total)]
    store.execute("BEGIN IMMEDIATE")
    store.executemany(USER, users)
    store.executemany("INSERT INTO used_names (name) VALUES (?)", ((name,) for name in names))
    store.executemany(CODESPACE, ((name, user[0], now, now) for name, user in zip(names, users)))
    store.executemany(PORT, ((name,) for name in names))
    store.executemany(SESSION, ((str(uuid.uuid4()), user[0], secrets.token_bytes(32), now, now) for user in users))
    store.execute("COMMIT")
    store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
