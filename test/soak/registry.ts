/**
 * The registry under fire: several processes fight over profiles while others are killed, or stopped for longer than their
 * lease and continued. Then it is proven, from a log that the database itself has kept, that no fencing token was ever used by two
 * holders, and that no write under an old token was accepted.
 *
 *     npm run soak:registry                                   a minute, with 4 processes and 200 profiles
 *     npm run soak:registry -- --seconds 600 --processes 8 --profiles 1000 --seed 42
 *
 * The log: a trigger on the registry's own table notes each grant, and writes note themselves, all under one sequence. A grant draws
 * its number while it has the row of the profile locked, and a write before it takes that lock: so in the order of numbers, a
 * write that was accepted comes after the grant of its token and before the next.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Random, Redacted } from "effect"
import { PostgresBackend } from "holdfast/registry"
import * as Processes from "../support/Processes.ts"
import { runIfMain } from "./run.ts"

export interface Plan {
  readonly seconds: number
  readonly processes: number
  readonly profiles: number
  readonly leaseMillis: number
  readonly seed: string
}

export interface Event {
  readonly seq: number
  readonly kind: "grant" | "guarded" | "resource"
  readonly profile: string
  readonly token: bigint
  readonly holder: string
}

/** What is wrong with a log, event by event. Nothing: it is proven. */
export const check = (events: ReadonlyArray<Event>): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  const granted = new Map<string, bigint>()
  const seen = new Map<string, bigint>()
  const grants = new Set<bigint>()
  const holderOf = new Map<bigint, string>()
  for (const { holder, kind, profile, seq, token } of [...events].sort((a, b) => a.seq - b.seq)) {
    const at = `${seq} ${kind} ${profile} ${token}`
    if (kind === "grant") {
      if (grants.has(token)) wrong.push(`${at}: granted twice`)
      if (token <= (granted.get(profile) ?? 0n)) wrong.push(`${at}: not greater than the one before`)
      grants.add(token)
      granted.set(profile, token)
      continue
    }
    const user = holderOf.get(token) ?? holder
    if (user !== holder) wrong.push(`${at}: used by ${user} and by ${holder}`)
    holderOf.set(token, user)
    if (kind === "guarded" && granted.get(profile) !== token) wrong.push(`${at}: ${granted.get(profile)} was granted`)
    if (kind === "resource" && token < (seen.get(profile) ?? 0n)) {
      wrong.push(`${at}: ${seen.get(profile)} had been seen`)
    }
    if (kind === "resource") seen.set(profile, token)
  }
  return wrong
}

const install = Effect.fnUntraced(function*(profiles: number) {
  const sql = yield* PgClient.PgClient
  yield* sql`CREATE SEQUENCE soak_seq`
  yield* sql`
    CREATE TABLE soak_event (
      seq bigint PRIMARY KEY DEFAULT nextval('soak_seq'), kind text NOT NULL, profile text NOT NULL, token bigint NOT NULL,
      holder text NOT NULL
    )`
  yield* sql`CREATE TABLE soak_resource (profile text PRIMARY KEY, token bigint NOT NULL)`
  yield* sql`INSERT INTO soak_resource SELECT 'profile ' || n, 0 FROM generate_series(0, ${profiles}::int) n`
  yield* sql`
    CREATE FUNCTION soak_note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO public.soak_event (seq, kind, profile, token, holder)
      VALUES (nextval('public.soak_seq'), 'grant', NEW.profile, NEW.token, NEW.member::text);
      RETURN NULL;
    END $$`
  yield* sql`
    CREATE TRIGGER soak_note AFTER UPDATE ON holdfast.registration FOR EACH ROW
    WHEN (NEW.token <> OLD.token) EXECUTE FUNCTION soak_note()`
})

export const soak = Effect.fnUntraced(
  function*(url: Redacted.Redacted, plan: Plan, onProgress: (text: string) => void) {
    const { leaseMillis, processes, profiles, seconds, seed } = plan
    const client = PgClient.layer({ url, maxConnections: 2 })
    yield* Effect.scoped(Effect.provide(Layer.build(Layer.fresh(PostgresBackend.layer)), client))
    yield* Effect.provide(install(profiles), client)

    let killed = 0
    let stopped = 0
    const totals: Record<string, number> = {}
    const violations: Array<string> = []
    const start = Processes.start(new URL("fixtures/contender.ts", import.meta.url), [String(profiles)], {
      HOLDFAST_TEST_URL: Redacted.value(url),
      HOLDFAST_TEST_LEASE: String(leaseMillis)
    }).pipe(Effect.tap((process) => process.line("ready")))
    const over = Effect.fnUntraced(function*(process: Processes.TestProcess) {
      for (const line of yield* process.lines) {
        if (line.startsWith("violation")) violations.push(line)
        if (!line.startsWith("counts ")) continue
        for (const [name, count] of Object.entries(JSON.parse(line.slice(7)) as Record<string, number>)) {
          totals[name] = (totals[name] ?? 0) + count
        }
      }
    })

    /** One place among the processes: what is killed is followed by another. */
    const place = Effect.fnUntraced(function*(index: number) {
      let process = yield* start
      const until = performance.now() + seconds * 1000
      while (performance.now() < until) {
        yield* Effect.sleep(yield* Random.nextIntBetween(300, 2500))
        if (yield* Random.nextBoolean) {
          yield* process.signal("SIGSTOP")
          stopped++
          yield* Effect.sleep(leaseMillis * (yield* Random.nextBetween(0.3, 3)))
          yield* process.signal("SIGCONT")
        } else {
          yield* process.signal("SIGKILL")
          killed++
          yield* process.ended
          yield* over(process)
          process = yield* start
        }
        onProgress(`${index}: ${stopped} stopped, ${killed} killed`)
      }
      yield* process.say("stop")
      yield* process.line("counts")
      yield* process.ended
      yield* over(process)
    })
    yield* Effect.forEach(Array.from({ length: processes }, (_, index) => index), place, { concurrency: "unbounded" })
      .pipe(
        Random.withSeed(seed)
      )

    const events = yield* Effect.provide(
      Effect.flatMap(
        PgClient.PgClient,
        (sql) => sql<Event>`SELECT seq::float8 AS seq, kind, profile, token, holder FROM soak_event ORDER BY seq`
      ),
      client
    )
    const of = (kind: Event["kind"]) => events.filter((event) => event.kind === kind).length
    return {
      killed,
      stopped,
      grants: of("grant"),
      guarded: of("guarded"),
      resource: of("resource"),
      ...totals,
      wrong: [...violations, ...check(events)]
    }
  },
  Effect.scoped
)

runIfMain(import.meta.url, {
  defaults: { seconds: 60, processes: 4, profiles: 200, lease: 1000 },
  soak: (url, { lease, ...plan }) => soak(url, { ...plan, leaseMillis: lease }, () => undefined),
  proven: "no token of two holders, no write under an old one"
})
