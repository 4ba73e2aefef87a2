/**
 * Versions of a state's schema: a stored state of an older version becomes one of today's by a chain of steps, each from one
 * version to the next.
 */
import * as Schema from "effect/Schema"
import { attempt, type Checked } from "./checked.ts"

/** From the JSON of a state of one version to the JSON of the next. */
export type Migration = (old: unknown) => unknown

export interface StateVersions {
  readonly current: number
  /** By the version that each starts from. */
  readonly steps: ReadonlyMap<number, Migration>
}

/** Checks versions as they were given, and refuses a chain that does not lead to the current one. */
export const compile = (
  kind: string,
  current: number,
  migrate: Readonly<Record<string, unknown>>
): StateVersions => {
  const refuse = (problem: string): never => {
    throw new Error(`${kind}: ${problem}`)
  }
  if (!Number.isInteger(current) || current < 1 || current >= 2 ** 31) {
    return refuse(`stateVersion is a whole number from 1 on, and not ${current}`)
  }
  const steps = new Map<number, Migration>()
  for (const [name, step] of Object.entries(migrate)) {
    const from = Number(name)
    if (!Number.isInteger(from) || from < 1 || from >= current) {
      return refuse(`migrate has a step from version ${name}, but stateVersion is ${current}`)
    }
    if (typeof step !== "function") return refuse(`migrate's step from version ${name} is not a function`)
    steps.set(from, step as Migration)
  }
  const first = current - steps.size
  for (let from = Math.min(first, current - 1); from < current && from > 0; from++) {
    if (!steps.has(from)) return refuse(`stateVersion is ${current}, but migrate has no step from version ${from}`)
  }
  return { current, steps }
}

/** Takes the JSON of a state from its version to the current one. */
export const migrateJson = ({ current, steps }: StateVersions, json: unknown, version: number): Checked<unknown> => {
  let migrated = json
  for (let from = version; from < current; from++) {
    const step = steps.get(from)
    if (step === undefined) {
      return { ok: false, issue: `it is of version ${version}, and no migration starts from ${from}` }
    }
    const next = attempt(() => step(migrated))
    if (!next.ok) return { ok: false, issue: `its migration from version ${from} failed: ${next.issue}` }
    migrated = next.value
  }
  return { ok: true, value: migrated }
}

/** A step between two schemas. */
export const migration = (
  from: Schema.Codec<unknown, unknown>,
  to: Schema.Codec<unknown, unknown>,
  migrate: (old: unknown) => unknown
): Migration => {
  const decode = Schema.decodeUnknownSync(Schema.toCodecJson(from))
  const encode = Schema.encodeUnknownSync(Schema.toCodecJson(to))
  return (old) => encode(migrate(decode(old)))
}
