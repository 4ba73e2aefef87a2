/**
 * The checker of the soak: compares what the processes wrote down, of what they sent and were told, with what is stored.
 *
 * - Of each sender, in each run, an account has done the messages from 1 to some number without a gap, a repeat or an inversion
 *   (the account itself has watched over that), at least up to the last that was acknowledged, and none that was not sent.
 * - Whoever looked at an account saw everything that anybody had been told of before, in whichever process.
 * - Each keyed message was done once, and every repeat of it has the same answer: in the end all of them are sent once more.
 * - Each message for later was done once, unless its cancellation was acknowledged; then it was not done at all.
 * - What one account has sent to another has arrived there, all of it, once and in order.
 * - Nothing is left: no message in line, no lock, nothing set aside, no answer that somebody waits for.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, type Redacted, Result, Schema } from "effect"
import { DurableNode } from "holdfast/durable"
import * as Ledger from "./ledger.ts"
import { Account, type AccountState } from "./servers.ts"

export interface Found {
  /** What should not be. */
  readonly wrong: ReadonlyArray<string>
  readonly sent: number
  readonly acknowledged: number
  readonly looks: number
  readonly keyed: number
  readonly scheduled: number
  readonly cancelled: number
  readonly between: number
  /** How many messages of a killed process came in after its next run had begun. */
  readonly stragglers: number
}

/** What of it is shown at most. */
const most = 50

/** Where a sender stands with an account: its run, and the number in it. */
type Standing = readonly [run: number, n: number]

const isBefore = (one: Standing, other: Standing | undefined): boolean =>
  other === undefined || one[0] < other[0] || (one[0] === other[0] && one[1] < other[1])

/** Everything that was written down, by what it is about. */
class Books {
  /** The numbers sent, and acknowledged, by account, sender and run. */
  readonly sent = new Map<string, number>()
  readonly acknowledged = new Map<string, number>()
  /** By account, what was known at which time, and what was looked at from which time on. */
  readonly known = new Map<
    string,
    Array<{ readonly at: number; readonly sender: string; readonly standing: Standing }>
  >()
  readonly looks = new Map<string, Array<{ readonly from: number; readonly seen: AccountState["seen"] }>>()
  /** Keyed messages by account and key, with the answers there were. */
  readonly once = new Map<string, { readonly account: string; readonly key: string; readonly answers: Set<number> }>()
  readonly later = new Map<string, { acknowledged: boolean; cancelling: boolean; cancelled: boolean | undefined }>()
  readonly wrong: Array<string> = []
  messages = 0
  answers = 0

  add(entry: Ledger.Entry): void {
    switch (entry[0]) {
      case "send": {
        const [, account, sender, run, n] = entry
        this.messages++
        raise(this.sent, `${account} ${sender} ${run}`, n)
        return
      }
      case "sent": {
        const [, account, sender, run, n, at] = entry
        this.answers++
        raise(this.acknowledged, `${account} ${sender} ${run}`, n)
        listOf(this.known, account).push({ at, sender, standing: [run, n] })
        return
      }
      case "look": {
        const [, account, from, at, seen] = entry
        listOf(this.looks, account).push({ from, seen })
        for (const [sender, standing] of Object.entries(seen)) {
          listOf(this.known, account).push({ at, sender, standing })
        }
        return
      }
      case "send once":
        this.#onceOf(entry[1], entry[2])
        return
      case "sent once":
        if (entry[3] !== null) this.#onceOf(entry[1], entry[2]).answers.add(entry[3])
        return
      case "schedule":
        this.later.set(`${entry[1]} ${entry[2]}`, { acknowledged: false, cancelling: false, cancelled: undefined })
        return
      case "scheduled":
        this.#laterOf(entry[1], entry[2]).acknowledged = true
        return
      case "cancel":
        this.#laterOf(entry[1], entry[2]).cancelling = true
        return
      case "cancelled":
        this.#laterOf(entry[1], entry[2]).cancelled = entry[3]
        return
      case "wrong":
        this.wrong.push(entry[1])
    }
  }

  #onceOf(account: string, key: string) {
    const name = `${account} ${key}`
    let known = this.once.get(name)
    if (known === undefined) this.once.set(name, known = { account, key, answers: new Set() })
    return known
  }

  #laterOf(account: string, id: string) {
    const known = this.later.get(`${account} ${id}`)
    if (known === undefined) throw new Error(`${id} was never scheduled`)
    return known
  }
}

const raise = (of: Map<string, number>, name: string, n: number) => {
  of.set(name, Math.max(of.get(name) ?? 0, n))
}

const listOf = <A>(of: Map<string, Array<A>>, name: string): Array<A> => {
  let list = of.get(name)
  if (list === undefined) of.set(name, list = [])
  return list
}

/** Nobody saw less than what anybody had been told of before. */
function* staleLooks({ known, looks }: Books) {
  for (const [account, all] of looks) {
    const facts = (known.get(account) ?? []).toSorted((one, other) => one.at - other.at)
    const standings = new Map<string, Standing>()
    let next = 0
    for (const { from, seen } of all.toSorted((one, other) => one.from - other.from)) {
      for (let fact = facts[next]; fact !== undefined && fact.at < from; fact = facts[++next]) {
        const before = standings.get(fact.sender)
        if (before === undefined || isBefore(before, fact.standing)) standings.set(fact.sender, fact.standing)
      }
      for (const [sender, standing] of standings) {
        const saw = seen[sender]
        if (saw === undefined || isBefore(saw, standing)) {
          yield `${account} showed ${sender} at ${saw}, after ${standing} was acknowledged`
        }
      }
    }
  }
}

/** Everything that was acknowledged was done, and nothing that was not sent. */
function* miscounted({ acknowledged, sent }: Books, done: ReadonlyMap<string, number>) {
  for (const [of, n] of acknowledged) {
    if ((done.get(of) ?? 0) < n) yield `${of}: ${n} were acknowledged, ${done.get(of) ?? 0} are done`
  }
  for (const [of, n] of done) {
    if (n > (sent.get(of) ?? 0)) yield `${of}: ${n} are done, ${sent.get(of) ?? 0} were sent`
  }
}

function* misdelivered({ later }: Books, rows: ReadonlyMap<string, number>) {
  for (const [name, { acknowledged, cancelled, cancelling }] of later) {
    const times = rows.get(name) ?? 0
    if (times > 1) yield `${name}, for later, was done ${times} times`
    if (times > 0 && cancelled === true) yield `${name}, for later, was done, and cancelled in time`
    if (times === 0 && acknowledged && cancelled !== true && (!cancelling || cancelled === false)) {
      yield `${name}, for later, was not done`
    }
  }
  for (const name of rows.keys()) if (!later.has(name)) yield `${name}, for later, was never scheduled`
}

/** What accounts have sent to each other. */
function* undelivered(states: ReadonlyMap<string, AccountState>) {
  for (const [account, { given, received }] of states) {
    for (const [to, n] of Object.entries(given)) {
      const arrived = states.get(to)?.received[account] ?? 0
      if (arrived !== n) yield `${account} sent ${n} to ${to}, where ${arrived} arrived`
    }
    for (const [from, n] of Object.entries(received)) {
      const sent = states.get(from)?.given[account] ?? 0
      if (sent !== n) yield `${account} received ${n} from ${from}, which sent ${sent}`
    }
  }
}

const decodeState = Schema.decodeUnknownSync(Schema.fromJsonString(Schema.toCodecJson(Account.state)))

export const check = Effect.fnUntraced(
  function*(options: {
    readonly ledgers: ReadonlyArray<string>
    readonly patience: "60 seconds"
  }) {
    const sql = yield* PgClient.PgClient
    const books = new Books()
    for (const path of options.ledgers) for (const entry of Ledger.read(path)) books.add(entry)
    const wrong: Array<string> = [...books.wrong]

    const rest = Effect.map(
      sql<{ readonly what: string; readonly count: number }>`
        SELECT * FROM (
          SELECT 'messages in line' AS what, (SELECT count(*) FROM holdfast.message)::float8 AS count
          UNION ALL SELECT 'messages for later', (SELECT count(*) FROM holdfast.scheduled)::float8
          UNION ALL SELECT 'locks', (SELECT count(*) FROM holdfast.server WHERE lock IS NOT NULL)::float8
          UNION ALL SELECT 'messages set aside', (SELECT count(*) FROM holdfast.parked)::float8
          UNION ALL SELECT 'keys without an answer', (SELECT count(*) FROM holdfast.outcome WHERE reply IS NULL)::float8
        ) x WHERE count > 0`,
      (rows) => rows.map(({ count, what }) => `${count} ${what} are left`)
    )
    /** Waits until nothing is left to be done. */
    const settled = Effect.gen(function*() {
      while ((yield* rest).length > 0) yield* Effect.sleep("50 millis")
    }).pipe(Effect.timeoutOption(options.patience))

    yield* settled
    const account = yield* Account.client()
    const answers = new Map<string, Set<string>>()
    yield* Effect.forEach(books.once.values(), (once) =>
      Effect.map(
        Effect.result(account(once.account).call.AddOnce({ id: once.key }, { timeout: options.patience })),
        (answer) => {
          if (Result.isFailure(answer)) return wrong.push(`the last repeat of ${once.key}: ${answer.failure.message}`)
          once.answers.add(answer.success)
          const [nth] = once.answers
          if (once.answers.size > 1) {
            wrong.push(`${once.key} to ${once.account} was answered ${[...once.answers].join(" and ")}`)
          }
          const place = `${once.account} ${nth}`
          const others = answers.get(place) ?? new Set()
          answers.set(place, others.add(once.key))
          if (others.size > 1) wrong.push(`${[...others].join(" and ")} to ${once.account} were all answered ${nth}`)
          return undefined
        }
      ), { concurrency: 64, discard: true })
    yield* settled
    wrong.push(...yield* rest)

    // ---------------------------------------------------------------------------------------------- what is stored
    const states = new Map<string, AccountState>()
    const stored = yield* sql<{ readonly key: string; readonly state: string }>`
      SELECT key, state FROM holdfast.server WHERE kind = ${Account.kind} AND state IS NOT NULL`
    for (const { key, state } of stored) states.set(key, decodeState(state))
    const runs = yield* sql<{ readonly place: string; readonly last: number }>`
      SELECT account || ' ' || sender || ' ' || run AS place, last FROM soak_run`
    const stragglers = yield* sql<{ readonly place: string; readonly n: number }>`
      SELECT account || ' ' || sender || ' ' || run AS place, n FROM soak_straggler`
    const laters = yield* sql<{ readonly name: string; readonly times: number }>`
      SELECT account || ' ' || id AS name, count(*)::float8 AS times FROM soak_later GROUP BY 1`

    const done = new Map(runs.map(({ last, place }) => [place, last]))
    for (const [key, { once, seen, waiting, wrong: watched, locked }] of states) {
      for (const [sender, [run, n]] of Object.entries(seen)) {
        const of = `${key} ${sender} ${run}`
        if (done.has(of)) wrong.push(`${of} was over, and went on`)
        done.set(of, n)
      }
      wrong.push(...watched.map((what) => `${key}: ${what}`))
      if (locked) wrong.push(`${key} is locked`)
      if (waiting.length > 0) wrong.push(`${key} has ${waiting.length} callers that wait`)
      const keyed = Array.from(books.once.values()).filter((one) => one.account === key).length
      if (once !== keyed) wrong.push(`${key} has done ${once} keyed messages of ${keyed}`)
      const seenByCall = yield* Effect.result(account(key).call.Look(undefined, { timeout: options.patience }))
      if (Result.isFailure(seenByCall) || JSON.stringify(seenByCall.success) !== JSON.stringify(seen)) {
        wrong.push(`${key} does not show what is stored of it`)
      }
    }
    for (const { n, place } of stragglers) {
      if (n <= (books.acknowledged.get(place) ?? 0)) wrong.push(`${place}: ${n} was acknowledged, and came too late`)
    }
    wrong.push(...miscounted(books, done))
    wrong.push(...misdelivered(books, new Map(laters.map(({ name, times }) => [name, times]))))
    wrong.push(...undelivered(states))
    wrong.push(...staleLooks(books))

    const laterAll = Array.from(books.later.values())
    const found: Found = {
      wrong: wrong.length > most ? [...wrong.slice(0, most), `and ${wrong.length - most} more`] : wrong,
      sent: books.messages,
      acknowledged: books.answers,
      looks: Array.from(books.looks.values()).reduce((sum, all) => sum + all.length, 0),
      keyed: books.once.size,
      scheduled: laterAll.length,
      cancelled: laterAll.filter(({ cancelled }) => cancelled === true).length,
      between: Array.from(states.values()).reduce(
        (sum, { received }) => sum + Object.values(received).reduce((all, n) => all + n, 0),
        0
      ),
      stragglers: stragglers.length
    }
    return found
  }
)

/** The same, with a node and a client of its own. */
export const checkAt = (url: Redacted.Redacted, options: Parameters<typeof check>[0]) =>
  Effect.scoped(Effect.flatMap(
    Layer.build(Layer.fresh(DurableNode.layerPostgres.pipe(Layer.provideMerge(PgClient.layer({ url }))))),
    (context) => Effect.provide(check(options), context)
  ))
