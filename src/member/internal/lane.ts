/**
 * A lane: the one way by which this process commits anything, and the reason why nothing is ever done twice or left unknown.
 *
 * Group `n` runs if and only if the lane's row stands at `n - 1` and is open, and leaves it at `n` with the parts that were
 * refused. When a connection dies before the answer came, the lane tells what became of the group; but reading it is not
 * enough, since the lost copy may still be under way in the server. So the number is claimed by an empty group: if that
 * succeeds, group `n` never ran and never will, and is sent again as `n + 1`; if not, it ran, and the row tells the refused.
 *
 * A part that makes the whole group fail (a value that the server does not take) is found by halving; so is a group that is
 * larger than any connection bears. While the server cannot
 * take anything (no room on its disk, read-only since a fail-over), no part is to blame, and the group waits.
 */
import type * as PgConnection from "@effect/sql-pg/PgConnection"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Semaphore from "effect/Semaphore"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { isConnectionLost } from "../../datastore/internal/lostConnection.ts"
import { errorText } from "../../datastore/internal/sqlState.ts"
import type { EngineConnection } from "./engineConnection.ts"
import { isServersTrouble, untilAble, untilAnswered } from "./engineConnection.ts"

/** A row as it comes, by position. */
export type Row = ReadonlyArray<unknown>

/** A statement that commits a group as number `seq` of a lane, and gives one row: first of all the parts it refused. */
export interface GroupStatement<Part, Verdict> {
  readonly prepare: (
    parts: ReadonlyArray<Part>,
    lane: number,
    seq: number
  ) => { readonly sql: string; readonly params: ReadonlyArray<unknown> }
  /** From the row that was answered. `undefined`: the statement did nothing, since the lane was not where it should be. */
  readonly verdicts: (parts: ReadonlyArray<Part>, row: Row) => ReadonlyArray<Verdict> | undefined
  /** When only the lane can tell: the refused parts, counted from 1. */
  readonly verdictsFromLane: (parts: ReadonlyArray<Part>, refused: ReadonlySet<number>) => ReadonlyArray<Verdict>
  /** For a part that the server does not take even when it comes alone. */
  readonly failed: (part: Part, problem: string) => Verdict
}

/** The connection was lost, and the group that was under way never ran and never will. */
class NeverRan {
  readonly _tag = "NeverRan"
}

/** How often a group is sent again whole when its connection was lost under it: it may be too large for any. */
const maxLosses = 2

/** The lane is closed: somebody declared this process dead. */
export class LaneClosed {
  readonly _tag = "LaneClosed"
}

/** What came of a statement in a transaction: its row, and whether the transaction was committed with it. */
export interface Sent {
  readonly row: Row | undefined
  readonly committed: boolean
}

export interface Lane {
  readonly commit: <Part, Verdict>(
    statement: GroupStatement<Part, Verdict>,
    parts: ReadonlyArray<Part>
  ) => Effect.Effect<ReadonlyArray<Verdict>, LaneClosed>
  /**
   * Commits one part inside a transaction that is open already: `send` runs the statement there and, unless it refuses the part,
   * commits. `undefined`: that came to nothing, for a reason that is not the part's, and nothing of it was done or will be.
   */
  readonly commitWithin: <Part, Verdict>(
    statement: GroupStatement<Part, Verdict>,
    part: Part,
    send: (sql: string, params: ReadonlyArray<unknown>) => Effect.Effect<Sent, SqlError>
  ) => Effect.Effect<Verdict | undefined, LaneClosed>
  /** Since when a group has been under way, by the clock of the caller's choice; `undefined` while none is. */
  readonly busySince: () => number | undefined
}

/** The empty group leaves a mark of its own, for the case that its answer gets lost as well: part 0, which no group has. */
const claimNumber = "UPDATE holdfast.lane SET seq = $2, refused = '{0}' WHERE id = $1 AND seq = $2 - 1 RETURNING true"
const readLane = "SELECT seq::float8, refused FROM holdfast.lane WHERE id = $1"

export const make = (connection: EngineConnection, id: number, now: () => number): Lane => {
  let seq = 0
  let busySince: number | undefined
  let inTrouble = false

  /** Says once that the server is in trouble, and once that it is over. */
  const saying = <A, E>(effect: Effect.Effect<A, E | SqlError>): Effect.Effect<A, E | SqlError> =>
    Effect.onExit(effect, (exit) => {
      const error = Exit.isFailure(exit) ? Cause.findErrorOption(exit.cause) : Option.none()
      const trouble = Option.isSome(error) && isSqlError(error.value) && isServersTrouble(error.value)
        ? error.value
        : undefined
      if (inTrouble === (trouble !== undefined)) return Effect.void
      inTrouble = trouble !== undefined
      return trouble === undefined
        ? Effect.logInfo("the database takes commits again")
        : Effect.logWarning(`the database takes no commits for now: ${errorText(trouble)}`)
    })

  /** After an answer was lost. `undefined`: the group never ran and never will. */
  const decide = (asked: number): Effect.Effect<ReadonlySet<number> | undefined, LaneClosed | SqlError> =>
    untilAnswered(
      connection.use((session) =>
        Effect.gen(function*() {
          const claimed = yield* session.queryValues(claimNumber, [id, asked])
          if (claimed.length > 0) return undefined
          const [row] = yield* session.queryValues(readLane, [id])
          if (row === undefined) return yield* Effect.fail(new LaneClosed())
          const refused = new Set(row[1] as ReadonlyArray<number>)
          return refused.has(0) ? undefined : refused
        })
      )
    )

  const attempt = <Part, Verdict>(
    statement: GroupStatement<Part, Verdict>,
    parts: ReadonlyArray<Part>
  ): Effect.Effect<ReadonlyArray<Verdict>, LaneClosed | NeverRan | SqlError> =>
    Effect.suspend(() => {
      const number = seq + 1
      const { params, sql } = statement.prepare(parts, id, number)
      return connection.use((session: PgConnection.PgConnection) => session.queryValues(sql, params)).pipe(
        Effect.flatMap(([row]) => {
          const verdicts = row === undefined ? undefined : statement.verdicts(parts, row)
          if (verdicts === undefined) return Effect.fail(new LaneClosed())
          seq = number
          return Effect.succeed(verdicts)
        }),
        Effect.catchIf(
          (error): error is SqlError => error._tag === "SqlError" && isConnectionLost(error),
          () =>
            Effect.flatMap(decide(number), (refused) => {
              seq = number
              return refused === undefined
                ? Effect.fail(new NeverRan())
                : Effect.succeed(statement.verdictsFromLane(parts, refused))
            })
        )
      )
    })

  const halves = <Part, Verdict>(
    statement: GroupStatement<Part, Verdict>,
    parts: ReadonlyArray<Part>
  ): Effect.Effect<ReadonlyArray<Verdict>, LaneClosed> => {
    const middle = parts.length >> 1
    return Effect.flatMap(
      commit(statement, parts.slice(0, middle)),
      (left) => Effect.map(commit(statement, parts.slice(middle)), (right) => [...left, ...right])
    )
  }

  /** A group that the server answered with an error did nothing, and its number is free again. */
  const commit = <Part, Verdict>(
    statement: GroupStatement<Part, Verdict>,
    parts: ReadonlyArray<Part>,
    triesLeft = 2,
    losses = 0
  ): Effect.Effect<ReadonlyArray<Verdict>, LaneClosed> =>
    untilAble(saying(attempt(statement, parts))).pipe(
      Effect.catchTag("NeverRan", () =>
        parts.length > 1 && losses >= maxLosses
          ? halves(statement, parts)
          : commit(statement, parts, triesLeft, losses + 1)),
      Effect.catchTag("SqlError", (error) => {
        if (error.isRetryable && (triesLeft > 0 || parts.length === 1)) {
          return Effect.flatMap(
            Random.nextBetween(1, 20),
            (millis) =>
              Effect.andThen(Effect.sleep(Duration.millis(millis)), commit(statement, parts, triesLeft - 1, losses))
          )
        }
        const [first] = parts
        return parts.length === 1 && first !== undefined
          ? Effect.succeed([statement.failed(first, errorText(error))])
          : halves(statement, parts)
      })
    )

  const within = <Part, Verdict>(
    statement: GroupStatement<Part, Verdict>,
    part: Part,
    send: (sql: string, params: ReadonlyArray<unknown>) => Effect.Effect<Sent, SqlError>
  ): Effect.Effect<Verdict | undefined, LaneClosed> =>
    Effect.suspend(() => {
      const number = seq + 1
      const { params, sql } = statement.prepare([part], id, number)
      return send(sql, params).pipe(
        Effect.flatMap(({ committed, row }) => {
          const verdicts = row === undefined ? undefined : statement.verdicts([part], row)
          if (verdicts === undefined) return Effect.fail(new LaneClosed())
          if (committed) seq = number
          return Effect.succeed(verdicts[0])
        }),
        Effect.catchIf((error) => error._tag === "SqlError", (error) =>
          isConnectionLost(error)
            ? Effect.map(Effect.catchTag(decide(number), "SqlError", Effect.die), (refused) => {
              seq = number
              return refused === undefined ? undefined : statement.verdictsFromLane([part], refused)[0]
            })
            : Effect.succeed(error.isRetryable ? undefined : statement.failed(part, errorText(error))))
      )
    })

  const one = Semaphore.makeUnsafe(1)
  const alone = <A>(effect: Effect.Effect<A, LaneClosed>): Effect.Effect<A, LaneClosed> =>
    one.withPermit(Effect.suspend(() => {
      busySince = now()
      return Effect.ensuring(
        effect,
        Effect.sync(() => {
          busySince = undefined
        })
      )
    }))
  return {
    busySince: () => busySince,
    commit: (statement, parts) => alone(commit(statement, parts)),
    commitWithin: (statement, part, send) => alone(within(statement, part, send))
  }
}
