/**
 * The packages of the peers. `bench` is a package of its own, so they are not there after the `npm ci` of the root: whoever runs
 * the benchmark for the first time sees them being installed, once, as the lock says.
 */
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import process from "node:process"
import { fileURLToPath } from "node:url"

const folder = fileURLToPath(new URL(".", import.meta.url))

interface Lock {
  readonly packages?: Readonly<Record<string, { readonly version?: string; readonly optional?: boolean }>>
}

const lockIn = (path: string): Lock | undefined => {
  try {
    return JSON.parse(readFileSync(`${folder}${path}`, "utf8")) as Lock
  } catch {
    return undefined
  }
}

/** Whether what is installed is what the lock asks for. npm keeps a list of what it has installed. */
export const packagesInstalled = (): boolean => {
  const asked = lockIn("package-lock.json")?.packages ?? {}
  const installed = lockIn("node_modules/.package-lock.json")?.packages
  return installed !== undefined &&
    Object.entries(asked).every(([path, { optional, version }]) =>
      path === "" || installed[path]?.version === version || (optional === true && installed[path] === undefined)
    )
}

/** Installs them where they are missing, and says so. */
export const ensurePackages = (): void => {
  if (packagesInstalled()) return
  process.stderr.write("The packages of the peers are missing in bench/: npm ci, once.\n")
  const { status } = spawnSync("npm", ["ci", "--no-audit", "--no-fund"], {
    cwd: folder,
    stdio: ["ignore", "ignore", "inherit"],
    shell: process.platform === "win32"
  })
  if (status !== 0) {
    process.stderr.write("npm ci in bench/ failed: without the peers there is nothing to compare with.\n")
    process.exit(1)
  }
}

if (import.meta.main) ensurePackages()
