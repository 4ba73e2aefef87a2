/**
 * The command's face of durable servers, as a process beside a cluster at work: `ps`, `inspect`, `members`, `tail`, `parked`.
 */
import { NodeServices } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Schedule } from "effect"
import { readFileSync } from "node:fs"
import { inject } from "vitest"
import { connectAsSuperuser, unique } from "../datastore/support.ts"
import { Counter, CounterLive, Fragile, fragileLive, makeWorld, Tank, tankLive } from "../durable/fixtures/servers.ts"
import * as CuttableProxy from "../support/CuttableProxy.ts"
import * as Nodes from "../support/Nodes.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { commandIn } from "./command.ts"

/** A cluster of one node, in a database of its own: a server at rest, a locked one, and messages that were set aside. */
const cluster = Effect.fnUntraced(function*(poison: ReadonlyArray<string>) {
  const { url } = yield* TestPostgres.make
  const world = makeWorld()
  const node = yield* Nodes.start({
    url,
    servers: Layer.mergeAll(
      CounterLive,
      fragileLive(world, { defectRetryPolicy: Schedule.recurs(0) }),
      tankLive(world)
    ),
    node: { drainTimeout: "10 millis" }
  })
  const fragile = yield* node.run(Fragile.client())
  for (const what of poison) {
    world.poison.add(what)
    yield* Effect.flip(fragile("a").call.DoOnce({ what }))
  }
  const command = yield* commandIn({ HOLDFAST_DATABASE_URL: url })
  return { ...command, fragile, node, world }
})

/** Each has all that it works on to itself, and most of what they take is processes that start. */
const besideOthers = { concurrent: true, timeout: 180_000 }

layer(NodeServices.layer, { excludeTestServices: true })("holdfast", (it) => {
  it.effect("ps, inspect, members and tail show what there is and what goes on", () =>
    Effect.gen(function*() {
      const { fragile, json, node, run } = yield* cluster(["ill"])
      const tank = yield* node.run(Tank.client())
      const id = yield* node.id
      yield* fragile("with \u001b[31m colour").call.Do({ what: "something" })
      yield* tank("locked").cast.Fill({ what: "slowly", millis: 3_600_000 })
      yield* tank("locked").cast.Add({ what: "behind" })

      const ps = yield* run("ps")
      assert.strictEqual(ps.code, 0, ps.err)
      const rows = ps.out.trimEnd().split("\n").map((row) => row.split(/ {2,}/))
      assert.deepStrictEqual(rows[0], ["KIND", "KEY", "HOLDER", "VERSION", "QUEUE", "PARKED", "LOCKED BY"])
      assert.deepStrictEqual(rows[1]?.slice(0, 3), ["Fragile", "a", `${id}`])
      assert.strictEqual(rows[1]?.[5], "1")
      // What a key holds does nothing to a terminal.
      assert.strictEqual(rows[2]?.[1], "with \\u001b[31m colour")
      assert.notInclude(ps.out, "\u001b")
      assert.deepStrictEqual(rows[3]?.filter((_, column) => column !== 3), [
        "Tank",
        "locked",
        `${id}`,
        "1",
        "0",
        "Fill"
      ])
      const locked = yield* json("ps", "Tank", "--locked")
      assert.deepInclude(locked.value, { ok: true, more: false })
      assert.deepInclude(locked.value.servers[0], { kind: "Tank", key: "locked", queue: 1, lockedBy: "Fill" })
      const first = yield* run("ps", "Fragile", "--limit", "1")
      assert.strictEqual(first.out.trimEnd().split("\n").length, 2)
      assert.include(first.err, "there are more")

      const inspect = yield* run("inspect", "Tank", "locked")
      assert.match(inspect.out, /^Tank "locked", server \d+\nholder: member \d+ .* in line: 1 {3}parked: 0$/m)
      assert.include(inspect.out, `cast Fill {"what":"slowly","millis":3600000}`)
      assert.include(inspect.out, `  "filling": 1,`)
      assert.include(inspect.out, `cast Add {"what":"behind"}`)
      const state = yield* json("inspect", "Tank", "locked")
      assert.strictEqual(state.value.server.state, `{"filling":1,"full":[]}`)
      assert.strictEqual(state.value.server.lock.rpc, "Fill")
      const nobody = yield* json("inspect", "Tank", "nobody")
      assert.strictEqual(nobody.code, 1)
      assert.deepStrictEqual(nobody.value, {
        ok: false,
        error: { _tag: "ServerNotFound", kind: "Tank", key: "nobody", message: `there is no Tank "nobody"` }
      })

      const members = yield* run("members")
      assert.match(members.out, new RegExp(`^${id} +test +[\\d.]+ \\w+ +\\d\\.\\d s left +3 +\\d+$`, "m"))
      assert.match(members.out, /^Tank +1 +1 +1 +1 +1 +0$/m)

      const lines = yield* run("tail", "--count", "2", "--interval", "100ms")
      assert.strictEqual(lines.code, 0, lines.err)
      const [before, after] = lines.out.trimEnd().split("\n")
      assert.match(before ?? "", / members=1 servers=3 held=3 waiting=1 queue=1 locked=1 parked=1 steps=- /)
      assert.match(after ?? "", / steps=\d+\.\d\/s Tank=1,\d+\.\d\/s$/)
      const ndjson = yield* run("tail", "--count", "2", "--interval", "0.1", "--json")
      const looks = ndjson.out.trimEnd().split("\n").map((look) => JSON.parse(look))
      assert.deepStrictEqual(looks.map(({ kinds }) => kinds.length), [2, 2])
      assert.strictEqual(looks[1].members[0].id, id)
      assert.isNumber(looks[1].kinds[0].perSecond)
      assert.strictEqual((yield* run("tail", "--interval", "soon")).code, 2)
    }), besideOthers)

  it.effect("parked messages are listed, shown, retried, edited and dropped", () =>
    Effect.gen(function*() {
      const { fragile, json, run, world } = yield* cluster(["one", "two", "three", "four", "five"])
      const list = yield* json("parked", "list", "Fragile", "a")
      const ids: ReadonlyArray<number> = list.value.parked.map(({ id }: { readonly id: number }) => id)
      assert.strictEqual(ids.length, 5)
      const [one, two, three, four, five] = ids.map(String) as [string, string, string, string, string]
      const text = yield* run("parked", "list")
      assert.match(text.out, new RegExp(`^${one} +Fragile +a +DoOnce +1 +\\S+Z +Error: poisoned by one$`, "m"))
      const show = yield* run("parked", "show", one)
      assert.include(show.out, `${one}: call of DoOnce to Fragile "a"`)
      assert.include(show.out, "primary key: DoOnce/one")
      assert.include(show.out, `  "what": "one"`)
      assert.include(show.out, "Error: poisoned by one")
      assert.strictEqual((yield* json("parked", "show", one)).value.parked.message.payload, `{"what":"one"}`)

      world.poison.clear()
      const retried = yield* json("parked", "retry", one)
      assert.deepInclude(retried.value, { ok: true, failed: [] })
      assert.strictEqual(retried.value.retried[0].id, ids[0])
      const again = yield* json("parked", "retry", one)
      assert.strictEqual(again.code, 1)
      assert.strictEqual(again.value.ok, false)
      assert.strictEqual(again.value.failed[0].error._tag, "ParkedNotFound")

      const bad = yield* run("parked", "edit", two, "--payload", "{what")
      assert.strictEqual(bad.code, 1)
      assert.include(bad.err, `the payload for parked message ${two} was refused`)
      assert.strictEqual((yield* run("parked", "edit", two)).code, 2)
      assert.strictEqual((yield* run("parked", "edit", two, "--payload", `{"what":"mended"}`)).code, 0)

      // It was sent again meanwhile.
      yield* fragile("a").call.DoOnce({ what: "three" })
      const known = yield* run("parked", "retry", three, four)
      assert.strictEqual(known.code, 1)
      assert.include(known.out, "1 retried, 1 not")
      assert.include(known.err, `parked message ${three} is not retried`)

      const unconfirmed = yield* run("parked", "drop", three)
      assert.strictEqual(unconfirmed.code, 3)
      assert.include(unconfirmed.err, "say --yes to confirm")
      const dropped = yield* json("parked", "drop", three, "--yes")
      assert.deepStrictEqual(dropped.value, { ok: true, dropped: [{ id: ids[2] }], failed: [] })
      assert.deepStrictEqual((yield* json("parked", "list")).value.parked.map(({ id }: { id: number }) => id), [ids[4]])
      for (const wrong of [[], ["--all", five], ["--kind", "Fragile", five], ["--all", "--key", "a"]]) {
        assert.strictEqual((yield* run("parked", "retry", ...wrong)).code, 2, wrong.join(" "))
      }
      assert.include((yield* run("parked", "retry", "--all", "--kind", "Tank")).out, "0 retried")
      assert.include((yield* run("parked", "retry", "--all", "--kind", "Fragile", "--key", "a")).out, "1 retried")
      yield* Effect.repeat(Effect.delay(fragile("a").call.Done(), "5 millis"), {
        until: (done) => done.length === 5,
        times: 1000
      })
      assert.deepStrictEqual(yield* fragile("a").call.Done(), ["one", "mended", "three", "four", "five"])
    }), besideOthers)

  it.effect(
    "tail goes on when the database comes back, and ends when nobody reads it any more",
    () =>
      Effect.gen(function*() {
        const { host, port, url } = yield* TestPostgres.make
        yield* Nodes.start({ url })
        const proxy = yield* CuttableProxy.make({ host, port })
        const { follow } = yield* commandIn({ HOLDFAST_DATABASE_URL: proxy.through(url) })
        let looks = 0
        let silences = 0
        const code = yield* Nodes.within(
          "60 seconds",
          follow(["tail", "--json", "--interval", "20ms"], (child, from, text) => {
            if (from === "err") {
              silences += text.split("trying again").length - 1
              // Only then is it there again.
              return Effect.runSync(proxy.welcome("accept"))
            }
            looks++
            if (looks === 1) {
              Effect.runSync(Effect.andThen(proxy.welcome("cut"), proxy.cut()))
            } else if (silences > 0) {
              child.stdout?.destroy()
            }
          })
        )
        assert.strictEqual(code, 0)
        assert.strictEqual(silences, 1)
      }),
    besideOthers
  )

  it.effect("the README's commands do what it says", () =>
    Effect.gen(function*() {
      const { json, node, run } = yield* cluster(["one", "two", "three"])
      yield* (yield* node.run(Counter.client()))("visitors").cast.Add({ by: 1 })
      const ids = (yield* json("parked", "list")).value.parked.map(({ id }: { id: number }) => String(id))
      const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8")
      const section = readme.slice(readme.indexOf("## Looking at it"), readme.indexOf("## Why it is fast"))
      const lines = Array.from(
        section.matchAll(/^npx holdfast ([^#\n]*)#/gm),
        ([, line = ""]) => line.trim().split(/ +/)
      )
      assert.deepStrictEqual(lines.map(([name]) => name), [
        "ps",
        "inspect",
        "members",
        "tail",
        ...Array.from({ length: 5 }, () => "parked")
      ])
      for (const line of lines) {
        const args = line.map((arg) =>
          /^47\d\d$/.test(arg) ? ids[Number(arg) - 4711] ?? "" : arg.replace(/^'(.*)'$/, "$1")
        )
        const ran = yield* run(
          ...args,
          ...(args[0] === "tail" ? ["--count", "1"] : args[1] === "drop" ? ["--yes"] : [])
        )
        assert.strictEqual(ran.code, 0, `${line.join(" ")}: ${ran.err}`)
        assert.isAbove(ran.out.length, 8, line.join(" "))
      }
    }), besideOthers)

  it.effect(
    "what is wrong with the database or the command line is said, and never the password",
    () =>
      Effect.gen(function*() {
        const { url } = yield* TestPostgres.make
        const nowhere = yield* commandIn({ HOLDFAST_DATABASE_URL: "postgresql://u:the-secret-9@127.0.0.1:1/x" })
        const unreachable = yield* nowhere.run("ps", "--log-level", "debug")
        assert.strictEqual(unreachable.code, 1)
        assert.include(unreachable.err, `cannot connect to database "x" at 127.0.0.1:1 as "u"`)
        assert.notInclude(unreachable.err + unreachable.out, "the-secret-9")
        const postgres = yield* commandIn({ HOLDFAST_DATABASE_URL: url })
        assert.include((yield* postgres.run("ps", "--context", "app")).err, "holdfast.toml: there is no such file")
        const empty = yield* postgres.json("ps")
        assert.deepInclude(empty.value.error, { _tag: "SchemaNotInstalled", reason: "notInstalled" })
        const without = yield* commandIn({ HOLDFAST_DATABASE_URL: "" })
        assert.strictEqual((yield* without.run("members")).code, 2)
        const help = yield* without.run("--help")
        for (const name of ["ps", "inspect", "members", "tail", "parked"]) {
          assert.match(help.out, new RegExp(`^  ${name} +\\S`, "m"))
        }
        const parked = yield* without.run("parked", "--help")
        for (const name of ["list", "show", "retry", "edit", "drop"]) {
          assert.match(parked.out, new RegExp(`^  ${name} +\\S`, "m"))
        }
        assert.include((yield* without.run("parked", "retry", "--help")).out, "--all")
      }),
    besideOthers
  )
})

layer(NodeServices.layer, { excludeTestServices: true })("holdfast, as a context of a datastore", (it) => {
  it.effect("needs that context's password and no other", () =>
    Effect.gen(function*() {
      const name = unique("cli")
      const privileged = yield* commandIn({
        HOLDFAST_DATABASE_URL: inject("databaseUrl"),
        APP_PASSWORD: "the-app-secret",
        AUDIT_PASSWORD: "the-audit-secret"
      })
      const toml = [
        `databaseName = "${name}"`,
        "[owner]",
        `databaseRole = "${name}_owner"`,
        "[contexts.audit]",
        `databaseRole = "${name}_audit"`,
        "databasePassword = { env = \"AUDIT_PASSWORD\" }",
        "libraryAccess = false",
        "[contexts.app]",
        `databaseRole = "${name}_app"`,
        "databasePassword = { env = \"APP_PASSWORD\" }"
      ].join("\n")
      yield* privileged.write("holdfast.toml", toml)
      yield* Effect.addFinalizer(() => privileged.run("db", "drop", "--yes", "--force", "--if-exists"))
      const load = yield* privileged.run("db", "load")
      assert.strictEqual(load.code, 0, load.err)

      const operator = yield* commandIn({
        HOLDFAST_DATABASE_URL: inject("databaseUrl").replace(/\/\/[^@]*@/, "//nobody@"),
        APP_PASSWORD: "the-app-secret",
        AUDIT_PASSWORD: ""
      })
      yield* operator.write("holdfast.toml", toml)
      const ps = yield* operator.json("ps")
      assert.deepStrictEqual(ps.value, { ok: true, servers: [], more: false }, ps.err)
      const app = yield* operator.json("members", "--context", "app")
      assert.deepInclude(app.value, { ok: true, members: [], kinds: [] })
      // What it may do is what an operator does.
      const superuser = yield* connectAsSuperuser(name)
      const [parked] = yield* superuser<{ readonly id: number }>`
        WITH s AS (INSERT INTO holdfast.server (kind, key) VALUES ('Door', 'front') RETURNING id)
        INSERT INTO holdfast.parked (server_id, mode, rpc, payload, key, priority, member, call, attempts, failure)
        SELECT id, 'call', 'Open', 'null', 'Open/1', false, 1, 1, 3, 'Error: it is jammed' FROM s RETURNING id::int`
      assert.include((yield* operator.run("parked", "list")).out, "it is jammed")
      const retried = yield* operator.json("parked", "retry", "--all")
      assert.deepStrictEqual(retried.value, { ok: true, retried: [{ id: parked?.id, position: 1 }], failed: [] })
      assert.include((yield* operator.run("inspect", "Door", "front")).out, "cast Open null (key Open/1)")
      const audit = yield* privileged.json("ps", "--context", "audit")
      assert.strictEqual(audit.code, 1)
      assert.notInclude(audit.out + audit.err, "the-audit-secret")
      const unknown = yield* operator.run("ps", "--context", "toString")
      assert.strictEqual(unknown.code, 2)
      assert.include(unknown.err, "contexts: there is no \"toString\"")
    }), besideOthers)
})
