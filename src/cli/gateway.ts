/**
 * `holdfast gateway`: runs a worker of the event gateway, tells which workers there are, and issues the tokens of its clients.
 *
 * Keys are not on the command line: `HOLDFAST_GATEWAY_KEYS` has them, as `id:secret`, several with commas between them. Tokens
 * are signed with the first, and may have been with any. What looks at a gateway finds its token in `HOLDFAST_GATEWAY_TOKEN`.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Datastore from "../datastore/Datastore.ts"
import * as DatastoreContext from "../datastore/DatastoreContext.ts"
import * as EventGateway from "../events/EventGateway.ts"
import * as GatewayToken from "../events/GatewayToken.ts"
import * as GatewayWorker from "../events/GatewayWorker.ts"
import * as GatewayWorkers from "../events/GatewayWorkers.ts"
import * as PostgresEventStore from "../events/PostgresEventStore.ts"
import { flags } from "./administered.ts"
import { ConfigurationInvalid, databaseOfUrl, defaultFile, read } from "./configuration.ts"
import { progress, reportFailures, result } from "./output.ts"
import { table } from "./table.ts"

const usage = (file: string, problem: string) => new ConfigurationInvalid({ file, problem })

const secretOf = (name: string) =>
  Effect.flatMap(
    Effect.orDie(Config.option(Config.Redacted(name))),
    (secret) =>
      Option.isSome(secret) && Redacted.value(secret.value) !== ""
        ? Effect.succeed(secret.value)
        : Effect.fail(usage("environment", `${name} is not set`))
  )

/** The keys that the environment has. */
const keys = Effect.gen(function*() {
  const text = Redacted.value(yield* secretOf("HOLDFAST_GATEWAY_KEYS"))
  return text.split(",").map((pair): GatewayToken.Key => {
    const [id = "", ...secret] = pair.trim().split(":")
    return { id, secret: Redacted.make(secret.join(":")) }
  })
})

/** A client of the database that is meant: that of the file, as one of its contexts, or of the environment. */
const client = Effect.fnUntraced(function*(given: {
  readonly config: Option.Option<string>
  readonly context: Option.Option<string>
}) {
  const fileSystem = yield* FileSystem.FileSystem
  const isGiven = Option.isSome(given.config) || Option.isSome(given.context)
  const url = isGiven || (yield* Effect.orElseSucceed(fileSystem.exists(defaultFile), () => false))
    ? undefined
    : yield* databaseOfUrl
  if (url !== undefined) {
    return Layer.orDie(PgClient.layer({ url: url.url, applicationName: "holdfast gateway", maxConnections: 4 }))
  }
  const configuration = yield* read(Option.getOrElse(given.config, () => defaultFile))
  const { input, name } = yield* configuration.asContext(Option.getOrUndefined(given.context))
  return DatastoreContext.layer(name).pipe(Layer.provide(Datastore.layer(input)))
})

const serve = Command.make(
  "serve",
  {
    config: flags.config,
    context: flags.context,
    port: Flag.Int("port").pipe(
      Flag.withAlias("p"),
      Flag.withDescription("The port to listen on (default: 7400; 0 takes a free one)"),
      Flag.withDefault(7400)
    ),
    host: Flag.String("host").pipe(
      Flag.withDescription("The address to listen on (default: 127.0.0.1, this machine alone)"),
      Flag.withDefault("127.0.0.1")
    ),
    url: Flag.String("url").pipe(
      Flag.withDescription("How clients reach this worker, where that is not where it listens"),
      Flag.optional
    ),
    store: Flag.String("store").pipe(
      Flag.withAlias("s"),
      Flag.withDescription("An event store that it serves; say it again for more (default: all of them)"),
      Flag.atLeast(0)
    ),
    cert: Flag.String("tls-cert").pipe(
      Flag.withDescription("A file with a certificate and its chain, in PEM; with --tls-key"),
      Flag.optional
    ),
    key: Flag.String("tls-key").pipe(
      Flag.withDescription("A file with the key of the certificate, in PEM"),
      Flag.optional
    )
  },
  ({ cert, config, context, host, key, port, store, url }) =>
    Effect.gen(function*() {
      const fileSystem = yield* FileSystem.FileSystem
      if (Option.isSome(cert) !== Option.isSome(key)) {
        return yield* usage("command line", "--tls-cert and --tls-key go together")
      }
      const pem = (file: string) =>
        Effect.mapError(fileSystem.readFileString(file), ({ message }) => usage(file, message))
      const tls = Option.isSome(cert) && Option.isSome(key)
        ? { cert: yield* pem(cert.value), key: Redacted.make(yield* pem(key.value)) }
        : undefined
      const Live = GatewayWorker.layer({
        port,
        host,
        keys: yield* keys,
        tls,
        url: Option.getOrUndefined(url),
        stores: store.length === 0 ? undefined : store
      }).pipe(
        Layer.provide([PostgresEventStore.layer, GatewayWorkers.layerPostgres]),
        Layer.provide(yield* client({ config, context }))
      )
      return yield* Effect.gen(function*() {
        const worker = yield* GatewayWorker.GatewayWorker
        yield* progress(`gateway worker ${worker.id} at ${worker.url}`)
        if (tls === undefined) yield* progress("without --tls-cert, tokens and events can be read on their way")
        return yield* Effect.never
      }).pipe(Effect.provide(Live))
    }).pipe(reportFailures(false))
).pipe(
  Command.withShortDescription("Run a worker of the event gateway"),
  Command.withDescription(
    "Runs a worker of the event gateway until it is interrupted: it serves the event stores of the database to clients that " +
      "have a token. HOLDFAST_GATEWAY_KEYS has the keys that tokens are signed with, as id:secret, with commas between them."
  )
)

const status = Command.make(
  "status",
  {
    worker: Flag.String("worker").pipe(
      Flag.withAlias("w"),
      Flag.withDescription("The address of any worker (default: http://127.0.0.1:7400)"),
      Flag.withDefault("http://127.0.0.1:7400")
    ),
    json: flags.json
  },
  ({ json, worker }) =>
    Effect.gen(function*() {
      const token = yield* secretOf("HOLDFAST_GATEWAY_TOKEN")
      const workers = yield* EventGateway.EventGateway.use(({ gatewayWorkers }) => gatewayWorkers).pipe(
        Effect.provide(EventGateway.layer({ workers: [worker], token, timeout: "5 seconds" }))
      )
      const rows = workers.map(({ id, load, stores, url }) => [id, url, load, stores?.join(" ") ?? "all"])
      yield* result(json, { workers }, table(["worker", "address", "load", "stores"], rows).join("\n"))
    }).pipe(reportFailures(json))
).pipe(
  Command.withShortDescription("Show the workers of the event gateway"),
  Command.withDescription(
    "Shows the workers of the event gateway as one of them knows them: where each is, what it serves, and how much it has to " +
      "do. HOLDFAST_GATEWAY_TOKEN has the token to ask with."
  )
)

const decodeRight = Schema.decodeUnknownOption(Schema.NonEmptyArray(GatewayToken.Right))

/** `flights=read,subscribe` */
const grantOf = (text: string): Effect.Effect<GatewayToken.Grant, ConfigurationInvalid> => {
  const [store = "", rights = ""] = text.split("=")
  const decoded = decodeRight(rights.split(","))
  return Option.isSome(decoded)
    ? Effect.succeed({ store, rights: decoded.value })
    : Effect.fail(
      usage("command line", `--grant must be such as flights=read,append,subscribe,admin, not ${JSON.stringify(text)}`)
    )
}

/** `12h` */
const lifetimeOf = (text: string): Effect.Effect<Duration.Duration, ConfigurationInvalid> => {
  const [, amount, unit = ""] = /^(\d+)([smhd])$/.exec(text) ?? []
  const seconds = { s: 1, m: 60, h: 3600, d: 86_400 }[unit]
  return seconds === undefined || amount === undefined
    ? Effect.fail(usage("command line", `--lifetime must be such as 30m, 12h or 7d, not ${JSON.stringify(text)}`))
    : Effect.succeed(Duration.seconds(Number(amount) * seconds))
}

const newKey = Effect.map(
  SecureRandom.make((size) => globalThis.crypto.getRandomValues(new Uint8Array(size))).randomBytes(32),
  Base64Url.encode
)

const token = Command.make(
  "token",
  {
    client: Flag.String("client").pipe(
      Flag.withDescription("Who the client is; its limits are counted by this name"),
      Flag.optional
    ),
    grant: Flag.String("grant").pipe(
      Flag.withAlias("g"),
      Flag.withDescription("Rights in a store, such as flights=read,subscribe, or '*=read'; say it again for more"),
      Flag.atLeast(0)
    ),
    lifetime: Flag.String("lifetime").pipe(
      Flag.withDescription("For how long it is good: 30m, 12h, 7d (default: 12h)"),
      Flag.withDefault("12h")
    ),
    newKey: Flag.Boolean("new-key").pipe(
      Flag.withDescription("Print a new secret for HOLDFAST_GATEWAY_KEYS, and no token"),
      Flag.withDefault(false)
    )
  },
  (given) =>
    Effect.gen(function*() {
      if (given.newKey) return yield* Console.log(yield* Effect.orDie(newKey))
      if (Option.isNone(given.client)) return yield* usage("command line", "--client is missing")
      if (given.grant.length === 0) return yield* usage("command line", "--grant is missing")
      const [key] = yield* keys
      if (key === undefined) return yield* usage("environment", "HOLDFAST_GATEWAY_KEYS has no key")
      const issued = yield* GatewayToken.issue(key, {
        client: given.client.value,
        grants: yield* Effect.forEach(given.grant, grantOf),
        lifetime: yield* lifetimeOf(given.lifetime)
      })
      yield* Console.log(Redacted.value(issued))
    }).pipe(reportFailures(false))
).pipe(
  Command.withShortDescription("Issue a token for a client of the event gateway"),
  Command.withDescription(
    "Issues a token for a client of the event gateway, signed with the first key of HOLDFAST_GATEWAY_KEYS, and prints it. It " +
      "cannot be taken back before it expires, but by taking its key from the workers."
  ),
  Command.withExamples([
    {
      command: "holdfast gateway token --client board --grant flights=read,subscribe --lifetime 12h",
      description: "For one who follows a store"
    }
  ])
)

export const gateway = Command.make("gateway").pipe(
  Command.withShortDescription("The event gateway: its workers, and the tokens of its clients"),
  Command.withDescription("Runs workers of the event gateway, shows them, and issues tokens for its clients."),
  Command.withSubcommands([serve, status, token])
)
