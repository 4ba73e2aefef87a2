/**
 * Registering and giving back on Postgres: everything that waits is committed by one statement, by this member's lane, and
 * while it is under way the next group forms.
 *
 * What is granted counts only while the member can count on its lease: a grant that is heard of too late is asked for again,
 * and gets another token. When the lease lapses, everything that was granted is lost at once, and given back as soon as the
 * database is there again. When the member was declared dead, it comes back under another id first.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { Gathering } from "../../../member/internal/gathering.ts"
import type { Engine } from "../../../member/Member.ts"
import { BackendUnavailable, type Claim, type Claimed, type Remote } from "../../RegistryBackend.ts"
import * as metrics from "../metrics.ts"
import { commit, type Name, type Part, type RegistrationRow, type Verdict } from "./statements.ts"

/** How much goes into one statement. */
const maxGroup = 1000

/** How long closing waits for something to be given back. It goes on to be, as long as the member lives. */
const giveBackTimeout = Duration.seconds(5)

interface Waiting {
  readonly part: Part
  readonly settle: (verdict: Final) => void
}

/** Verdicts on which nothing is tried again. */
type Final = Exclude<Verdict, { readonly _tag: "Busy" | "Unknown" }>

/** Something that was granted, and was neither given back nor lost. */
interface Granted extends Name {
  readonly token: bigint
  readonly lost: () => void
}

export class Committer {
  readonly #engine: Engine
  readonly #learn: (row: RegistrationRow) => void
  readonly #waiting = new Gathering<Waiting>()
  readonly #granted = new Set<Granted>()
  /** Goes up when everything that was granted before is lost. */
  #epoch = 0

  constructor(engine: Engine, learn: (row: RegistrationRow) => void) {
    this.#engine = engine
    this.#learn = learn
  }

  // ---------------------------------------------------------------------------------------------- asking

  claim(registry: string, { address, key, lost }: Claim): Effect.Effect<Claimed, BackendUnavailable> {
    return Effect.callback((resume) => {
      let isGone = false
      this.#waiting.add({
        part: { _tag: "Ask", registry, key, address },
        settle: (verdict) => {
          if (verdict._tag === "Granted") {
            const granted: Granted = { registry, key, token: verdict.token, lost }
            this.#granted.add(granted)
            const release = this.#release(granted)
            if (isGone) this.#giveBack(granted, () => undefined)
            else resume(Effect.succeed({ _tag: "Granted", token: verdict.token, release }))
          } else if (verdict._tag === "Held") {
            const { address, member, token } = verdict
            this.#learn({ registry, key, member, token, address, alive: true })
            const by: Remote = { node: String(member), token, address }
            resume(Effect.succeed({ _tag: "Held", by }))
          } else {
            const problem = verdict._tag === "Failed" ? verdict.problem : "it was not decided"
            resume(Effect.fail(new BackendUnavailable({ problem })))
          }
        }
      })
      return Effect.sync(() => {
        isGone = true
      })
    })
  }

  #release(granted: Granted): Effect.Effect<void> {
    return Effect.callback<void>((resume) => this.#giveBack(granted, () => resume(Effect.void))).pipe(
      Effect.timeoutOption(giveBackTimeout),
      Effect.asVoid
    )
  }

  #giveBack(granted: Granted, done: () => void): void {
    if (!this.#granted.delete(granted)) return done()
    const { key, registry, token } = granted
    this.#waiting.add({ part: { _tag: "GiveBack", registry, key, token }, settle: done })
  }

  /** Gives back all that is held of a registry. */
  close(registry: string): Effect.Effect<void> {
    return Effect.suspend(() =>
      Effect.forEach(
        Array.from(this.#granted).filter((granted) => granted.registry === registry),
        (granted) => this.#release(granted),
        { concurrency: "unbounded", discard: true }
      )
    )
  }

  /** The lease cannot be counted on any more. Whoever holds something is told, before anything else is done. */
  readonly lapsed = (): void => {
    this.#epoch++
    const lost = Array.from(this.#granted)
    this.#granted.clear()
    for (const granted of lost) granted.lost()
    for (const { key, registry, token } of lost) {
      this.#waiting.add({ part: { _tag: "GiveBack", registry, key, token }, settle: () => undefined })
    }
  }

  // ---------------------------------------------------------------------------------------------- committing

  /** Commits for ever. */
  readonly run: Effect.Effect<never, never, Scope.Scope> = Effect.suspend(() => this.#round).pipe(
    Effect.catchDefect((defect) =>
      Effect.andThen(Effect.logError("registering failed, and is tried again", defect), Effect.sleep("1 second"))
    ),
    Effect.forever
  )

  readonly #round = Effect.gen({ self: this }, function*() {
    yield* this.#waiting.some
    yield* this.#untilLeased
    const group = this.#take()
    const epoch = this.#epoch
    const parts = group.map(({ part }) => part)
    const verdicts = yield* this.#engine.lane().commit(commit, parts).pipe(
      // Nothing of it was done, and nothing that was granted under this id counts any more.
      Effect.catchTag("LaneClosed", () => Effect.as(this.#comeBack, parts.map((): Verdict => ({ _tag: "Unknown" })))),
      Effect.onError(() => Effect.sync(() => this.#waiting.putBack(group)))
    )
    const counts = epoch === this.#epoch && this.#engine.lease.isHeld()
    const again: Array<Waiting> = []
    const busy: Array<Waiting> = []
    let isNews = false
    group.forEach((waiting, index) => {
      const verdict = verdicts[index] ?? { _tag: "Unknown" }
      if (verdict._tag === "Busy") busy.push(waiting)
      else if (verdict._tag === "Unknown" || (verdict._tag === "Granted" && !counts)) again.push(waiting)
      else {
        isNews ||= verdict._tag === "Granted" || verdict._tag === "Free"
        waiting.settle(verdict)
      }
    })
    metrics.onGroup(group.length, busy.length)
    if (again.length > 0) this.#waiting.putBack(again)
    if (busy.length > 0) yield* Effect.forkScoped(this.#later(busy))
    if (isNews) this.#engine.hint({ to: "everyone", payload: `changed ${this.#engine.id()}` })
  })

  /** A group, in which nothing is asked for twice. */
  #take(): ReadonlyArray<Waiting> {
    const taken = this.#waiting.takeUnsafe(maxGroup)
    const asked = new Set<string>()
    const twice: Array<Waiting> = []
    const group = taken.filter((waiting) => {
      const { _tag, key, registry } = waiting.part
      if (_tag === "GiveBack") return true
      const name = `${registry}\0${key}`
      const isFirst = !asked.has(name)
      asked.add(name)
      if (!isFirst) twice.push(waiting)
      return isFirst
    })
    this.#waiting.putBack(twice)
    return group
  }

  #later(busy: ReadonlyArray<Waiting>) {
    return Effect.flatMap(Random.nextBetween(5, 25), (millis) =>
      Effect.andThen(
        Effect.sleep(Duration.millis(millis)),
        Effect.sync(() => {
          for (const waiting of busy) this.#waiting.add(waiting)
        })
      ))
  }

  /** Waits until what is granted would count. */
  readonly #untilLeased: Effect.Effect<void> = Effect.suspend(() => {
    if (this.#engine.isLost()) return Effect.andThen(this.#comeBack, this.#untilLeased)
    return this.#engine.lease.isHeld()
      ? Effect.void
      // Meanwhile the member may be declared dead, and then nobody renews anything.
      : Effect.andThen(Effect.timeoutOption(this.#engine.lease.held, "50 millis"), this.#untilLeased)
  })

  readonly #comeBack: Effect.Effect<void> = Effect.suspend(() => {
    const lost = this.#engine.id()
    this.lapsed()
    const why = this.#engine.whyLost()
    return Effect.logWarning(
      `this member was given up: its registrations are lost, and it comes back anew. Why: ${why}`
    ).pipe(
      Effect.annotateLogs({ member: lost }),
      Effect.andThen(this.#engine.rejoin(lost))
    )
  })
}
