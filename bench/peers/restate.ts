/**
 * Restate: virtual objects, whose state Restate keeps and whose calls it orders by key.
 *
 * The server is the one that its npm package ships, started on the same disk: one node with all roles, a log on RocksDB whose
 * write-ahead log is flushed with fsync before a record counts (`log-server.rocksdb-disable-wal-fsync` and
 * `bifrost.local.rocksdb-disable-wal-fsync` are false; set here again so that nobody has to look it up; `strace` shows its
 * `fdatasync`). Four partitions did better than its default of 24 on two cores. All else is as it comes. The handler is the
 * shortest there is: get, set, answer. Its state is sent along with each invocation (eager state, the default), so that `get` is
 * no round trip. Completed invocations of objects called without an idempotency key are not retained, which is the default too.
 */
import * as restate from "@restatedev/restate-sdk"
import * as clients from "@restatedev/restate-sdk-clients"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import http2 from "node:http2"
import { createRequire } from "node:module"
import { type AddressInfo, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { type Case, type CastCase, type Database, type Helper, pad, type State } from "../Case.ts"
import { once } from "../load.ts"

let handled: (sentAt: number) => void = () => {}

const counter = restate.object({
  name: "Counter",
  handlers: {
    add: async (context: restate.ObjectContext, message: { readonly by: number; readonly sentAt: number }) => {
      const state = await context.get<State>("state")
      const count = (state?.count ?? 0) + message.by
      context.set("state", { count, pad } satisfies State)
      handled(message.sentAt)
      return count
    },
    get: restate.handlers.object.shared(async (context: restate.ObjectSharedContext) =>
      (await context.get<State>("state"))?.count ?? 0
    )
  }
})

const freePort = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address() as AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

interface Addresses {
  readonly ingress: string
  readonly admin: string
}

/** Where the server's executable is: the package's own script does nothing but look it up and pass signals on. */
const executable = () => {
  const require = createRequire(createRequire(import.meta.url).resolve("@restatedev/restate-server/package.json"))
  return require.resolve(`@restatedev/restate-server-${process.platform}-${process.arch}/bin/restate-server`)
}

const isReady = async (url: string) => {
  try {
    return (await fetch(url)).ok
  } catch {
    return false
  }
}

const startServer = Effect.gen(function*() {
  const [ingress, admin, node] = [yield* freePort, yield* freePort, yield* freePort]
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "holdfast-restate-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(executable(), ["--no-logo", "--listen-mode", "tcp"], {
        cwd: folder,
        stdio: ["ignore", "ignore", "inherit"],
        env: {
          ...process.env,
          RESTATE_BASE_DIR: join(folder, "data"),
          RESTATE_NODE_NAME: "bench",
          RESTATE_BIND_ADDRESS: `127.0.0.1:${node}`,
          RESTATE_ADVERTISED_ADDRESS: `http://127.0.0.1:${node}`,
          RESTATE_INGRESS__BIND_ADDRESS: `127.0.0.1:${ingress}`,
          RESTATE_ADMIN__BIND_ADDRESS: `127.0.0.1:${admin}`,
          RESTATE_DEFAULT_NUM_PARTITIONS: "4",
          RESTATE_LOG_SERVER__ROCKSDB_DISABLE_WAL_FSYNC: "false",
          RESTATE_BIFROST__LOCAL__ROCKSDB_DISABLE_WAL_FSYNC: "false",
          RESTATE_DISABLE_TELEMETRY: "true",
          // It looks for newer versions of itself, and says so where it cannot.
          RESTATE_LOG_FILTER: "error,octocrab=off",
          DO_NOT_TRACK: "1"
        }
      })
    ),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
        child.once("close", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  )
  const addresses: Addresses = { ingress: `http://127.0.0.1:${ingress}`, admin: `http://127.0.0.1:${admin}` }
  while (
    !(yield* Effect.promise(() => isReady(`${addresses.admin}/health`))) ||
    !(yield* Effect.promise(() => isReady(`${addresses.ingress}/restate/health`)))
  ) {
    if (child.exitCode !== null) return yield* Effect.die(new Error("the Restate server ended before it was ready"))
    yield* Effect.sleep("50 millis")
  }
  return { addresses, helper: { pid: child.pid ?? 0, side: "server" } satisfies Helper }
})

/** The handlers, in this process, made known to the server. */
const serve = Effect.fnUntraced(function*({ admin }: Addresses) {
  const server = yield* Effect.acquireRelease(
    Effect.callback<http2.Http2Server>((resume) => {
      const server = http2.createServer(restate.createEndpointHandler({ services: [counter], logger: () => {} }))
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  )
  const { port } = server.address() as AddressInfo
  const registered = yield* Effect.promise(() =>
    fetch(`${admin}/deployments`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ uri: `http://127.0.0.1:${port}` })
    })
  )
  if (!registered.ok) {
    return yield* Effect.die(new Error(`not registered: ${yield* Effect.promise(() => registered.text())}`))
  }
})

const keyOf = (server: number) => `counter-${server}`

const clientOf = ({ ingress }: Addresses) => {
  const connection = clients.connect({ url: ingress })
  const definition = { name: "Counter" } as const satisfies { readonly name: string }
  const of = (server: number) => connection.objectClient<typeof counter>(definition as never, keyOf(server))
  const sendTo = (server: number) => connection.objectSendClient<typeof counter>(definition as never, keyOf(server))
  return { of, sendTo }
}

const total = (addresses: Addresses, servers: number) =>
  Effect.map(
    Effect.forEach(
      Array.from({ length: servers }, (_, server) => server),
      (server) => Effect.promise(() => clientOf(addresses).of(server).get()),
      { concurrency: 16 }
    ),
    (counts) => counts.reduce((sum, count) => sum + count, 0)
  )

export const calls: Case = {
  open: Effect.fnUntraced(function*(_, servers) {
    const { addresses, helper } = yield* startServer
    yield* serve(addresses)
    const { of } = clientOf(addresses)
    return {
      helpers: [helper],
      operations: { call: once((server) => Effect.promise(() => of(server).add({ by: 1, sentAt: 0 }))) },
      stored: total(addresses, servers)
    }
  })
}

/** The three processes of the casts find each other through the database. */
const addressesIn = ({ observer }: Database) =>
  Effect.orDie(Effect.map(
    observer.queryValues("select ingress, admin from bench_restate"),
    ([row]): Addresses => ({ ingress: String(row?.[0]), admin: String(row?.[1]) })
  ))

const known: { addresses: Addresses | undefined; servers: number } = { addresses: undefined, servers: 0 }

export const casts: CastCase = {
  prepare: Effect.fnUntraced(function*({ observer }, servers) {
    const { addresses, helper } = yield* startServer
    yield* observer.query("create table bench_restate (ingress text, admin text, pid int)")
    yield* observer.query("insert into bench_restate values ($1::text, $2::text, $3::int)", [
      addresses.ingress,
      addresses.admin,
      helper.pid
    ])
    known.addresses = addresses
    known.servers = servers
  }, Effect.orDie),
  receive: Effect.fnUntraced(function*(database, _, onHandled) {
    handled = onHandled
    yield* serve(yield* addressesIn(database))
    const [row] = yield* database.observer.queryValues("select pid from bench_restate")
    return { helpers: [{ pid: Number(row?.[0]), side: "server" } satisfies Helper] }
  }, Effect.orDie),
  send: Effect.fnUntraced(function*(database) {
    const { sendTo } = clientOf(yield* addressesIn(database))
    return (server, sentAt) => Effect.promise(() => sendTo(server).add({ by: 1, sentAt }))
  }),
  stored: () =>
    Effect.suspend(() => known.addresses === undefined ? Effect.succeed(0) : total(known.addresses, known.servers))
}
