/**
 * The examples in the documentation of this room run, and print what they say that they print: what stands behind
 * `console.log(…) //`, or in a comment of its own on the next line, and what an expression is said to be by `// =>`.
 */
import { assert, test } from "@effect/vitest"
import { execFile } from "node:child_process"
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const root = fileURLToPath(new URL("../..", import.meta.url))
const folder = join(root, "src", "dbtypes")

interface Example {
  readonly place: string
  readonly code: string
}

const examplesOf = async (file: string): Promise<ReadonlyArray<Example>> => {
  const source = await readFile(join(folder, file), "utf8")
  return Array.from(source.matchAll(/^ \* ```ts\n([\s\S]*?)^ \* ```/gm), (match) => ({
    place: `${file}:${source.slice(0, match.index).split("\n").length}`,
    code: (match[1] ?? "").replaceAll(/^ \* ?/gm, "")
  }))
}

/** What an example says that it prints. */
const promised = (code: string): ReadonlyArray<string> =>
  Array.from(
    code.matchAll(/^console\.log\(.*\)(?:\n)? ?\/\/ (.*)$|\/\/ => "(.*)"$/gm),
    ([, printed, is]) => printed ?? is ?? ""
  )

test("the examples in the documentation print what they say", { timeout: 30_000 }, async () => {
  const files = (await readdir(folder)).filter((file) => file.endsWith(".ts"))
  const examples = (await Promise.all(files.map(examplesOf))).flat().filter(({ code }) => !code.includes("PgClient"))
  assert.isAtLeast(examples.length, 9)
  await mkdir(join(root, ".tmp"), { recursive: true })
  const temporary = await mkdtemp(join(root, ".tmp", "examples-"))
  try {
    for (const [index, { code }] of examples.entries()) {
      await writeFile(join(temporary, `${index}.ts`), code.replaceAll(/^(.*) \/\/ => ".*"$/gm, "console.log($1)"))
    }
    const imports = examples.map((_, index) => `await import("./${index}.ts")\nconsole.log("---")`).join("\n")
    await writeFile(join(temporary, "all.ts"), imports)
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--conditions=holdfast-source", join(temporary, "all.ts")],
      { cwd: root, env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: undefined, NODE_OPTIONS: undefined } }
    )
    const printed = stdout.split("---\n")
    for (const [index, { code, place }] of examples.entries()) {
      const expected = promised(code)
      assert.isNotEmpty(expected, place)
      assert.deepStrictEqual(printed[index]?.trimEnd().split("\n"), expected, place)
    }
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
})
