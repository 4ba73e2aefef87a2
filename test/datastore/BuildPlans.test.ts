/**
 * Build plans: what they build, what is wrong with them, and what becomes of what was built.
 */
import { NodeServices } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect, FileSystem, Path } from "effect"
import { Migrations } from "holdfast/datastore"
import { parseBuiltName, versionText } from "../../src/datastore/internal/migrationVersion.ts"
import { connectAs, connectAsSuperuser, makeInput, withDatastore } from "./support.ts"

interface Numbers {
  readonly release?: number
  readonly version?: number
  readonly update?: number
  readonly sponsor?: number
  readonly sponsor_modification?: number
}

const entry = (numbers: Numbers, files: ReadonlyArray<string | { readonly type: string; readonly file: string }>) => {
  const all = { release: 1, version: 1, update: 0, sponsor: 820, sponsor_modification: 0, ...numbers }
  const lines = Object.entries(all).map(([name, value]) => `${name} = ${value}`)
  const list = files.map((file) =>
    typeof file === "string" ? JSON.stringify(file) : `{ type = "${file.type}", file = "${file.file}" }`
  )
  return `[[build_plan]]\n${lines.join("\n")}\nload_files = [${list.join(", ")}]\n`
}

/** A folder with these files, and what builds it. */
const workspace = Effect.fnUntraced(function*(files: Readonly<Record<string, string>>) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const root = yield* fs.makeTempDirectoryScoped()
  const source = path.join(root, "source")
  const output = path.join(root, "output")
  const write = Effect.fnUntraced(function*(file: string, text: string) {
    yield* fs.makeDirectory(path.dirname(path.join(source, file)), { recursive: true })
    yield* fs.writeFileString(path.join(source, file), text)
  })
  yield* Effect.forEach(Object.entries(files), ([file, text]) => write(file, text))
  const build = (options?: { readonly replace?: boolean; readonly type?: string }) =>
    Migrations.build({ source, type: "app", output, ...options })
  const read = (file: string) => fs.readFileString(path.join(output, file))
  return {
    source,
    output,
    write,
    build,
    read,
    list: fs.readDirectory(output).pipe(Effect.map((names) => names.sort()))
  }
})

const sql = (update: number) =>
  update === 1
    ? "CREATE SCHEMA app; CREATE TABLE app.step (i int PRIMARY KEY);\nINSERT INTO app.step VALUES (1)"
    : `INSERT INTO app.step VALUES (${update}) -- number ${update}`

layer(NodeServices.layer, { excludeTestServices: true })("build plans", (it) => {
  it.effect("eleven versions: three applied, then eight, and a rebuild keeps what was built", () => {
    const input = makeInput()
    const files = Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`steps/${i + 1}.sql`, sql(i + 1)]))
    const plan = (count: number) =>
      Array.from({ length: count }, (_, i) => entry({ update: i + 1 }, [`steps/${i + 1}.sql`])).join("\n")
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        const { build, list, output, write } = yield* workspace({ ...files, "buildplans.app.toml": plan(3) })
        assert.lengthOf((yield* build()).built, 3)
        const upgrade = Effect.flatMap(Migrations.load(output, { type: "app" }), (source) => admin.upgrade([source]))
        const own = 1
        assert.lengthOf(yield* upgrade, own + 3)
        const superuser = yield* connectAsSuperuser(input.databaseName)
        assert.lengthOf(yield* superuser`SELECT FROM app.step`, 3)

        yield* write("buildplans.app.toml", plan(11))
        const again = yield* build()
        assert.lengthOf(again.kept, 3)
        assert.lengthOf(again.built, 8)
        const source = yield* Migrations.load(output, { type: "app" })
        assert.lengthOf(yield* admin.plan([source]), 8)
        const applied = yield* upgrade
        assert.deepStrictEqual(
          applied.map((_) => _.version),
          ["4", "5", "6", "7", "8", "9", "A", "B"].map((update) => `01.01.00${update}.0000MS.000`)
        )
        assert.lengthOf(yield* superuser`SELECT FROM app.step`, 11)
        assert.deepStrictEqual(yield* admin.plan([source]), [])
        assert.deepStrictEqual((yield* admin.versions).at(0), applied.at(-1))
        assert.lengthOf(yield* list, 11)
        assert.deepStrictEqual(yield* build(), { built: [], kept: yield* list, unplanned: [] })

        const ledger = yield* superuser`
          SELECT file, version, release_number AS r, version_number AS v, update_number AS u, sponsor::int AS s,
            sponsor_modification AS m, role FROM holdfast.migration WHERE source = 'app' ORDER BY file COLLATE "C" LIMIT 1`
        assert.deepStrictEqual(ledger, [{
          file: "app.01.01.001.0000MS.000.sql",
          version: "01.01.001.0000MS.000",
          r: 1,
          v: 1,
          u: 1,
          s: 820,
          m: 0,
          role: input.owner.databaseRole
        }])
      }))
  })

  it.effect("the names of files are the numbers in base 36, and their order is the order of versions", () =>
    Effect.gen(function*() {
      const { build } = yield* workspace({
        "a.sql": "SELECT 1",
        "buildplans.app.toml": [
          entry({ release: 1295, version: 1295, update: 46655, sponsor: 2176782335, sponsor_modification: 46655 }, [
            "a.sql"
          ]),
          entry({ release: 2 }, ["a.sql"]),
          entry({ update: 5350 }, ["a.sql"]),
          entry({ release: 1, version: 36 }, ["a.sql"])
        ].join("\n")
      })
      assert.deepStrictEqual((yield* build()).built, [
        "app.01.01.44M.0000MS.000.sql",
        "app.01.10.000.0000MS.000.sql",
        "app.02.01.000.0000MS.000.sql",
        "app.ZZ.ZZ.ZZZ.ZZZZZZ.ZZZ.sql"
      ])
      // Over numbers of all sizes: written and read back, and compared as texts as they are as numbers.
      const sizes = [0, 1, 9, 10, 35, 36, 1295, 46655]
      const versions = sizes.flatMap((update) =>
        sizes.slice(0, -1).map((n) => ({
          release: n || 1,
          version: 1,
          update,
          sponsor: n,
          sponsor_modification: update
        }))
      )
      for (const a of versions) {
        assert.deepStrictEqual(parseBuiltName(`x-y_1.${versionText(a)}.sql`), {
          type: "x-y_1",
          text: versionText(a),
          version: a
        })
        for (const b of versions) {
          const numbers = Object.values(a).map((value, i) => value - (Object.values(b)[i] ?? 0)).find((_) => _ !== 0) ??
            0
          const texts = versionText(a) < versionText(b) ? -1 : versionText(a) === versionText(b) ? 0 : 1
          assert.strictEqual(texts, Math.sign(numbers))
        }
      }
      for (
        const name of [
          "app.00.01.000.000000.000.sql",
          "app.1.01.000.000000.000.sql",
          "app.01.01.00a.000000.000.sql",
          "a.b"
        ]
      ) {
        assert.isUndefined(parseBuiltName(name))
      }
    }))

  it.effect("plans load plans, to any depth, each with its entry of the same version", () =>
    Effect.gen(function*() {
      const { build, read } = yield* workspace({
        "buildplans.app.toml": [
          entry({ update: 1 }, ["one.sql", { type: "plan", file: "audit/buildplans.audit.toml" }, {
            type: "sql",
            file: "two.sql"
          }]),
          entry({ update: 2 }, [{ type: "plan", file: "./audit/../audit/buildplans.audit.toml" }])
        ].join("\n"),
        "audit/buildplans.audit.toml": [
          entry({ update: 1 }, ["audit/a.sql", { type: "plan", file: "audit/deep/buildplans.deep.toml" }]),
          entry({ update: 2 }, ["audit/a.sql"]),
          entry({ update: 3 }, ["audit/not there.sql"])
        ].join("\n"),
        "audit/deep/buildplans.deep.toml": entry({ update: 1 }, ["deep.sql"]),
        "one.sql": "SELECT 1",
        "two.sql": "\uFEFFSELECT 2;\r\n",
        "audit/a.sql": "SELECT 'a' -- no end",
        "deep.sql": ""
      })
      const { built } = yield* build()
      assert.deepStrictEqual(built, ["app.01.01.001.0000MS.000.sql", "app.01.01.002.0000MS.000.sql"])
      assert.strictEqual(
        yield* read(built[0] ?? ""),
        "-- one.sql\nSELECT 1\n;\n\n-- audit/a.sql\nSELECT 'a' -- no end\n;\n\n-- deep.sql\n;\n\n-- two.sql\nSELECT 2;\n"
      )
    }))

  it.effect("what is wrong with a plan is said with its file and entry, and nothing is written", () =>
    Effect.gen(function*() {
      const one = entry({ update: 1 }, ["a.sql"])
      const sub = { type: "plan", file: "sub.toml" }
      const wrong: ReadonlyArray<
        readonly [
          plan: string,
          more: Record<string, string>,
          reason: Migrations.BuildPlanReason,
          says: ReadonlyArray<string>
        ]
      > = [
        ["[[build_plan", {}, "syntax", ["buildplans.app.toml", "line 1"]],
        ["build_plan = 1", {}, "invalidField", ["buildplans.app.toml", "build_plan"]],
        [one + entry({ update: 46656 }, ["a.sql"]), {}, "invalidField", ["entry 2", "update", "from 0 to 46655"]],
        [entry({ release: 0 }, ["a.sql"]), {}, "invalidField", ["entry 1", "release", "from 1 to 1295"]],
        [entry({ sponsor: 2176782336 }, ["a.sql"]), {}, "invalidField", ["sponsor", "2176782335"]],
        [one.replace("sponsor = 820\n", ""), {}, "invalidField", ["entry 1", "sponsor"]],
        [one.replace("update = 1", "update = 1.5"), {}, "invalidField", ["entry 1", "update"]],
        [one.replace("load_files", "loadfiles"), {}, "invalidField", ["entry 1"]],
        [entry({}, [{ type: "script", file: "a.sql" }]), {}, "invalidField", ["load_files.0"]],
        [one + one, {}, "duplicateVersion", ["entry 2 (1.1.1.820.0)", "entry 1"]],
        [entry({}, ["a.sql", "gone.sql"]), {}, "missingFile", ["entry 1 (1.1.0.820.0)", "gone.sql"]],
        [entry({}, ["../a.sql"]), {}, "pathOutsideRoot", ["../a.sql"]],
        [entry({}, ["/etc/passwd"]), {}, "pathOutsideRoot", ["/etc/passwd"]],
        [entry({}, ["x/../../a.sql"]), {}, "pathOutsideRoot", ["x/../../a.sql"]],
        [entry({}, [sub]), {}, "missingFile", ["sub.toml"]],
        [entry({ update: 1 }, [sub]), { "sub.toml": entry({ update: 2 }, ["a.sql"]) }, "noMatchingEntry", [
          "entry 1 (1.1.1.820.0)",
          "sub.toml"
        ]],
        [entry({}, [sub]), { "sub.toml": entry({}, ["gone.sql"]) }, "missingFile", ["sub.toml, entry 1"]],
        [entry({}, [sub]), { "sub.toml": entry({}, [{ type: "plan", file: "buildplans.app.toml" }]) }, "cycle", [
          "buildplans.app.toml → sub.toml → buildplans.app.toml"
        ]],
        [entry({}, [{ type: "plan", file: "buildplans.app.toml" }]), {}, "cycle", [
          "buildplans.app.toml → buildplans.app.toml"
        ]]
      ]
      for (const [plan, more, reason, says] of wrong) {
        const { build, output } = yield* workspace({ "buildplans.app.toml": plan, "a.sql": "SELECT 1", ...more })
        const error = yield* Effect.flip(build())
        assert.strictEqual(error._tag, "BuildPlanInvalid", plan)
        assert.strictEqual(error._tag === "BuildPlanInvalid" && error.reason, reason, error.message)
        for (const text of says) assert.include(error.message, text)
        assert.isFalse(yield* (yield* FileSystem.FileSystem).exists(output))
      }
      const { build } = yield* workspace({})
      const none = yield* Effect.flip(build())
      assert.strictEqual(none._tag === "BuildPlanInvalid" && none.reason, "unreadable")
      assert.strictEqual((yield* Effect.flip(build({ type: "a.b" })))._tag, "SourceInvalid")
    }))

  it.effect("a build is the same bytes each time, appears whole, and is not overwritten unless one asks for it", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const { build, list, output, read, write } = yield* workspace({
        "buildplans.app.toml": entry({ update: 1 }, ["a.sql"]) + entry({ update: 2 }, ["b.sql"]),
        "a.sql": "SELECT 1;\nSELECT 2;\n",
        "b.sql": "SELECT 3"
      })
      const { built: [first = "", second = ""] } = yield* build()
      const text = yield* read(first)
      // The same file as another checkout has it.
      yield* write("a.sql", "SELECT 1;\r\nSELECT 2;\r\n")
      assert.deepStrictEqual(yield* build(), { built: [], kept: [first, second], unplanned: [] })

      yield* write("a.sql", "SELECT 7")
      yield* write("buildplans.app.toml", entry({ update: 1 }, ["a.sql"]) + entry({ update: 3 }, ["b.sql"]))
      const differs = yield* Effect.flip(build())
      assert.deepInclude(differs, { _tag: "BuildDiffers", files: [first] })
      assert.strictEqual(yield* read(first), text)
      assert.deepStrictEqual(yield* list, [first, second])

      const replaced = yield* build({ replace: true })
      assert.deepStrictEqual(replaced.unplanned, [second])
      assert.deepStrictEqual(replaced.built, [first, "app.01.01.003.0000MS.000.sql"])
      assert.include(yield* read(first), "SELECT 7")
      assert.lengthOf(yield* list, 3)

      // Eight builders at once: whoever comes last, the result is whole, and nothing is left of the others.
      yield* fs.remove(output, { recursive: true })
      yield* Effect.replicateEffect(build(), 8, { concurrency: 8 })
      assert.lengthOf(yield* list, 2)
      assert.include(yield* read(first), "SELECT 7")
    }))

  it.effect("load takes the files of one type, and refuses a file that is no built migration", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const { build, output } = yield* workspace({
        "buildplans.app.toml": entry({ update: 1 }, ["a.sql"]),
        "buildplans.other.toml": entry({ update: 1 }, ["a.sql"]),
        "a.sql": "SELECT 1"
      })
      yield* build()
      yield* build({ type: "other" })
      yield* fs.writeFileString(path.join(output, "README.md"), "not SQL")
      const source = yield* Migrations.load(output, { type: "app" })
      assert.deepStrictEqual(source.files.map((file) => file.name), ["app.01.01.001.0000MS.000.sql"])
      assert.strictEqual((yield* Effect.flip(Migrations.load(output, { type: "none" })))._tag, "SourceInvalid")
      yield* fs.writeFileString(path.join(output, "fix.sql"), "SELECT 1")
      const stray = yield* Effect.flip(Migrations.load(output, { type: "app" }))
      assert.deepInclude(stray, { _tag: "StrayMigration", file: "fix.sql" })
    }))

  it.effect("a database takes built migrations of one type", () => {
    const input = makeInput()
    const built = (type: string, update: number): Migrations.Source => ({
      name: type,
      built: true,
      files: [{ name: `${type}.01.01.00${update}.000000.000.sql`, sql: "SELECT 1" }]
    })
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        yield* admin.upgrade([built("alpha", 1), Migrations.make("plain", [{ name: "1.sql", sql: "SELECT 1" }])])
        for (const run of [admin.plan([built("beta", 2)]), admin.upgrade([built("beta", 2)])]) {
          const error = yield* Effect.flip(Effect.asVoid(run))
          assert.deepInclude(error, { _tag: "MigrationTypeDiffers", type: "beta", recorded: "alpha" })
          assert.include(error.message, "upgrade it with type \"alpha\"")
        }
        const both = yield* Effect.flip(admin.upgrade([built("alpha", 2), built("beta", 1)]))
        assert.strictEqual(both._tag, "SourceInvalid")
        const misnamed = { ...built("alpha", 2), files: [{ name: "1.sql", sql: "" }] }
        assert.strictEqual((yield* Effect.flip(admin.upgrade([misnamed])))._tag, "SourceInvalid")
      }))
  })

  it.effect("placeholders are names: of the datastore's roles, and of what one binds; a missing one stops everything", () => {
    const input = { ...makeInput(), databaseName: `${makeInput().databaseName}-Ü"x` }
    const file = (name: string, sql: string) => ({ name, sql })
    const files = [
      file("1.sql", "CREATE SCHEMA ${schema}; CREATE TABLE ${schema}.${table} (i int)"),
      file("2.sql", "GRANT USAGE ON SCHEMA ${schema} TO ${app}; GRANT SELECT ON ${schema}.${table} TO ${app}"),
      file(
        "3.sql",
        `CREATE FUNCTION \${schema}.kept() RETURNS text LANGUAGE sql AS $body$ SELECT '\\\${owner} $' || current_database() $body$;
        ALTER TABLE \${schema}.\${table} OWNER TO \${owner}; COMMENT ON DATABASE \${database} IS 'x'`
      )
    ]
    const bindings = { schema: "My \"schema\"; DROP TABLE x; --", table: "T-1" }
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        const source = Migrations.make("app", files)
        for (
          const run of [
            admin.plan([source], { bindings: { schema: "s" } }),
            admin.upgrade([source], { bindings: { schema: "s" } })
          ]
        ) {
          const error = yield* Effect.flip(Effect.asVoid(run))
          assert.deepInclude(error, { _tag: "BindingMissing", file: "1.sql", missing: ["table"] })
          assert.include(error.message, "${table}")
        }
        const long = yield* Effect.flip(admin.upgrade([source], { bindings: { ...bindings, table: "x".repeat(64) } }))
        assert.deepInclude(long, { _tag: "BindingInvalid", binding: "table" })
        const superuser = yield* connectAsSuperuser(input.databaseName)
        assert.lengthOf(yield* superuser`SELECT FROM pg_namespace WHERE nspname = 's'`, 0)

        assert.lengthOf(yield* admin.upgrade([source], { bindings }), 4)
        const { app, audit } = input.contexts
        const as = yield* connectAs(input.databaseName, app.databaseRole, app.databasePassword)
        assert.lengthOf(yield* as`SELECT * FROM ${as(bindings.schema)}.${as(bindings.table)}`, 0)
        assert.deepStrictEqual(yield* as`SELECT ${as(bindings.schema)}.kept() AS text`, [{
          text: `\${owner} $${input.databaseName}`
        }])
        // A role reads only what migrations granted to it.
        assert.strictEqual(
          (yield* Effect.flip(as`INSERT INTO ${as(bindings.schema)}.${as(bindings.table)} VALUES (1)`)).reason._tag,
          "AuthorizationError"
        )
        const other = yield* connectAs(input.databaseName, audit.databaseRole, audit.databasePassword)
        assert.strictEqual(
          (yield* Effect.flip(other`SELECT * FROM ${other(bindings.schema)}.${other(bindings.table)}`)).reason._tag,
          "AuthorizationError"
        )
        // What is recorded is the file, whatever was bound: the same file elsewhere is the same migration.
        assert.deepStrictEqual(yield* admin.plan([source]), [])
      }))
  })

  it.effect("an upgrade tells how it goes on, and who waits for whom", () => {
    const input = makeInput()
    return withDatastore(input, (admin) =>
      Effect.gen(function*() {
        const source = Migrations.make("app", [{ name: "1.sql", sql: "SELECT pg_sleep(0.3)" }])
        const told: Array<string> = []
        const tell = (who: string) => (progress: Migrations.Progress) =>
          Effect.sync(() => {
            told.push(
              `${who} ${progress._tag}${
                progress._tag === "Waiting" ? "" : ` ${progress.file.file} ${progress.index + 1}/${progress.total}`
              }`
            )
            if (progress._tag === "Applied") assert.isAtLeast(progress.millis, 0)
          })
        const first = yield* Effect.forkChild(admin.upgrade([source], { onProgress: tell("a") }))
        yield* Effect.repeat(Effect.sleep("5 millis"), { until: () => told.includes("a Applying 1.sql 2/2") })
        yield* admin.upgrade([source], { onProgress: tell("b") })
        assert.isDefined(first.pollUnsafe())
        assert.deepStrictEqual(told, [
          "a Applying 0001_raise.sql 1/2",
          "a Applied 0001_raise.sql 1/2",
          "a Applying 1.sql 2/2",
          "b Waiting",
          "a Applied 1.sql 2/2"
        ])
      }))
  })
})
