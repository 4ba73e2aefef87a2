/**
 * The embedded Postgres does what it promises: it is a real server for us alone, it leaves nothing behind however its user
 * ends, a kept folder keeps its data, and what cannot be done is said in a typed error without a secret in it.
 */
import { PgClient } from "@effect/sql-pg"
import { afterAll, assert, beforeAll, describe, it, layer } from "@effect/vitest"
import { ConfigProvider, Context, Effect, Exit, Fiber, Layer, Option, Redacted, Schedule, Scope } from "effect"
import { TestClock } from "effect/testing"
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import { createServer, type Server } from "node:net"
import { networkInterfaces, tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as EmbeddedPostgres from "../../src/testing/EmbeddedPostgres.ts"
import * as Cluster from "../../src/testing/internal/cluster.ts"

const isRoot = process.getuid?.() === 0
const isLinux = process.platform === "linux"
const fixture = fileURLToPath(new URL("fixtures/embeddedServer.ts", import.meta.url))

/** A folder of the test's own, gone when the scope closes. */
const scratch = Effect.acquireRelease(
  Effect.sync(() => {
    const folder = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), "holdfast-test-")))
    fs.chmodSync(folder, 0o755)
    return folder
  }),
  (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true, maxRetries: 10 }))
)

/** Whether a process lives; one that has ended and only waits to be collected does not. */
const lives = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return !isLinux || !/^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    return false
  }
}

/** What processes work in this folder: by their command line, or by where they are. Children of Postgres are there. */
const processesIn = (folder: string): ReadonlyArray<string> =>
  !isLinux ? [] : fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      const command = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")
      return command.includes(folder) || fs.readlinkSync(`/proc/${pid}/cwd`).startsWith(folder)
        ? [`${pid} ${command}`]
        : []
    } catch {
      return []
    }
  })

const until = (what: string, condition: () => boolean) =>
  Effect.suspend(() => condition() ? Effect.void : Effect.fail(what)).pipe(
    Effect.retry(Schedule.max([Schedule.spaced("20 millis"), Schedule.recurs(500)])),
    Effect.orDie
  )

const start = (options?: EmbeddedPostgres.Options) =>
  Effect.map(
    Layer.build(EmbeddedPostgres.layer(options)),
    Context.get(EmbeddedPostgres.EmbeddedPostgres)
  )

const connect = (url: Redacted.Redacted) =>
  Effect.map(Layer.build(Layer.fresh(PgClient.layer({ url }))), Context.get(PgClient.PgClient))

const pidOf = (server: EmbeddedPostgres.EmbeddedPostgres["Service"]) => Effect.map(server.pid, Option.getOrThrow)

const folderOf = (server: EmbeddedPostgres.EmbeddedPostgres["Service"]) => Option.getOrThrow(server.dataDirectory)

/** What is refused, and how. */
const refusal = (options: unknown) => Effect.scoped(Effect.flip(start(options as EmbeddedPostgres.Options)))

const one = <A>(rows: ReadonlyArray<A>): A => {
  assert.strictEqual(rows.length, 1)
  return rows[0]!
}

describe("a server", () => {
  layer(EmbeddedPostgres.layer({ settings: { fsync: "off", max_connections: "42", "holdfast.test": "it's" } }), {
    excludeTestServices: true
  })("shared by these tests", (it) => {
    it.effect("is a Postgres for a superuser, in Unicode, with the settings asked for", () =>
      Effect.gen(function*() {
        const server = yield* EmbeddedPostgres.EmbeddedPostgres
        const sql = yield* connect(server.url)
        const row = one(
          yield* sql`
            SELECT current_setting('is_superuser') AS superuser, current_setting('server_encoding') AS encoding,
              upper('é') AS upper, current_setting('fsync') AS fsync,
              current_setting('max_connections')::int AS connections, current_setting('holdfast.test') AS test
          `
        )
        assert.deepStrictEqual(row, {
          superuser: "on",
          encoding: "UTF8",
          upper: "É",
          fsync: "off",
          connections: 42,
          test: "it's"
        })
      }))

    it.effect("gives its client as a layer, and the URL of any database", () =>
      Effect.gen(function*() {
        const { urlOf } = yield* EmbeddedPostgres.EmbeddedPostgres
        yield* Effect.flatMap(PgClient.PgClient, (sql) => sql`CREATE DATABASE "a b/c"`)
        const sql = yield* connect(urlOf("a b/c"))
        assert.deepStrictEqual(one(yield* sql`SELECT current_database() AS name`), { name: "a b/c" })
      }).pipe(Effect.provide(EmbeddedPostgres.layerClient)))

    it.effect("asks for its password", () =>
      Effect.gen(function*() {
        const server = yield* EmbeddedPostgres.EmbeddedPostgres
        const { host, port, username } = server
        for (const password of [Redacted.make(""), Redacted.make("wrong")]) {
          const context = yield* Layer.build(Layer.fresh(PgClient.layer({ host, port, username, password })))
          const error = yield* Effect.flip(Context.get(context, PgClient.PgClient)`SELECT 1`)
          assert.strictEqual(error.reason._tag, "AuthenticationError")
        }
        const sql = yield* connect(server.url)
        const { methods } = one(
          yield* sql<{ readonly methods: string }>`
            SELECT string_agg(DISTINCT auth_method, ' ') AS methods FROM pg_hba_file_rules
          `
        )
        assert.strictEqual(methods, "scram-sha-256")
      }))

    it.effect("listens on the loopback interface alone, and on no socket file", () =>
      Effect.gen(function*() {
        const server = yield* EmbeddedPostgres.EmbeddedPostgres
        assert.strictEqual(server.host, "127.0.0.1")
        const sql = yield* connect(server.url)
        assert.deepStrictEqual(
          one(
            yield* sql`
              SELECT current_setting('listen_addresses') AS addresses, current_setting('unix_socket_directories') AS sockets
            `
          ),
          { addresses: "127.0.0.1", sockets: "" }
        )
        const others = Object.values(networkInterfaces()).flat()
          .filter((address) => address?.family === "IPv4" && !address.internal)
        for (const other of others) {
          const context = yield* Layer.build(Layer.fresh(PgClient.layer({
            host: other!.address,
            port: server.port,
            username: server.username,
            password: server.password
          })))
          const error = yield* Effect.flip(Context.get(context, PgClient.PgClient)`SELECT 1`)
          assert.strictEqual(error.reason._tag, "ConnectionError")
        }
      }))

    it.effect("shows its password nowhere", () =>
      Effect.gen(function*() {
        const server = yield* EmbeddedPostgres.EmbeddedPostgres
        const secret = Redacted.value(server.password)
        assert.isAtLeast(secret.length, 32)
        assert.notInclude(JSON.stringify(server), secret)
        assert.notInclude(String(server.url), secret)
        const { cmdline } = { cmdline: isLinux ? fs.readFileSync(`/proc/${yield* pidOf(server)}/cmdline`, "utf8") : "" }
        assert.notInclude(cmdline, secret)
        const inside = fs.readdirSync(folderOf(server), { recursive: true, encoding: "utf8" })
          .filter((name) => /password/.test(name))
        for (const name of inside) {
          assert.strictEqual(fs.statSync(join(folderOf(server), name)).mode & 0o077, 0)
        }
      }))
  })

  it.effect("starts and stops on the test clock, which nobody moves", () =>
    Effect.gen(function*() {
      const server = yield* start()
      yield* server.restart()
      assert.isTrue(lives(yield* pidOf(server)))
    }).pipe(Effect.tap(() => TestClock.adjust("1 millis"))))
})

layer(EmbeddedPostgres.layer(), { excludeTestServices: true })("stopping and starting", (it) => {
  it.effect("what was committed outlives an immediate stop; pid says whether it runs; twice is once", () =>
    Effect.gen(function*() {
      const server = yield* EmbeddedPostgres.EmbeddedPostgres
      const sql = yield* connect(server.url)
      yield* sql`CREATE TABLE kept (n int)`
      yield* sql`INSERT INTO kept VALUES (1)`
      const first = yield* pidOf(server)

      yield* server.stop("immediate")
      assert.isFalse(lives(first))
      assert.deepStrictEqual(yield* server.pid, Option.none())
      assert.isTrue(Exit.isFailure(yield* Effect.exit(sql`SELECT 1`)))
      yield* server.stop()

      yield* server.start
      const second = yield* pidOf(server)
      assert.isTrue(lives(second))
      yield* server.start
      assert.strictEqual(yield* pidOf(server), second)
      assert.deepStrictEqual(yield* (yield* connect(server.url))`SELECT n FROM kept`, [{ n: 1 }])

      yield* Effect.all([server.restart(), server.restart("immediate"), server.start], { concurrency: "unbounded" })
      assert.notStrictEqual(yield* pidOf(server), second)
      assert.deepStrictEqual(yield* (yield* connect(server.url))`SELECT n FROM kept`, [{ n: 1 }])
    }))

  it.effect("a server that was killed starts again", () =>
    Effect.gen(function*() {
      const server = yield* EmbeddedPostgres.EmbeddedPostgres
      const pid = yield* pidOf(server)
      process.kill(pid, "SIGKILL")
      yield* server.start
      assert.deepStrictEqual(yield* (yield* connect(server.url))`SELECT 1 AS n`, [{ n: 1 }])
    }))

  it.effect("an interrupted start or stop leaves the server in a state that can be started", () =>
    Effect.gen(function*() {
      const server = yield* EmbeddedPostgres.EmbeddedPostgres
      for (const operation of [server.stop(), server.start, server.restart(), server.restart("immediate")]) {
        for (const delay of [0, 5, 30]) {
          const fiber = yield* Effect.forkChild(operation)
          yield* Effect.sleep(delay)
          yield* Fiber.interrupt(fiber)
          yield* server.start
          assert.deepStrictEqual(yield* (yield* connect(server.url))`SELECT 1 AS n`, [{ n: 1 }])
        }
      }
    }))
})

/** A temporary folder of the test's own for all that is started in the scope. */
const ownTemporary = Effect.gen(function*() {
  const folder = yield* scratch
  const before = process.env.TMPDIR
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      process.env.TMPDIR = folder
    }),
    () =>
      Effect.sync(() => {
        if (before === undefined) delete process.env.TMPDIR
        else process.env.TMPDIR = before
      })
  )
  return folder
})

const leftIn = (folder: string): ReadonlyArray<string> => [...fs.readdirSync(folder), ...processesIn(folder)]

describe("nothing is left behind", () => {
  const ends: ReadonlyArray<readonly [string, Effect.Effect<void, string>]> = [
    ["success", Effect.void],
    ["a failure", Effect.fail("failed")],
    ["a defect", Effect.die("died")],
    ["an interruption", Effect.interrupt]
  ]
  for (const [name, end] of ends) {
    it.live(`after ${name} in the scope, with a statement under way`, () =>
      Effect.gen(function*() {
        const temporary = yield* ownTemporary
        const outer = yield* Effect.scope
        let pid = 0
        yield* Effect.exit(Effect.scoped(Effect.gen(function*() {
          const server = yield* start()
          pid = yield* pidOf(server)
          assert.strictEqual(dirname(folderOf(server)), temporary)
          // The client and its statement outlive the scope of the server.
          const sql = yield* Scope.provide(connect(server.url), outer)
          yield* sql`SELECT 1`
          yield* Effect.forkIn(sql`SELECT pg_sleep(60)`, outer)
          yield* Effect.sleep("20 millis")
          assert.notDeepEqual(leftIn(temporary), [])
          yield* end
        })))
        assert.isFalse(lives(pid))
        assert.deepStrictEqual(leftIn(temporary), [])
      }))
  }

  it.live("after an interruption at any moment of the start", () =>
    Effect.gen(function*() {
      const temporary = yield* ownTemporary
      for (const delay of [0, 60, 200, 600]) {
        const fiber = yield* Effect.forkChild(Effect.scoped(Effect.andThen(start(), Effect.never)))
        yield* Effect.sleep(delay)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(leftIn(temporary), [])
      }
    }))

  it.live("of a half initialised kept folder", () =>
    Effect.gen(function*() {
      const kept = yield* scratch
      for (const delay of [0, 30, 100, 200]) {
        const fiber = yield* Effect.forkChild(Effect.scoped(start({ dataDirectory: kept })))
        yield* until("initdb is at work", () => fs.readdirSync(kept).some((name) => name.startsWith("pgdata-")))
        yield* Effect.sleep(delay)
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(leftIn(kept), [])
      }
    }))

  it.live("when the keeper of the server is killed", () =>
    Effect.gen(function*() {
      const temporary = yield* ownTemporary
      yield* Effect.scoped(Effect.gen(function*() {
        const server = yield* start()
        const pid = yield* pidOf(server)
        const keeper = Number(/^PPid:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))?.[1])
        process.kill(keeper, "SIGKILL")
        yield* until("the server is gone", () => !lives(pid))
        assert.strictEqual((yield* Effect.flip(server.start)).kind, "StartFailed")
      }))
      assert.deepStrictEqual(leftIn(temporary), [])
    }), { skip: !isLinux })

  /** The fixture as a process in a group of its own, as a shell would start it, with its lines of output. */
  const spawned = (temporary: string, args: ReadonlyArray<string>, account?: Cluster.Account) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const child = spawn(process.execPath, [fixture, ...args], {
          detached: true,
          env: { ...process.env, TMPDIR: temporary },
          stdio: ["ignore", "pipe", "pipe"],
          ...(account === undefined ? {} : { uid: account.uid, gid: account.gid })
        })
        let errors = ""
        child.stderr.setEncoding("utf8").on("data", (text) => errors += text)
        const lines: Array<string> = []
        createInterface(child.stdout).on("line", (line) => lines.push(line))
        return { child, pid: child.pid!, lines, errors: () => errors }
      }),
      ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
    )
  type Spawned = Effect.Success<ReturnType<typeof spawned>>

  const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null
  const line = ({ child, errors, lines }: Spawned, index: number) =>
    Effect.suspend(() => until(`line ${index}`, () => lines.length > index || hasEnded(child))).pipe(
      Effect.andThen(Effect.sync(() => {
        if (lines[index] === undefined) throw new Error(`the fixture ended: ${errors()}`)
        return lines[index]
      }))
    )
  const ready = (spawned: Spawned) =>
    Effect.map(line(spawned, 1), (text): { readonly pid: number; readonly port: number } => JSON.parse(text))

  const deaths: ReadonlyArray<readonly [name: string, mode: string, kill: (pid: number) => void, by: number | string]> =
    [
      ["Ctrl-C, handled", "wait", (pid) => process.kill(-pid, "SIGINT"), 130],
      ["SIGTERM, handled", "wait", (pid) => process.kill(pid, "SIGTERM"), 130],
      ["Ctrl-C, unhandled", "bare", (pid) => process.kill(-pid, "SIGINT"), "SIGINT"],
      ["SIGTERM, unhandled", "bare", (pid) => process.kill(pid, "SIGTERM"), "SIGTERM"],
      ["SIGHUP, unhandled", "bare", (pid) => process.kill(-pid, "SIGHUP"), "SIGHUP"],
      ["SIGKILL", "bare", (pid) => process.kill(-pid, "SIGKILL"), "SIGKILL"],
      ["process.exit", "exit", () => {}, 3],
      ["an error that nobody catches", "throw", () => {}, 1]
    ]

  it.live(
    "when its process ends, in whatever way; and the next one starts on the same folder",
    () =>
      Effect.gen(function*() {
        const temporary = yield* scratch
        const kept = yield* scratch
        for (const [name, mode, kill, by] of deaths) {
          const fixture = yield* spawned(temporary, [mode, kept])
          const { pid } = yield* ready(fixture)
          kill(fixture.pid)
          yield* until(`${name}: our process ends`, () => hasEnded(fixture.child))
          assert.strictEqual(fixture.child.signalCode ?? fixture.child.exitCode, by, name)
          // A process that hears the signal waits until the server is gone; the others leave that to the keeper.
          if (mode === "wait") assert.isFalse(lives(pid), name)
          yield* until(`${name}: nothing is left`, () => !lives(pid) && leftIn(temporary).length === 0)
          assert.deepStrictEqual(processesIn(kept), [], name)
          assert.deepStrictEqual(fs.readdirSync(kept), ["pgdata"], name)
        }
      }),
    60_000
  )

  it.live("when its process is killed at any moment of the start", () =>
    Effect.gen(function*() {
      for (const delay of [100, 300, 800]) {
        const temporary = yield* scratch
        const fixture = yield* spawned(temporary, ["bare"])
        yield* line(fixture, 0)
        yield* Effect.sleep(delay)
        process.kill(-fixture.pid, "SIGKILL")
        yield* until(`after ${delay} ms: nothing is left`, () =>
          hasEnded(fixture.child) && leftIn(temporary).length === 0)
      }
    }))

  it.live("as an ordinary user", () =>
    Effect.gen(function*() {
      const temporary = yield* scratch
      fs.chmodSync(temporary, 0o777)
      const account = Cluster.accountFor(temporary)
      const fixture = yield* spawned(temporary, ["wait"], account)
      const { pid } = yield* ready(fixture)
      process.kill(-fixture.pid, "SIGINT")
      yield* until("our process ends", () => hasEnded(fixture.child))
      assert.isFalse(lives(pid))
      assert.deepStrictEqual(leftIn(temporary), [])
    }))
})

describe("a kept folder", () => {
  it.live("is made where it is not there, keeps data and password, and starts again after a crash", () =>
    Effect.gen(function*() {
      const kept = join(yield* scratch, "deep", "inside")
      const passwords = new Set<string>()
      const session = <A>(use: (sql: PgClient.PgClient) => Effect.Effect<A, unknown>) =>
        Effect.scoped(Effect.gen(function*() {
          const server = yield* start({ dataDirectory: kept })
          assert.strictEqual(folderOf(server), kept)
          passwords.add(Redacted.value(server.password))
          return yield* use(yield* connect(server.url))
        }))
      yield* session((sql) => Effect.andThen(sql`CREATE TABLE kept (n int)`, sql`INSERT INTO kept VALUES (1)`))
      assert.deepStrictEqual(yield* session((sql) => sql`SELECT n FROM kept`), [{ n: 1 }])

      // What a crash leaves: the number of a process that is gone, or that is by now another one.
      const processIds = [2147483647, process.pid]
      for (const pid of processIds) {
        fs.writeFileSync(
          join(kept, "pgdata", "postmaster.pid"),
          `${pid}\n${join(kept, "pgdata")}\n1700000000\n5432\n\n\n\n`
        )
        assert.deepStrictEqual(yield* session((sql) => sql`SELECT n FROM kept`), [{ n: 1 }])
      }
      assert.strictEqual(passwords.size, 1)
      assert.deepStrictEqual(fs.readdirSync(kept), ["pgdata"])
    }))

  it.live("serves one server at a time, and one of two that come at once", () =>
    Effect.gen(function*() {
      const kept = yield* scratch
      const both = yield* Effect.all([1, 2].map(() => Effect.exit(start({ dataDirectory: kept }))), { concurrency: 2 })
      const servers = both.filter(Exit.isSuccess)
      assert.strictEqual(servers.length, 1)
      const late = yield* refusal({ dataDirectory: kept })
      for (const error of [late, yield* Effect.flip(both.find(Exit.isFailure)!)]) {
        assert.strictEqual(error.kind, "DataDirectoryInUse")
        assert.include(error.message, kept)
      }
      assert.deepStrictEqual(fs.readdirSync(kept), ["pgdata"])
      // The one that was there is none the worse for it.
      assert.deepStrictEqual(yield* (yield* connect(servers[0]!.value.url))`SELECT 1 AS n`, [{ n: 1 }])
    }))

  it.live("must be empty or ours", () =>
    Effect.gen(function*() {
      const folder = yield* scratch
      fs.writeFileSync(join(folder, "thesis.txt"), "irreplaceable")
      const other = yield* refusal({ dataDirectory: folder })
      assert.strictEqual(other.kind, "DataDirectoryUnusable")
      assert.include(other.message, folder)
      assert.deepStrictEqual(fs.readdirSync(folder), ["thesis.txt"])

      const file = yield* refusal({ dataDirectory: join(folder, "thesis.txt") })
      assert.strictEqual(file.kind, "DataDirectoryUnusable")

      const foreign = yield* scratch
      fs.mkdirSync(join(foreign, "pgdata"))
      fs.chownSync(join(foreign, "pgdata"), isRoot ? 65534 : process.getuid!(), isRoot ? 65534 : process.getgid!())
      fs.writeFileSync(join(foreign, "pgdata", "PG_VERSION"), "18\n")
      const error = yield* refusal({ dataDirectory: foreign })
      assert.strictEqual(error.kind, "DataDirectoryUnusable")
      assert.include(error.message, "not ours")
    }))

  it.live("must be open to the user who runs the server", () =>
    Effect.gen(function*() {
      const closed = yield* scratch
      if (isRoot) {
        fs.chmodSync(closed, 0o700)
        fs.chownSync(closed, 1, 1)
      } else fs.chmodSync(closed, 0o500)
      const error = yield* refusal({ dataDirectory: join(closed, "data") })
      assert.strictEqual(error.kind, "DataDirectoryUnusable")
      assert.include(error.message, closed)
      fs.chmodSync(closed, 0o700)
    }))
})

describe("refusals", () => {
  let kept = ""
  beforeAll(() => {
    kept = fs.mkdtempSync(join(tmpdir(), "holdfast-test-"))
    fs.chmodSync(kept, 0o755)
  })
  afterAll(() => fs.rmSync(kept, { recursive: true, force: true }))

  it.live("a port that another process has", () =>
    Effect.gen(function*() {
      const temporary = yield* ownTemporary
      const port = yield* Effect.acquireRelease(
        Effect.callback<readonly [number, Server]>((resume) => {
          const server = createServer().listen(0, "127.0.0.1", () => {
            const address = server.address()
            assert.isObject(address)
            resume(Effect.succeed([(address as { readonly port: number }).port, server]))
          })
        }),
        ([, server]) => Effect.sync(() => server.close())
      )
      const error = yield* refusal({ dataDirectory: kept, port: port[0] })
      assert.strictEqual(error.kind, "PortInUse")
      assert.include(error.message, `${port[0]}`)
      assert.include(error.log.join("\n"), "could not bind")
      assert.deepStrictEqual(leftIn(temporary), [])
    }))

  it.live("a setting that Postgres refuses: with what it says about it", () =>
    Effect.gen(function*() {
      const temporary = yield* ownTemporary
      const error = yield* refusal({ dataDirectory: kept, settings: { max_connections: "many" } })
      assert.strictEqual(error.kind, "StartFailed")
      assert.include(error.message, "max_connections")
      assert.deepStrictEqual(leftIn(temporary), [])
    }))

  it.live("an option that cannot be, by its name and before anything is started", () =>
    Effect.gen(function*() {
      const temporary = yield* ownTemporary
      const wrong: ReadonlyArray<readonly [unknown, string]> = [
        [{ port: 0 }, "port"],
        [{ port: 65536 }, "port"],
        [{ port: "5432" }, "port"],
        [{ dataDirectory: "" }, "dataDirectory"],
        [{ dataDirectory: "a\0b" }, "dataDirectory"],
        [{ settings: { fsync: true } }, "settings.fsync"],
        [{ settings: { "fsync; DROP": "on" } }, "settings.fsync; DROP"],
        [{ settings: { Port: "1" } }, "settings.Port"],
        [{ settings: { listen_addresses: "*" } }, "settings.listen_addresses"],
        [{ prot: 5432 }, "prot"]
      ]
      for (const [options, field] of wrong) {
        const error = yield* refusal(options)
        assert.strictEqual(error.kind, "InvalidOptions")
        assert.strictEqual(error.field, field)
        assert.include(error.message, field)
      }
      assert.deepStrictEqual(leftIn(temporary), [])
    }))
})

describe("a server given by configuration", () => {
  const given = (url?: string) =>
    Layer.build(EmbeddedPostgres.layerOrUrl()).pipe(
      Effect.map(Context.get(EmbeddedPostgres.EmbeddedPostgres)),
      Effect.provide(ConfigProvider.layer(
        ConfigProvider.fromUnknown(url === undefined ? {} : { HOLDFAST_DATABASE_URL: url })
      ))
    )

  it.effect("is used as it is, and is not ours to stop", () =>
    Effect.gen(function*() {
      const server = yield* given("postgres://ad%40min:p%2Fw@db.example:6543/main?sslmode=require")
      assert.strictEqual(server.host, "db.example")
      assert.strictEqual(server.port, 6543)
      assert.strictEqual(server.username, "ad@min")
      assert.strictEqual(Redacted.value(server.password), "p/w")
      assert.strictEqual(server.database, "main")
      assert.strictEqual(
        Redacted.value(server.urlOf("other")),
        "postgres://ad%40min:p%2Fw@db.example:6543/other?sslmode=require"
      )
      assert.deepStrictEqual(server.dataDirectory, Option.none())
      assert.deepStrictEqual(yield* server.pid, Option.none())
      for (const control of [server.stop(), server.start, server.restart("immediate")]) {
        assert.strictEqual((yield* Effect.flip(control)).kind, "External")
      }

      const brief = yield* given("postgresql://ada@[::1]")
      assert.strictEqual(brief.host, "::1")
      assert.strictEqual(brief.port, 5432)
      assert.strictEqual(brief.database, "ada")
    }))

  it.effect("is refused by the name of the variable, and not by its value", () =>
    Effect.gen(function*() {
      for (
        const url of [
          "hunter2",
          "mysql://ada:hunter2@host/db",
          "postgres://:hunter2@host/db",
          "postgres://ada:hunter2%@host/"
        ]
      ) {
        const error = yield* Effect.flip(given(url))
        assert.instanceOf(error, EmbeddedPostgres.EmbeddedPostgresError)
        assert.strictEqual(error.kind, "InvalidOptions")
        assert.strictEqual(error.field, "HOLDFAST_DATABASE_URL")
        assert.notInclude(JSON.stringify(error) + error.message + String(error.stack), "hunter2")
      }
    }))

  it.live("is one of our own where none is given", () =>
    Effect.gen(function*() {
      const server = yield* given("")
      assert.isTrue(lives(yield* pidOf(server)))
    }))
})

describe("the programs", () => {
  it.live("are copied where they lie out of reach, cannot be executed, or lack the links of their installation", () =>
    Effect.gen(function*() {
      const folder = yield* scratch
      const native = join(folder, "package", "native")
      fs.mkdirSync(join(native, "bin"), { recursive: true })
      fs.mkdirSync(join(native, "lib"))
      for (const name of ["bin/initdb", "bin/postgres", "lib/libx.so.1.2", "lib/libx.a"]) {
        fs.writeFileSync(join(native, name), name, { mode: 0o755 })
      }
      const temporary = (name: string) => {
        fs.mkdirSync(join(folder, name))
        return join(folder, name)
      }
      const account = Cluster.accountFor(folder)
      const inPlace = { initdb: join(native, "bin", "initdb"), postgres: join(native, "bin", "postgres") }
      assert.deepStrictEqual(Cluster.programs(native, temporary("as-is"), account), inPlace)

      const copied = (name: string) => {
        const target = temporary(name)
        const { initdb, postgres } = Cluster.programs(native, target, account)
        assert.isTrue(postgres.startsWith(target), name)
        for (const program of [initdb, postgres]) {
          assert.strictEqual(fs.statSync(program).mode & 0o777, 0o755, name)
          if (account !== undefined) assert.strictEqual(fs.statSync(program).uid, account.uid, name)
        }
        return join(dirname(dirname(postgres)), "lib")
      }

      fs.writeFileSync(
        join(native, "pg-symlinks.json"),
        JSON.stringify([{ source: "native/lib/libx.so.1.2", target: "native/lib/libx.so" }])
      )
      const lib = copied("unlinked")
      assert.strictEqual(fs.readlinkSync(join(lib, "libx.so")), "libx.so.1.2")
      assert.isFalse(fs.existsSync(join(lib, "libx.a")))
      assert.isFalse(fs.existsSync(join(native, "lib", "libx.so")))
      fs.symlinkSync("libx.so.1.2", join(native, "lib", "libx.so"))
      assert.deepStrictEqual(Cluster.programs(native, temporary("linked"), account), inPlace)

      fs.chmodSync(inPlace.postgres, 0o644)
      copied("not-executable")
      fs.chmodSync(inPlace.postgres, 0o755)

      if (account !== undefined) {
        fs.chmodSync(dirname(native), 0o700)
        copied("out-of-reach")
      }
    }))
})
