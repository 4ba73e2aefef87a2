/** The SQL that ships inside the code is the SQL of the `.sql` files. */
import { assert, describe, it } from "@effect/vitest"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { generateAll, outOfDate } from "../../scripts/embed-sql.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

describe("embed-sql", () => {
  it("the committed modules are what the .sql files say (else: npm run embed-sql)", () => {
    assert.deepStrictEqual(outOfDate(root).map(({ file }) => file), [])
  })

  it("embeds every file of a room by name, whatever characters are in it", async () => {
    const folder = mkdtempSync(join(tmpdir(), "holdfast-embed-"))
    try {
      const texts = {
        "0001_first.sql": "SELECT '\\', `x`, ${y}, $1, $$\n$$ -- é\n",
        "0002_second.sql": ""
      }
      mkdirSync(join(folder, "src", "room", "sql"), { recursive: true })
      mkdirSync(join(folder, "src", "room", "internal"))
      mkdirSync(join(folder, "src", "empty"))
      for (const [name, text] of Object.entries(texts).reverse()) {
        writeFileSync(join(folder, "src", "room", "sql", name), text)
      }
      writeFileSync(join(folder, "src", "room", "sql", "notes.md"), "not SQL")

      const [empty, room] = generateAll(folder)
      assert.strictEqual(empty?.text, undefined)
      assert.deepStrictEqual(outOfDate(folder).length, 1)
      writeFileSync(room!.file, room!.text!)
      assert.deepStrictEqual(outOfDate(folder), [])

      const module = await import(/* @vite-ignore */ pathToFileURL(room!.file).href)
      assert.deepStrictEqual(module.sql, Object.entries(texts).map(([name, text]) => ({ name, text })))
      assert.include(readFileSync(room!.file, "utf8"), "Do not edit")

      writeFileSync(join(folder, "src", "room", "sql", "0002_second.sql"), "SELECT 1")
      assert.deepStrictEqual(outOfDate(folder).map(({ file }) => file), [room!.file])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
