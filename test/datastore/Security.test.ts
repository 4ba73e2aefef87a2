/**
 * That no secret is seen anywhere: not on the wire, where every statement and log of the server comes from, not in errors,
 * logs, spans or `pg_stat_activity`; and that roles can do what they were granted and nothing else.
 */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Inspectable, Logger, Redacted, References, Tracer } from "effect"
import { Datastore, DatastoreAdmin, type DatastoreOptions } from "holdfast/datastore"
import { type AddressInfo, connect as connectSocket, createServer } from "node:net"
import { inspect } from "node:util"
import {
  connectAs,
  connectAsSuperuser,
  dbServer,
  makeInput,
  runtime,
  secret,
  unique,
  withDatastore
} from "./support.ts"

/** A proxy to the test server that keeps all that goes through it. */
const tap = Effect.acquireRelease(
  Effect.callback<{ readonly port: number; readonly sent: () => Buffer; readonly close: () => void }>((resume) => {
    const chunks: Array<Buffer> = []
    const server = createServer((client) => {
      const upstream = connectSocket(dbServer)
      for (const [from, to] of [[client, upstream], [upstream, client]] as const) {
        from.on("data", (chunk: Buffer) => {
          chunks.push(chunk)
          to.write(chunk)
        })
        from.on("error", () => to.destroy())
        from.on("close", () => to.destroy())
      }
    })
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo
      resume(Effect.succeed({ port, sent: () => Buffer.concat(chunks), close: () => server.close() }))
    })
  }),
  ({ close }) => Effect.sync(close)
)

/** Everything that an effect logs or traces, at every level and with every attribute. */
const watched = <A, E, R>(self: Effect.Effect<A, E, R>) => {
  const seen: Array<string> = []
  const logger = Logger.make((options) => {
    seen.push(Logger.formatJson.log(options), Logger.formatLogFmt.log(options), inspect(options.message, { depth: 10 }))
  })
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      const end = span.end.bind(span)
      span.end = (time, exit) => {
        seen.push(span.name, inspect(Array.from(span.attributes), { depth: 10 }), inspect(span.events, { depth: 10 }))
        seen.push(inspect(exit, { depth: 20, showHidden: true }))
        end(time, exit)
      }
      return span
    }
  })
  return self.pipe(
    Effect.provideService(Tracer.Tracer, tracer),
    Effect.provideService(References.MinimumLogLevel, "All"),
    Effect.provide(Logger.layer([logger])),
    Effect.map((result) => ({ result, seen: seen.join("\n") }))
  )
}

/** Every way in which an exit may be shown. */
const shown = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.isSuccess(exit)
    ? Inspectable.toStringUnknown(exit.value)
    : [
      Cause.pretty(exit.cause),
      JSON.stringify(exit.cause),
      inspect(exit.cause, { depth: 20, showHidden: true }),
      ...exit.cause.reasons.map((reason) =>
        Cause.isFailReason(reason) ? `${String(reason.error)} ${JSON.stringify(reason.error)}` : ""
      )
    ].join("\n")

describe("secrets", () => {
  it.live("no password is on the wire, in a log, a span, an error or a session, whatever goes wrong", () => {
    const plain = makeInput()
    const superuserSecret = Redacted.value(plain.admin.databasePassword)
    const words = {
      app: "app-secret-e7b1",
      audit: "audit-secret-e7b2",
      next: "next-secret-e7b3",
      wrong: "wrong-secret-e7b4",
      builder: "builder-secret-e7b5"
    }
    return Effect.gen(function*() {
      const { port, sent } = yield* tap
      const superuser = yield* connectAsSuperuser()
      const builder = unique("builder")
      yield* Effect.addFinalizer(() => Effect.ignore(superuser.unsafe(`DROP ROLE ${builder}`)))
      yield* Effect.addFinalizer(() => Effect.ignore(superuser.unsafe(`DROP OWNED BY ${builder}`)))
      const input = {
        ...plain,
        dbServer: { host: "127.0.0.1", port },
        contexts: {
          app: { ...plain.contexts.app, databasePassword: Redacted.make(words.app) },
          audit: { ...plain.contexts.audit, databasePassword: Redacted.make(words.audit) }
        },
        admin: { databaseRole: builder, databasePassword: Redacted.make(words.builder) }
      }
      const wrong = (options: typeof input): DatastoreOptions.AdminInput => ({
        ...options,
        contexts: {
          ...options.contexts,
          app: { ...options.contexts.app, databasePassword: Redacted.make(words.wrong) }
        },
        admin: { ...options.admin, databasePassword: Redacted.make(words.wrong) }
      })
      const administrator = (options: DatastoreOptions.AdminInput) =>
        Effect.provide(DatastoreAdmin.DatastoreAdmin, DatastoreAdmin.layer(options))

      const sessions: Array<string> = []
      const sampling = yield* Effect.forkChild(Effect.forever(
        Effect.map(superuser<{ line: string }>`SELECT a::text AS line FROM pg_stat_activity a`, (rows) => {
          for (const { line } of rows) sessions.push(line)
        })
      ))
      const { result: exits, seen } = yield* watched(Effect.gen(function*() {
        const admin = yield* administrator(input)
        const bad = yield* administrator(wrong(input))
        const exits: ReadonlyArray<Exit.Exit<unknown, unknown>> = [
          yield* Effect.exit(admin.bootstrap(plain.admin)),
          yield* Effect.exit(admin.create),
          yield* Effect.exit(admin.upgrade([])),
          yield* Effect.exit(admin.rotatePassword("audit", Redacted.make(words.next))),
          yield* Effect.exit(admin.rotatePassword("audit", Redacted.make(`${words.next}\0`))),
          yield* Effect.exit(bad.create),
          yield* Effect.exit(bad.drop()),
          yield* Effect.exit(Effect.flatMap(administrator({ ...input, databaseName: "" }), (_) => _.create)),
          yield* Effect.exit(Effect.scoped(Effect.provide(
            Effect.gen(function*() {
              const datastore = yield* Datastore.Datastore
              const { sql } = yield* datastore.context("audit")
              yield* Effect.ignore(sql`SELECT nothing FROM nowhere`)
              const refused = yield* Effect.exit(datastore.context("app"))
              yield* Effect.exit(datastore.restartContext("audit", { databasePassword: Redacted.make(words.wrong) }))
              return [
                yield* datastore.states,
                refused,
                inspect(datastore, { depth: 10 }),
                inspect(sql.config, { depth: 10 })
              ]
            }),
            Datastore.layer(runtime({
              ...wrong(input),
              contexts: {
                ...wrong(input).contexts,
                audit: { ...input.contexts.audit, databasePassword: Redacted.make(words.next) }
              }
            }))
          ))),
          yield* Effect.exit(admin.drop({ force: true }))
        ]
        return exits
      }))
      yield* Fiber.interrupt(sampling)
      assert.deepStrictEqual(exits.map((exit) => Exit.isSuccess(exit)), [
        true,
        true,
        true,
        true,
        false,
        false,
        false,
        false,
        true,
        true
      ])
      const places = {
        wire: sent().toString("latin1"),
        logsAndSpans: seen,
        errors: exits.map(shown).join("\n"),
        sessions: sessions.join("\n")
      }
      // What is looked for would be found: the names are in all of these places.
      for (const place of Object.values(places)) assert.include(place, builder)
      for (const [place, text] of Object.entries(places)) {
        for (const word of [...Object.values(words), superuserSecret]) {
          assert.isFalse(text.includes(word), `${word.slice(0, 8)}… in ${place}`)
        }
      }
    })
  })

  it.live("a role can do what it was granted and nothing else, by any way round", () => {
    const input = makeInput()
    const { app, audit } = input.contexts
    const stranger = unique("stranger")
    const password = secret()
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        yield* admin.upgrade([])
        const superuser = yield* connectAsSuperuser()
        yield* superuser.unsafe(
          `CREATE ROLE ${stranger} LOGIN PASSWORD '${Redacted.value(password)}' IN ROLE holdfast_contexts`
        )
        yield* Effect.addFinalizer(() => Effect.ignore(superuser.unsafe(`DROP ROLE ${stranger}`)))
        // Nor does being in the group of all contexts open any of their databases.
        const refused = yield* Effect.flip(connectAs(input.databaseName, stranger, password))
        assert.strictEqual(refused.reason._tag, "AuthorizationError")
        const sql = yield* connectAs(input.databaseName, app.databaseRole, app.databasePassword)
        const owner = sql(input.owner.databaseRole)
        const forbidden = [
          sql`SET ROLE ${owner}`,
          sql`SET SESSION AUTHORIZATION ${owner}`,
          sql`SET ROLE ${sql(audit.databaseRole)}`,
          sql`GRANT ${owner} TO ${sql(app.databaseRole)}`,
          sql`ALTER ROLE ${sql(app.databaseRole)} SUPERUSER`,
          sql`CREATE SCHEMA mine`,
          sql`CREATE TABLE public.mine (i int)`,
          sql`CREATE TEMP TABLE mine (i int)`,
          sql`CREATE DATABASE mine`,
          sql`ALTER DATABASE ${sql(input.databaseName)} SET search_path = mine`,
          sql`GRANT CONNECT ON DATABASE ${sql(input.databaseName)} TO ${sql(stranger)}`,
          sql`INSERT INTO holdfast.migration (source, file, sha256, role, started, finished) VALUES ('a', 'b', '', '', now(), now())`,
          sql`CREATE FUNCTION holdfast.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
          sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ${input.admin.databaseRole}`
        ]
        for (const statement of forbidden) {
          const exit = yield* Effect.exit(statement)
          const [text] = statement.compile()
          // A grant by a role that may not warns only: what counts is that nothing came of it.
          if (text.startsWith("GRANT CONNECT")) continue
          const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
          assert.isDefined(error, text)
          assert.include(inspect(error, { depth: 10 }), "42501", text)
        }
        assert.strictEqual(
          (yield* Effect.flip(connectAs(input.databaseName, stranger, password))).reason._tag,
          "AuthorizationError"
        )
      }))
  })
})
