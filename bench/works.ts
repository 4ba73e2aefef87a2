/**
 * The works that are measured beside each other: in which combinations of operation, servers and callers, and what the library
 * was built to reach in them.
 */
import type { Cell, WorkName } from "./catalogue.ts"
import type { Sample } from "./measure.ts"
import { isIn, median, ratio, ratioToBest } from "./summary.ts"

export interface Goal {
  readonly text: string
  readonly asked: number
  readonly reached: number
  readonly met: boolean
  /** Which of several was the best, where it was compared with the best. */
  readonly best?: string
}

export interface Extent {
  readonly servers: ReadonlyArray<number>
  readonly concurrency: ReadonlyArray<number>
}

export interface Work {
  readonly name: WorkName
  /** What one of it is, in a line. */
  readonly title: string
  readonly cells: (extent: Extent) => ReadonlyArray<Cell>
  /** Operations in the words of a table. */
  readonly operations: Readonly<Record<string, string>>
  readonly goals: (samples: ReadonlyArray<Sample>) => ReadonlyArray<Goal | undefined>
}

const rate = (sample: Sample) => sample.perSecond
const p50 = (sample: Sample) => sample.p50Millis

const atLeast = (text: string, asked: number, reached: number | undefined): Goal | undefined =>
  reached === undefined ? undefined : { text: `${text}: at least`, asked, reached, met: reached >= asked }

const atMost = (text: string, asked: number, reached: number | undefined): Goal | undefined =>
  reached === undefined ? undefined : { text: `${text}: at most`, asked, reached, met: reached <= asked }

const of = (name: string, cell: Cell) => (sample: Sample) => sample.name === name && isIn(cell)(sample)

const middle = (samples: ReadonlyArray<Sample>, name: string, cell: Cell, figure: (sample: Sample) => number) => {
  const values = samples.filter(of(name, cell)).map(figure)
  return values.length === 0 ? undefined : median(values)
}

/** Holdfast's rate by that of the best of some. */
const timesTheBest = (
  samples: ReadonlyArray<Sample>,
  cell: Cell,
  among: ReadonlyArray<string>,
  text: string,
  asked: number
): Goal | undefined => {
  const found = ratioToBest(samples, cell, among, rate, "highest")
  const goal = atLeast(text, asked, found?.ratio)
  return goal === undefined || found === undefined || among.length === 1 ? goal : { ...goal, best: found.best }
}

const servers = (count: number) => count === 1 ? "1 server" : `${count} servers`

const calls: Work = {
  name: "calls",
  title: "Durable calls: a request, a state change of 200 bytes, a reply, once it is on disk",
  operations: { call: "call" },
  cells: ({ concurrency, servers }) =>
    servers.flatMap((servers) => concurrency.map((concurrency) => ({ operation: "call", servers, concurrency }))),
  goals: (samples) => {
    const cell = (servers: number, concurrency: number): Cell => ({ operation: "call", servers, concurrency })
    const byBare = (name: string, asked: number, servers_: number, concurrency: number, what: string) =>
      atLeast(
        `${what} at concurrency ${concurrency} on ${servers(servers_)}, by the bare loop's rate`,
        asked,
        ratio(samples, of(name, cell(servers_, concurrency)), of("bare", cell(servers_, concurrency)), rate)
      )
    const peers = ["effect-cluster", "restate", "dbos"]
    const latency = ratioToBest(samples, cell(1, 1), peers, p50, "lowest")
    const remote = middle(samples, "remote", cell(1, 1), p50)
    return [
      timesTheBest(
        samples,
        cell(100, 64),
        peers,
        "calls at concurrency 64 on 100 servers, by the best of Effect Cluster, Restate and DBOS",
        20
      ),
      timesTheBest(
        samples,
        cell(1, 64),
        peers,
        "calls at concurrency 64 on one hot server, by the best of Effect Cluster, Restate and DBOS",
        80
      ),
      latency === undefined ? undefined : {
        ...atMost(
          "p50 of a call at concurrency 1, by the best of Effect Cluster, Restate and DBOS",
          0.25,
          latency.ratio
        ),
        best: latency.best
      } as Goal,
      timesTheBest(
        samples,
        cell(100, 64),
        ["emmett"],
        "calls at concurrency 64 on 100 servers, by emmett's CommandHandler",
        10
      ),
      ...[1, 100].flatMap((servers) => [
        byBare("holdfast", 0.5, servers, 64, "calls"),
        byBare("holdfast", 0.3, servers, 256, "calls")
      ]),
      atMost(
        "p50 of a call at concurrency 1, by a bare commit of a single row",
        1.6,
        ratio(samples, of("holdfast", cell(1, 1)), of("row", cell(1, 1)), p50)
      ),
      ...[1, 100].flatMap((servers) =>
        [64, 256].map((concurrency) =>
          byBare("accepted", 0.13, servers, concurrency, "casts accepted from another process")
        )
      ),
      atMost("p50 of a call from another process at concurrency 1, in milliseconds", 5, remote)
    ]
  }
}

const casts: Work = {
  name: "casts",
  title: "Durable casts: sent by one process, handled by another, until all of them are handled and stored",
  operations: { cast: "until all are handled", handled: "one at a time, p50 until it is handled" },
  cells: ({ concurrency, servers }) => [
    { operation: "handled", servers: 1, concurrency: 1 },
    ...servers.flatMap((servers) =>
      concurrency.filter((callers) => callers > 1 && callers <= 64).slice(-1).map((concurrency) => ({
        operation: "cast",
        servers,
        concurrency
      }))
    )
  ],
  goals: (samples) => [
    timesTheBest(
      samples,
      { operation: "cast", servers: 100, concurrency: 64 },
      ["effect-cluster", "restate", "dbos", "emmett", "pg-boss", "graphile-worker"],
      "casts from another process until handled, 100 servers, by the best of all",
      6
    )
  ]
}

const events: Work = {
  name: "events",
  title: "Events of 200 bytes: appended, read, subscribed to",
  operations: {
    append: "append one, distinct streams",
    hot: "append one, one stream",
    hundred: "append a hundred, events/s",
    read: "read a stream of 1,000, events/s",
    catchUp: "subscription from the start, events/s",
    delivery: "from an append to its delivery"
  },
  cells: ({ concurrency }) => {
    const most = Math.min(64, Math.max(...concurrency))
    return [
      { operation: "append", servers: 1, concurrency: 1 },
      { operation: "append", servers: 1, concurrency: most },
      { operation: "hot", servers: 1, concurrency: most },
      { operation: "hundred", servers: 1, concurrency: Math.min(16, most) },
      { operation: "read", servers: 1, concurrency: 1 },
      { operation: "catchUp", servers: 1, concurrency: 1 },
      { operation: "delivery", servers: 1, concurrency: 1 }
    ]
  },
  goals: (samples) => {
    const cell = (operation: string, concurrency = 64): Cell => ({ operation, servers: 1, concurrency })
    return [
      timesTheBest(
        samples,
        cell("append"),
        ["emmett"],
        "appends of one event at concurrency 64, distinct streams, by emmett",
        8
      ),
      timesTheBest(
        samples,
        cell("append"),
        ["castore"],
        "appends of one event at concurrency 64, distinct streams, by castore",
        3
      ),
      timesTheBest(
        samples,
        cell("hot"),
        ["emmett"],
        "appends of one event at concurrency 64, one stream, by emmett",
        80
      ),
      timesTheBest(
        samples,
        cell("read", 1),
        ["emmett", "castore"],
        "events read from a stream of 1,000, by the best of emmett and castore",
        1
      ),
      timesTheBest(
        samples,
        cell("catchUp", 1),
        ["emmett"],
        "events each second of a subscription that catches up, by emmett",
        8
      ),
      atMost(
        "p50 from an append to its delivery, in milliseconds",
        5,
        middle(samples, "holdfast", cell("delivery", 1), p50)
      )
    ]
  }
}

export const works: ReadonlyArray<Work> = [calls, casts, events]

/** How the goals stand, as far as the samples tell. A slow machine is no failure: nobody is stopped by it. */
export const goalsOf = (work: Work, samples: ReadonlyArray<Sample>): ReadonlyArray<Goal> =>
  work.goals(samples.filter((sample) => sample.work === work.name)).filter((goal) => goal !== undefined)
