/**
 * Durable servers in Postgres: states, lines and answers in the schema `holdfast`, committed in groups by this process's
 * lane, with hints between processes through LISTEN and NOTIFY.
 *
 * A group of steps is one statement, one round trip and one wait for the disk, however many servers it is about.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import type { ConnectionFailed } from "../datastore/ConnectionFailed.ts"
import { perClient } from "../datastore/internal/perClient.ts"
import { ensureInstalled, librarySource } from "../datastore/internal/schemaInstall.ts"
import type { SchemaNotInstalled, Source } from "../datastore/Migrations.ts"
import { Gathering } from "../member/internal/gathering.ts"
import * as Member from "../member/Member.ts"
import {
  type Address,
  type Claim,
  DurableStorage,
  type Hint,
  type JoinOptions,
  type Located,
  NodeLost,
  type NodeStorage,
  type Verdict
} from "./DurableStorage.ts"
import { apart, checksSql, checkVerdicts, groupStatement, type GrownLine, int8 } from "./internal/postgres/commit.ts"
import * as statements from "./internal/postgres/statements.ts"
import { sql } from "./internal/sql.gen.ts"

/**
 * The tables that durable servers need, for `DatastoreAdmin.upgrade`. They stand on those of `Member.migrations`.
 *
 * @since 0.1.0
 * @category migrations
 */
export const migrations: Source = librarySource("durable", sql)

const lines = "lines:"
const urgentLines = "urgent lines:"
const replies = "replies"
const unattended = "unattended"

/** What another member's hint says. */
const toHint = (payload: string): Hint => {
  if (payload === replies) return { _tag: "Replies" }
  if (payload === unattended) return { _tag: "Unattended" }
  for (const prefix of [lines, urgentLines]) {
    if (!payload.startsWith(prefix)) continue
    const ids = payload.slice(prefix.length).split(",").map(Number)
    return { _tag: "Lines", ids, priority: prefix === urgentLines }
  }
  return { _tag: "Everything" }
}

/** How many ids go into one hint. */
const idsPerHint = 100

const join = Effect.fnUntraced(function*(
  member: Member.Member["Service"],
  options: JoinOptions
): Effect.fn.Return<NodeStorage, never, Scope.Scope> {
  const engine = member["~enter"]("durable")
  const hints = new Gathering<Hint>()
  /** The numbers this member has had: replies to any of them are for us. */
  const ids = new Set([engine.id()])
  yield* engine.onHint((payload) => hints.add(toHint(payload)))

  const lost = () => new NodeLost({ node: engine.id() })
  /** The storage answers, or it is not there: what it says of our own statements is a mistake of ours. */
  const alive = <A>(effect: Effect.Effect<A, SqlError>): Effect.Effect<A, NodeLost> =>
    Effect.suspend(() => engine.isLost() ? Effect.fail(lost()) : Effect.orDie(effect))

  const grown = (grownLines: ReadonlyArray<GrownLine>): void => {
    for (const group of Map.groupBy(grownLines, ({ holder, priority }) => `${holder} ${priority}`).values()) {
      const [{ holder, priority } = { holder: undefined, priority: false }] = group
      const ids = group.map(({ id }) => id)
      if (holder === engine.id()) hints.add({ _tag: "Lines", ids, priority })
      else if (holder === undefined) {
        hints.add({ _tag: "Unattended" })
        engine.hint({ to: "everyone", payload: unattended })
      } else {
        for (let index = 0; index < ids.length; index += idsPerHint) {
          engine.hint({
            to: holder,
            payload: (priority ? urgentLines : lines) + ids.slice(index, index + idsPerHint).join(",")
          })
        }
      }
    }
  }
  const statement = groupStatement(grown)

  const find = (servers: ReadonlyArray<Address>): Effect.Effect<ReadonlyArray<Located | undefined>, SqlError> =>
    Effect.map(engine.query(statements.find.sql, statements.find.params(servers)), (rows) => {
      const found: Array<Located | undefined> = servers.map(() => undefined)
      for (const { holder, id, index } of statements.find.rows(rows)) found[index] = { id, holder }
      return found
    })

  /** A server that somebody wants is there: it is only a name. */
  const locate = Effect.fnUntraced(function*(servers: ReadonlyArray<Address>) {
    const found = yield* find(servers)
    const missing = servers.filter((_, index) => found[index] === undefined)
    if (missing.length === 0) return found
    yield* engine.query(statements.make.sql, statements.make.params(missing))
    return yield* find(servers)
  })

  yield* engine.background(statements.tidy.sql, statements.tidy.params(Duration.toMillis(options.outcomeRetention)))
    .pipe(
      Effect.repeat({ while: ([row]) => Number(row?.[0]) > 0 }),
      Effect.ignore,
      Effect.repeat(Schedule.spaced("10 minutes").pipe(Schedule.jittered)),
      Effect.delay("1 minute"),
      Effect.forkScoped
    )

  return {
    node: engine.id,
    trouble: member.trouble,
    locate: (servers) =>
      alive(Effect.map(locate(servers), (found) => found.map((one) => one ?? { id: 0, holder: undefined }))),
    claim: (servers) =>
      alive(Effect.gen(function*() {
        const found = yield* locate(servers)
        const wanted = found.flatMap((one) => one === undefined ? [] : [one.id])
        const rows = yield* engine.query(statements.claim.sql, statements.claim.params(engine.id(), wanted))
        const claimed = new Map(statements.claim.rows(rows).map((claim) => [claim.id, claim]))
        return found.map((one): Claim =>
          claimed.get(one?.id ?? 0) ?? { _tag: "HeldElsewhere", id: one?.id ?? 0, holder: one?.holder }
        )
      })),
    release: (servers) =>
      alive(Effect.map(
        engine.query(statements.release.sql, statements.release.params(engine.id(), servers)),
        ([row]) => {
          if (row?.[0] === true) engine.hint({ to: "everyone", payload: unattended })
        }
      )),
    commit: (group) =>
      Effect.suspend(() => {
        const asMember = lost()
        if (engine.isLost()) return Effect.fail(asMember)
        const { checkAt, checks, partAt, parts } = apart(group)
        const written: Effect.Effect<ReadonlyArray<Verdict>, NodeLost> = parts.length === 0
          ? Effect.succeed([])
          : Effect.tap(
            Effect.mapError(engine.lane().commit(statement, parts), () => asMember),
            (verdicts) =>
              Effect.sync(() =>
                parts.forEach((part, index) => {
                  if (verdicts[index]?._tag !== "Done") return
                  for (const { node } of part.replies) engine.hint({ to: node, payload: replies })
                })
              )
          )
        if (checks.length === 0) return written
        const checked = Effect.map(
          alive(engine.query(checksSql, [int8(checks.map((check) => check.id))])),
          ([row]) => checkVerdicts(checks, row)
        )
        if (parts.length === 0) return checked
        // Neither ends the other early: what is written stays under way until it is known what became of it.
        const both = Effect.all([Effect.exit(written), Effect.exit(checked)], { concurrency: 2 })
        return Effect.map(Effect.flatMap(both, Effect.all), ([written, checked]) => {
          const verdicts: Array<Verdict> = []
          partAt.forEach((at, index) => verdicts[at] = written[index] ?? { _tag: "Superseded" })
          checkAt.forEach((at, index) => verdicts[at] = checked[index] ?? { _tag: "Superseded" })
          return verdicts
        })
      }),
    read: (wanted) =>
      alive(Effect.map(
        engine.query(statements.read.sql, statements.read.params(wanted)),
        (rows) => statements.read.rows(rows, wanted.length)
      )),
    unattended: (kinds, after) =>
      alive(Effect.map(
        engine.query(statements.unattended.sql, statements.unattended.params(engine.id(), kinds, after)),
        statements.unattended.rows
      )),
    replies: alive(
      Effect.suspend(() =>
        Effect.map(
          engine.query(statements.replies.sql, statements.replies.params([...ids.add(engine.id())])),
          statements.replies.rows
        )
      )
    ),
    forget: (replies) => alive(Effect.asVoid(engine.query(statements.forget.sql, statements.forget.params(replies)))),
    hints: hints.take(Number.MAX_SAFE_INTEGER),
    rejoin: Effect.suspend(() =>
      Effect.map(engine.rejoin(engine.id()), () => {
        ids.add(engine.id())
      })
    )
  }
})

/**
 * The storage on this process's membership in a database.
 *
 * Fails with `SchemaNotInstalled` when the tables are missing and the client's role may not create them: install them with
 * `DatastoreAdmin.upgrade([Member.migrations, PostgresStorage.migrations])`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<DurableStorage, SchemaNotInstalled | ConnectionFailed, PgClient.PgClient> = perClient((
  client
) =>
  Layer.effect(
    DurableStorage,
    Effect.gen(function*() {
      const member = yield* Member.Member
      yield* ensureInstalled(migrations)
      /** One membership is one node: two of them would take each other's replies. */
      let nodes = 0
      let inUse = false
      return DurableStorage.of({
        join: (options) =>
          Effect.acquireRelease(
            Effect.suspend(() => {
              if (inUse) {
                return Effect.die(new Error("a PostgresStorage has one node: build another one for another node"))
              }
              inUse = true
              // A node that comes after another one has numbers of its own.
              return nodes++ === 0 ? Effect.void : member["~enter"]("durable").rejoin(member.id())
            }),
            () =>
              Effect.sync(() => {
                inUse = false
              })
          ).pipe(Effect.andThen(join(member, options)))
      })
    })
  ).pipe(
    Layer.provide(Member.layerPostgres),
    Layer.provide(Layer.succeed(PgClient.PgClient, client))
  )
)
