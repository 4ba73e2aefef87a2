/**
 * `holdfast streams`, `events` and `subscriptions`, run as a user runs them, on a datastore that `holdfast db load` has made.
 */
import { NodeServices } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer, Path, Redacted } from "effect"
import { EventStore, PostgresEventStore } from "holdfast/events"
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { inject } from "vitest"
import { unique } from "../datastore/support.ts"

const bin = fileURLToPath(new URL("../../src/cli/bin.ts", import.meta.url))

const toml = (name: string, library: string) =>
  `databaseName = "${name}"

[owner]
databaseRole = "${name}_owner"

[contexts.app]
databaseRole = "${name}_app"
databasePassword = { env = "APP_PASSWORD" }

[migrations]
${library}
`

layer(NodeServices.layer, { excludeTestServices: true })("holdfast events", (it) => {
  it.effect("shows streams, events and subscriptions, as the context that may", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped()
      const name = unique("events")
      const file = (yield* Path.Path).join(folder, "holdfast.toml")
      yield* fs.writeFileString(file, toml(name, ""))
      const url = inject("databaseUrl")
      const run = (...args: ReadonlyArray<string>) =>
        Effect.callback<{ readonly code: number; readonly out: string; readonly err: string }>((resume) => {
          const child = execFile(
            process.execPath,
            ["--conditions=holdfast-source", bin, ...args],
            { cwd: folder, env: { ...process.env, HOLDFAST_DATABASE_URL: url, APP_PASSWORD: "secret" } },
            (error, out, err) => resume(Effect.succeed({ code: Number(error?.code ?? 0), out, err }))
          )
          child.stdin?.end()
        })
      yield* Effect.addFinalizer(() => run("db", "drop", "--yes", "--force", "--if-exists"))
      const load = yield* run("db", "load")
      assert.strictEqual(load.code, 0, load.err)
      // Those of durable servers alone are there unless it is said otherwise; who needs others is told what to say.
      assert.include(
        (yield* run("streams")).err,
        `the tables of holdfast/events are not ready in this database`
      )
      assert.include((yield* run("streams")).err, `holdfast db upgrade with "events" in [migrations] library`)
      yield* fs.writeFileString(file, toml(name, `library = ["events", "registry"]`))
      const upgrade = yield* run("db", "upgrade")
      assert.strictEqual(upgrade.code, 0, upgrade.err)
      assert.include((yield* run("db", "state")).out, "holdfast/registry")
      assert.include((yield* run("streams")).err, "the datastore has no event store")

      const database = new URL(url)
      database.pathname = `/${name}`
      database.username = `${name}_app`
      database.password = "secret"
      yield* Effect.gen(function*() {
        const events = yield* EventStore.EventStore
        yield* events.createStore("flights")
        yield* events.appendEvents("flights", "SEA", [
          { eventType: "Departed", data: { delay: 4 } },
          { eventType: "Landed", data: { runway: "34L" } }
        ])
        yield* events.appendEvents("flights", "LAX", [{ eventType: "Departed", data: { delay: 0 } }])
        yield* events.saveSubscription("flights", "board")
      }).pipe(Effect.provide(
        PostgresEventStore.layer.pipe(Layer.provide(PgClient.layer({ url: Redacted.make(database.href) })))
      ))

      assert.strictEqual((yield* run("streams")).out, "        1  LAX\n        2  SEA\n")
      const sea = yield* run("events", "SEA")
      assert.match(
        sea.out,
        /^ {8}0 {2}\S+ {2}Departed {2}\{"delay":4\}\n {8}1 {2}\S+ {2}Landed {2}\{"runway":"34L"\}\n$/
      )
      const last = JSON.parse((yield* run("events", "--backward", "-n", "1", "--json", "--store", "flights")).out)
      assert.deepInclude(last.events[0], { eventStreamId: "LAX", globalPosition: 2, data: { delay: 0 } })
      assert.include(
        (yield* run("subscriptions")).out,
        "board  at -1, 3 behind, 0 parked, nobody has it  byStream \"$all\""
      )

      const missing = yield* run("events", "JFK")
      assert.deepStrictEqual([missing.code, missing.out], [1, ""])
      assert.include(missing.err, "there is no stream \"JFK\" in the event store flights")
      assert.strictEqual((yield* run("streams", "--context", "nobody")).code, 2)
      assert.include((yield* run("streams", "--store", "other")).err, "there is no event store other")
    }), 240_000)
})
