/**
 * The database of a run: made for it, on a Postgres of its own with default durability or on the one that `HOLDFAST_DATABASE_URL`
 * names, and dropped after it. And what there is to know about server and machine.
 */
import { PgConnection } from "@effect/sql-pg"
import { Effect, Option } from "effect"
import { spawnSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import os from "node:os"
import { join } from "node:path"
import process from "node:process"
import type { Database } from "./Case.ts"
import { EmbeddedPostgres } from "./holdfast.ts"

/** A Postgres of its own: the binaries come with npm, data and settings are those of `initdb`, durability is the default. */
export const layer = EmbeddedPostgres.layerOrUrl({
  // As many connections as all peers' pools together; memory, checkpoints and the rest are as `initdb` leaves them.
  settings: { fsync: "on", synchronous_commit: "on", max_connections: "400" }
})

export interface MadeDatabase extends Database {
  /** The process id of the server, where it is ours. */
  readonly postmaster: number | undefined
}

export const make = Effect.fnUntraced(function*() {
  const server = yield* EmbeddedPostgres.EmbeddedPostgres
  const name = `holdfast_bench_${randomBytes(4).toString("hex")}`
  const admin = yield* PgConnection.make({ url: server.url })
  yield* Effect.acquireRelease(
    admin.query(`create database ${name}`),
    () => Effect.ignore(admin.query(`drop database ${name} with (force)`))
  )
  const url = server.urlOf(name)
  return {
    url,
    observer: yield* PgConnection.make({ url }),
    postmaster: Option.getOrUndefined(yield* server.pid)
  } satisfies MadeDatabase
})

export interface Facts {
  readonly cores: number
  /** How many processes wanted to run in the minute before. */
  readonly load: number
  readonly processor: string
  readonly system: string
  readonly node: string
  readonly effect: string
  readonly sqlPg: string
  readonly postgres: string
  readonly settings: Readonly<Record<string, string>>
}

const settings = [
  "fsync",
  "synchronous_commit",
  "full_page_writes",
  "wal_sync_method",
  "shared_buffers",
  "max_wal_size",
  "max_connections"
]

/** Read from the disk: some packages do not let their `package.json` be imported. */
export const versionOf = (name: string): string => {
  for (const folder of createRequire(import.meta.url).resolve.paths(name) ?? []) {
    try {
      const { version } = JSON.parse(readFileSync(join(folder, name, "package.json"), "utf8")) as { version: string }
      return version
    } catch {
      continue
    }
  }
  return "not installed"
}

export const facts = Effect.fnUntraced(function*({ observer }: Database) {
  const rows = yield* observer.queryValues(
    "select name, current_setting(name) from unnest($1::text[]) as name",
    [["server_version", ...settings]]
  )
  const values = new Map(rows.map(([name, value]) => [String(name), String(value)]))
  const cores = os.cpus()
  return {
    cores: cores.length,
    load: os.loadavg()[0] ?? 0,
    processor: cores[0]?.model ?? "unknown processor",
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    node: process.version.slice(1),
    effect: versionOf("effect"),
    sqlPg: versionOf("@effect/sql-pg"),
    postgres: values.get("server_version") ?? "",
    settings: Object.fromEntries(settings.map((name) => [name, values.get(name) ?? ""]))
  } satisfies Facts
})

/** Whether there is a `pgbench` to run. */
export const hasPgbench = (): boolean => spawnSync("pgbench", ["--version"], { stdio: "ignore" }).status === 0
