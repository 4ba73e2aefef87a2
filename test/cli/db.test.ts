/**
 * The `holdfast` command, as a process: what it does, says, and ends with.
 */
import { NodeServices } from "@effect/platform-node"
import { afterAll, assert, layer } from "@effect/vitest"
import { Effect, FileSystem, Path } from "effect"
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { inject } from "vitest"
import { connectAsSuperuser, unique } from "../datastore/support.ts"

const bin = fileURLToPath(new URL("../../src/cli/bin.ts", import.meta.url))

interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

const password = "the-app-secret-4711"

/** The command is started many times here: what was compiled once is kept for the others. */
const compileCache = mkdtempSync(join(tmpdir(), "holdfast-cli-"))
afterAll(() => rmSync(compileCache, { recursive: true, force: true }))

/** A folder with a configuration file of its own, in which the command is run. */
const workspace = Effect.fnUntraced(function*(options: { readonly built?: boolean } = {}) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const folder = yield* fs.makeTempDirectoryScoped()
  const name = unique("cli")
  const write = Effect.fnUntraced(function*(file: string, text: string) {
    yield* fs.makeDirectory(path.dirname(path.join(folder, file)), { recursive: true })
    yield* fs.writeFileString(path.join(folder, file), text)
  })
  yield* write(
    "holdfast.toml",
    [
      `databaseName = "${name}"`,
      "[owner]",
      `databaseRole = "${name}_owner"`,
      "[contexts.app]",
      `databaseRole = "${name}_app"`,
      "databasePassword = { env = \"APP_PASSWORD\" }",
      "[migrations]",
      ...(options.built === true ? ["type = \"app\""] : ["directory = \"migrations\"", "name = \"app\""]),
      "[migrations.bindings]",
      "table = \"The \\\"thing\\\"\""
    ].join("\n")
  )
  const run = (args: ReadonlyArray<string>, env: Record<string, string> = {}) =>
    Effect.callback<Ran>((resume) => {
      const child = execFile(process.execPath, ["--conditions=holdfast-source", bin, ...args], {
        cwd: folder,
        env: {
          ...process.env,
          NO_COLOR: "1",
          HOLDFAST_DATABASE_URL: inject("databaseUrl"),
          APP_PASSWORD: password,
          ...env
        }
      }, (error, out, err) => resume(Effect.succeed({ code: error === null ? 0 : Number(error.code), out, err })))
      child.stdin?.end()
    }).pipe(
      Effect.tap(({ err, out }) => Effect.sync(() => assert.notInclude(out + err, password)))
    )
  yield* Effect.addFinalizer(() => run(["db", "drop", "--yes", "--force", "--if-exists"]))
  return { name, run, write }
})

const entry = (update: number) =>
  `[[build_plan]]\nrelease = 1\nversion = 1\nupdate = ${update}\nsponsor = 820\nsponsor_modification = 0\nload_files = ["${update}.sql"]\n`

/** Each has all that it works on to itself, and most of what they take is processes that start. */
const besideOthers = { concurrent: true, timeout: 180_000 }

layer(NodeServices.layer, { excludeTestServices: true })("holdfast", (it) => {
  it.effect("--help, --version, completions and a wrong command line", () =>
    Effect.gen(function*() {
      const { run } = yield* workspace()
      const help = yield* run(["--help"])
      assert.strictEqual(help.code, 0)
      assert.include(help.out, "Exit codes: 0 done, 1 failed, 2 wrong command line")
      const db = yield* run(["db", "--help"])
      for (const name of ["bootstrap", "build", "load", "upgrade", "plan", "state", "drop"]) {
        assert.match(db.out, new RegExp(`^  ${name} +\\S`, "m"))
      }
      assert.match((yield* run(["--version"])).out, /0\.1\.0/)
      assert.include((yield* run(["--completions", "bash"])).out, "bootstrap")
      const wrong = yield* run(["db", "nonsense"])
      assert.strictEqual(wrong.code, 2)
      assert.include(wrong.err, "nonsense")
      assert.strictEqual((yield* run(["db", "state", "--nonsense"])).code, 2)
    }), besideOthers)

  it.effect("a folder of SQL files, from load to drop", () =>
    Effect.gen(function*() {
      const { name, run, write } = yield* workspace()
      yield* write("migrations/1.sql", "CREATE TABLE ${table} (i int); GRANT SELECT ON ${table} TO ${app}")
      const before = yield* run(["db", "state", "--json"])
      assert.deepStrictEqual(JSON.parse(before.out), {
        ok: true,
        database: "notFound",
        contexts: { app: "notFound" },
        migrations: "notInitialized",
        versions: []
      })
      const load = yield* run(["db", "load"])
      assert.strictEqual(load.code, 0, load.err)
      assert.include(load.out, `database ${name}: made`)
      assert.include(load.out, "app/1.sql")
      assert.match(load.err, /\[\d+\/\d+\] app\/1\.sql done in \d+ ms/)
      const superuser = yield* connectAsSuperuser(name)
      assert.lengthOf(yield* superuser`SELECT FROM pg_class WHERE relname = 'The "thing"'`, 1)
      // The library's own tables are there, too.
      assert.lengthOf(yield* superuser`SELECT FROM holdfast.server`, 0)
      assert.strictEqual((yield* run(["db", "plan", "--check"])).code, 0)

      yield* write("migrations/2.sql", "SELECT 1/0")
      const plan = yield* run(["db", "plan", "--check", "--json"])
      assert.strictEqual(plan.code, 4)
      assert.deepInclude(JSON.parse(plan.out).plan[0], { source: "app", file: "2.sql" })
      const failed = yield* run(["db", "upgrade"])
      assert.strictEqual(failed.code, 1)
      assert.include(failed.err, "app/2.sql failed and was rolled back: division by zero")
      const failedJson = yield* run(["db", "upgrade", "--json"])
      assert.strictEqual(failedJson.code, 1)
      assert.deepInclude(JSON.parse(failedJson.out).error, {
        _tag: "MigrationFailed",
        file: "2.sql",
        sqlState: "22012"
      })
      yield* write("migrations/2.sql", "SELECT 1")
      const upgrade = yield* run(["db", "upgrade", "--json", "--log-level", "debug"])
      assert.include(upgrade.err, "upgrade: migrations")
      assert.deepStrictEqual(JSON.parse(upgrade.out), { ok: true, applied: [{ source: "app", file: "2.sql" }] })
      const state = yield* run(["db", "state"])
      assert.include(state.out, "migrations: ready")
      assert.include(state.out, "newest of app: 2.sql")

      const refused = yield* run(["db", "drop", "--json", "--log-level", "debug"])
      assert.strictEqual(refused.code, 3)
      assert.deepInclude(JSON.parse(refused.out).error, {
        _tag: "NotConfirmed",
        message: "nothing was done: say --yes to confirm"
      })
      assert.include((yield* run(["db", "state"])).out, `database ${name}: ready`)
      const dropped = yield* run(["db", "drop", "--yes", "--force", "--json"])
      assert.deepInclude(JSON.parse(dropped.out), { ok: true, database: true })
      const again = yield* run(["db", "drop", "--yes", "--json"])
      assert.strictEqual(again.code, 1)
      assert.strictEqual(JSON.parse(again.out).error._tag, "DatabaseNotFound")
      assert.strictEqual((yield* run(["db", "drop", "--yes", "--if-exists"])).code, 0)
    }), besideOthers)

  it.effect("build plans, and a privileged role that is no superuser", () =>
    Effect.gen(function*() {
      const { name, run, write } = yield* workspace({ built: true })
      yield* write("database/buildplans.app.toml", entry(1) + entry(2))
      yield* write("database/1.sql", "CREATE TABLE ${table} (i int)")
      yield* write("database/2.sql", "INSERT INTO ${table} VALUES (1)")
      const built = yield* run(["db", "build", "--json"])
      assert.deepStrictEqual(JSON.parse(built.out).built, [
        "app.01.01.001.0000MS.000.sql",
        "app.01.01.002.0000MS.000.sql"
      ])
      assert.include((yield* run(["db", "build"])).out, "0 built, 2 kept")
      yield* write("database/1.sql", "SELECT 'changed'")
      const differs = yield* run(["db", "build"])
      assert.strictEqual(differs.code, 1)
      assert.include(differs.err, "app.01.01.001.0000MS.000.sql")
      yield* write("database/1.sql", "CREATE TABLE ${table} (i int)")

      const url = new URL(inject("databaseUrl"))
      const admin = unique("admin")
      const superuser = yield* connectAsSuperuser()
      yield* Effect.addFinalizer(() => Effect.ignore(superuser.unsafe(`DROP ROLE ${admin}`)))
      yield* Effect.addFinalizer(() => Effect.ignore(superuser.unsafe(`DROP OWNED BY ${admin}`)))
      const adminUrl = new URL(url)
      adminUrl.username = admin
      adminUrl.password = "admin-secret-0815"
      const env = { HOLDFAST_DATABASE_URL: adminUrl.href }
      const bootstrap = yield* run(["db", "bootstrap", "--superuser", decodeURIComponent(url.username)], {
        ...env,
        HOLDFAST_SUPERUSER_PASSWORD: decodeURIComponent(url.password)
      })
      assert.strictEqual(bootstrap.code, 0, bootstrap.err)
      assert.include(bootstrap.out, "the privileged role was made")
      const load = yield* run(["db", "load", "--json"], env)
      assert.strictEqual(load.code, 0, load.err + load.out)
      assert.deepInclude(JSON.parse(load.out).applied.at(-1), { source: "app", version: "01.01.002.0000MS.000" })
      assert.notInclude(load.out + load.err + bootstrap.out + bootstrap.err, "admin-secret-0815")
      assert.strictEqual((yield* run(["db", "drop", "--yes", "--force"], env)).code, 0)
      assert.include((yield* run(["db", "state"], env)).out, `database ${name}: notFound`)
    }), besideOthers)

  it.effect("a configuration that is wrong is said by field, and nothing is done", () =>
    Effect.gen(function*() {
      const { run, write } = yield* workspace()
      const wrong: ReadonlyArray<readonly [text: string, says: string]> = [
        ["databaseName = ", "line 1"],
        [
          "databaseName = \"x\"\n[owner]\ndatabaseRole = \"o\"\n[contexts.app]\ndatabaseRole = \"a\"\ndatabasePassword = \"plain-secret-99\"",
          "contexts.app.databasePassword"
        ],
        [
          "databaseName = \"x\"\n[owner]\ndatabaseRole = \"o\"\n[contexts.app]\ndatabaseRole = \"a\"\ndatabasePassword = { env = \"UNSET_9\" }",
          "UNSET_9 is not set"
        ],
        [
          "databaseName = \"x\"\n[owner]\ndatabaseRole = \"o\"\n[contexts.app]\ndatabaseRole = \"o\"\ndatabasePassword = { env = \"APP_PASSWORD\" }",
          "contexts.app.databaseRole must not be the role of the owner"
        ],
        ["databaseName = \"x\"\nowner = 1\n[contexts]", "owner"]
      ]
      for (const [text, says] of wrong) {
        yield* write("holdfast.toml", text)
        const ran = yield* run(["db", "state"])
        assert.strictEqual(ran.code, 2, ran.err)
        assert.include(ran.err, says)
        assert.notInclude(ran.err + ran.out, "plain-secret-99")
      }
      const missing = yield* run(["db", "state", "-c", "elsewhere.toml", "--json"])
      assert.strictEqual(missing.code, 2)
      assert.include(JSON.parse(missing.out).error.message, "elsewhere.toml: there is no such file")
      yield* write(
        "holdfast.toml",
        "databaseName = \"x\"\n[owner]\ndatabaseRole = \"o\"\n[contexts.app]\ndatabaseRole = \"a\"\ndatabasePassword = { env = \"APP_PASSWORD\" }"
      )
      const url = yield* run(["db", "state"], { HOLDFAST_DATABASE_URL: "mysql://root:url-secret-7@h/x" })
      assert.strictEqual(url.code, 2)
      assert.notInclude(url.err, "url-secret-7")
      assert.strictEqual((yield* run(["db", "state"], { HOLDFAST_DATABASE_URL: "postgres://u:%zz@h/x" })).code, 2)
      assert.include((yield* run(["db", "state"], { HOLDFAST_DATABASE_URL: "" })).err, "dbServer: is missing")
    }), besideOthers)
})
