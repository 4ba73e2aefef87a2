/**
 * Every example in the documentation compiles: the `ts` blocks of the README and of the comments in `src`, each as a module
 * of its own that imports what a user imports.
 */
import { execFile } from "node:child_process"
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, test } from "vitest"

const root = fileURLToPath(new URL("..", import.meta.url))

interface Example {
  readonly place: string
  readonly code: string
}

const blocks = (text: string, place: string): ReadonlyArray<Example> =>
  Array.from(text.matchAll(/^```ts\n([\s\S]*?)^```/gm), (match) => {
    const line = text.slice(0, match.index).split("\n").length
    return { place: `${place}:${line}`, code: match[1] ?? "" }
  })

/** The text of a file's doc comments; every other line is empty, so that places stay what they are. */
const comments = (source: string): string =>
  source.split("\n").map((line) => /^\s*\*( |$)/.test(line) ? line.replace(/^\s*\* ?/, "") : "").join("\n")

const collect = async (): Promise<ReadonlyArray<Example>> => {
  const readme = blocks(await readFile(join(root, "README.md"), "utf8"), "README.md")
  const files = (await readdir(join(root, "src"), { recursive: true })).filter((file) => file.endsWith(".ts"))
  const sources = await Promise.all(
    files.map(async (file) => blocks(comments(await readFile(join(root, "src", file), "utf8")), `src/${file}`))
  )
  return [...readme, ...sources.flat()]
}

test("every example in the documentation compiles", { timeout: 60_000 }, async () => {
  const examples = await collect()
  assert.isAbove(examples.length, 5)
  const folder = join(root, ".tmp", "docs")
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  await Promise.all(
    examples.map((example, index) => writeFile(join(folder, `example${index}.ts`), `${example.code}\nexport {}\n`))
  )
  await writeFile(
    join(folder, "tsconfig.json"),
    JSON.stringify({ extends: "../../tsconfig.json", compilerOptions: { noUnusedLocals: false }, include: ["*.ts"] })
  )
  const tsc = join(root, "node_modules", ".bin", "tsc")
  const result = await promisify(execFile)(tsc, ["-p", folder], { cwd: root }).then(
    () => "",
    (error: { readonly stdout: string }) => error.stdout
  )
  const named = result.replaceAll(
    /\S*example(\d+)\.ts/g,
    (_, index: string) => examples[Number(index)]?.place ?? relative(root, folder)
  )
  await rm(folder, { recursive: true, force: true })
  assert.strictEqual(named, "")
})
