#!/usr/bin/env node
/**
 * The executable. `@effect/platform-node` is an optional peer: where it is missing, the command says so.
 */
import { readFileSync } from "node:fs"
import process from "node:process"

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"))

// Whoever reads what is said may have had enough of it, as `head` has.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error
  process.exit(0)
})

import("./holdfast.ts").then(({ run }) => run(version), (error: NodeJS.ErrnoException) => {
  if (error.code !== "ERR_MODULE_NOT_FOUND") {
    throw error
  }
  process.stderr.write("holdfast: the command needs @effect/platform-node: npm install @effect/platform-node\n")
  process.exitCode = 1
})
