/**
 * The README's section on datastores, followed to the letter: its files are written, its commands and its program are run.
 */
import { NodeServices } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect, FileSystem, Path } from "effect"
import { execFile } from "node:child_process"
import { readFileSync, symlinkSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { inject } from "vitest"
import { unique } from "../datastore/support.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const bin = fileURLToPath(new URL("../../src/cli/bin.ts", import.meta.url))

/** The section, with names of this run's own in the place of those that belong to the whole server. */
const section = (name: string) => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8")
  const text = readme.slice(readme.indexOf("## A datastore\n"), readme.indexOf("## What is promised"))
  const block = (language: string) => new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "m").exec(text)?.[1] ?? ""
  return {
    toml: block("toml").replaceAll("\"airports", `"${name}`),
    sql: block("sql"),
    lines: block("sh").split("\n").flatMap((line) => {
      const [, command] = /^npx holdfast ([^#]*)/.exec(line) ?? []
      return command === undefined ? [] : [command.trim().split(" ")]
    }),
    ts: block("ts").replaceAll("succeed(\"airports", `succeed("${name}`)
  }
}

layer(NodeServices.layer, { excludeTestServices: true })("the README", (it) => {
  it.effect("makes a datastore and a program that uses it", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const folder = yield* fs.makeTempDirectoryScoped()
      const name = unique("readme")
      const { lines, sql, toml, ts } = section(name)
      const url = new URL(inject("databaseUrl"))
      const run = (args: ReadonlyArray<string>) =>
        Effect.callback<string>((resume) => {
          const child = execFile(
            process.execPath,
            ["--conditions=holdfast-source", ...args],
            {
              cwd: folder,
              env: {
                ...process.env,
                HOLDFAST_DATABASE_URL: url.href,
                APP_PASSWORD: "another-secret",
                PGHOST: url.hostname,
                PGPORT: url.port || "5432"
              }
            },
            (error, out, err) =>
              resume(error === null ? Effect.succeed(out) : Effect.die(new Error(`${args.join(" ")}: ${out}${err}`)))
          )
          child.stdin?.end()
        })
      yield* fs.writeFileString(path.join(folder, "holdfast.toml"), toml)
      yield* fs.makeDirectory(path.join(folder, "migrations"))
      yield* fs.writeFileString(path.join(folder, "migrations", "0001_airport.sql"), sql)
      yield* fs.writeFileString(path.join(folder, "package.json"), "{\"type\":\"module\"}")
      yield* fs.writeFileString(path.join(folder, "airports.ts"), ts)
      yield* fs.makeDirectory(path.join(folder, "node_modules"))
      for (const dependency of ["effect", "@effect"]) {
        symlinkSync(path.join(root, "node_modules", dependency), path.join(folder, "node_modules", dependency))
      }
      symlinkSync(root, path.join(folder, "node_modules", "holdfast"))
      yield* Effect.addFinalizer(() => run([bin, "db", "drop", "--yes", "--force", "--if-exists"]))

      assert.deepStrictEqual(lines.map((line) => line[1]), ["load", "plan", "upgrade", "state"])
      const outputs = yield* Effect.forEach(lines, (line) => run([bin, ...line]))
      assert.include(outputs[0], `${name}/0001_airport.sql`)
      assert.include(outputs[1], "0 migrations to apply")
      assert.include(outputs[3], "migrations: ready")
      const program = yield* run([path.join(folder, "airports.ts")])
      assert.include(program, "Seattle–Tacoma")
      assert.include(yield* run([path.join(folder, "airports.ts")]), "SEA")
    }), 120_000)
})
