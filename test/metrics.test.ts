/**
 * Every metric of the library is in the README, with its kind and its unit, and none there that the library does not have.
 */
import { Metric } from "effect"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { assert, test } from "vitest"

const root = fileURLToPath(new URL("..", import.meta.url))

const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => join(root, "src", file))

/** The rows of the README's table of metrics. */
const documented = Array.from(
  readFileSync(join(root, "README.md"), "utf8").matchAll(
    /^\| `(holdfast_\w+)` +\| (\w+) +\| ([^|]*?) +\| ([^|]+?) +\|$/gm
  ),
  ([, name = "", type = "", unit = "", meaning = ""]) => ({ name, type, unit, meaning })
)

const inCode = async () => {
  const metrics: Array<{ readonly name: string; readonly type: string; readonly unit: string }> = []
  for (const file of sources.filter((file) => file.endsWith("/internal/metrics.ts"))) {
    for (const value of Object.values<unknown>(await import(pathToFileURL(file).href))) {
      if (!Metric.isMetric(value)) continue
      assert.isAbove(value.description?.length ?? 0, 10, value.id)
      const unit = value.id.endsWith("_millis") ? "milliseconds" : ""
      metrics.push({ name: value.id, type: value.type.toLowerCase(), unit })
    }
  }
  return metrics
}

const byName = (a: { readonly name: string }, b: { readonly name: string }) => a.name < b.name ? -1 : 1

test("the list of metrics in the README is the list of metrics in the code", async () => {
  const metrics = await inCode()
  assert.isAbove(metrics.length, 10)
  assert.strictEqual(new Set(metrics.map(({ name }) => name)).size, metrics.length)
  assert.deepStrictEqual(
    documented.map(({ name, type, unit }) => ({ name, type, unit: unit === "milliseconds" ? unit : "" })).sort(byName),
    metrics.sort(byName)
  )
  for (const { meaning, name, unit } of documented) {
    assert.notStrictEqual(unit, "", name)
    assert.isAbove(meaning.length, 10, name)
  }
})

test("metrics are made in the metrics module of a room, and nowhere else", () => {
  const elsewhere = sources.filter((file) =>
    !file.endsWith("/internal/metrics.ts") &&
    /\bMetric\.(counter|gauge|histogram|frequency|summary|timer|make\w*)\(/.test(readFileSync(file, "utf8"))
  )
  assert.deepStrictEqual(elsewhere, [])
})
